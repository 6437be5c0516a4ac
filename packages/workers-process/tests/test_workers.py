"""What workers do, as whoever calls the hooks sees it."""

import gc
import logging
import os
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tensorkeep.backends import Backend
from tensorkeep.config import BackendOptions
from tensorkeep.device import CPU, Device
from tensorkeep.errors import (
    BackendNotInstalled,
    BackendUnavailable,
    CommandFailed,
    ModelRejected,
    OutputIsNoTensor,
    WorkerDied,
    WorkerTookTooLong,
    text_of,
)
from tensorkeep.hookspecs import RunContext, ScriptCall
from tensorkeep.model import ModelSpec, ScriptSpec
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep_workers_process.process import Process
from tensorkeep_workers_process.testing import open_files

MULTIPLY = b'{"op": "multiply", "by": 2}'


def tensor(size):
    return Tensor.from_numpy(np.arange(size, dtype=np.float32))


# ---------------------------------------------------------------------- what comes back
@pytest.mark.parametrize("size", [0, 1, 5_000, 10_000, 100_000, 1_000_000, 20_000_000])
def test_tensors_of_any_size_go_and_come(fake, size):
    model = fake.create(MULTIPLY)

    for _ in range(3):
        (output,) = fake.run(model, tensor(size))
        assert (output.numpy() == 2 * tensor(size).numpy()).all()


def test_an_output_stays_as_it_is_whatever_runs_next(fake):
    model = fake.create(MULTIPLY)
    first, _ = [fake.run(model, tensor(size))[0] for size in (100_000, 100_001)]

    fake.run(model, Tensor.zeros(DType.FLOAT, (100_000,)))

    assert (first.numpy() == 2 * tensor(100_000).numpy()).all()


def test_a_model_says_of_itself_what_it_says_in_process(fake):
    for blob in (
        MULTIPLY,
        b'{"op": "add", "axis": "declared"}',
        b'{"op": "none_output", "inputs": 3, "axis": "no reason"}',
    ):
        spec = ModelSpec("FAKE", CPU, inputs=("an \udcff input",) if blob is MULTIPLY else ())
        here = FakeBackend().model_create(spec, blob, BackendOptions())

        there = fake.plugin.model_create(spec, blob, BackendOptions())

        assert replace(there, native=None) == replace(here, native=None)


def test_time_that_hangs_on_values_is_never_promised(fake):
    assert not fake.create(b'{"op": "identity", "steady": true}').steady


def test_errors_have_the_texts_that_they_have_in_process(fake):
    here = FakeBackend()
    for blob in (b"nonsense", b'{"op": "no"}', b'{"op": "fail", "text": "oh \\u0000 \\n \\udcff"}'):
        texts = []
        for plugin in (here, fake.plugin):
            with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is
                create_and_run(plugin, blob)
            texts.append(text_of(caught.value))
        assert texts[0] == texts[1]


def create_and_run(plugin, blob):
    model = plugin.model_create(ModelSpec("FAKE"), blob, BackendOptions())
    plugin.model_run(model, [tensor(1)], RunContext(CPU))


@pytest.mark.parametrize(
    ("what", "text"),
    [("odd", "\udcff and \x00 and \n text"), ("empty", "OddError"), ("exit_now", "leaving")],
)
def test_whatever_a_plugin_raises_is_its_text(alone, what, text):
    model = alone.create(f"run {what}".encode())

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever it is
        alone.run(model)

    assert text_of(caught.value) == text
    assert alone.isolation.counts()["crashed"] == 0


def test_errors_of_tensorkeep_keep_their_class(attack):
    with pytest.raises(ModelRejected, match="no such model"):
        attack.create(b"create rejected")
    with pytest.raises(OutputIsNoTensor) as caught:
        attack.run(attack.create(b"run no_tensor"))
    assert caught.value.output == "output 'y'"


def test_a_backend_that_cannot_be_imported_says_why(start_workers):
    workers = start_workers()

    with pytest.raises(BackendUnavailable, match="ModuleNotFoundError: No module named 'no_such"):
        workers.plugin("MISSING").backend_info()
    with pytest.raises(BackendNotInstalled, match="no installed package brings it"):
        workers.plugin("NOWHERE").devices()


def test_a_handle_of_the_core_sees_no_difference(fake):
    backend = Backend("FAKE", fake.plugin)

    assert backend.info == FakeBackend().backend_info()
    assert backend.devices == tuple(FakeBackend().devices())
    model = backend.model_create(ModelSpec("FAKE"), MULTIPLY, BackendOptions())
    assert backend.serialize(model, b"another") == MULTIPLY


def test_figures_are_those_of_all_workers(start_fake):
    fake = start_fake()
    models = [fake.create(MULTIPLY) for _ in range(3)]
    wait_for(lambda: fake.plugin.backend_stats().get("models") == 3)

    fake.plugin.model_free(models[0])

    wait_for(lambda: fake.plugin.backend_stats().get("models") == 2)


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not come true within 30 s"
        time.sleep(0.01)


def test_a_run_has_the_device_as_it_was_spelled(attack):
    model = attack.create(b"run device")

    for name in ("CPU", "cpu", "Cpu:1"):
        (output,) = attack.run(model, context=RunContext(Device.parse(name), 4.0))
        assert output.strings() == [name.encode()]


# ---------------------------------------------------------------------- inputs
@pytest.mark.parametrize("size", [10, 100_000])
def test_an_input_that_a_backend_keeps_stays_as_it_was(alone, size):
    keep, good = alone.create(b"run keep"), alone.create(b"run kept")
    alone.run(keep, tensor(size))
    alone.run(good, Tensor.zeros(DType.FLOAT, (size,)))

    (kept,) = alone.run(good, Tensor.zeros(DType.FLOAT, (size,)))

    assert kept == tensor(size)


@pytest.mark.parametrize("size", [10, 100_000, 20_000_000])
def test_an_input_that_a_backend_changes_is_not_changed_here(attack, size):
    model, given = attack.create(b"run change"), tensor(size)

    attack.run(model, given)

    assert given == tensor(size)


# ---------------------------------------------------------------------- which worker
def test_calls_at_once_run_in_as_many_processes(alone):
    model = alone.create(b"run hang")
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(running(alone, model))
        wait_for(lambda: len(alone.pids()) == 3)

        assert os.getpid() not in alone.pids()


def test_a_model_is_stored_and_run_beside_a_run(alone):
    model = alone.create(b"run hang")
    (busy,) = alone.pids()
    with running(alone, model) as thread:
        (pid,) = alone.run(alone.create(b"run pid"))[0].values()

        assert thread.is_alive()
        assert pid != busy


@contextmanager
def running(subject, model):
    """Runs a model that never ends on a thread of its own, until the block ends."""
    context = RunContext(CPU)

    def run():
        with suppress(WorkerTookTooLong):
            subject.run(model, context=context)

    before = busy_of(subject)
    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: busy_of(subject) - before)
    try:
        yield thread
    finally:
        context.cancel("the test is over")
        thread.join()


def busy_of(subject):
    """Returns the numbers of the workers that are doing something."""
    return {each for _, pool, _ in subject.isolation._backends.values() for each in pool._busy}


def test_a_model_that_crashes_takes_those_beside_it_away_for_no_longer_than_it_takes_to_build_them(
    alone,
):
    good, bad = alone.create(b"run pid"), alone.create(b"run segv")

    for _ in range(3):
        (before,) = alone.run(good)[0].values()
        with pytest.raises(WorkerDied):
            alone.run(bad)
        assert alone.run(good)[0].values()[0] != before


def test_the_models_used_longest_ago_are_freed_and_built_again(start_workers, monkeypatch):
    memory = "tensorkeep_workers_process.isolation.machine_memory"
    monkeypatch.setattr(memory, lambda: 60 * 1024 * 1024)  # of which models may take a half
    blob = b'{"op": "fail", "text": "%s"}'
    workers = start_workers(memory=0)
    plugin = workers.plugin("FAKE")

    def create(letter):
        return plugin.model_create(
            ModelSpec("FAKE"), blob % (letter * 12_000_000), BackendOptions()
        )

    models = [create(letter) for letter in (b"a", b"b", b"c")]

    (status,) = workers.workers()
    assert status.models < 3
    for model, letter in zip(models, "abc", strict=True):
        with pytest.raises(Exception, match=f"^{letter}"):
            plugin.model_run(model, [tensor(1)], RunContext(CPU))


def test_a_freed_model_is_freed_in_every_worker(start_fake):
    fake = start_fake()
    model = fake.create(MULTIPLY)
    (status,) = fake.isolation.workers()
    assert status.models == 1

    fake.plugin.model_free(model)

    (status,) = fake.isolation.workers()
    assert status.models == 0


def test_a_worker_is_replaced_after_so_many_runs(start_attack):
    attack = start_attack(recycle_after=3)
    model = attack.create(b"run pid")

    pids = [attack.run(model)[0].values()[0] for _ in range(5)]

    assert [pids[0] == each for each in pids] == [True, True, True, False, False]
    assert attack.isolation.counts()["crashed"] == 0
    assert attack.isolation.counts()["recycled"] >= 1


def test_a_worker_that_died_while_it_waited_costs_nobody_an_error(alone):
    model = alone.create(b"run pid")
    (before,) = alone.run(model)[0].values()

    os.kill(before, 9)
    wait_for(lambda: has_ended(before))

    for _ in range(3):
        assert alone.run(model)[0].values()[0] != before
    wait_for(lambda: alone.isolation.counts()["crashed"] == 1)


def has_ended(pid):
    """Returns whether a process has closed all its files, perhaps before anybody was told."""
    process = Path(f"/proc/{pid}")
    try:
        # Its files are open as long as one of its threads is there, which may outlive the first.
        return " Z " in (process / "stat").read_text() and len([*(process / "task").iterdir()]) == 1
    except OSError:
        return True


def test_workers_tell_their_memory_and_what_they_did(alone):
    alone.run(alone.create(b"run pid"))

    (status,) = alone.isolation.workers()

    assert (status.backend, status.runs, status.models) == ("ATTACK", 1, 1)
    assert 1_000_000 < status.memory < 1_000_000_000


# ---------------------------------------------------------------------- scripts
class Commands:
    def __init__(self):
        self.asked = []

    def execute(self, command, arguments):
        self.asked.append((command, arguments))
        if command == "FAIL":
            raise CommandFailed("ERR it failed")
        return [b"one", 2, None, [b"x" * 200_000]]

    def model_execute(self, key, inputs, outputs):
        self.asked.append((key, len(inputs), outputs))
        return inputs


@pytest.fixture
def call(fake):
    """Returns a function that calls one of a script."""

    def call_it(function, *tensors, keys=(), arguments=(), outputs=1):
        source = b"execute run_model arguments fail"
        script = fake.plugin.script_create(ScriptSpec("FAKE"), source, BackendOptions())
        commands = Commands()
        given = ScriptCall(function, tensors, keys, arguments, outputs, commands)
        return fake.plugin.script_run(script, given, RunContext(CPU, 4.0)), commands.asked

    return call_it


def test_a_script_runs_commands_here(call):
    (output,), asked = call("execute", arguments=[b"GET", b"a", b"\xff" * 300_000])

    assert asked == [("GET", [b"a", b"\xff" * 300_000])]
    assert output.strings() == [str([b"one", 2, None, [b"x" * 200_000]]).encode()]


def test_a_command_that_fails_is_an_error_of_the_script(call):
    with pytest.raises(CommandFailed, match=r"^ERR it failed$"):
        call("execute", arguments=[b"FAIL"])


@pytest.mark.parametrize("size", [3, 100_000, 1_000_000])
def test_a_script_runs_models_here(call, size):
    (output,), asked = call("run_model", tensor(size), keys=[b"m"])

    assert asked == [("m", 1, 1)]
    assert output == tensor(size)


def test_a_script_that_fails_says_why(call):
    with pytest.raises(Exception, match=r"^it went wrong$"):
        call("fail", arguments=[b"it", b"went", b"wrong"])


# ---------------------------------------------------------------------- the log
def test_what_a_framework_prints_is_in_the_log(alone, caplog):
    caplog.set_level(logging.INFO)
    alone.run(alone.create(b"run prints"))

    wait_for(lambda: "hello from C" in caplog.text)
    assert "hello from a framework" in caplog.text
    (pid,) = alone.pids()
    assert f"(worker {pid} of ATTACK)" in caplog.text


def test_the_log_of_a_plugin_is_in_the_log(attack, caplog):
    attack.run(attack.create(b"run logs"))

    wait_for(lambda: "a warning of the plugin" in caplog.text)
    (record,) = [each for each in caplog.records if "a warning" in each.getMessage()]
    assert record.levelno == logging.WARNING


# ---------------------------------------------------------------------- nothing is left
def files_in_memory():
    return sorted(Path("/dev", "shm").iterdir())


def test_neither_runs_nor_crashes_leave_descriptors_or_files(alone):
    good, bad = alone.create(b"run pid"), alone.create(b"run segv")
    before, shared = len(open_files()), files_in_memory()

    for turn in range(300):
        alone.run(good, tensor(10 if turn % 3 else 100_000 + turn))
        if turn % 10 == 0:
            with pytest.raises(WorkerDied):
                alone.run(bad, tensor(100_000))

    wait_for(lambda: len(open_files()) <= before)
    assert files_in_memory() == shared


def test_a_worker_that_died_leaves_no_memory_behind(alone):
    bad = alone.create(b"run segv")
    pids = set()
    for _ in range(3):
        with pytest.raises(WorkerDied):
            alone.run(bad, tensor(1_000_000))
        pids |= {each.pid for each in workers_in_memory() if each.ended.is_set()}
    alone.create(b"run pid")

    gc.collect()

    wait_for(lambda: pids.isdisjoint({each.pid for each in workers_in_memory()}))


def workers_in_memory():
    return [
        each for each in gc.get_objects() if type(each) is Process
    ]  # objects of torch warn when asked


def test_nothing_is_left_once_they_are_closed(start_workers):
    before = open_files()
    workers = start_workers()
    plugin = workers.plugin("FAKE")
    plugin.backend_info()
    pids = [each.pid for each in workers.workers()]

    workers.close()

    assert open_files() <= before
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    with pytest.raises(WorkerDied, match="the server is shutting down"):
        plugin.model_create(ModelSpec("FAKE"), MULTIPLY, BackendOptions())


def test_closing_ends_what_runs(alone):
    model = alone.create(b"run hang")
    caught = []

    def run():
        try:
            alone.run(model)
        except WorkerDied as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.1)

    alone.isolation.close()

    thread.join(30)
    assert len(caught) == 1
