"""A whole backend without a framework, for tests of everything that is not a backend.

A model is a small JSON object, `{"op": "multiply", "by": 2}` for example:

| op | inputs | what it does |
| --- | --- | --- |
| `multiply` | 1 | its input times `by` |
| `add` | 2 | their sum |
| `identity` | `inputs`, else 1 | returns its inputs |
| `none_output` | `inputs`, else 1 | `identity` whose first output is no tensor |
| `fixed_rows` | 1 | the input cut or repeated to `rows` rows, whatever rows it has |
| `fail` | `inputs`, else 1 | fails with `text` |
| `sleep` | `inputs`, else 1 | `identity` after `seconds`, unless it is cancelled |
| `block` | `inputs`, else 1 | `identity` after `FakeBackend.release`, unless it is cancelled |
| `slow_create` | `inputs`, else 1 | `identity` that takes `seconds` to create |

Each takes `"steady": true` as well, and `"axis"`: `known` (the default), `declared`, `possible`, or
why it has no batch axis. A script is a list of function names: `b"sum stack"` has two functions,
which take any number of tensors:

| function | what it returns |
| --- | --- |
| `sum` | the sum of its tensors |
| `stack` | its tensors joined along axis 0 |
| `identity` | its tensors |
| `keys`, `arguments` | the call's keys or arguments as one STRING tensor |
| `execute` | the reply to the command that its arguments are, as one STRING tensor |
| `run_model` | what the model under its first key returns for its tensors |
| `fail` | nothing: fails with its arguments as text |
| `block` | its tensors, after `FakeBackend.release`, unless it is cancelled |
"""

from __future__ import annotations

import json
from collections import Counter, deque
from dataclasses import dataclass, field
from threading import Condition, Event, current_thread
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tensorkeep.batch_axis import DECLARED, KNOWN, POSSIBLE, BatchAxis
from tensorkeep.batching import stack
from tensorkeep.hookspecs import BackendInfo, DeviceInfo, hookimpl
from tensorkeep.model import LoadedModel
from tensorkeep.tensor import DType, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tensorkeep.config import BackendOptions
    from tensorkeep.hookspecs import RunContext, ScriptCall
    from tensorkeep.model import ModelSpec, ScriptSpec

FAKE_CPU: Final = DeviceInfo("CPU", None, "a fake processor", None, frozenset(DType))
_KEPT_CALLS: Final = 10_000
_PATIENCE: Final = 30.0  # seconds to wait for another thread before the test has failed


def fake_gpu(index: int = 0, memory: int = 8 * 2**30) -> DeviceInfo:
    """Returns a GPU for `FakeBackend(devices=...)`."""
    return DeviceInfo("GPU", index, f"fake GPU {index}", memory, frozenset(DType))


class Call(NamedTuple):
    """A call of a hook, as `FakeBackend` recorded it.

    Attributes:
        hook: Name of the hook.
        what: The op of the model or the function of the script.
        device: Where it was to run, as the user spelled it.
        shapes: Shapes of the input tensors.
        thread: Name of the calling thread.
    """

    hook: str
    what: str
    device: str
    shapes: tuple[tuple[int, ...], ...]
    thread: str


@dataclass(frozen=True, slots=True, eq=False)
class FakeModel:
    """A parsed model: the `native` of the `LoadedModel`.

    Attributes:
        op: What it does.
        inputs: How many inputs it has.
        outputs: How many outputs it has.
        steady: See `LoadedModel.steady`.
        axis: See `LoadedModel.batch_axis`.
        fields: What else its JSON says.
        blob: The JSON.
    """

    op: str
    inputs: int
    outputs: int
    steady: bool
    axis: BatchAxis
    fields: Mapping[str, Any]
    blob: bytes = field(repr=False)


class FakeScript(NamedTuple):
    """A parsed script."""

    functions: frozenset[str]
    device: str


class FakeBackend:
    """A backend for tests; see the module for its models and scripts.

    Attributes:
        calls: The last calls of hooks, oldest first.
        hurry: An event that, once set, ends slow creations.

    Args:
        devices: The devices that it says it can use.
        needs_names: Whether models need the names of their inputs and outputs.
        scripts: Whether it says that it runs scripts.
        signatures: Whether models have signatures: of any name, which the names of their inputs
            and outputs then begin with.
    """

    def __init__(
        self,
        devices: Sequence[DeviceInfo] = (FAKE_CPU,),
        *,
        needs_names: bool = False,
        scripts: bool = True,
        signatures: bool = False,
    ) -> None:
        self.calls: deque[Call] = deque(maxlen=_KEPT_CALLS)
        self.hurry = Event()
        self._devices = tuple(devices)
        self._info = BackendInfo(
            1,
            "fake",
            "1.0",
            scripts=scripts,
            needs_names=needs_names,
            signatures=signatures,
        )
        self._changed = Condition()  # guards what follows
        self._counts: Counter[str] = Counter()
        self._models: set[FakeModel] = set()
        self._permits = 0.0

    # ------------------------------------------------------------------ for the test
    def calls_of(self, hook: str) -> list[Call]:
        """Returns the recorded calls of a hook, oldest first."""
        with self._changed:
            return [call for call in self.calls if call.hook == hook]

    def await_calls(self, hook: str, count: int = 1) -> None:
        """Waits until a hook was called so often since the backend was made.

        Raises:
            TimeoutError: It was not within a long time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._counts[hook] >= count, _PATIENCE):
                raise TimeoutError(f"{hook} was called {self._counts[hook]} times, not {count}")

    def release(self, runs: float = 1) -> None:
        """Lets blocked runs go on, or runs that will block; `math.inf` lets all."""
        with self._changed:
            self._permits += runs
            self._changed.notify_all()

    # ------------------------------------------------------------------ hooks
    @hookimpl
    def backend_info(self) -> BackendInfo:
        """Describes the backend."""
        return self._info

    @hookimpl
    def devices(self) -> Sequence[DeviceInfo]:
        """Returns the devices that the backend was made with."""
        return self._devices

    @hookimpl
    def self_check(self) -> None:
        """Doubles a two; not recorded, for tests count runs."""
        model = parse_model(b'{"op": "multiply", "by": 2}')
        two = Tensor.from_values(DType.INT8, (1,), [2])
        (four,) = _OPS[model.op].run(model.fields, [two])
        if four is None or four.values() != [4]:
            raise RuntimeError(f"2 times 2 is {four}")

    @hookimpl
    def model_create(self, spec: ModelSpec, blob: bytes, options: BackendOptions) -> LoadedModel:
        """Parses a model."""
        del options  # a fake needs no threads
        native = parse_model(blob)
        self._record("model_create", native.op, spec.device.name)
        needed, of = self._info.needs_names, f"{spec.signature}_" if spec.signature else ""
        inputs = _names(f"{of}input", spec.inputs, native.inputs, required=needed)
        outputs = _names(f"{of}output", spec.outputs, native.outputs, required=needed)
        if native.op == "slow_create":
            self.hurry.wait(native.fields["seconds"])
        with self._changed:
            self._models.add(native)
        optional = (0,) if native.op == "none_output" else ()
        return LoadedModel(
            native,
            inputs,
            outputs,
            native.steady,
            batch_axis=native.axis,
            optional_outputs=optional,
        )

    @hookimpl
    def model_run(
        self, model: LoadedModel, inputs: Sequence[Tensor], run: RunContext
    ) -> Sequence[Tensor | None]:
        """Runs a model."""
        native: FakeModel = model.native
        self._record("model_run", native.op, run.device.name, inputs)
        with self._changed:
            if native not in self._models:
                raise ValueError(f"the model {native} was freed")
        if len(inputs) != native.inputs:
            raise ValueError(f"{native.op} takes {native.inputs} inputs, not {len(inputs)}")
        if native.op == "sleep":
            _sleep(native.fields["seconds"], run)
        elif native.op == "block":
            self._block(run)
        return _OPS[native.op].run(native.fields, inputs)

    @hookimpl
    def serialize(self, model: LoadedModel) -> bytes:
        """Returns the JSON of a model."""
        native: FakeModel = model.native
        self._record("serialize", native.op)
        return native.blob

    @hookimpl
    def model_free(self, model: LoadedModel) -> None:
        """Frees a model; it is an error to do that twice, or to run it afterwards."""
        native: FakeModel = model.native
        self._record("model_free", native.op)
        with self._changed:
            if native not in self._models:
                raise ValueError(f"the model {native} was freed already")
            self._models.remove(native)

    @hookimpl
    def backend_stats(self) -> Mapping[str, int]:
        """Counts models that were not freed, and runs."""
        with self._changed:
            return {"models": len(self._models), "runs": self._counts["model_run"]}

    @hookimpl
    def script_create(self, spec: ScriptSpec, source: bytes, options: BackendOptions) -> object:
        """Parses a script."""
        del options  # a fake needs no threads
        functions = source.decode().split()
        self._record("script_create", " ".join(functions), spec.device.name)
        unknown = [name for name in functions if name not in _FUNCTIONS]
        if unknown or not functions:
            raise ValueError(f"a script must name functions of {[*_FUNCTIONS]}, not {unknown}")
        missing = [name for name in spec.entry_points if name not in functions]
        if missing:
            raise ValueError(f"the script has no function {missing[0]!r}")
        return FakeScript(frozenset(functions), spec.device.name)

    @hookimpl
    def script_run(self, script: object, call: ScriptCall, run: RunContext) -> Sequence[Tensor]:
        """Calls a function of a script."""
        self._record("script_run", call.function, run.device.name, call.tensors)
        if not isinstance(script, FakeScript) or call.function not in script.functions:
            raise ValueError(f"the script has no function {call.function!r}")
        if call.function == "block":
            self._block(run)
        tensors = _FUNCTIONS[call.function](call)
        if call.outputs is not None and len(tensors) != call.outputs:
            raise ValueError(f"{call.function} returned {len(tensors)} tensors, not {call.outputs}")
        return tensors

    @hookimpl
    def script_free(self, script: object) -> None:
        """Records that a script was freed."""
        self._record("script_free", str(script))

    # ------------------------------------------------------------------ inside
    def _record(
        self, hook: str, what: str, device: str = "", inputs: Sequence[Tensor] = ()
    ) -> None:
        shapes = tuple(tensor.shape for tensor in inputs)
        with self._changed:
            self.calls.append(Call(hook, what, device, shapes, current_thread().name))
            self._counts[hook] += 1
            self._changed.notify_all()

    def _block(self, run: RunContext) -> None:
        run.on_cancel(self._wake)
        with self._changed:
            self._changed.wait_for(lambda: self._permits >= 1 or run.cancelled)
            if not run.cancelled:
                self._permits -= 1
        run.on_cancel(None)
        _end_if_cancelled(run)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


# ---------------------------------------------------------------------- models
class _Op(NamedTuple):
    run: Callable[[Mapping[str, Any], Sequence[Tensor]], Sequence[Tensor | None]]
    inputs: int | None  # None: the JSON may say how many
    fields: Mapping[str, tuple[type, ...]]


def parse_model(blob: bytes) -> FakeModel:
    """Parses the JSON of a model.

    Raises:
        ValueError: It is no JSON object of a model; the text says why.
    """
    try:
        fields = json.loads(blob)
    except ValueError as error:
        raise ValueError(f"the blob of a fake model must be a JSON object: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError("the blob of a fake model must be a JSON object")  # noqa: TRY004 - JSON
    name = fields.pop("op", None)
    if name not in _OPS:
        raise ValueError(f"op must be one of {', '.join(_OPS)}, not {name!r}")
    op = _OPS[name]
    steady = fields.pop("steady", False)
    axis = fields.pop("axis", "known")
    inputs = op.inputs if op.inputs is not None else fields.pop("inputs", 1)
    outputs = 1 if name in {"multiply", "add", "fixed_rows"} else inputs
    if fields.keys() != op.fields.keys():
        wanted = ", ".join(op.fields) or "nothing"
        raise ValueError(f"{name} takes {wanted}, not {', '.join(fields) or 'nothing'}")
    for key, kinds in op.fields.items():
        if not isinstance(fields[key], kinds):
            raise ValueError(f"{key} of {name} must be {kinds[0].__name__}, not {fields[key]!r}")  # noqa: TRY004 - JSON
    if type(inputs) is not int or inputs < 0 or type(steady) is not bool:
        raise ValueError(f"inputs must be a number and steady a boolean, not {inputs}, {steady}")
    known = _AXES.get(axis) or BatchAxis.none(axis)
    return FakeModel(name, inputs, outputs, steady, known, fields, blob)


def _names(kind: str, given: Sequence[str], count: int, *, required: bool) -> tuple[str, ...]:
    if required and count and not given:
        raise ValueError(f"the names of the {kind}s must be given")
    names = tuple(given) or tuple(f"{kind}{index}" for index in range(count))
    if len(names) != count:
        raise ValueError(f"the model has {count} {kind}s, not {len(names)}: {', '.join(names)}")
    return names


def _multiply(fields: Mapping[str, Any], inputs: Sequence[Tensor]) -> list[Tensor | None]:
    array = _numeric(inputs[0])
    with np.errstate(all="ignore"):
        return [Tensor.from_numpy(np.multiply(array, array.dtype.type(fields["by"])))]


def _add(_: Mapping[str, Any], inputs: Sequence[Tensor]) -> list[Tensor | None]:
    return [_sum(inputs)]


def _identity(_: Mapping[str, Any], inputs: Sequence[Tensor]) -> list[Tensor | None]:
    return [*inputs]


def _none_output(_: Mapping[str, Any], inputs: Sequence[Tensor]) -> list[Tensor | None]:
    return [None, *inputs[1:]]


def _fixed_rows(fields: Mapping[str, Any], inputs: Sequence[Tensor]) -> list[Tensor | None]:
    array = inputs[0].numpy()
    return [Tensor.from_numpy(np.resize(array, (fields["rows"], *array.shape[1:])))]


def _fail(fields: Mapping[str, Any], _: Sequence[Tensor]) -> list[Tensor | None]:
    raise RuntimeError(fields["text"])


_AXES: Final = {"known": KNOWN, "declared": DECLARED, "possible": POSSIBLE}
_OPS: Final[dict[str, _Op]] = {
    "multiply": _Op(_multiply, 1, {"by": (float, int)}),
    "add": _Op(_add, 2, {}),
    "identity": _Op(_identity, None, {}),
    "none_output": _Op(_none_output, None, {}),
    "fixed_rows": _Op(_fixed_rows, 1, {"rows": (int,)}),
    "fail": _Op(_fail, None, {"text": (str,)}),
    "sleep": _Op(_identity, None, {"seconds": (float, int)}),
    "block": _Op(_identity, None, {}),
    "slow_create": _Op(_identity, None, {"seconds": (float, int)}),
}


def _numeric(tensor: Tensor) -> np.ndarray[Any, Any]:
    if tensor.dtype is DType.STRING:
        raise TypeError("the input must be of a numeric type, not STRING")
    return tensor.numpy()


def _sum(tensors: Sequence[Tensor]) -> Tensor:
    if len({tensor.dtype for tensor in tensors}) != 1:
        raise TypeError("the inputs must be of one type")
    total, *others = map(_numeric, tensors)
    with np.errstate(all="ignore"):
        for array in others:
            total = np.add(total, array)
    return Tensor.from_numpy(total)


def _sleep(seconds: float, run: RunContext) -> None:
    cancelled = Event()
    run.on_cancel(cancelled.set)
    cancelled.wait(seconds)
    run.on_cancel(None)
    _end_if_cancelled(run)


def _end_if_cancelled(run: RunContext) -> None:
    if run.cancelled:
        raise RuntimeError("the run was cancelled")


# ---------------------------------------------------------------------- scripts
def _strings(values: Sequence[bytes]) -> Tensor:
    return Tensor.from_values(DType.STRING, (len(values),), values)


def _execute(call: ScriptCall) -> list[Tensor]:
    reply = call.commands.execute(call.arguments[0].decode(), call.arguments[1:])
    return [_strings([reply if isinstance(reply, bytes) else str(reply).encode()])]


def _run_model(call: ScriptCall) -> Sequence[Tensor]:
    outputs = 1 if call.outputs is None else call.outputs
    return call.commands.model_execute(call.keys[0].decode(), call.tensors, outputs)


def _fail_script(call: ScriptCall) -> list[Tensor]:
    raise RuntimeError(b" ".join(call.arguments).decode() or "the script failed")


_FUNCTIONS: Final[dict[str, Callable[[ScriptCall], Sequence[Tensor]]]] = {
    "sum": lambda call: [_sum(call.tensors)],
    "stack": lambda call: [stack(call.tensors)],
    "identity": lambda call: call.tensors,
    "keys": lambda call: [_strings(call.keys)],
    "arguments": lambda call: [_strings(call.arguments)],
    "execute": _execute,
    "run_model": _run_model,
    "fail": _fail_script,
    "block": lambda call: call.tensors,
}

plugin: Final = FakeBackend()
