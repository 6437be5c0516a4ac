"""The conformance suite: what every backend must do, as tests that its author inherits.

It needs neither an engine nor a server, only the plugin. Nothing here imports pytest: the tests
are plain methods that raise `AssertionError`, or `unittest.SkipTest` where an author gave nothing
to test with.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier
from typing import TYPE_CHECKING, Final
from unittest import SkipTest

from tensorkeep.batch_axis import AxisKind, BatchAxis
from tensorkeep.batching import rows, split, stack
from tensorkeep.hookspecs import API_VERSION, RunContext
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing.checks import (
    Attempt,
    backwards,
    check,
    check_raises,
    check_rows,
    check_same,
    from_bytes,
    from_memory,
    memory_of,
    resident_bytes,
    sample,
)
from tensorkeep.testing.damage import outcomes
from tensorkeep.testing.scripts import ScriptContract

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorkeep.model import LoadedModel
    from tensorkeep.testing.examples import ModelExample

_THREADS: Final = 4
_RUNS_PER_THREAD: Final = 20
_BATCHES: Final = (1, 3, 8)
_CYCLES: Final = 50  # models created, run and freed while memory is watched
_UNDER_WAY: Final = 0.3  # seconds after which a long run is taken to be running


class BackendContract(ScriptContract):
    """Holds a backend to its contract.

    Inherit it in a test module, and run pytest::

        from tensorkeep.testing import BackendContract, ModelExample
        from tensorkeep_mine import plugin as mine

        class TestContract(BackendContract):
            plugin = mine
            name = "MINE"

            def examples(self):
                return [ModelExample(blob, inputs=(x,), outputs=(y,), batches=True)]

    Whatever else an author gives (`identity`, `long_run`, ...) lets more be tested; a test that
    lacks it is skipped and says so. For a second device inherit again and set `device`, and for a
    worker outside this process, as the server uses by default, `isolated`::

        class TestIsolated(TestContract):
            isolated = True

    Attributes:
        plugin: The plugin: a module or an object with `@hookimpl` functions.
        name: The backend's name, as its entry point says.
        device: The device on which the suite runs models.
        isolated: Whether they run in a worker outside this process: the backend must be installed
            under its name, and so must a kind of worker. Otherwise the tests are skipped.
        scalars: Whether identity models of rank 0 work.
        zero_rows: Whether a batch may have no rows.
        cancel_within: Seconds within which a cancelled run must end.
        damaging: A program that calls `damage_and_use` of `tensorkeep.testing.damage`; None for
            none.
        damages: How often that program damages each of its models.
        memory_growth: Bytes that memory may grow while 50 models come and go.
    """

    scalars = False
    zero_rows = False
    damaging: Path | None = None
    damages = 200
    memory_growth = 16 * 2**20

    # ------------------------------------------------------------------ what the author gives
    def examples(self) -> Sequence[ModelExample]:
        """Returns models to run; at least one, at best one of every kind."""
        raise NotImplementedError("override examples(): the suite needs models to run")

    def identity(self, dtype: DType, rank: int) -> ModelExample | None:  # noqa: ARG002 - for heirs
        """Returns a model that returns its one input, of any sizes; None when there is none.

        Only the blob and the names of the example are looked at.

        Args:
            dtype: The type that it takes; one that the device claims.
            rank: The number of axes: 2, or 0 for a scalar.
        """
        return None

    def long_run(self) -> ModelExample | None:
        """Returns a model that runs for long unless it is cancelled; None when none can be."""
        return None

    def broken_blobs(self) -> Sequence[bytes]:
        """Returns bytes that are no model."""
        blob = self.examples()[0].blob
        return [b"", b"this is no model", bytes(64), blob[: len(blob) // 2]]

    # ------------------------------------------------------------------ the plugin
    def test_every_hook_is_known_and_none_is_missing(self) -> None:
        """Pluggy takes the plugin, no hook is misspelled, and the required ones are there."""
        self._subject.check_hooks()

    def test_it_says_what_it_is(self) -> None:
        """`backend_info` names this version of the contract, and the framework."""
        info = self._subject.info()
        found = info.api_version
        check(found == API_VERSION, f"api_version must be {API_VERSION}, not {found!r}")
        for name in ("framework", "framework_version"):
            text: object = getattr(info, name)
            check(isinstance(text, str) and text.strip(), f"{name} must be text, not {text!r}")

    def test_the_device_is_among_those_it_can_use(self) -> None:
        """`devices` is well formed, free of repetitions, and has `device`."""
        devices = self._subject.devices()
        for each in devices:
            check(each.kind in {"CPU", "GPU"}, f"the kind of {each} must be CPU or GPU")
            dtypes: set[object] = {*each.dtypes}
            check(dtypes and dtypes <= {*DType}, f"the dtypes of {each} must be a set of DType")
        names = [(each.kind, each.index) for each in devices]
        check(len(set(names)) == len(names), f"devices must not be repeated: {names}")
        check(self._subject.dtypes(), f"{self.device} must be among the devices {names}")

    def test_it_works_at_all(self) -> None:
        """`self_check`, when there is one, passes."""
        self._need_hook("self_check")
        self._subject.self_check()

    def test_its_figures_are_numbers(self) -> None:
        """`backend_stats`, when there is one, maps names to integers."""
        self._need_hook("backend_stats")
        for name, value in self._subject.stats().items():
            check(isinstance(name, str) and name, f"a name must be text, not {name!r}")
            check(type(value) is int, f"{name} must be an integer, not {value!r}")

    # ------------------------------------------------------------------ models
    def test_a_model_has_names_for_its_inputs_and_outputs(self) -> None:
        """One name for each, the given ones when names were given; outputs may all lack one."""
        for example in self.examples():
            with self._loaded(example) as model:
                _check_names("inputs", model.inputs, len(example.inputs), example.input_names)
                _check_names("outputs", model.outputs, len(example.outputs), example.output_names)
                steady: object = model.steady
                check(isinstance(steady, bool), f"steady must be a bool, not {steady!r}")

    def test_a_model_says_what_axis_0_is(self) -> None:
        """`batch_axis` is well formed; known or declared, rows come out as they went in."""
        for example in self.examples():
            with self._loaded(example) as model:
                axis: object = model.batch_axis
                if not isinstance(axis, BatchAxis):
                    raise AssertionError(f"batch_axis must be a BatchAxis, not {axis!r}")  # noqa: TRY004 - a check
                check(
                    bool(axis.reason) == (axis.kind is AxisKind.NONE),
                    f"batch_axis has a reason if there is none, and only then, not {axis}",
                )
                if axis.kind in {AxisKind.KNOWN, AxisKind.DECLARED}:
                    count = rows(example.inputs)
                    check(count > 0, f"batch_axis is {axis.kind}, and inputs share no first size")
                    check_rows(self._subject.run(model, example.inputs), count)

    def test_outputs_that_may_be_no_tensor_are_named(self) -> None:
        """`optional_outputs` has the position of every output that turns out None."""
        for example in self.examples():
            with self._loaded(example) as model:
                optional = {*model.optional_outputs}
                check(
                    optional <= {*range(len(model.outputs))},
                    f"optional_outputs must be positions, not {model.optional_outputs!r}",
                )
                for index, output in enumerate(self._subject.run(model, example.inputs)):
                    check(
                        output is not None or index in optional,
                        f"output {index} is no tensor, and is not among optional_outputs",
                    )

    def test_a_model_gives_the_right_answers(self) -> None:
        """Every example gives its outputs, whatever its inputs were made from."""
        for example in self.examples():
            with self._loaded(example) as model:
                for made in (from_memory, from_bytes):
                    outputs = self._subject.run(model, [made(each) for each in example.inputs])
                    check_same(outputs, example.outputs, example.tolerance)

    def test_inputs_are_never_changed(self) -> None:
        """A run leaves the memory of its inputs as it was."""
        for example in self.examples():
            inputs = [from_memory(each) for each in example.inputs]
            before = [memory_of(each) for each in inputs]
            with self._loaded(example) as model:
                self._subject.run(model, inputs)
            for each, kept in zip(inputs, before, strict=True):
                check((memory_of(each) == kept).all(), "model_run wrote to the memory of an input")

    def test_outputs_stay_as_they_are(self) -> None:
        """Neither another run nor the end of the model changes what a run returned."""
        for example in self.examples():
            turned = [backwards(each) for each in example.inputs]
            with self._loaded(example) as model:
                outputs = [
                    each for each in self._subject.run(model, example.inputs) if each is not None
                ]
                before = [memory_of(each) for each in outputs]
                self._subject.run(model, turned)
            with self._loaded(example) as model:
                self._subject.run(model, turned)
            for each, kept in zip(outputs, before, strict=True):
                check(
                    (memory_of(each) == kept).all(),
                    "an output changed after model_run returned it: copy it out of the "
                    "framework's own memory",
                )

    def test_a_model_runs_on_several_threads_at_once(self) -> None:
        """Each thread gets the answers to its own inputs."""
        for example in self.examples():
            with self._loaded(example) as model:
                variants = [[*example.inputs], [backwards(each) for each in example.inputs]]
                cases = [(inputs, self._subject.run(model, inputs)) for inputs in variants]
                barrier = Barrier(_THREADS)
                run_often = partial(self._run_often, model, cases, example.tolerance, barrier)
                attempts = [Attempt(partial(run_often, first)) for first in range(_THREADS)]
                for attempt in attempts:
                    attempt.start()
                for attempt in attempts:
                    attempt.join()
            for attempt in attempts:
                if attempt.error is not None:
                    text = f"a run beside others went wrong: {attempt.error}"
                    raise AssertionError(text) from attempt.error

    def test_rows_of_a_batch_are_independent(self) -> None:
        """One run of several rows gives what several runs of one row give."""
        for example in self._batching_examples():
            columns = [split(each, [1] * each.shape[0]) for each in example.inputs]
            with self._loaded(example) as model:
                singles = [self._subject.run(model, row) for row in zip(*columns, strict=True)]
                for count in _BATCHES:
                    rows = [index % len(singles) for index in range(count)]
                    inputs = [stack([column[index] for index in rows]) for column in columns]
                    outputs = self._subject.run(model, inputs)
                    check_rows(outputs, count)
                    for number, output in enumerate(outputs):
                        if output is not None:
                            answers = [singles[index][number] for index in rows]
                            check_same(split(output, [1] * count), answers, example.tolerance)

    def test_a_batch_may_have_no_rows(self) -> None:
        """No rows in, no rows out, where the author says that `zero_rows` work."""
        if not self.zero_rows:
            raise SkipTest("zero_rows is not set")
        for example in self._batching_examples():
            with self._loaded(example) as model:
                nothing = [Tensor.zeros(x.dtype, (0, *x.shape[1:])) for x in example.inputs]
                check_rows(self._subject.run(model, nothing), 0)

    def test_each_type_that_the_device_claims_comes_back_as_it_went_in(self) -> None:
        """An identity model of each type returns its input, bit for bit."""
        dtypes = sorted(self._subject.dtypes(), key=lambda each: each.name)
        cases = [(each, rank) for each in dtypes for rank in ((0, 2) if self.scalars else (2,))]
        models = [(self.identity(each, rank), sample(each, rank)) for each, rank in cases]
        if not any(example for example, _ in models):
            raise SkipTest("identity() gives no model: no type is tested")
        for example, tensor in models:
            if example is not None:
                with self._loaded(example) as model:
                    outputs = self._subject.run(model, [tensor])
                check(outputs == [tensor], f"{tensor.values()} came back as {_shown(outputs)}")

    # ------------------------------------------------------------------ what goes wrong
    def test_a_damaged_model_never_ends_the_process(self) -> None:
        """Whatever of a model was changed, it is refused, fails or runs; and some of them run."""
        if self.damaging is None:
            raise SkipTest("damaging names no program: damaged models are not tested")
        if self.isolated:
            raise SkipTest("what becomes of damaged models is tested where nothing is isolated")
        with TemporaryDirectory() as folder:
            found = outcomes(self.damaging, Path(folder), "seed", self.damages)
        check(min(found["rejected"], found["run"]) > 0, f"of damaged models, {found}")

    def test_bytes_that_are_no_model_are_refused(self) -> None:
        """`model_create` raises an error that people can read, and goes on working."""
        example = self.examples()[0]
        names = example.input_names, example.output_names
        for blob in self.broken_blobs():
            what = f"model_create of the {len(blob)} bytes {blob[:20]!r}"
            check_raises(what, partial(self._subject.create, blob, *names))
        with self._loaded(example) as model:
            self._check_answers(model, example)

    def test_a_wrong_number_of_inputs_is_refused(self) -> None:
        """A run with an input too few or too many raises, and the model goes on working."""
        for example in self.examples():
            given = example.inputs
            with self._loaded(example) as model:
                for inputs in (given[:-1], (*given, *given[-1:])):
                    if not model.takes(len(inputs)):
                        what = f"a run with {len(inputs)} inputs for {len(given)}"
                        check_raises(what, partial(self._subject.run, model, inputs))
                self._check_answers(model, example)

    def test_an_input_of_the_wrong_type_is_refused(self) -> None:
        """A run with a type that the model does not take raises, and the model goes on working."""
        for example in self.examples():
            if example.refuses is None or not example.inputs:
                continue
            wrong = Tensor.zeros(example.refuses, example.inputs[0].shape)
            with self._loaded(example) as model:
                what = f"a run with an input of type {example.refuses.name}"
                check_raises(what, partial(self._subject.run, model, [wrong, *example.inputs[1:]]))
                self._check_answers(model, example)

    def test_a_run_can_be_cancelled(self) -> None:
        """A long run ends with an error soon after it is cancelled."""
        with self._long_run() as (attempt, context):
            attempt.start()
            attempt.join(_UNDER_WAY)
            check(attempt.is_alive(), f"long_run() ended by itself, with {attempt.error!r}")
            context.cancel()

    def test_a_run_that_was_cancelled_before_it_began_ends(self) -> None:
        """A long run ends with an error when it was cancelled already."""
        with self._long_run() as (attempt, context):
            context.cancel()
            attempt.start()

    # ------------------------------------------------------------------ a model's end
    def test_a_serialized_model_can_be_created_again(self) -> None:
        """`serialize`, when there is one, gives bytes that `model_create` takes."""
        self._need_hook("serialize")
        for example in self.examples():
            with self._loaded(example) as model:
                blob = self._subject.serialize(model)
            names = example.input_names, example.output_names
            with self._subject.loaded(blob, *names) as model:
                self._check_answers(model, example)

    def test_models_that_come_and_go_leave_no_memory_behind(self) -> None:
        """Creating, running and freeing models again and again does not fill the memory."""
        example = self.examples()[0]
        self._come_and_go(example)
        before = resident_bytes()
        self._come_and_go(example)
        grown = resident_bytes() - before
        text = f"{_CYCLES} models came and went, and memory grew by {grown} bytes"
        check(grown <= self.memory_growth, text)

    # ------------------------------------------------------------------ inside
    @contextmanager
    def _loaded(self, example: ModelExample) -> Iterator[LoadedModel]:
        names = example.input_names, example.output_names
        with self._subject.loaded(example.blob, *names) as model:
            yield model

    def _check_answers(self, model: LoadedModel, example: ModelExample) -> None:
        outputs = self._subject.run(model, example.inputs)
        check_same(outputs, example.outputs, example.tolerance)

    def _run_often(
        self,
        model: LoadedModel,
        cases: Sequence[tuple[Sequence[Tensor], Sequence[Tensor | None]]],
        tolerance: float,
        barrier: Barrier,
        first: int,
    ) -> None:
        barrier.wait()
        for turn in range(first, first + _RUNS_PER_THREAD):
            inputs, answers = cases[turn % len(cases)]
            check_same(self._subject.run(model, inputs), answers, tolerance)

    def _come_and_go(self, example: ModelExample) -> None:
        for _ in range(_CYCLES):
            with self._loaded(example) as model:
                self._subject.run(model, example.inputs)

    @contextmanager
    def _long_run(self) -> Iterator[tuple[Attempt, RunContext]]:
        """Gives a run to start and to cancel, and checks that it ends."""
        example = self.long_run()
        if example is None:
            raise SkipTest("long_run() gives no model: cancelling is not tested")
        with self._loaded(example) as model:
            context = RunContext(self._subject.device)
            attempt = Attempt(partial(self._subject.run, model, example.inputs, context))
            yield attempt, context
            attempt.join(self.cancel_within)
            late = f"a cancelled run still went on after {self.cancel_within} seconds"
            check(not attempt.is_alive(), late)
            if isinstance(attempt.error, AssertionError):
                raise attempt.error
            check(attempt.error is not None, "a cancelled run must raise, not return")

    def _need_hook(self, hook: str) -> None:
        if not self._subject.has(hook):
            raise SkipTest(f"the backend has no {hook}")

    def _batching_examples(self) -> list[ModelExample]:
        examples = [example for example in self.examples() if example.batches and example.inputs]
        if not examples:
            raise SkipTest("no example says that it batches")
        return examples


def _check_names(kind: str, names: object, count: int, given: tuple[str, ...]) -> None:
    text = f"{kind} must be a tuple of {count} different names, not {names!r}"
    if not isinstance(names, tuple):
        raise AssertionError(text)  # noqa: TRY004 - a check
    if kind == "outputs" and not any(names):  # a format may name none of them
        check(len(names) == count, text)
        return
    check(len(names) == len(set(names)) == count, text)
    check(all(isinstance(name, str) and name for name in names), text)
    check(not given or names == given, f"{kind} must be called {given}, not {names}")


def _shown(outputs: Sequence[Tensor | None]) -> str:
    return ", ".join("None" if x is None else f"{x} {x.values()}" for x in outputs)
