"""Whatever an AI command is asked for, it uses no key that its user may not use."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorkeep_memory.keyspace import Keyspace
from tensorkeep_server.testing import Wire, port_of

pytestmark = pytest.mark.memory_store("what is used is seen in this process")

KEYS = st.sampled_from(["a:m", "a:s", "a:1", "a:2", "x:1", "x:m", "x:s", "OUTPUTS", "INPUTS", "$"])
LISTS = st.tuples(
    st.sampled_from(["INPUTS", "OUTPUTS", "KEYS", "ARGS", "LOAD", "PERSIST"])
).flatmap(
    lambda word: st.lists(KEYS, min_size=1, max_size=3).flatmap(
        lambda keys: st.sampled_from([len(keys), 1, len(keys) + 1]).map(
            lambda count: [*word, str(count), *keys]
        )
    )
)
SECTIONS = st.tuples(
    st.sampled_from(["INPUTS", "OUTPUTS"]), st.lists(KEYS, min_size=1, max_size=3)
).map(lambda both: [both[0], *both[1]])
OTHERS = st.sampled_from([["TIMEOUT", "1000"], ["|>"], ["ROUTING", "x:1"], ["EX", "100"], ["$"]])
OPERATIONS = st.sampled_from(
    [
        *(["|>", "AI.TENSORGET", key, "VALUES"] for key in ("a:1", "x:1")),
        *(["|>", "AI.TENSORSET", key, "FLOAT", "1", "VALUES", "1"] for key in ("a:1", "x:1")),
        *(
            ["|>", "AI.MODELEXECUTE", key, "INPUTS", "1", name, "OUTPUTS", "1", name]
            for key in ("a:m", "x:m")
            for name in ("a:1", "x:1")
        ),
        *(
            ["|>", "AI.MODELRUN", key, "INPUTS", name, "OUTPUTS", name]
            for key in ("a:m", "x:m")
            for name in ("a:1", "x:1")
        ),
        *(
            ["|>", "AI.SCRIPTEXECUTE", key, "f", *more]
            for key in ("a:s", "x:s")
            for more in (["KEYS", "1", "x:1"], ["INPUTS", "1", "a:1", "OUTPUTS", "1", "x:1"])
        ),
    ]
)


def flat(parts):
    return [word for part in parts for word in part]


NAMES = st.sampled_from(["a:1", "a:2", "x:1"])
WORKING = st.sampled_from(
    [
        "AI.MODELEXECUTE a:m INPUTS 1 {0} OUTPUTS 1 {1}",
        "AI.MODELEXECUTE {2} INPUTS 1 {0} OUTPUTS 1 {1} TIMEOUT 1000 EX 100",
        "AI.MODELRUN a:m INPUTS {0} OUTPUTS {1}",
        "AI.MODELRUN {2} TIMEOUT 1000 INPUTS {0} OUTPUTS {1}",
        "AI.DAGEXECUTE PERSIST 1 {0} |> AI.TENSORSET {0} FLOAT 1 VALUES 1",
        "AI.DAGRUN LOAD 1 {0} PERSIST 1 {1} |> AI.MODELRUN a:m INPUTS {0} OUTPUTS {1}",
        "AI.DAGRUN_RO LOAD 1 {0} |> AI.MODELRUN {2} INPUTS {0} OUTPUTS {1} |> AI.TENSORGET {1}",
        "AI.DAGEXECUTE LOAD 2 {0} {1} PERSIST 1 {1} TIMEOUT 1000 |> AI.TENSORGET {0}",
    ]
)
REQUESTS = st.one_of(
    st.tuples(WORKING, NAMES, NAMES, st.sampled_from(["a:m", "x:m"])).map(
        lambda parts: parts[0].format(*parts[1:]).split()
    ),
    st.tuples(
        st.sampled_from(["AI.MODELEXECUTE", "AI.MODELRUN"]),
        st.sampled_from(["a:m", "x:m"]),
        st.lists(st.one_of(LISTS, SECTIONS, OTHERS), min_size=1, max_size=4).map(flat),
    ).map(lambda parts: [parts[0], parts[1], *parts[2]]),
    st.tuples(
        st.sampled_from(["AI.SCRIPTEXECUTE", "AI.SCRIPTRUN"]),
        st.sampled_from(["a:s", "x:s"]),
        st.lists(st.one_of(LISTS, SECTIONS, OTHERS), min_size=1, max_size=4).map(flat),
    ).map(lambda parts: [parts[0], parts[1], "f", *parts[2]]),
    st.tuples(
        st.sampled_from(["AI.DAGEXECUTE", "AI.DAGRUN", "AI.DAGEXECUTE_RO", "AI.DAGRUN_RO"]),
        st.lists(st.one_of(LISTS, OTHERS), max_size=2).map(flat),
        st.lists(OPERATIONS, min_size=1, max_size=3).map(flat),
    ).map(lambda parts: [parts[0], *parts[1], *parts[2]]),
    st.tuples(
        st.sampled_from(["AI.TENSORSET", "AI.TENSORGET", "AI.MODELDEL", "AI.INFO", "AI.SCRIPTGET"]),
        KEYS,
        st.sampled_from(
            [[], ["FLOAT", "1"], ["VALUES"], ["META"], ["FLOAT", "1", "VALUES", "x:1"]]
        ),
    ).map(lambda parts: [parts[0], parts[1], *parts[2]]),
)


@pytest.fixture
def used(monkeypatch):
    """The keys that commands have used."""
    keys = set()
    for name in ("get", "typed", "expect", "set", "drop"):
        method = getattr(Keyspace, name)

        def noting(self, key, *args, method=method, **options):
            keys.add(bytes(key))
            return method(self, key, *args, **options)

        monkeypatch.setattr(Keyspace, name, noting)
    return keys


@settings(
    max_examples=500,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(request=REQUESTS)
def test_no_key_is_used_that_the_user_may_not_use(server, wire, used, request):
    if not wire.read("EXISTS", "a:m"):
        prepare(wire)
    used.clear()
    with Wire(port_of(server)) as alice:
        assert alice.ask("AUTH", "alice", "secret") == b"+OK\r\n"
        reply = alice.ask(*request)

    assert all(key.startswith(b"a:") for key in used), (request, reply, used)
    if not reply.startswith(b"-"):
        for key in ("a:m", "a:s", "a:1", "a:2"):
            wire.ask("DEL", key)  # the next one begins anew


def prepare(wire):
    for name in "ax":
        wire.ask("AI.MODELSTORE", f"{name}:m", "ONNX", "CPU", "BLOB", '{"op": "multiply", "by": 2}')
        for key in (f"{name}:1", f"{name}:2"):
            wire.ask("AI.TENSORSET", key, "FLOAT", "1", "VALUES", "3")
    wire.ask("ACL", "SETUSER", "alice", "on", ">secret", "~a:*", "+@all")


def test_the_search_would_find_a_key_that_is_used(server, wire, used):
    prepare(wire)
    used.clear()

    run = ["AI.MODELEXECUTE", "x:m", "INPUTS", "1", "x:1", "OUTPUTS", "1", "x:2"]
    assert wire.ask(*run) == b"+OK\r\n"

    assert used == {b"x:m", b"x:1", b"x:2"}
