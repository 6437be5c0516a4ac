"""What is built is known by its id, and kept as long as a key is known that holds it."""

from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.errors import StoreError
from tensorkeep_valkey.built_models import BuiltModels, Known, Place

A, B, ELSEWHERE = Place(0, b"a"), Place(0, b"b"), Place(1, b"a")


def built(*items):
    models = BuiltModels()
    for place, identity in items:
        models.put(place, identity, f"model {identity.decode()}")
    return models


def test_what_is_built_is_found_by_its_id():
    models = built((A, b"1"), (ELSEWHERE, b"2"))
    assert models.get(b"1") == "model 1"
    assert models.get(b"3") is None
    assert models.is_at(A, b"1")
    assert not models.is_at(ELSEWHERE, b"1")
    assert len(models) == 2


def test_what_is_replaced_at_its_only_key_is_freed():
    models = built((A, b"1"))
    assert models.put(A, b"2", "model 2") == "model 1"
    assert models.get(b"1") is None
    assert models.get(b"2") == "model 2"


def test_what_is_under_another_key_too_is_kept():
    models = built((A, b"1"), (B, b"1"))
    assert models.forget(A) is None
    assert models.get(b"1") == "model 1"
    assert models.forget(B) == "model 1"
    assert models.forget(B) is None
    assert len(models) == 0


def test_keys_that_hold_something_else_by_now_are_forgotten():
    models = built((A, b"1"), (B, b"2"), (ELSEWHERE, b"3"))
    looked = [Known(A, b"1"), Known(B, b"2"), Known(ELSEWHERE, b"3")]
    gone = models.drop_gone(looked, [None, StoreError("WRONGTYPE Operation against"), b"3"])
    assert gone == looked[:2]
    assert len(models) == 1


def test_an_engine_that_does_not_tell_says_nothing():
    models = built((A, b"1"))
    for line in ("LOADING not there", "NOPERM no right", "ERR lost"):
        assert models.drop_gone([Known(A, b"1")], [StoreError(line)]) == []
    assert len(models) == 1


def test_what_was_stored_anew_while_the_engine_was_asked_is_kept():
    models = built((A, b"1"))
    models.put(A, b"2", "model 2")
    assert models.drop_gone([Known(A, b"1")], [None]) == []
    assert models.get(b"2") == "model 2"


@given(st.integers(0, 10), st.integers(1, 4))
def test_each_place_has_its_turn(count, most):
    models = built(*((Place(0, b"%d" % number), b"%d" % number) for number in range(count)))
    turns = [models.next_to_look_at(most) for _ in range(-(-count // most))]
    assert all(len(turn) <= most for turn in turns)
    assert sorted(known.id for turn in turns for known in turn) == sorted(
        b"%d" % number for number in range(count)
    )


@given(st.lists(st.tuples(st.sampled_from("pf"), st.integers(0, 3), st.integers(0, 3))))
def test_exactly_what_has_a_place_is_built(steps):
    models, where = BuiltModels(), {}
    for step, number, version in steps:
        place, identity = Place(0, b"%d" % number), b"%d" % version
        before = set(where.values())
        old = where.pop(place, None)
        if step == "p":
            freed = models.put(place, identity, identity)
            where[place] = identity
        else:
            freed = models.forget(place)
        assert (freed is not None) == (old is not None and old not in where.values())
        assert {each for each in before | set(where.values()) if models.get(each)} == set(
            where.values()
        )
