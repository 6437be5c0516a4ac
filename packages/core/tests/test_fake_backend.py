"""The fake backend: its models, its scripts, and what it tells a test."""

import json
import math
import threading

import numpy as np
import pytest

from tensorkeep import BackendOptions, Device, DType, Tensor
from tensorkeep.hookspecs import RunContext, ScriptCall
from tensorkeep.model import ModelSpec, ScriptSpec
from tensorkeep.testing import FAKE_CPU, FakeBackend, fake_backend, fake_gpu

CPU = Device.parse("CPU")


def ints(*values):
    return Tensor.from_values(DType.INT32, (len(values),), values)


@pytest.fixture
def fake():
    return FakeBackend()


def create(fake, names=(), output_names=(), **fields):
    spec = ModelSpec("FAKE", CPU, inputs=names, outputs=output_names)
    return fake.model_create(spec, json.dumps(fields).encode(), BackendOptions())


def run(fake, *inputs, **fields):
    return fake.model_run(create(fake, **fields), inputs, RunContext(CPU))


class Background(threading.Thread):
    """Runs a model on another thread."""

    def __init__(self, fake, model, context):
        super().__init__(daemon=True)
        self.result = None
        self.todo = fake, model, context
        self.start()

    def run(self):
        fake, model, context = self.todo
        try:
            self.result = fake.model_run(model, [ints(1)], context)
        except RuntimeError as error:
            self.result = str(error)

    def end(self):
        self.join(60)
        return self.result


# ---------------------------------------------------------------------- models
@pytest.mark.parametrize(
    ("fields", "inputs", "outputs"),
    [
        ({"op": "multiply", "by": 2}, [ints(1, 2)], [ints(2, 4)]),
        ({"op": "add"}, [ints(1, 2), ints(3, 4)], [ints(4, 6)]),
        ({"op": "identity", "inputs": 2}, [ints(1), ints(2)], [ints(1), ints(2)]),
        ({"op": "identity", "inputs": 0}, [], []),
        ({"op": "none_output"}, [ints(1)], [None]),
        ({"op": "none_output", "inputs": 2}, [ints(1), ints(2)], [None, ints(2)]),
        ({"op": "fixed_rows", "rows": 1}, [ints(1, 2)], [ints(1)]),
        ({"op": "fixed_rows", "rows": 3}, [ints(1, 2)], [ints(1, 2, 1)]),
        ({"op": "sleep", "seconds": 0}, [ints(1)], [ints(1)]),
        ({"op": "slow_create", "seconds": 0}, [ints(1)], [ints(1)]),
    ],
)
def test_a_model_does_what_its_op_says(fake, fields, inputs, outputs):
    assert run(fake, *inputs, **fields) == outputs


def test_multiplying_keeps_the_type(fake):
    halves = Tensor.from_numpy(np.array([0.5], np.float16))
    (output,) = run(fake, halves, op="multiply", by=3)
    assert (output.dtype, output.values()) == (DType.FLOAT16, [1.5])


def test_a_failing_model_fails_with_its_text(fake):
    with pytest.raises(RuntimeError, match=r"^no more paper$"):
        run(fake, ints(1), op="fail", text="no more paper")


@pytest.mark.parametrize(
    ("blob", "text"),
    [
        (b"", "must be a JSON object: "),
        (b"[1]", "must be a JSON object$"),
        (b"{}", "op must be one of multiply, add, .*, not None"),
        (b'{"op": "divide"}', "not 'divide'"),
        (b'{"op": "multiply"}', "multiply takes by, not nothing"),
        (b'{"op": "add", "by": 1}', "add takes nothing, not by"),
        (b'{"op": "multiply", "by": "2"}', "by of multiply must be float, not '2'"),
        (b'{"op": "identity", "inputs": -1}', "inputs must be a number"),
        (b'{"op": "identity", "steady": 1}', "steady a boolean"),
    ],
)
def test_a_blob_that_is_no_model_is_refused_with_a_reason(fake, blob, text):
    with pytest.raises(ValueError, match=text):
        fake.model_create(ModelSpec("FAKE"), blob, BackendOptions())


def test_a_model_is_steady_when_its_json_says_so(fake):
    assert create(fake, op="add", steady=True).steady
    assert not create(fake, op="add").steady


def test_inputs_and_outputs_are_called_as_the_user_says(fake):
    named = create(fake, names=("x", "y"), output_names=("z",), op="add")
    assert (named.inputs, named.outputs) == (("x", "y"), ("z",))
    plain = create(fake, op="add")
    assert (plain.inputs, plain.outputs) == (("input0", "input1"), ("output0",))


def test_a_wrong_number_of_names_is_refused(fake):
    with pytest.raises(ValueError, match="the model has 2 inputs, not 1: x"):
        create(fake, names=("x",), op="add")


def test_names_can_be_needed():
    fake = FakeBackend(needs_names=True)
    assert fake.backend_info().needs_names
    with pytest.raises(ValueError, match="the names of the inputs must be given"):
        create(fake, op="add")


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ([ints(1)], "add takes 2 inputs, not 1"),
        ([ints(1), Tensor.zeros(DType.INT8, (1,))], "of one type"),
        ([Tensor.zeros(DType.STRING, (1,))] * 2, "numeric type, not STRING"),
    ],
)
def test_wrong_inputs_are_refused(fake, inputs, text):
    with pytest.raises((TypeError, ValueError), match=text):
        run(fake, *inputs, op="add")


def test_a_freed_model_is_neither_run_nor_freed_again(fake):
    model = create(fake, op="add")
    fake.model_free(model)
    with pytest.raises(ValueError, match="was freed already"):
        fake.model_free(model)
    with pytest.raises(ValueError, match=r"was freed$"):
        fake.model_run(model, [ints(1), ints(2)], RunContext(CPU))


def test_a_model_serializes_to_the_bytes_it_came_from(fake):
    blob = b'{ "op" : "add" }'
    assert fake.serialize(fake.model_create(ModelSpec("FAKE"), blob, BackendOptions())) == blob


def test_figures_count_models_and_runs(fake):
    model = create(fake, op="identity")
    create(fake, op="identity")
    fake.model_run(model, [ints(1)], RunContext(CPU))
    fake.model_free(model)
    assert fake.backend_stats() == {"models": 1, "runs": 1}


# ---------------------------------------------------------------------- waiting
def test_a_blocked_run_goes_on_when_the_test_says_so(fake):
    model = create(fake, op="block")
    first, second = (Background(fake, model, RunContext(CPU)) for _ in range(2))
    fake.await_calls("model_run", 2)
    assert first.is_alive()
    assert second.is_alive()
    fake.release()
    while first.is_alive() and second.is_alive():
        first.join(0.001)
    assert first.is_alive() != second.is_alive()
    fake.release()
    assert first.end() == second.end() == [ints(1)]


def test_a_release_may_come_before_the_run(fake):
    fake.release(math.inf)
    for _ in range(3):
        assert run(fake, ints(1), op="block") == [ints(1)]


@pytest.mark.parametrize("fields", [{"op": "block"}, {"op": "sleep", "seconds": 20}])
def test_a_waiting_run_ends_when_it_is_cancelled(fake, fields):
    context = RunContext(CPU)
    waiting = Background(fake, create(fake, **fields), context)
    fake.await_calls("model_run")
    assert waiting.is_alive()
    context.cancel()
    assert waiting.end() == "the run was cancelled"


def test_a_cancelled_run_takes_no_release_from_another(fake):
    context = RunContext(CPU)
    context.cancel()
    model = create(fake, op="block")
    with pytest.raises(RuntimeError, match="cancelled"):
        fake.model_run(model, [ints(1)], context)
    fake.release()
    assert run(fake, ints(1), op="block") == [ints(1)]


def test_a_slow_creation_can_be_hurried(fake):
    fake.hurry.set()
    assert create(fake, op="slow_create", seconds=100).native.op == "slow_create"


def test_waiting_for_calls_that_do_not_come_fails(fake, monkeypatch):
    monkeypatch.setattr(fake_backend, "_PATIENCE", 0)
    with pytest.raises(TimeoutError, match="model_run was called 0 times, not 1"):
        fake.await_calls("model_run")


# ---------------------------------------------------------------------- what a test is told
def test_calls_are_recorded(fake):
    model = create(fake, op="identity")
    fake.model_run(model, [Tensor.zeros(DType.INT8, (2, 3))], RunContext(Device.parse("cpu:1")))
    fake.model_free(model)
    assert [call.hook for call in fake.calls] == ["model_create", "model_run", "model_free"]
    (call,) = fake.calls_of("model_run")
    assert call == (
        "model_run", "identity", "cpu:1", ((2, 3),), threading.current_thread().name
    )  # fmt: skip


def test_the_self_check_is_not_recorded(fake):
    fake.self_check()
    assert not fake.calls


def test_the_self_check_fails_when_two_times_two_is_not_four(fake, monkeypatch):
    broken = fake_backend._Op(lambda *_: [None], 1, {"by": (int,)})
    monkeypatch.setitem(fake_backend._OPS, "multiply", broken)
    with pytest.raises(RuntimeError, match="2 times 2 is None"):
        fake.self_check()


def test_devices_are_those_it_was_made_with():
    assert FakeBackend().devices() == (FAKE_CPU,)
    gpu = fake_gpu(1, memory=100)
    assert (gpu.kind, gpu.index, gpu.memory) == ("GPU", 1, 100)
    assert FakeBackend(devices=[FAKE_CPU, gpu]).devices() == (FAKE_CPU, gpu)


def test_there_is_one_to_name_in_an_entry_point():
    assert isinstance(fake_backend.plugin, FakeBackend)
    assert fake_backend.plugin.backend_info().scripts
    assert not FakeBackend(scripts=False).backend_info().scripts


# ---------------------------------------------------------------------- scripts
class Commands:
    def execute(self, command, arguments):
        return b"pong" if command == "PING" else len(arguments)

    def model_execute(self, key, inputs, outputs):
        assert key == "m{1}"
        return [*inputs][:outputs]


def call(fake, function, *tensors, source=None, **fields):
    script = fake.script_create(ScriptSpec("FAKE"), source or function.encode(), BackendOptions())
    fields = {"keys": (), "arguments": (), "outputs": None} | fields
    call = ScriptCall(function, tensors, commands=Commands(), **fields)
    return fake.script_run(script, call, RunContext(CPU))


def texts(*values):
    return Tensor.from_values(DType.STRING, (len(values),), values)


@pytest.mark.parametrize(
    ("function", "tensors", "keywords", "result"),
    [
        ("sum", [ints(1), ints(2), ints(3)], {}, [ints(6)]),
        ("stack", [ints(1), ints(2, 3)], {"outputs": 1}, [ints(1, 2, 3)]),
        ("identity", [ints(1), ints(2)], {"outputs": 2}, [ints(1), ints(2)]),
        ("keys", [], {"keys": [b"a", b"b"]}, [texts("a", "b")]),
        ("arguments", [], {"arguments": [b"a"]}, [texts("a")]),
        ("execute", [], {"arguments": [b"PING"]}, [texts("pong")]),
        ("execute", [], {"arguments": [b"DEL", b"a", b"b"]}, [texts("2")]),
        ("run_model", [ints(1), ints(2)], {"keys": [b"m{1}"]}, [ints(1)]),
        ("run_model", [ints(1), ints(2)], {"keys": [b"m{1}"], "outputs": 2}, [ints(1), ints(2)]),
    ],
)
def test_a_function_does_what_its_name_says(fake, function, tensors, keywords, result):
    assert list(call(fake, function, *tensors, **keywords)) == result


def test_a_blocked_function_goes_on_when_the_test_says_so(fake):
    fake.release()
    assert call(fake, "block", ints(1)) == (ints(1),)


def test_a_failing_function_fails_with_its_arguments(fake):
    with pytest.raises(RuntimeError, match=r"^no more paper$"):
        call(fake, "fail", arguments=[b"no more", b"paper"])
    with pytest.raises(RuntimeError, match=r"^the script failed$"):
        call(fake, "fail")


@pytest.mark.parametrize(
    ("source", "entry_points", "text"),
    [
        (b"", (), "a script must name functions of"),
        (b"sum nonsense", (), r"not \['nonsense'\]"),
        (b"sum", ("stack",), "no function 'stack'"),
    ],
)
def test_a_source_that_is_no_script_is_refused(fake, source, entry_points, text):
    with pytest.raises(ValueError, match=text):
        fake.script_create(ScriptSpec("FAKE", entry_points=entry_points), source, BackendOptions())


def test_a_function_that_the_script_lacks_is_refused(fake):
    with pytest.raises(ValueError, match="no function 'sum'"):
        call(fake, "sum", ints(1), source=b"stack")


def test_another_number_of_outputs_is_refused(fake):
    with pytest.raises(ValueError, match="sum returned 1 tensors, not 2"):
        call(fake, "sum", ints(1), outputs=2)


def test_a_freed_script_is_recorded(fake):
    fake.script_free(fake.script_create(ScriptSpec("FAKE"), b"sum", BackendOptions()))
    assert [call.hook for call in fake.calls] == ["script_create", "script_free"]
