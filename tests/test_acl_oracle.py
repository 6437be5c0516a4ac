"""Users and their rights beside a real Redis: the same words give the same rights, and errors."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tensorkeep_server.testing import Wire
from tensorkeep_valkey.testing import running_engine

pytestmark = pytest.mark.memory_store("users and their rights are the engine's there")

# Commands that both have, with keys of each kind.
COMMANDS = st.sampled_from(["get", "set", "incr", "copy", "exists", "publish", "del", "config"])
CATEGORIES = st.sampled_from(["read", "write", "keyspace", "string", "fast", "admin", "pubsub"])
NAMES = st.sampled_from(["a", "b", "ab", "a:1", "*", "a*", "?", "[ab]", "", "a\\*", "\xff"])
SIGNS = st.sampled_from("+-")
RIGHTS = st.one_of(
    st.builds("{}{}".format, SIGNS, COMMANDS),
    st.builds("{}@{}".format, SIGNS, CATEGORIES),
    st.builds(
        "{}{}".format, st.sampled_from(["~", "%R~", "%W~", "%RW~", "%WR~", "%r~", "&"]), NAMES
    ),
    st.sampled_from(["+@all", "-@all", "allcommands", "nocommands", "ALLKEYS", "resetkeys"]),
    st.sampled_from(["allchannels", "resetchannels", "+config|get", "-config|set", "+config|set"]),
    st.sampled_from(["+select|0", "+select|1", "-select", "+SELECT"]),
)
WRONG = st.sampled_from(
    [
        *("+", "-", "+@", "+@nothing", "+nothing", "-config|nothing", "+config|get|x", "+get|"),
        *("-select|1", "+|x", "%~a", "%X~a", "~a b", "&a b", "nothing", "#abc", "<nobody"),
        *("!abc", "(>a)", "(+get", "(on)", "()", "", ">", "(", ")", "~*x", "x" * 70),
    ]
)
OF_USERS = st.sampled_from(
    [
        *("on", "off", "nopass", "resetpass", ">one", ">two", "<one", "reset", "clearselectors"),
        *("sanitize-payload", "skip-sanitize-payload", "ON", "NoPass"),
    ]
)
SELECTORS = st.lists(RIGHTS, max_size=4).map(lambda words: f"({' '.join(words)})")
WORDS = st.lists(
    st.one_of(RIGHTS, RIGHTS, RIGHTS, OF_USERS, SELECTORS, WRONG), min_size=1, max_size=8
)
REQUESTS = st.one_of(
    st.tuples(st.sampled_from(["GET", "INCR", "DEL", "EXISTS", "TTL", "GETDEL"]), NAMES),
    st.tuples(st.just("SET"), NAMES, st.just("v")),
    st.tuples(st.just("SET"), NAMES, st.just("v"), st.sampled_from(["GET", "NX", "KEEPTTL"])),
    st.tuples(st.sampled_from(["COPY", "RENAME", "SMOVE", "MGET", "RPOPLPUSH"]), NAMES, NAMES),
    st.tuples(st.just("SUNIONSTORE"), NAMES, NAMES, NAMES),
    st.tuples(st.sampled_from(["ZUNIONSTORE"]), NAMES, st.just("2"), NAMES, NAMES),
    st.tuples(st.just("PUBLISH"), NAMES, st.just("x")),
    st.tuples(st.sampled_from(["SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE"]), NAMES, NAMES),
    st.tuples(st.just("CONFIG"), st.sampled_from(["GET", "RESETSTAT"]), st.just("x")),
    st.tuples(st.just("SELECT"), st.sampled_from("012")),
    st.tuples(st.sampled_from(["AUTH", "PING", "WATCH", "NOSUCH", "DBSIZE"]), NAMES),
)


def both(ours, theirs, *request):
    """Returns what both say to a request."""
    words = [word.encode("latin-1") for word in request]
    return ours.wire.read(*words), theirs.wire.read(*words)


@pytest.fixture(autouse=True)
def no_users(ours, theirs):
    """Lets no test find what another one has left."""
    for request in (["RESET"], ["ACL", "DELUSER", "u", "v", "w"], ["ACL", "LOG", "RESET"]):
        both(ours, theirs, *request)


@settings(max_examples=400, deadline=None)
@given(changes=st.lists(WORDS, min_size=1, max_size=3), requests=st.lists(REQUESTS, max_size=6))
def test_the_same_words_give_the_same_rights_and_errors(ours, theirs, changes, requests):
    both(ours, theirs, "ACL", "DELUSER", "u")
    for words in changes:
        mine, yours = both(ours, theirs, "ACL", "SETUSER", "u", *words)
        assert mine == yours
    if both(ours, theirs, "ACL", "GETUSER", "u")[1] is None:
        return

    mine, yours = (
        dict(zip(told[::2], told[1::2], strict=True))
        for told in both(ours, theirs, "ACL", "GETUSER", "u")
    )
    for what in (b"flags", b"passwords", b"keys", b"channels"):
        assert mine[what] == yours[what]
    assert [each[3::2] for each in mine[b"selectors"]] == [
        each[3::2] for each in yours[b"selectors"]
    ]
    for request in requests:
        mine, yours = both(ours, theirs, "ACL", "DRYRUN", "u", *request)
        assert mine == yours, request


@pytest.mark.parametrize(
    "request_of_acl",
    [
        "ACL CAT nothing",
        "ACL WHOAMI",
        "ACL USERS",
        "ACL LIST",
        "ACL GETUSER nobody",
        "ACL DELUSER nobody",
        "ACL DELUSER default",
        "ACL GENPASS 0",
        "ACL GENPASS x",
        "ACL GENPASS 4097",
        "ACL GENPASS 1 2",
        "ACL LOG x",
        "ACL LOG -1",
        "ACL LOG 1 2",
        "ACL LOG RESET",
        "ACL LOAD",
        "ACL SAVE",
        "ACL SETUSER",
        "ACL NOTHING",
        "ACL DRYRUN nobody GET a",
        "ACL DRYRUN default NOSUCH",
        "ACL DRYRUN default GET",
        "AUTH a b c",
        "AUTH nobody x",
        "AUTH x",
        "HELLO 3 AUTH nobody x",
        "HELLO 2 AUTH x",
    ],
)
def test_a_request_about_users_is_answered_as_in_redis(ours, theirs, request_of_acl):
    for version in (3, 2):
        for side in (ours, theirs):
            side.begin(version)
        mine, yours = both(ours, theirs, *request_of_acl.split())

        assert mine == yours


def test_a_refused_client_is_told_what_redis_tells(ours, theirs):
    mine, yours = (side.another().wire for side in (ours, theirs))
    both(ours, theirs, "ACL", "SETUSER", "w", "on", ">pw", "+get", "+mget", "~a", "+multi", "+exec")
    for request in (
        ["AUTH", "w", "wrong"],
        ["AUTH", "w", "pw"],
        ["GET", "a"],
        ["GET", "b"],
        ["MGET", "a", "b"],
        ["SET", "a", "v"],
        ["CONFIG", "GET", "x"],
        ["ACL", "WHOAMI"],
        ["NOSUCH"],
        ["GET"],
        ["PUBLISH", "c", "x"],
        ["MULTI"],
        ["SET", "a", "v"],
        ["EXEC"],
        ["RESET"],
        ["ACL", "WHOAMI"],
    ):
        assert mine.ask(*request) == yours.ask(*request), request
    logs = both(ours, theirs, "ACL", "LOG", "20")
    kept = [[dict(zip(each[::2], each[1::2], strict=True)) for each in log] for log in logs]
    names = (b"count", b"reason", b"context", b"object", b"username")
    assert [[each[name] for name in names] for each in kept[0]] == [
        [each[name] for name in names] for each in kept[1]
    ]
    for wire in (mine, yours):
        wire.close()


# ---------------------------------------------------------------------- Valkey
@pytest.fixture(scope="module")
def valkey():
    """A connection to a Valkey, whose users have learned more since."""
    with running_engine("valkey-9.1") as engine, Wire(engine.port) as wire:
        yield wire


@settings(max_examples=300, deadline=None)
@given(changes=st.lists(WORDS, min_size=1, max_size=3), requests=st.lists(REQUESTS, max_size=6))
def test_rules_that_both_take_are_shown_and_hold_as_in_valkey(ours, valkey, changes, requests):
    # Valkey takes this byte for a blank within parentheses.
    assume(not any("\xff" in word for words in changes for word in words))
    wires = ours.wire, valkey
    for wire in wires:
        wire.ask("ACL", "DELUSER", "v")
        assert wire.ask("ACL", "SETUSER", "v") == b"+OK\r\n"
    for words in changes:
        done = [wire.ask("ACL", "SETUSER", "v", *coded(words)) for wire in wires]
        assert done[0][:1] == done[1][:1], (words, done)

    shown = [lines_of(wire.read("ACL", "LIST")) for wire in wires]
    assert shown[0] == shown[1]
    for request in requests:
        mine, yours = (wire.read("ACL", "DRYRUN", "v", *coded(request)) for wire in wires)
        assert (mine == "OK") is (yours == "OK"), (request, mine, yours)


def coded(words):
    return [word.encode("latin-1") for word in words]


def lines_of(users):
    """What is said of the user `v`, in the words of both."""
    (line,) = [each for each in users if each.startswith(b"user v ")]
    return [word for word in line.split() if not word.endswith(b"sanitize-payload")]
