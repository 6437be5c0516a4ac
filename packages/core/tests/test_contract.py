"""The conformance suite: a good backend passes it, and each of its tests catches a bad one."""

import subprocess
import sys
import time
from dataclasses import replace
from mmap import mmap
from unittest import SkipTest

import numpy as np
import pytest

from tensorkeep.batch_axis import DECLARED, BatchAxis
from tensorkeep.errors import CommandFailed
from tensorkeep.hookspecs import BackendInfo, DeviceInfo, hookimpl
from tensorkeep.model import LoadedModel
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing import (
    FAKE_CPU,
    BackendContract,
    FakeBackend,
    ModelExample,
    ScriptExample,
    checks,
    fake_gpu,
)
from tensorkeep.testing.fake_contract import DOUBLED, PAIR, TWO, FakeContract

TESTS = [name for name in dir(BackendContract) if name.startswith("test_")]


class TestFakeBackend(FakeContract):
    pass


class TestFakeBackendOnASecondGpu(FakeContract):
    plugin = FakeBackend(devices=[FAKE_CPU, fake_gpu(0), fake_gpu(1)])
    device = "GPU:1"


class TestFakeBackendThatNeedsNames(FakeContract):
    plugin = FakeBackend(needs_names=True)

    def examples(self):
        names = {0: (), 1: ("a",), 2: ("a", "b")}
        return [
            replace(
                example,
                input_names=names[len(example.inputs)],
                output_names=names[len(example.outputs)],
            )
            for example in super().examples()
        ]

    def identity(self, dtype, rank):
        return ModelExample(b'{"op": "identity"}', input_names=("a",), output_names=("b",))

    def long_run(self):
        return replace(super().long_run(), input_names=("a",), output_names=("b",))


# ---------------------------------------------------------------------- backends that break it
class Altered(FakeBackend):
    """Breaks the contract by what a function makes of each run's outputs."""

    def __init__(self, alter, **keywords):
        super().__init__(**keywords)
        self.alter = alter

    @hookimpl
    def model_run(self, model, inputs, run):
        return self.alter(model, inputs, super().model_run(model, inputs, run))


class Says(FakeBackend):
    """Breaks the contract by what a hook returns."""

    def __init__(self, **answers):
        super().__init__()
        self.answers = answers

    @hookimpl
    def backend_info(self):
        return self.answers.get("backend_info", super().backend_info())

    @hookimpl
    def devices(self):
        return self.answers.get("devices", super().devices())

    @hookimpl
    def backend_stats(self):
        return self.answers.get("backend_stats", super().backend_stats())

    @hookimpl
    def serialize(self, model):
        return self.answers.get("serialize", super().serialize(model))

    @hookimpl
    def script_create(self, spec, source, options):
        script = super().script_create(spec, source, options)
        return self.answers.get("script_create", script)

    @hookimpl
    def script_run(self, script, call, run):
        return self.answers.get("script_run", super().script_run(script, call, run))


class Calls(FakeBackend):
    """Breaks the contract by what it does of a call of a script."""

    def __init__(self, alter):
        super().__init__()
        self.alter = alter

    @hookimpl
    def script_run(self, script, call, run):
        return self.alter(call, lambda: super(Calls, self).script_run(script, call, run))


def ask_twice(call, go_on):
    call.commands.execute("GET", [b"another key"])
    return go_on()


def forgive(call, go_on):
    try:
        return go_on()
    except CommandFailed:
        return list(call.tensors)


def reword(call, go_on):
    try:
        return go_on()
    except CommandFailed as error:
        raise RuntimeError("something went wrong") from error


def scribble_and_go_on(call, go_on):
    for tensor in call.tensors:
        array = tensor.numpy()
        array.setflags(write=True)
        array[:] = 7
    return go_on()


class SharesRequests(FakeBackend):
    """Asks the keyspace of whichever call of a function came first."""

    def __init__(self):
        super().__init__()
        self.first = {}

    @hookimpl
    def script_run(self, script, call, run):
        commands = self.first.setdefault(call.function, call.commands)
        return super().script_run(script, replace(call, commands=commands), run)


class Creates(FakeBackend):
    """Breaks the contract by what it makes of each model."""

    def __init__(self, alter):
        super().__init__()
        self.alter = alter

    @hookimpl
    def model_create(self, spec, blob, options):
        return self.alter(super().model_create(spec, blob, options))


class Misspelled(FakeBackend):
    @hookimpl
    def model_serialise(self, model):
        return b""


class OtherArguments(FakeBackend):
    @hookimpl
    def model_free(self, model, why):
        pass


class WithoutRun(FakeBackend):
    model_run = None  # type: ignore[assignment] # what is wrong with it


class WithoutScriptRun(FakeBackend):
    script_run = None  # type: ignore[assignment] # what is wrong with it


class FailingSelfCheck(FakeBackend):
    @hookimpl
    def self_check(self):
        raise RuntimeError("the framework does not work")


class TakesEverything(FakeBackend):
    @hookimpl
    def model_create(self, spec, blob, options):
        try:
            return super().model_create(spec, blob, options)
        except ValueError:
            return super().model_create(spec, b'{"op": "identity"}', options)

    @hookimpl
    def model_run(self, model, inputs, run):
        try:
            return super().model_run(model, inputs, run)
        except (TypeError, ValueError):
            return [PAIR for _ in model.outputs]

    @hookimpl
    def script_create(self, spec, source, options):
        return "a script"

    @hookimpl
    def script_run(self, script, call, run):
        return [DOUBLED]


class TakesNothing(FakeBackend):
    @hookimpl
    def model_create(self, spec, blob, options):
        try:
            return super().model_create(spec, blob, options)
        except ValueError:
            return None


class RaisesWith(FakeBackend):
    def __init__(self, text):
        super().__init__()
        self.text = text

    @hookimpl
    def model_create(self, spec, blob, options):
        try:
            return super().model_create(spec, blob, options)
        except ValueError:
            raise RuntimeError(self.text) from None


class OneScratchBuffer(FakeBackend):
    """Hands out its own memory, and works in it again with the next run."""

    scratch = np.zeros((2, 2), np.float32)

    @hookimpl
    def model_run(self, model, inputs, run):
        outputs = super().model_run(model, inputs, run)
        if outputs[0] is None or outputs[0].shape != (2, 2):
            return outputs
        self.scratch[:] = outputs[0].numpy()
        return [Tensor.from_numpy(self.scratch)]


class OneRunAtATime(FakeBackend):
    """Keeps what belongs to a run where all runs see it."""

    @hookimpl
    def model_run(self, model, inputs, run):
        self.inputs = inputs
        time.sleep(0.001)
        return super().model_run(model, self.inputs, run)


class Deaf(FakeBackend):
    """Does not end when it is cancelled."""

    @hookimpl
    def model_run(self, model, inputs, run):
        if model.native.op == "sleep":
            time.sleep(1)
            raise RuntimeError("too late")
        return super().model_run(model, inputs, run)


class GivesUp(FakeBackend):
    """Returns something when it is cancelled."""

    @hookimpl
    def model_run(self, model, inputs, run):
        try:
            return super().model_run(model, inputs, run)
        except RuntimeError:
            return inputs


class GivesUpWithNone(GivesUp):
    @hookimpl
    def model_run(self, model, inputs, run):
        return None if run.cancelled else super().model_run(model, inputs, run)


class Hasty(FakeBackend):
    @hookimpl
    def model_run(self, model, inputs, run):
        return inputs


class Leaking(FakeBackend):
    kept: list[mmap]

    @hookimpl
    def model_create(self, spec, blob, options):
        # Not of the heap, which may have room left that earlier tests were the first to use.
        leaked = mmap(-1, 2**20)
        leaked.write(b"x" * 2**20)
        self.kept = [*getattr(self, "kept", ()), leaked]
        return super().model_create(spec, blob, options)


def write_to_inputs(_, inputs, outputs):
    for tensor in inputs:
        array = tensor.numpy()
        if array.base is not None:
            array.setflags(write=True)
            array.reshape(-1)[:1] = 7
    return outputs


def mix_rows(_, __, outputs):
    first = outputs[0]
    if first is None or not first.shape or first.shape[0] < 2:
        return outputs
    return [Tensor.from_numpy(first.numpy()[::-1])]


def one_more_row(_, __, outputs):
    first = outputs[0]
    if first is None or not first.shape or first.shape[0] == 2:
        return outputs
    return [Tensor.zeros(first.dtype, (first.shape[0] + 1, *first.shape[1:]))]


def forget_what_is_not_a_number(_, __, outputs):
    return [
        Tensor.from_numpy(np.nan_to_num(x.numpy())) if x and x.dtype is DType.DOUBLE else x
        for x in outputs
    ]


def model(alter):
    return Creates(lambda loaded: replace(loaded, **alter))


def outputs(alter):
    return Altered(lambda _, __, found: alter(found))


def device(**alter):
    return replace(FAKE_CPU, **alter)


BROKEN = [
    ("every_hook_is_known_and_none_is_missing", Misspelled(), "misspelled"),
    ("every_hook_is_known_and_none_is_missing", OtherArguments(), "cannot be registered"),
    ("every_hook_is_known_and_none_is_missing", WithoutRun(), r"\['model_run'\] are missing"),
    ("every_hook_is_known_and_none_is_missing", WithoutScriptRun(), r"\['script_run'\] are miss"),
    ("it_says_what_it_is", Says(backend_info=BackendInfo(99, "fake", "1")), "api_version must be"),
    ("it_says_what_it_is", Says(backend_info=BackendInfo(1, "", "1")), "framework must be text"),
    ("it_says_what_it_is", Says(backend_info=BackendInfo(1, "f", "")), "framework_version must"),
    ("it_says_what_it_is", Says(backend_info="fake"), "must return a BackendInfo, not 'fake'"),
    ("the_device_is_among_those_it_can_use", Says(devices=[]), r"a DeviceInfo or more, not \[\]"),
    ("the_device_is_among_those_it_can_use", Says(devices=["CPU"]), "a DeviceInfo or more"),
    ("the_device_is_among_those_it_can_use", Says(devices=[device(kind="TPU")]), "CPU or GPU"),
    ("the_device_is_among_those_it_can_use", Says(devices=[device(dtypes={})]), "set of DType"),
    ("the_device_is_among_those_it_can_use", Says(devices=[device(dtypes={"FLOAT"})]), "of DType"),
    ("the_device_is_among_those_it_can_use", Says(devices=[FAKE_CPU] * 2), "not be repeated"),
    ("the_device_is_among_those_it_can_use", Says(devices=[fake_gpu()]), "CPU must be among"),
    ("it_works_at_all", FailingSelfCheck(), "the framework does not work"),
    ("its_figures_are_numbers", Says(backend_stats={"load": 0.5}), "must be an integer, not 0.5"),
    ("its_figures_are_numbers", Says(backend_stats={"on": True}), "must be an integer, not True"),
    ("its_figures_are_numbers", Says(backend_stats={"": 1}), "a name must be text"),
    ("a_model_has_names_for_its_inputs_and_outputs", model({"inputs": ["a"]}), "must be a tuple"),
    ("a_model_has_names_for_its_inputs_and_outputs", model({"inputs": ()}), "of 1 different"),
    ("a_model_has_names_for_its_inputs_and_outputs", model({"outputs": (1,)}), "must be a tuple"),
    ("a_model_has_names_for_its_inputs_and_outputs", model({"steady": 1}), "steady must be a bool"),
    ("a_model_has_names_for_its_inputs_and_outputs", Creates(lambda _: None), "not None"),
    ("a_model_says_what_axis_0_is", model({"batch_axis": "rows"}), "a BatchAxis, not 'rows'"),
    ("a_model_says_what_axis_0_is", model({"batch_axis": BatchAxis.none("")}), "has a reason if"),
    ("a_model_says_what_axis_0_is", model({"batch_axis": DECLARED}), "inputs share no first size"),
    ("a_model_says_what_axis_0_is", outputs(lambda found: [TWO]), "of a batch of 2 rows is"),
    (
        "outputs_that_may_be_no_tensor_are_named",
        model({"optional_outputs": (1,)}),
        "must be positions",
    ),
    (
        "outputs_that_may_be_no_tensor_are_named",
        model({"optional_outputs": ()}),
        "output 0 is no tensor",
    ),
    ("a_model_gives_the_right_answers", outputs(lambda found: [PAIR]), r"\[1.0, 2.0, 3.0, 4.0\]"),
    ("a_model_gives_the_right_answers", outputs(lambda found: [*found, PAIR]), "2 outputs for 1"),
    ("a_model_gives_the_right_answers", outputs(lambda found: None), "a sequence of tensors"),
    ("a_model_gives_the_right_answers", outputs(lambda found: [None]), "output 0 is None"),
    (
        "a_model_gives_the_right_answers",
        outputs(lambda found: [found[0].numpy()]),
        "a sequence of tensors",
    ),
    (
        "a_model_gives_the_right_answers",
        outputs(lambda found: [Tensor.from_numpy(found[0].numpy().astype(np.float64))]),
        r"output 0 is Tensor\(DOUBLE",
    ),
    ("inputs_are_never_changed", Altered(write_to_inputs), "wrote to the memory of an input"),
    ("outputs_stay_as_they_are", OneScratchBuffer(), "changed after model_run returned it"),
    ("a_model_runs_on_several_threads_at_once", OneRunAtATime(), "a run beside others went wrong"),
    ("rows_of_a_batch_are_independent", Altered(mix_rows), "output 0 has the values"),
    ("rows_of_a_batch_are_independent", Altered(one_more_row), "output 0 of a batch of 1 rows is"),
    ("a_batch_may_have_no_rows", Altered(one_more_row), "output 0 of a batch of 0 rows is"),
    (
        "each_type_that_the_device_claims_comes_back_as_it_went_in",
        Altered(forget_what_is_not_a_number),
        "nan.* came back as .*DOUBLE",
    ),
    (
        "each_type_that_the_device_claims_comes_back_as_it_went_in",
        outputs(lambda found: [None]),
        "came back as None",
    ),
    ("bytes_that_are_no_model_are_refused", TakesEverything(), "of the 0 bytes b'' must raise"),
    ("bytes_that_are_no_model_are_refused", TakesNothing(), "must return a LoadedModel, not None"),
    ("bytes_that_are_no_model_are_refused", RaisesWith(" "), "RuntimeError without a text"),
    ("bytes_that_are_no_model_are_refused", RaisesWith("x" * 9999), "a text of 9999 characters"),
    ("a_wrong_number_of_inputs_is_refused", TakesEverything(), "with 0 inputs for 1 must raise"),
    ("an_input_of_the_wrong_type_is_refused", TakesEverything(), "of type STRING must raise"),
    ("a_run_can_be_cancelled", Deaf(), "still went on after 0.1 seconds"),
    ("a_run_can_be_cancelled", GivesUp(), "must raise, not return"),
    ("a_run_can_be_cancelled", Hasty(), r"long_run\(\) ended by itself"),
    ("a_run_that_was_cancelled_before_it_began_ends", Deaf(), "still went on after 0.1 seconds"),
    ("a_run_that_was_cancelled_before_it_began_ends", GivesUpWithNone(), "not None"),
    ("a_serialized_model_can_be_created_again", Says(serialize="{}"), "must return bytes, not str"),
    (
        "a_serialized_model_can_be_created_again",
        Says(serialize=b'{"op": "identity"}'),
        "output 0 has the values",
    ),
    ("models_that_come_and_go_leave_no_memory_behind", Leaking(), "memory grew by"),
    ("a_script_gives_the_right_answers", Says(script_run=[PAIR]), "output 0 has the values"),
    ("a_script_gives_the_right_answers", Says(script_run=None), "a sequence of tensors, not None"),
    ("a_script_gives_the_right_answers", Says(script_create=None), "must not return None"),
    ("a_source_that_is_no_script_is_refused", TakesEverything(), "must raise"),
    ("a_function_that_a_script_lacks_is_refused", TakesEverything(), "must raise"),
    ("a_script_gives_the_right_answers", Calls(ask_twice), "no keyspace: GET"),
    ("a_script_need_not_return_anything", Says(script_run=None), "a sequence of tensors, not None"),
    ("inputs_of_a_script_are_never_changed", Calls(scribble_and_go_on), "wrote to the memory"),
    ("a_script_runs_on_several_threads_at_once", SharesRequests(), r"asked \d+ times, not 20"),
    ("a_script_runs_on_several_threads_at_once", Says(script_run=[PAIR]), "went wrong: output 0"),
    ("a_wrong_number_of_outputs_is_refused", TakesEverything(), "a call for 0 outputs must raise"),
    ("a_script_is_told_what_the_keyspace_refuses", Calls(forgive), "was refused must raise"),
    (
        "a_script_is_told_what_the_keyspace_refuses",
        Calls(reword),
        "without 'WRONGTYPE of the suite'",
    ),
    ("a_script_can_be_cancelled", Calls(lambda call, _: call.tensors), "ended by itself"),
]


@pytest.mark.parametrize(("test", "plugin", "text"), BROKEN)
def test_a_backend_that_breaks_the_contract_is_caught(test, plugin, text):
    contract = FakeContract()
    contract.plugin = plugin
    contract.cancel_within = 0.1
    with pytest.raises((AssertionError, RuntimeError), match=text):
        getattr(contract, f"test_{test}")()


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("import os; os.abort()", "it died of b''"),
        ("print({'rejected': 7, 'failed': 2, 'run': 0})", "of damaged models, {'rejected': 7"),
        ("print({'rejected': 0, 'failed': 2, 'run': 7})", "of damaged models, {'rejected': 0"),
    ],
)
def test_a_backend_that_damaged_models_end_or_never_reach_is_caught(tmp_path, program, text):
    contract = FakeContract()
    contract.damaging = tmp_path / "damaging.py"
    contract.damaging.write_text(program)
    with pytest.raises(AssertionError, match=text):
        contract.test_a_damaged_model_never_ends_the_process()

    contract.damaging.write_text("print({'rejected': 1, 'failed': 0, 'run': 1})")
    contract.test_a_damaged_model_never_ends_the_process()


def test_every_test_of_the_contract_catches_something():
    elsewhere = {"test_a_damaged_model_never_ends_the_process"}  # just above
    assert {f"test_{test}" for test, *_ in BROKEN} | elsewhere == set(TESTS)


def test_given_names_must_be_kept():
    contract = FakeContract()
    contract.plugin = Creates(lambda loaded: replace(loaded, inputs=("x",)))
    contract.examples = lambda: [
        replace(FakeContract().examples()[0], input_names=("a",), output_names=("b",))
    ]
    with pytest.raises(AssertionError, match=r"inputs must be called \('a',\), not \('x',\)"):
        contract.test_a_model_has_names_for_its_inputs_and_outputs()


# ---------------------------------------------------------------------- what is not given
class Bare:
    """Only the required hooks."""

    @hookimpl
    def backend_info(self):
        return BackendInfo(1, "bare", "1")

    @hookimpl
    def devices(self):
        return [DeviceInfo("CPU", None, "", None, frozenset(DType))]

    @hookimpl
    def model_create(self, spec, blob, options):
        return LoadedModel(None, ("x",), ("y",))

    @hookimpl
    def model_run(self, model, inputs, run):
        return inputs


class BareContract(BackendContract):
    plugin = Bare()
    name = "BARE"

    def examples(self):
        return [ModelExample(b"", (PAIR,), (PAIR,), refuses=None)]


SKIPPED = {
    "it_works_at_all": "the backend has no self_check",
    "its_figures_are_numbers": "the backend has no backend_stats",
    "rows_of_a_batch_are_independent": "no example says that it batches",
    "a_batch_may_have_no_rows": "zero_rows is not set",
    "each_type_that_the_device_claims_comes_back_as_it_went_in": "identity",
    "a_run_can_be_cancelled": "long_run",
    "a_run_that_was_cancelled_before_it_began_ends": "long_run",
    "a_serialized_model_can_be_created_again": "the backend has no serialize",
    "a_script_gives_the_right_answers": "the backend has no scripts",
    "a_source_that_is_no_script_is_refused": "the backend has no scripts",
    "a_function_that_a_script_lacks_is_refused": "the backend has no scripts",
    "a_script_can_be_cancelled": "the backend has no scripts",
}


@pytest.mark.parametrize(("test", "text"), SKIPPED.items())
def test_what_cannot_be_tested_is_skipped_and_says_why(test, text):
    with pytest.raises(SkipTest, match=text):
        getattr(BareContract(), f"test_{test}")()


def test_scripts_without_examples_are_skipped():
    contract = FakeContract()
    contract.script_examples = BareContract().script_examples
    with pytest.raises(SkipTest, match="script_examples"):
        contract.test_a_script_gives_the_right_answers()


def test_scripts_that_ask_for_nothing_cannot_show_what_a_refusal_does():
    contract = FakeContract()
    first, *_ = FakeContract().script_examples()
    contract.script_examples = lambda: [first]
    with pytest.raises(SkipTest, match="asks for a command"):
        contract.test_a_script_is_told_what_the_keyspace_refuses()


def test_cancelling_is_not_tested_without_a_long_script():
    contract = FakeContract()
    contract.long_script = BareContract().long_script
    with pytest.raises(SkipTest, match="long_script"):
        contract.test_a_script_can_be_cancelled()


def test_what_a_script_asks_for_in_vain_or_not_at_all_is_reported():
    contract = FakeContract()
    asked = ScriptExample(b"sum", "sum", (PAIR, PAIR), (DOUBLED,), command=(b"GET", b"k"))
    contract.script_examples = lambda: [asked]
    with pytest.raises(AssertionError, match=r"sum asked for \[\], not \[\(b'GET', b'k'\)\]"):
        contract.test_a_script_gives_the_right_answers()
    contract.script_examples = lambda: [replace(asked, command=(), model="m")]
    with pytest.raises(AssertionError, match=r"sum ran the models \[\], not \['m'\]"):
        contract.test_a_script_gives_the_right_answers()


def test_a_model_whose_format_names_no_outputs_fulfils_the_contract():
    contract = FakeContract()
    contract.plugin = Creates(lambda model: replace(model, outputs=("",) * len(model.outputs)))
    contract.test_a_model_has_names_for_its_inputs_and_outputs()


def test_scalars_are_only_tested_where_they_work():
    asked = []
    contract = FakeContract()
    contract.scalars = False
    contract.identity = lambda dtype, rank: asked.append((dtype, rank))
    with pytest.raises(SkipTest):
        contract.test_each_type_that_the_device_claims_comes_back_as_it_went_in()
    assert sorted(asked, key=str) == sorted([(dtype, 2) for dtype in DType], key=str)


def test_types_without_an_identity_model_are_passed_over():
    contract = FakeContract()
    only = ModelExample(b'{"op": "identity"}')
    contract.identity = lambda dtype, _: only if dtype is DType.INT8 else None
    contract.plugin = Altered(forget_what_is_not_a_number)
    contract.test_each_type_that_the_device_claims_comes_back_as_it_went_in()


def test_a_suite_without_examples_says_what_to_override():
    with pytest.raises(NotImplementedError, match=r"override examples\(\)"):
        BackendContract().examples()


class CallsBack(FakeBackend):
    def __init__(self, call_back):
        super().__init__()
        self.call_back = call_back

    @hookimpl
    def script_run(self, script, call, run):
        return self.call_back(call.commands)


@pytest.mark.parametrize(
    ("call_back", "text"),
    [
        (lambda commands: commands.execute("PING", []), "the suite has no keyspace: PING"),
        (lambda commands: commands.model_execute("m", [], 1), "the suite has no models: m"),
    ],
)
def test_a_script_that_asks_for_nothing_is_given_nothing(call_back, text):
    contract = FakeContract()
    contract.plugin = CallsBack(call_back)
    with pytest.raises(NotImplementedError, match=text):
        contract.test_a_script_gives_the_right_answers()


def test_memory_is_not_watched_where_the_system_does_not_tell(monkeypatch):
    def fail(*_):
        raise FileNotFoundError

    monkeypatch.setattr(checks.Path, "read_text", fail)
    with pytest.raises(SkipTest, match="does not tell how much memory"):
        checks.resident_bytes()


# ---------------------------------------------------------------------- as its users use it
def run_pytest(folder, source):
    (folder / "test_mine.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


def test_pytest_collects_an_heir_and_shows_what_was_skipped(tmp_path):
    source = """
import numpy as np
from tensorkeep import Tensor
from tensorkeep.testing import BackendContract, FakeBackend, ModelExample

X = Tensor.from_numpy(np.arange(3.0))

class TestContract(BackendContract):
    plugin = FakeBackend()
    name = "FAKE"

    def examples(self):
        return [ModelExample(b'{"op": "add"}', (X, X), (Tensor.from_numpy(2 * X.numpy()),))]
"""
    run = run_pytest(tmp_path, source)
    assert run.returncode == 0, run.stdout
    assert f"{len(TESTS) - 15} passed, 15 skipped" in run.stdout
    assert "long_run() gives no model" in run.stdout


def test_the_suite_needs_neither_hypothesis_nor_pytest():
    code = """
import sys
sys.modules["hypothesis"] = sys.modules["pytest"] = None
from tensorkeep.testing import BackendContract, FakeBackend, ManualLoop
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_suite_of_an_isolated_backend_that_no_worker_could_load_is_skipped():
    class Isolated(FakeContract):
        name = "NOT_INSTALLED"
        isolated = True

    with pytest.raises(SkipTest, match="no installed entry point is called NOT_INSTALLED"):
        Isolated().test_it_says_what_it_is()
