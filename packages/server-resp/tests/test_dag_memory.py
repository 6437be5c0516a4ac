"""A DAG that comes again: the same answers as if it had been read anew, whatever changed."""

import gc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorkeep.commands.args import Args
from tensorkeep.model import LoadedModel, Model, ModelSpec, Script, ScriptSpec
from tensorkeep.tensor import DType, Tensor
from tensorkeep_server.dag_memory import DagMemory
from tensorkeep_server.dag_plan import Dialect, read_dag

OK = b"+OK\r\n"
DOUBLE = '{"op": "multiply", "by": 2}'
TRIPLE = '{"op": "multiply", "by": 3}'
NO_INPUT = b"-ERR INPUT key cannot be found in DAG\r\n"

DAG = "AI.DAGEXECUTE LOAD 1 a PERSIST 1 out |> AI.TENSORSET x UINT8 2 BLOB"
REST = "|> AI.MODELEXECUTE m INPUTS 1 x OUTPUTS 1 out |> AI.TENSORGET out VALUES |> AI.TENSORGET a"


def send_dag(wire, data, rest=REST):
    return wire.ask(*DAG.split(), data, *rest.split())


@pytest.fixture
def wire(wire):
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", DOUBLE)
    wire.ask("AI.TENSORSET", "a", "INT8", 1, "VALUES", 1)
    return wire


def shown(*values):
    return b"*%d\r\n" % len(values) + b"".join(b":%d\r\n" % value for value in values)


# ---------------------------------------------------------------------- over the wire
def test_each_request_gets_the_answer_to_its_own_data(wire):
    for data in (b"ab", b"\x00\x01", b"\n\r", b"ab"):
        doubled = shown(*(2 * byte % 256 for byte in data))
        assert send_dag(wire, data).startswith(b"*4\r\n" + OK + OK + doubled)
        assert wire.ask("AI.TENSORGET", "out", "VALUES") == doubled


def test_what_was_stored_meanwhile_is_what_is_used(wire):
    before = send_dag(wire, b"ab")
    wire.ask("AI.TENSORSET", "a", "INT8", 1, "VALUES", 2)
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", TRIPLE)
    after = send_dag(wire, b"\x01\x02")
    assert after != before
    assert after.startswith(b"*4\r\n" + OK + OK + shown(3, 6))
    assert after.endswith(b"$1\r\n\x02\r\n")
    assert send_dag(wire, b"\x01\x02") == after


def test_what_is_wrong_by_now_is_the_error_of_a_first_request(wire, connect):
    requests = [
        ("SET", "a", "DEL a"),
        ("AI.TENSORSET", "a", "AI.MODELSTORE a ONNX CPU BLOB"),
        ("", "m", "DEL m"),
        ("", "m", "RENAME a m"),
    ]
    for _, _, change in requests:
        wire.ask("FLUSHALL")
        wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", DOUBLE)
        wire.ask("AI.TENSORSET", "a", "INT8", 1, "VALUES", 1)
        assert send_dag(wire, b"ab") == send_dag(wire, b"ab")
        if change.startswith("AI"):
            wire.ask("DEL", "a")
            wire.ask(*change.split(), DOUBLE)
        else:
            wire.ask(*change.split())
        error = send_dag(wire, b"ab")
        assert error.startswith(b"-")
        assert error == send_dag(connect(), b"ab")


@pytest.mark.parametrize("data", [b"|>", b"|>\0", b"a", b"", b"abc"])
def test_data_that_does_not_fit_is_judged_as_in_a_first_request(wire, connect, data):
    send_dag(wire, b"ab")
    assert send_dag(wire, data) == send_dag(connect(), data)


def test_the_selected_database_counts(wire):
    send_dag(wire, b"ab")
    wire.ask("SELECT", 1)
    assert send_dag(wire, b"ab").startswith(b"-ERR tensor key is empty")


def test_a_deleted_model_does_not_stay_because_a_client_once_used_it(wire, fake, server):
    send_dag(wire, b"ab")
    send_dag(wire, b"ab")
    assert wire.ask("AI.MODELDEL", "m") == OK
    gc.collect()
    assert wire.ask("AI.INFO", "m") == b"-ERR cannot find run info for key\r\n"
    fake.await_calls("model_free")


# ---------------------------------------------------------------------- alone
MODEL = Model(ModelSpec("FAKE"), b"", LoadedModel(None, ("x",), ("y",)), None)  # type: ignore[arg-type] # nothing is run
TENSOR = Tensor.from_values(DType.INT8, (1,), [1])


def read_set(op, draft):
    """SET name BLOB data."""
    tensor = Tensor.from_blob(DType.UINT8, (len(op[-1]),), op[-1])
    draft.put(op[1], tensor, ends_in_data=op[2] == b"BLOB")


def read_run(op, draft):
    """RUN key inputs."""
    draft.execute(op[1], draft.store[op[1]], op[2:], [b"y"])


def read_get(op, draft):
    """GET name."""
    draft.get(op[1], "form")


DIALECT = Dialect(
    name="ai.dagexecute",
    arity="",
    at_least=0,
    read_only=False,
    needs_key_option=False,
    load=lambda store, key: store[key],
    readers={b"SET": read_set, b"RUN": read_run, b"GET": read_get},
)
REQUESTS = (
    "DAG LOAD 1 a |> SET x BLOB {} |> RUN m x |> GET y",
    "DAG |> SET x BLOB {} |> SET x BLOB {} |> RUN m x |> RUN m y |> GET y |> GET x",
    "DAG |> SET x NOBLOB {} |> RUN m x",
)


def read(memory, words, store):
    """Returns the plan, and whether it was remembered."""
    plan = memory.recall(words, store.get)
    if plan is not None:
        return plan, True
    plan, origins = read_dag(Args(words), DIALECT, store)
    memory.note(words, plan, origins)
    return plan, False


@given(
    st.lists(st.tuples(st.sampled_from(REQUESTS), st.binary(min_size=2, max_size=2)), max_size=20)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_plan_made_again_is_the_plan_that_reading_makes(requests):
    store = {b"a": TENSOR, b"m": MODEL}
    memory = DagMemory()
    for words, data in requests:
        if data == b"|>":
            continue
        items = [data if word == "{}" else word.encode() for word in words.split()]
        plan, _ = read(memory, items, store)
        fresh, _ = read_dag(Args(items), DIALECT, store)
        assert plan == fresh


def repeated(memory, words, store):
    return read(memory, [*map(bytes, words)], store)[1]


def test_only_what_comes_again_word_by_word_is_remembered():
    store = {b"a": TENSOR, b"m": MODEL}
    memory = DagMemory()
    words = b"DAG LOAD 1 a |> SET x BLOB ab |> RUN m x |> GET y".split()
    other = b"DAG LOAD 1 a |> SET z BLOB ab |> RUN m z |> GET y".split()
    assert [repeated(memory, words, store) for _ in range(3)] == [False, True, True]
    assert [repeated(memory, other, store) for _ in range(2)] == [False, True]


@pytest.mark.parametrize(
    "words",
    [
        [b"DAG", b"|>", b"SET", b"x", b"NOBLOB", bytes(5000)],
        [b"DAG", b"|>", *[b"SET", b"x", b"BLOB", b"a", b"|>"] * 40, b"GET", b"x"],
        b"DAG |> SET x BLOB a |> RUN s x".split(),
    ],
)
def test_what_is_large_or_calls_a_script_is_not_remembered(words):
    memory = DagMemory()
    store = {b"s": Script(ScriptSpec(), b"", None, None)}
    assert [repeated(memory, words, store) for _ in range(3)] == [False] * 3


def test_a_client_whose_requests_never_repeat_is_given_up_on():
    memory = DagMemory()
    store = {b"a": TENSOR}

    def words(number):
        return [b"DAG", b"LOAD", b"1", b"a", b"ROUTING", b"%d" % number, b"|>", b"GET", b"a"]

    assert repeated(memory, words(0), store) is False
    assert repeated(memory, words(0), store) is True
    for number in range(1, 100):
        assert repeated(memory, words(number), store) is False
    assert repeated(memory, words(99), store) is False
