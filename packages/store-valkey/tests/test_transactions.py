"""EXEC's array holds one element for each command that the client has sent."""

from hypothesis import given
from hypothesis import strategies as st

from tensorkeep_valkey.transactions import Place, rebuild

ELEMENT = st.sampled_from(
    [b"+OK\r\n", b":1\r\n", b"$2\r\nab\r\n", b"*2\r\n:1\r\n$-1\r\n", b"-ERR\r\n"]
)


@given(st.lists(st.tuples(st.lists(ELEMENT, max_size=3), st.booleans()), max_size=6))
def test_elements_of_our_own_commands_become_one_each(commands):
    found, places, expected = [], [], []
    for number, (items, ours) in enumerate(commands):
        if ours:
            made = b"$3\r\n%03d\r\n" % number

            def make(got, items=items, made=made):
                assert got == items
                return made

            places.append(Place(len(found), len(items), make))
            expected.append(made)
        else:
            expected += items
        found += items
    reply = b"*%d\r\n" % len(found) + b"".join(found)

    assert rebuild(reply, places) == b"*%d\r\n" % len(expected) + b"".join(expected)


def test_what_is_no_array_is_left_as_it_is():
    place = Place(0, 1, lambda items: b"+never\r\n")

    for reply in (b"*-1\r\n", b"_\r\n", b"-EXECABORT Transaction discarded\r\n"):
        assert rebuild(reply, [place]) == reply
