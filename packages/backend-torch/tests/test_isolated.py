"""What harms its process costs one error in a worker of its own, and others are served at once."""

import threading
import time
from contextlib import suppress

import numpy as np
import pytest
import torch

from tensorkeep.config import BackendOptions
from tensorkeep.device import CPU
from tensorkeep.errors import ModelRejected, RunFailed, WorkerDied, WorkerTookTooLong
from tensorkeep.hookspecs import RunContext, ScriptCall
from tensorkeep.isolation import WorkerOptions
from tensorkeep.model import ModelSpec, ScriptSpec
from tensorkeep.tensor import Tensor

processes = pytest.importorskip("tensorkeep_workers_process", reason="they need Linux")

GONE = (WorkerDied, WorkerTookTooLong, ModelRejected, RunFailed)
NAMES = ("f", "good")
LOAD_TIMEOUT = 5.0  # seconds
GOOD = "def good(tensors: List[Tensor], keys: List[str], args: List[str]):\n    return tensors[0]\n"


def tensor(values):
    return Tensor.from_numpy(np.asarray(values, np.float32))


class Workers:
    """TORCH in workers: models and scripts are stored and run there."""

    def __init__(self):
        options = WorkerOptions(memory=4 * 2**30, load_timeout=LOAD_TIMEOUT)
        self.isolation = processes.start(options)
        self.plugin = self.isolation.plugin("TORCH")

    def store(self, blob):
        return self.plugin.model_create(ModelSpec("TORCH"), blob, BackendOptions())

    def run(self, model, *inputs, timeout=None):
        context = RunContext(CPU, timeout)
        context.begin(time.monotonic())
        return self.plugin.model_run(model, [tensor(each) for each in inputs], context)

    def compile(self, body, helpers=""):
        source = (
            f"{helpers}def f(tensors: List[Tensor], keys: List[str], args: List[str]):\n"
            f"    x = tensors[0]\n{body}{GOOD}"
        )
        return self.plugin.script_create(
            ScriptSpec("TORCH", entry_points=NAMES), source.encode(), BackendOptions()
        )

    def call(self, script, function="f", *arguments, context=None):
        asked = ScriptCall(function, [tensor([1])], [], arguments, 1, None)
        return self.plugin.script_run(script, asked, context or RunContext(CPU))

    def pids(self):
        return {each.pid for each in self.isolation.workers()}


@pytest.fixture(scope="module")
def workers():
    workers = Workers()
    yield workers
    workers.isolation.close()


@pytest.fixture(scope="module")
def good(workers, archives):
    return workers.store(archives.scripted("def forward(self, x):\n    return x * 2\n"))


@pytest.fixture(autouse=True)
def _others_are_served(workers, good):
    """Whatever a test does, a good model runs behind it, within a second or two."""
    yield
    began = time.monotonic()
    assert workers.run(good, [1])[0].values() == [2]
    assert time.monotonic() - began < 20  # a worker that has to import torch takes a second


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        ("    return torch.tensor(7 % int(args[0]))\n", (b"0",)),
        ("    return torch.tensor(7 // int(args[0]))\n", (b"0",)),
        ("    return x.as_strided([4], [1], 1000000000)\n", ()),
    ],
)
def test_arithmetic_and_sizes_that_end_a_process_cost_one_error(workers, body, arguments):
    script = workers.compile(body)

    with pytest.raises(GONE):
        workers.call(script, "f", *arguments)
    assert workers.call(script, "good")[0].values() == [1]


@pytest.mark.parametrize(
    "body",
    [
        "    while True:\n        x = x + 1\n    return x\n",
        "    n = 0\n    while n >= 0:\n        n = (n + 1) % 1000\n    return x + n\n",
        "    y = [each for each in range(4611686018427387904)]\n    return x + len(y)\n",
        "    return torch.ones(20000, 20000) @ torch.ones(20000, 20000)\n",
    ],
)
def test_a_run_that_goes_on_is_ended_with_its_process(workers, body):
    script = workers.compile(body)
    context = RunContext(CPU)
    errors = []

    def attempt():
        try:
            workers.call(script, context=context)
        except GONE as error:
            errors.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join(0.3)
    cancelled = time.monotonic()
    context.cancel("its time is over")
    thread.join(30)

    assert not thread.is_alive()
    assert time.monotonic() - cancelled < 5  # 0.1 on a quiet machine
    assert errors
    assert workers.call(script, "good")[0].values() == [1]


DOUBLING = "def g0(x):\n    return x + 1\n" + "".join(
    f"def g{n}(x):\n    return g{n - 1}(g{n - 1}(x))\n" for n in range(1, 40)
)
ENDLESS_LOAD = (
    "def forward(self, x):\n    return x\n"
    "def __getstate__(self) -> Tensor:\n    return self.t\n"
    "def __setstate__(self, state: Tensor) -> None:\n"
    "    self.t = state\n    while bool(state[0] > 0):\n        state = state * 1\n"
)


def test_what_would_be_loaded_for_ever_is_given_up_and_keeps_no_other_load_waiting(
    workers, archives
):
    endless = archives.scripted(ENDLESS_LOAD, t=torch.ones(1))
    loads = [
        lambda: workers.compile("    return g39(x)\n", DOUBLING),
        lambda: workers.compile(f"    y = {'(' * 30}1{',)' * 30}\n    return x\n"),
        lambda: workers.store(endless),
    ]
    errors = []

    def attempt(load):
        with pytest.raises(GONE) as caught:
            load()
        errors.append(caught.value)

    threads = [threading.Thread(target=attempt, args=(load,)) for load in loads]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    assert workers.compile("    return x\n")
    assert time.monotonic() - began < LOAD_TIMEOUT
    for thread in threads:
        thread.join()

    assert len(errors) == len(loads)
    assert time.monotonic() - began < 3 * LOAD_TIMEOUT


@pytest.mark.parametrize(
    "expression",
    ["+".join(["1"] * 30_000), "[" * 3000 + "1" + "]" * 3000, "(" * 20_000 + "1" + ")" * 20_000],
)
def test_scripts_that_are_too_deep_for_the_compiler_are_refused(workers, expression):
    with pytest.raises(GONE):
        workers.compile(f"    y = {expression}\n    return x\n")


def nested_tuples():
    value = b")" + b"\x85" * 1_000_000  # (((...),),)
    return b"\x80\x02" + value + b"."


@pytest.mark.parametrize(
    "change",
    [
        lambda source: source.replace(b"torch.mul(x, 2)", b"(" * 6000 + b"x" + b")" * 6000),
        lambda source: source.replace(
            b"torch.mul(x, 2)", b"torch.mul(x, 2)" + b"\n    y = " + b"+".join([b"x"] * 100_000)
        ),
    ],
)
def test_archives_whose_source_is_too_deep_for_the_compiler_harm_nobody(workers, archives, change):
    blob = archives.scripted("def forward(self, x):\n    return x * 2\n")
    (name,) = (each for each in archives.records(blob) if each.endswith(".py"))

    with suppress(*GONE):
        model = workers.store(archives.changed(blob, name, change))
        workers.run(model, [1])


@pytest.mark.parametrize("name", ["data.pkl", "constants.pkl"])
def test_archives_with_a_pickle_of_endless_tuples_are_refused(workers, archives, name):
    blob = archives.scripted("def forward(self, x):\n    return x * 2\n")

    with pytest.raises(GONE):
        workers.store(archives.changed(blob, name, lambda _: nested_tuples()))


@pytest.mark.parametrize("name", ["data.pkl", "constants.pkl"])
@pytest.mark.parametrize("put", [b"r\xff\xff\xff\xff", b"p4294967295\n"])
def test_archives_with_a_pickle_that_asks_for_much_memory_are_refused(workers, archives, name, put):
    blob = archives.scripted("def forward(self, x):\n    return x * 2\n")

    with pytest.raises(GONE):
        workers.store(
            archives.changed(blob, name, lambda pickled: pickled[:-1] + put + pickled[-1:])
        )


def test_memory_beyond_the_limit_is_an_error(workers):
    script = workers.compile("    return torch.ones(int(args[0])).sum()\n")

    with pytest.raises(GONE):
        workers.call(script, "f", b"8000000000")
    assert workers.call(script, "f", b"10")[0].values() == [10]


def test_state_is_kept_from_run_to_run_however_many_come_at_once(workers, archives):
    source = "def forward(self, x):\n    self.n += 1\n    return x + self.n\n"
    model = workers.store(archives.scripted(source, n=0))
    found = []

    def work():
        found.extend(workers.run(model, [0])[0].values() for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(found) == [[n] for n in range(1, 41)]


def test_a_run_waits_for_the_worker_that_has_the_state_unless_it_is_cancelled(workers, archives):
    count = "    self.n += 1\n    return x + self.n\n"
    model = workers.store(archives.scripted(f"def forward(self, x):\n{count}", n=0))
    assert workers.run(model, [0])[0].values() == [1]
    cancelled = RunContext(CPU)
    cancelled.cancel("nobody waits for it")

    with model.native.turn, pytest.raises(WorkerTookTooLong, match="nobody waits for it"):
        workers.plugin.model_run(model, [tensor([0])], cancelled)
    assert workers.run(model, [0])[0].values() == [2]


def test_what_one_run_changes_no_other_sees(workers, archives):
    blob = archives.scripted("def forward(self, x):\n    return x.mul_(2)\n")
    model = workers.store(blob)
    for size in (1, 100_000):  # in the message, and in shared memory
        given = tensor(np.ones(size))
        for _ in range(2):
            (output,) = workers.plugin.model_run(model, [given], RunContext(CPU))
            assert not (output.numpy() != 2).any()
        assert not (given.numpy() != 1).any()


def test_memory_that_is_not_written_to_shows_nothing_of_others(workers, good):
    script = workers.compile("    return torch.empty(int(args[0]))\n")
    for size in (10, 1000, 100_000):
        secret = np.full(size, 77, np.float32)
        for _ in range(3):
            workers.run(good, secret)
        (found,) = workers.call(script, "f", b"%d" % size)

        assert not found.numpy().any()
