"""The conformance suite: what every backend must do, as tests that its author inherits.

It needs neither an engine nor a server, only the plugin, and talks to it through pluggy as the
host does. Nothing here imports pytest: the checks are plain methods that raise `AssertionError`,
or `unittest.SkipTest` where an author gave nothing to check with.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Barrier, Thread
from typing import TYPE_CHECKING, Any, Final
from unittest import SkipTest

import numpy as np
import pluggy

from tensorkeep.batching import split, stack
from tensorkeep.config import BackendOptions
from tensorkeep.device import Device
from tensorkeep.hookspecs import (
    API_VERSION,
    PROJECT,
    BackendHooks,
    BackendInfo,
    DeviceInfo,
    OptionalHooks,
    RunContext,
    ScriptCall,
    ScriptHooks,
)
from tensorkeep.model import LoadedModel, ModelSpec, ScriptSpec
from tensorkeep.tensor import DType, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_THREADS: Final = 4
_RUNS_PER_THREAD: Final = 20
_BATCHES: Final = (1, 3, 8)
_LONGEST_TEXT: Final = 2000  # characters of an error; users read it on one line
_CYCLES: Final = 50  # models created, run and freed while memory is watched
_PAGE: Final = 4096
_UNDER_WAY: Final = 0.3  # seconds after which a long run is taken to be running
_FLOATS: Final = {DType.FLOAT16, DType.BFLOAT16, DType.FLOAT, DType.DOUBLE}


@dataclass(frozen=True, slots=True)
class ModelExample:
    """A model, inputs for it, and what it returns for them.

    Attributes:
        blob: The serialized model.
        inputs: One tensor per input; best not symmetrical, for other checks run it reversed.
        outputs: What it must return for them.
        input_names: Names for `ModelSpec.inputs`, for a backend that needs them.
        output_names: Names for `ModelSpec.outputs`, for a backend that needs them.
        batches: Whether axis 0 of all inputs and outputs is a batch of independent rows.
        refuses: A type that its first input does not take; None when it takes every type.
        tolerance: Relative difference that is allowed in floating outputs.
    """

    blob: bytes
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor | None, ...]
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    batches: bool = False
    refuses: DType | None = DType.STRING
    tolerance: float = 1e-5


@dataclass(frozen=True, slots=True)
class ScriptExample:
    """A script, a call of one of its functions, and what that returns.

    Attributes:
        source: The script.
        function: The function to call.
        tensors: Its input tensors.
        outputs: What it must return.
        entry_points: Names for `ScriptSpec.entry_points`.
    """

    source: bytes
    function: str
    tensors: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    entry_points: tuple[str, ...] = ()


class BackendContract:
    """Holds a backend to its contract. Inherit it in a test module, and run pytest:

        from tensorkeep.testing import BackendContract, ModelExample
        from tensorkeep_mine import plugin

        class TestContract(BackendContract):
            plugin = plugin
            name = "MINE"

            def examples(self):
                return [ModelExample(blob, inputs=(x,), outputs=(y,), batches=True)]

    What else an author can give (`identity`, `long_run`, ...) lets more be checked; checks that
    lack it are skipped and say so. For a second device inherit again and set `device`.

    Attributes:
        plugin: The plugin: a module or an object with `@hookimpl` functions.
        name: The backend's name, as its entry point says.
        device: The device on which the suite runs models.
        scalars: Whether identity models of rank 0 work.
        zero_rows: Whether a batch may have no rows.
        cancel_within: Seconds within which a cancelled run must end.
        memory_growth: Bytes that memory may grow while 50 models come and go.
    """  # noqa: D415 - the example follows the colon

    plugin: object
    name: str
    device = "CPU"
    scalars = False
    zero_rows = False
    cancel_within = 5.0
    memory_growth = 16 * 2**20

    # ------------------------------------------------------------------ what the author gives
    def examples(self) -> Sequence[ModelExample]:
        """Returns models to run; at least one, at best one of every kind."""
        raise NotImplementedError("override examples(): the suite needs models to run")

    def identity(self, dtype: DType, rank: int) -> ModelExample | None:
        """Returns a model that returns its one input, of any sizes; None when there is none.

        The inputs and outputs of the example are not looked at.

        Args:
            dtype: The type that it takes; one that the device claims.
            rank: The number of axes: 2, or 0 for a scalar.
        """
        del dtype, rank

    def long_run(self) -> ModelExample | None:
        """Returns a model that runs for long unless it is cancelled; None when none can be."""

    def broken_blobs(self) -> Sequence[bytes]:
        """Returns bytes that are no model."""
        blob = self.examples()[0].blob
        return [b"", b"this is no model", bytes(64), blob[: len(blob) // 2]]

    def script_examples(self) -> Sequence[ScriptExample]:
        """Returns scripts to run, when the backend has scripts."""
        return ()

    def broken_scripts(self) -> Sequence[bytes]:
        """Returns sources that are no script."""
        return [b"this is (no script"]

    # ------------------------------------------------------------------ the plugin
    def test_every_hook_is_known_and_none_is_missing(self) -> None:
        """Pluggy takes the plugin, no hook is misspelled, and the required ones are there."""
        manager = self._manager
        try:
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise AssertionError(f"a hook is misspelled: {error}") from error
        present = {caller.name for caller in manager.get_hookcallers(self.plugin) or ()}
        required = _public(BackendHooks)
        if self._info.scripts:
            required |= _public(ScriptHooks)
        missing = sorted(required - present)
        _check(not missing, f"the required hooks {missing} are missing")

    def test_it_says_what_it_is(self) -> None:
        """`backend_info` names this version of the contract, and the framework."""
        info = self._info
        _check(
            info.api_version == API_VERSION,
            f"api_version must be {API_VERSION}, not {info.api_version!r}",
        )
        for field in ("framework", "framework_version"):
            text = getattr(info, field)
            _check(isinstance(text, str) and text.strip(), f"{field} must be text, not {text!r}")

    def test_the_device_is_among_those_it_can_use(self) -> None:
        """`devices` is not empty, well formed, free of repetitions, and has `device`."""
        devices = self._hooks.devices()
        _check(devices, f"devices must not be {devices!r}")
        for info in devices:
            _check(isinstance(info, DeviceInfo), f"devices must be DeviceInfo, not {info!r}")
            _check(info.kind in {"CPU", "GPU"}, f"the kind of {info} must be CPU or GPU")
            _check(
                info.dtypes and all(isinstance(each, DType) for each in info.dtypes),
                f"the dtypes of {info} must be a set of DType",
            )
        names = [(info.kind, info.index) for info in devices]
        _check(len(set(names)) == len(names), f"devices must not be repeated: {names}")
        _check(self._dtypes(), f"{self.device} must be among the devices {names}")

    def test_it_works_at_all(self) -> None:
        """`self_check`, when there is one, passes."""
        if not self._hooks.self_check.get_hookimpls():
            raise SkipTest("the backend has no self_check")
        self._hooks.self_check()

    def test_its_figures_are_numbers(self) -> None:
        """`backend_stats`, when there is one, maps names to integers."""
        if not self._hooks.backend_stats.get_hookimpls():
            raise SkipTest("the backend has no backend_stats")
        stats = self._hooks.backend_stats()
        for name, value in dict(stats).items():
            _check(isinstance(name, str) and name, f"a name must be text, not {name!r}")
            _check(type(value) is int, f"{name} must be an integer, not {value!r}")

    # ------------------------------------------------------------------ models
    def test_a_model_has_names_for_its_inputs_and_outputs(self) -> None:
        """One name for each, the given ones when names were given."""
        for example in self.examples():
            with self._loaded(example) as model:
                for kind, names, given, tensors in (
                    ("inputs", model.inputs, example.input_names, example.inputs),
                    ("outputs", model.outputs, example.output_names, example.outputs),
                ):
                    found = f"{kind} must be names, one for each, not {names!r}"
                    _check(isinstance(names, tuple) and len(names) == len(tensors), found)
                    _check(all(isinstance(name, str) and name for name in names), found)
                    _check(len(set(names)) == len(names), f"{kind} must differ: {names}")
                    _check(not given or names == given, f"{kind} must be {given}, not {names}")
                _check(type(model.steady) is bool, f"steady must be a bool, not {model.steady!r}")

    def test_a_model_gives_the_right_answers(self) -> None:
        """Every example gives its outputs."""
        for example in self.examples():
            with self._loaded(example) as model:
                _check_same(self._run(model, example.inputs), example.outputs, example)

    def test_inputs_are_never_changed(self) -> None:
        """A run leaves the memory of its inputs as it was."""
        for example in self.examples():
            inputs = [_copy(tensor) for tensor in example.inputs]
            with self._loaded(example) as model:
                self._run(model, inputs)
            for tensor, given in zip(inputs, example.inputs, strict=True):
                _check(
                    np.array_equal(_bytes(tensor), _bytes(given)),
                    "model_run changed the memory of an input",
                )

    def test_outputs_stay_as_they_are(self) -> None:
        """Neither another run nor freeing the model changes what a run returned."""
        for example in self.examples():
            with self._loaded(example) as model:
                outputs = self._run(model, example.inputs)
                before = [None if tensor is None else _bytes(tensor).copy() for tensor in outputs]
                self._run(model, _reversed(example.inputs))
            gc.collect()
            with self._loaded(example) as model:
                self._run(model, _reversed(example.inputs))
            for tensor, kept in zip(outputs, before, strict=True):
                _check(
                    tensor is None or np.array_equal(_bytes(tensor), kept),
                    "an output changed after it was returned: copy it out of the framework's own "
                    "memory",
                )

    def test_a_model_runs_on_several_threads_at_once(self) -> None:
        """Each thread gets the answers for its own inputs."""
        for example in self.examples():
            with self._loaded(example) as model:
                variants = [example.inputs, _reversed(example.inputs)]
                wanted = [self._run(model, inputs) for inputs in variants]
                self._run_on_threads(model, example, variants, wanted)

    def test_rows_of_a_batch_are_independent(self) -> None:
        """One run of several rows gives what several runs of one row give."""
        for example in self._batching_examples():
            columns = [split(tensor, [1] * tensor.shape[0]) for tensor in example.inputs]
            rows = list(zip(*columns, strict=True))
            with self._loaded(example) as model:
                singles = [self._run(model, row) for row in rows]
                for count in _BATCHES:
                    chosen = [index % len(rows) for index in range(count)]
                    inputs = [stack([column[index] for index in chosen]) for column in columns]
                    outputs = self._run(model, inputs)
                    _check_rows(outputs, count)
                    for number, output in enumerate(outputs):
                        if output is not None:
                            pieces = split(output, [1] * count)
                            _check_same(pieces, [singles[i][number] for i in chosen], example)

    def test_a_batch_may_have_no_rows(self) -> None:
        """No rows in, no rows out, when the author says that `zero_rows` work."""
        if not self.zero_rows:
            raise SkipTest("zero_rows is not set")
        for example in self._batching_examples():
            with self._loaded(example) as model:
                nothing = [Tensor.zeros(x.dtype, (0, *x.shape[1:])) for x in example.inputs]
                _check_rows(self._run(model, nothing), 0)

    def test_each_type_that_the_device_claims_comes_back_as_it_went_in(self) -> None:
        """An identity model of each type returns its input, bit for bit."""
        checked = False
        for dtype in sorted(self._dtypes(), key=lambda each: each.name):
            for rank in (0, 2) if self.scalars else (2,):
                example = self.identity(dtype, rank)
                if example is None:
                    continue
                checked = True
                tensor = _sample(dtype, rank)
                with self._loaded(example) as model:
                    (output,) = self._run(model, [tensor])
                _check(output == tensor, f"{tensor} came back as {output}, or with other values")
        if not checked:
            raise SkipTest("identity() gives no model")

    # ------------------------------------------------------------------ what goes wrong
    def test_bytes_that_are_no_model_are_refused(self) -> None:
        """`model_create` raises an error that people can read, and goes on working."""
        example = self.examples()[0]
        for blob in self.broken_blobs():
            what = f"model_create of the {len(blob)} bytes {blob[:20]!r}"
            _check_raises(lambda blob=blob: self._create(example, blob), what)
        self.test_a_model_gives_the_right_answers()

    def test_a_wrong_number_of_inputs_is_refused(self) -> None:
        """A run with an input too few or too many raises, and the model goes on working."""
        for example in self.examples():
            with self._loaded(example) as model:
                for inputs in (example.inputs[:-1], (*example.inputs, *example.inputs[-1:])):
                    if len(inputs) != len(model.inputs):
                        what = f"a run with {len(inputs)} inputs for {len(model.inputs)}"
                        _check_raises(lambda given=inputs: self._run(model, given), what)  # noqa: B023 - called at once
                _check_same(self._run(model, example.inputs), example.outputs, example)

    def test_an_input_of_the_wrong_type_is_refused(self) -> None:
        """A run with a type that the model does not take raises, and the model goes on working."""
        for example in self.examples():
            if example.refuses is None or not example.inputs:
                continue
            with self._loaded(example) as model:
                wrong = Tensor.zeros(example.refuses, example.inputs[0].shape)
                inputs = [wrong, *example.inputs[1:]]
                what = f"a run with an input of type {example.refuses.name}"
                _check_raises(lambda given=inputs: self._run(model, given), what)  # noqa: B023 - called at once
                _check_same(self._run(model, example.inputs), example.outputs, example)

    def test_a_run_can_be_cancelled(self) -> None:
        """A long run ends with an error soon after it is cancelled."""
        self._check_cancelling(_UNDER_WAY)

    def test_a_run_that_was_cancelled_before_it_began_ends(self) -> None:
        """A long run ends with an error when it was cancelled already."""
        self._check_cancelling(None)

    # ------------------------------------------------------------------ a model's end
    def test_a_serialized_model_can_be_created_again(self) -> None:
        """`serialize`, when there is one, gives bytes that `model_create` takes."""
        if not self._hooks.serialize.get_hookimpls():
            raise SkipTest("the backend keeps to the stored blob: it has no serialize")
        for example in self.examples():
            with self._loaded(example) as model:
                blob = self._hooks.serialize(model=model)
            _check(type(blob) is bytes, f"serialize must return bytes, not {type(blob).__name__}")
            with self._loaded(example, blob) as model:
                _check_same(self._run(model, example.inputs), example.outputs, example)

    def test_models_that_come_and_go_leave_no_memory_behind(self) -> None:
        """Creating, running and freeing models again and again does not fill the memory."""
        example = self.examples()[0]
        before = 0
        for cycle in range(2 * _CYCLES):
            if cycle == _CYCLES:
                before = _resident_bytes()
            with self._loaded(example) as model:
                self._run(model, example.inputs)
        grown = _resident_bytes() - before
        _check(
            grown <= self.memory_growth,
            f"{_CYCLES} models came and went, and memory grew by {grown} bytes",
        )

    # ------------------------------------------------------------------ scripts
    def test_a_script_gives_the_right_answers(self) -> None:
        """Every script example gives its outputs, and is freed without an error."""
        for example in self._script_examples():
            script = self._create_script(example, example.source)
            outputs = self._run_script(script, example, example.function)
            wanted = ModelExample(b"", example.tensors, example.outputs)
            _check_same(outputs, example.outputs, wanted)
            self._hooks.script_free(script=script)

    def test_a_source_that_is_no_script_is_refused(self) -> None:
        """`script_create` raises an error that people can read."""
        example = self._script_examples()[0]
        for source in self.broken_scripts():
            what = f"script_create of {source[:40]!r}"
            _check_raises(lambda source=source: self._create_script(example, source), what)

    def test_a_function_that_the_script_lacks_is_refused(self) -> None:
        """`script_run` raises an error that people can read."""
        example = self._script_examples()[0]
        script = self._create_script(example, example.source)
        _check_raises(
            lambda: self._run_script(script, example, "no_such_function"),
            "script_run of a function that the script lacks",
        )
        self._hooks.script_free(script=script)

    # ------------------------------------------------------------------ inside
    @cached_property
    def _manager(self) -> pluggy.PluginManager:
        manager = pluggy.PluginManager(PROJECT)
        for spec in (BackendHooks, OptionalHooks, ScriptHooks):
            manager.add_hookspecs(spec)
        try:
            manager.register(self.plugin, self.name)
        except pluggy.PluginValidationError as error:
            raise AssertionError(f"the plugin cannot be registered: {error}") from error
        return manager

    @property
    def _hooks(self) -> Any:  # noqa: ANN401 - pluggy's relay is untyped
        return self._manager.hook

    @property
    def _info(self) -> BackendInfo:
        info = self._hooks.backend_info()
        _check(isinstance(info, BackendInfo), f"backend_info must return it, not {info!r}")
        found: BackendInfo = info
        return found

    def _dtypes(self) -> frozenset[DType]:
        device = Device.parse(self.device)
        found: frozenset[DType] = frozenset()
        for info in self._hooks.devices():
            if info.kind == device.kind and (
                info.index is None or device.index in {None, info.index}
            ):
                found |= info.dtypes
        return found

    def _create(self, example: ModelExample, blob: bytes) -> LoadedModel:
        spec = ModelSpec(
            self.name,
            Device.parse(self.device),
            inputs=example.input_names,
            outputs=example.output_names,
        )
        model = self._hooks.model_create(spec=spec, blob=blob, options=BackendOptions())
        _check(isinstance(model, LoadedModel), f"model_create must not return {model!r}")
        found: LoadedModel = model
        return found

    @contextmanager
    def _loaded(self, example: ModelExample, blob: bytes | None = None) -> Iterator[LoadedModel]:
        model = self._create(example, example.blob if blob is None else blob)
        yield model
        self._hooks.model_free(model=model)

    def _run(
        self, model: LoadedModel, inputs: Sequence[Tensor], run: RunContext | None = None
    ) -> Sequence[Tensor | None]:
        run = run or RunContext(Device.parse(self.device))
        outputs = self._hooks.model_run(model=model, inputs=list(inputs), run=run)
        if outputs is None or not all(x is None or isinstance(x, Tensor) for x in outputs):
            raise AssertionError(f"model_run must return tensors (or None), not {outputs!r}")
        _check(
            len(outputs) == len(model.outputs),
            f"model_run returned {len(outputs)} outputs for {len(model.outputs)}",
        )
        found: Sequence[Tensor | None] = outputs
        return found

    def _run_on_threads(
        self,
        model: LoadedModel,
        example: ModelExample,
        variants: Sequence[Sequence[Tensor]],
        wanted: Sequence[Sequence[Tensor | None]],
    ) -> None:
        barrier = Barrier(_THREADS)

        def run_often(first: int) -> None:
            barrier.wait()
            for turn in range(first, first + _RUNS_PER_THREAD):
                choice = turn % len(variants)
                _check_same(self._run(model, variants[choice]), wanted[choice], example)

        attempts = [_Attempt(lambda first=first: run_often(first)) for first in range(_THREADS)]
        for attempt in attempts:
            attempt.start()
        for attempt in attempts:
            attempt.join()
        for attempt in attempts:
            if attempt.error is not None:
                text = f"a run beside others failed: {attempt.error}"
                raise AssertionError(text) from attempt.error

    def _batching_examples(self) -> list[ModelExample]:
        examples = [example for example in self.examples() if example.batches and example.inputs]
        if not examples:
            raise SkipTest("no example says that it batches")
        return examples

    def _check_cancelling(self, after: float | None) -> None:
        example = self.long_run()
        if example is None:
            raise SkipTest("long_run() gives no model: cancelling is not checked")
        with self._loaded(example) as model:
            context = RunContext(Device.parse(self.device))
            if after is None:
                context.cancel()
            attempt = _Attempt(lambda: self._run(model, example.inputs, context))
            attempt.start()
            if after is not None:
                attempt.join(after)
                _check(attempt.is_alive(), "long_run() must give a model that runs for longer")
                context.cancel()
            attempt.join(self.cancel_within)
            ended = not attempt.is_alive()
            _check(ended, f"a cancelled run still went on after {self.cancel_within} seconds")
            _check(attempt.error is not None, "a cancelled run must raise, not return")

    def _script_examples(self) -> Sequence[ScriptExample]:
        examples = self.script_examples() if self._info.scripts else ()
        if not examples:
            raise SkipTest("the backend has no scripts, or script_examples() gives none")
        return examples

    def _create_script(self, example: ScriptExample, source: bytes) -> object:
        device = Device.parse(self.device)
        spec = ScriptSpec(self.name, device, entry_points=example.entry_points)
        script: object = self._hooks.script_create(spec=spec, source=source)
        _check(script is not None, "script_create must not return None")
        return script

    def _run_script(
        self, script: object, example: ScriptExample, function: str
    ) -> Sequence[Tensor | None]:
        count = len(example.outputs)
        call = ScriptCall(function, list(example.tensors), (), (), count, _NoCommands())
        run = RunContext(Device.parse(self.device))
        outputs: Sequence[Tensor | None] = self._hooks.script_run(script=script, call=call, run=run)
        _check(outputs is not None, "script_run must not return None")
        return outputs


class _Attempt(Thread):
    """Calls something on a thread of its own and keeps what it raised."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__(daemon=True)  # a run that never ends must not keep the process
        self._action = action
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._action()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test reports it
            self.error = error


class _NoCommands:
    """The way to the keyspace of a script that does not take it."""

    def execute(self, command: str, arguments: Sequence[bytes]) -> object:
        raise NotImplementedError(f"the suite has no keyspace: {command} {arguments!r}")

    def model_execute(self, key: str, inputs: Sequence[Tensor], outputs: int) -> Sequence[Tensor]:
        raise NotImplementedError(f"the suite has no models: {key} {inputs!r} {outputs}")


# ---------------------------------------------------------------------- checks
def _check(holds: object, text: str) -> None:
    if not holds:
        raise AssertionError(text)


def _check_raises(action: Callable[[], object], what: str) -> None:
    try:
        action()
    except AssertionError:
        raise
    except Exception as error:  # noqa: BLE001 - a backend may raise whatever it likes
        text = str(error)
        _check(text.strip(), f"{what} raised {type(error).__name__} without a text")
        _check(
            len(text) <= _LONGEST_TEXT,
            f"{what} raised a text of {len(text)} characters; {_LONGEST_TEXT} are plenty",
        )
    else:
        raise AssertionError(f"{what} must raise")


def _check_same(
    found: Sequence[Tensor | None], wanted: Sequence[Tensor | None], example: ModelExample
) -> None:
    _check(len(found) == len(wanted), f"there are {len(found)} outputs for {len(wanted)}")
    for index, (one, other) in enumerate(zip(found, wanted, strict=True)):
        if one is None or other is None:
            _check(one is other, f"output {index} is {one}, not {other}")
            continue
        alike = one.dtype is other.dtype and one.shape == other.shape
        _check(alike, f"output {index} is {one}, not {other}")
        if one.dtype in _FLOATS:
            pair = [tensor.numpy().astype(np.float64) for tensor in (one, other)]
            near = np.allclose(*pair, rtol=example.tolerance, atol=1e-7, equal_nan=True)
        else:
            near = one == other
        _check(near, f"output {index} has the values {_shown(one)}, not {_shown(other)}")


def _check_rows(outputs: Sequence[Tensor | None], count: int) -> None:
    for index, output in enumerate(outputs):
        _check(
            output is None or output.shape[:1] == (count,),
            f"output {index} of a batch of {count} rows is {output}",
        )


# ---------------------------------------------------------------------- tensors
def _copy(tensor: Tensor) -> Tensor:
    """Returns a tensor in memory of its own that nothing but its flag protects from writing."""
    return Tensor.from_numpy(tensor.numpy().copy())


def _bytes(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Returns the bytes as they lie in memory now, not as some cached blob says."""
    array = tensor.numpy()
    return array if tensor.dtype is DType.STRING else array.reshape(-1).view(np.uint8)


def _reversed(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Returns tensors of the same shapes and values in another order."""
    arrays = [tensor.numpy() for tensor in tensors]
    return [Tensor.from_numpy(array.reshape(-1)[::-1].reshape(array.shape)) for array in arrays]


def _sample(dtype: DType, rank: int) -> Tensor:
    values: list[Any]
    if dtype is DType.STRING:
        values = ["", "a", "two words", "Ünïcödé", "x" * 100, "\n"]
    elif dtype is DType.BOOL:
        values = [1, 0, 0, 1, 1, 0]
    elif dtype in _FLOATS:
        values = [-1.5, 0.0, -0.0, 2.0, float("inf"), float("nan")]
    else:
        limits = np.iinfo(dtype.numpy)
        values = [limits.min, limits.max, 0, 1, 2, 3]
    return Tensor.from_values(dtype, (2, 3) if rank else (), values if rank else values[:1])


def _shown(tensor: Tensor) -> str:
    return f"{tensor.values()[:10]}"[:200]


def _public(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


def _resident_bytes() -> int:
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    except OSError as error:
        raise SkipTest("this system does not tell how much memory a process has") from error
    return int(pages) * _PAGE
