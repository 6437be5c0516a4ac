"""Commands of the engine's and of our own, mixed in one connection, do the same with both stores.

Left out is what differs for a reason that docs/data.md names.
"""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorkeep.backends import Backends
from tensorkeep.config import EngineConfig
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of, request, running_server
from tensorkeep_valkey.testing import running_engine

BLOB = st.sampled_from(['{"op": "multiply", "by": 2}', '{"op": "identity"}', "no model"])
TENSOR, TEXT, LIST, MODEL = (
    st.sampled_from(names) for names in (("t1", "t2"), ("s1", "s2"), ("l",), ("m1", "m2"))
)
ANY = st.sampled_from(["t1", "t2", "s1", "s2", "l", "m1", "m2", "nothing"])
WORD = st.sampled_from(["1", "7", "x", ""])


def words(*parts):
    """Draws a request: each part is a word, or what draws one."""
    each = [part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts]
    return st.tuples(*each).map(list)


RELAYED = st.one_of(
    words("SET", TEXT, WORD),
    words("GET", TEXT),
    words("INCR", TEXT),
    words("APPEND", TEXT, WORD),
    words("RPUSH", LIST, WORD),
    words("LRANGE", LIST, "0", "-1"),
    words("LLEN", TEXT),
    words("DEL", ANY),
    words("EXISTS", ANY),
    words("EXPIRE", ANY, "100"),
    words("PERSIST", ANY),
    words("RENAME", TENSOR, TENSOR),
    words("RENAME", MODEL, MODEL),
    words("SELECT", st.sampled_from(["0", "1", "99", "x"])),
    words("ECHO", WORD),
    words("PING"),
)
OURS = st.one_of(
    words("AI.TENSORSET", TENSOR, "FLOAT", "1", "VALUES", st.sampled_from(["1", "2.5", "-3"])),
    words("AI.TENSORSET", TENSOR, "STRING", "2", "VALUES", WORD, WORD),
    words("AI.TENSORSET", st.one_of(LIST, MODEL), "INT8", "1", "VALUES", "1"),
    words("AI.TENSORSET", "mistaken", "FLOAT", "2", "VALUES", "1"),
    words("AI.TENSORGET", ANY, "META", "VALUES"),
    words("AI.TENSORGET", ANY),
    words("AI.TENSORGET", ANY, "BOGUS"),
    words("AI.MODELSTORE", MODEL, "ONNX", "CPU", "TAG", WORD, "BLOB", BLOB),
    words("AI.MODELSTORE", MODEL, "ONNX", "CPU", "BLOB", BLOB),
    words("AI.MODELGET", ANY, "META"),
    words("AI.MODELGET", ANY, "BLOB"),
    words("AI.MODELDEL", ANY),
)
RUNS = st.one_of(
    words("AI.MODELEXECUTE", MODEL, "INPUTS", "1", ANY, "OUTPUTS", "1", TENSOR),
    words("AI.MODELEXECUTE", MODEL, "INPUTS", "1", TENSOR, "OUTPUTS", "1", st.one_of(LIST, MODEL)),
    words(
        *("AI.DAGEXECUTE", "LOAD", "1", TENSOR, "PERSIST", "1", TENSOR, "|>"),
        *("AI.TENSORSET", "local", "FLOAT", "1", "VALUES", "4", "|>"),
        *("AI.MODELEXECUTE", MODEL, "INPUTS", "1", "local", "OUTPUTS", "1", TENSOR),
    ),
    words("AI.DAGEXECUTE_RO", "LOAD", "1", ANY, "|>", "AI.TENSORGET", ANY, "VALUES"),
)


def transaction(drawn):
    watched, queue, end = drawn
    return [*([["WATCH", watched]] if watched else []), ["MULTI"], *queue, [end]]


TRANSACTION = st.tuples(
    st.one_of(st.none(), ANY),
    st.lists(st.one_of(RELAYED, OURS, RUNS), max_size=5),
    st.sampled_from(["EXEC", "EXEC", "EXEC", "DISCARD"]),
).map(transaction)
PIPELINES = st.lists(
    st.one_of(*(each.map(lambda one: [one]) for each in (RELAYED, OURS, OURS, RUNS)), TRANSACTION),
    min_size=3,
    max_size=20,
).map(lambda parts: [one for part in parts for one in part])
BEFORE = [
    ["AI.TENSORSET", "t1", "FLOAT", "1", "VALUES", "5"],
    ["AI.MODELSTORE", "m1", "ONNX", "CPU", "TAG", "first", "BLOB", '{"op": "multiply", "by": 3}'],
    ["SET", "s1", "10"],
    ["RPUSH", "l", "a"],
]
END = b"$12\r\nand no more!\r\n"


class Pair:
    """A server with the memory store and one with an engine's."""

    def __init__(self, wires):
        self.wires = wires

    def replies(self, version, pipeline, cuts):
        """Returns what each replies to requests that are sent at once, or with cuts between."""
        found = []
        for wire in self.wires:
            wire.ask("RESET")
            wire.ask("FLUSHALL")
            wire.ask("HELLO", version)
            data = b"".join(
                request(*each) for each in [*BEFORE, *pipeline, ["ECHO", "and no more!"]]
            )
            edges = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
            for begin, end in pairwise(edges):
                wire.socket.sendall(data[begin:end])
            found.append([])
            while not found[-1] or found[-1][-1] != END:
                found[-1].append(wire.reply())
        return found


@pytest.fixture(scope="module")
def pair(new_engine, new_store):
    """Asks for a store, too, although it has its own: so it is run over every engine."""

    def backends():
        made = Backends(installed=lambda: ())
        made.add("ONNX", FakeBackend())
        return made

    engine = EngineConfig(model_execution_timeout=100)
    with (
        (new_engine or running_engine)() as running,
        running_server(Settings(engine=engine), backends()) as memory,
        running_server(Settings(engine=engine, store=running.unix), backends()) as remote,
        Wire(port_of(memory)) as one,
        Wire(port_of(remote)) as other,
    ):
        yield Pair((one, other))


@settings(max_examples=150)
@given(
    version=st.sampled_from([2, 3]),
    pipeline=PIPELINES,
    cuts=st.lists(st.integers(0, 2000), max_size=3),
)
def test_commands_of_both_sides_do_the_same_with_both_stores(pair, version, pipeline, cuts):
    memory, engine = pair.replies(version, pipeline, cuts)
    assert memory == engine
