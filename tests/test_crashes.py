"""A model that ends, holds or fills the process that runs it costs its own requests, and no others.

One server for all of it, as people start it. Times are generous here; `pytest -s` shows what was
measured. What single frameworks do is in the catalogue of `hostile_models`; what has to happen at
an exact place is done by a backend of Python.
"""

import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread

import hostile_backend
import hostile_models
import numpy as np
import pytest

from tensorkeep_server.testing import WireError

pytestmark = pytest.mark.skipif(
    find_spec("tensorkeep_workers_process") is None, reason="there are no processes for workers"
)

LIMIT = 1.0  # seconds that a run may take on the server below
NOISE = 2.0  # seconds that a busy machine may add to anything
SOON = 3.0  # seconds in which a worker must be there again; one, on a quiet machine

DOUBLE = "def run(x): return x * 2"
# Ends its worker when 13 is among the elements, by the signal that is named.
UNLUCKY = "def run(x):\n    if (x == 13).any(): die('{}')\n    return x * 2"
CRASH = UNLUCKY.format("SIGSEGV")
FRAMEWORKS = {
    "ONNX": "onnxruntime",
    "TORCH": "torch",
    "TF": "tensorflow",
    "TFLITE": "ai_edge_litert",
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = hostile_backend.installed(tmp_path_factory.mktemp("installed"))
        patch.setenv("PYTHONPATH", folder, prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def serving(environment, start):
    """A server that ends runs after a second, with a model and a tensor that must survive it."""
    options = ("--model-execution-timeout", "1000", "--worker-memory", "2000")
    with start(*options) as serving:
        with serving.wire() as wire:
            store(wire, "good", DOUBLE)
            assert wire.read("AI.TENSORSET", "kept", "FLOAT", 3, "VALUES", 1, 2, 3) == "OK"
            assert run(wire, "good", [1, 2]) == [2, 4]
        yield serving


@pytest.fixture
def wire(serving):
    """A connection; what was stored before the test must be there after it, and work."""
    with serving.wire() as wire:
        wire.socket.settimeout(100)  # a busy machine takes half a minute to import TensorFlow
        yield wire
        assert run(wire, "good", [3, 4]) == [6, 8]
        assert read(wire, "kept") == [1, 2, 3]


def store(wire, key, source, *options):
    reply = wire.read("AI.MODELSTORE", key, "HOSTILE", "CPU", *options, "BLOB", source.encode())
    assert reply == "OK"


def run(wire, key, values):
    """Runs a model of Python on floats; returns floats, or the error."""
    x, y = f"{key}:{wire.socket.fileno()}:x", f"{key}:{wire.socket.fileno()}:y"
    blob = np.array(values, "f").tobytes()
    assert wire.read("AI.TENSORSET", x, "FLOAT", len(values), "BLOB", blob) == "OK"
    reply = wire.read("AI.MODELEXECUTE", key, "INPUTS", 1, x, "OUTPUTS", 1, y)
    return read(wire, y) if reply == "OK" else str(reply)


def read(wire, key):
    return np.frombuffer(wire.read("AI.TENSORGET", key, "BLOB"), "f").tolist()


def prepared(wire, hostile, key):
    """Stores one of the catalogue with its inputs; returns the command that runs it."""
    assert wire.read(*hostile.store(key)) == "OK"
    setting, command = hostile.run(key)
    for each in setting:
        assert wire.read(*each) == "OK"
    return command


def processes_of(pid):
    """Returns the processes that a process has started, and those that they have."""
    children = {}
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            parent = int(each.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(each.parent.name))
    found, waiting = [], [pid]
    while waiting:
        waiting += children.get(waiting[0], [])
        found.append(waiting.pop(0))
    return found[1:]


def is_there(pid):
    """Returns whether a process is there, and is more than a line for its parent to read."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until(condition, patience=10.0):
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


@contextmanager
def meanwhile(serving, key="good"):
    """Runs a good model over and over on another connection; gives how long each took."""
    ended, waits, wrong = Event(), [], []

    def work():
        with serving.wire() as wire:
            while not ended.is_set():
                began = time.monotonic()
                answer = run(wire, key, [1, 2])
                waits.append(time.monotonic() - began)
                if answer != [2, 4]:
                    wrong.append(answer)

    thread = Thread(target=work)
    thread.start()
    try:
        yield waits
    finally:
        ended.set()
        thread.join()
    assert not wrong
    assert waits


# --------------------------------------------------------------------------- crashes of runs
@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("die('SIGSEGV')", "SIGSEGV"),
        ("die('SIGABRT')", "SIGABRT"),
        ("die('SIGKILL')", "SIGKILL"),
        ("ctypes.string_at(1)", "SIGSEGV"),
        ("os._exit(3)", "code 3"),
        ("os._exit(0)", "code 0"),
        ("ctypes.CDLL(None).exit(4)", "code 4"),
        ("os.close(2); os.closerange(3, 1000); os._exit(5)", ""),
    ],
)
def test_a_run_that_ends_its_process_is_an_error_that_says_which_model_and_why(wire, body, cause):
    store(wire, "hostile", f"def run(x):\n    {body}\n    return x")

    error = run(wire, "hostile", [1])
    began = time.monotonic()
    answer = run(wire, "good", [5])
    seconds = time.monotonic() - began

    print(f"{body}: {error!r}; the next run took {seconds:.3f} s")
    assert isinstance(error, str)
    assert "hostile" in error
    assert cause in error
    assert answer == [10]
    assert seconds < SOON


def test_the_same_connection_and_what_it_sent_behind_the_crash_go_on(wire):
    store(wire, "hostile", CRASH)
    wire.ask("AI.TENSORSET", "bad", "FLOAT", 1, "VALUES", 13)
    wire.ask("AI.TENSORSET", "fine", "FLOAT", 1, "VALUES", 4)

    wire.send("AI.MODELEXECUTE", "hostile", "INPUTS", 1, "bad", "OUTPUTS", 1, "lost")
    wire.send("AI.MODELEXECUTE", "good", "INPUTS", 1, "fine", "OUTPUTS", 1, "won")
    wire.send("PING")

    assert wire.reply().startswith(b"-")
    assert [wire.reply(), wire.reply()] == [b"+OK\r\n", b"+PONG\r\n"]
    assert read(wire, "won") == [8]
    assert wire.read("EXISTS", "lost") == 0


def test_an_output_of_a_crashed_run_stays_what_it_was(wire):
    store(wire, "hostile", CRASH)
    wire.ask("AI.TENSORSET", "bad", "FLOAT", 1, "VALUES", 13)
    wire.ask("AI.TENSORSET", "out", "FLOAT", 2, "VALUES", 7, 8)

    run_it = ("AI.MODELEXECUTE", "hostile", "INPUTS", 1, "bad", "OUTPUTS", 1, "out")
    assert wire.ask(*run_it).startswith(b"-")

    assert read(wire, "out") == [7, 8]


def test_of_a_shared_run_that_crashed_all_but_the_one_that_did_it_get_their_answers(serving, wire):
    options = ("BATCHSIZE", 8, "MINBATCHSIZE", 8, "MINBATCHTIMEOUT", 300)
    store(wire, "shared", CRASH, *options)
    with ThreadPoolExecutor(8) as pool:

        def ask(value):
            with serving.wire() as own:
                return run(own, "shared", [value])

        answers = list(pool.map(ask, [1, 2, 3, 13, 5, 6, 7, 8]))

    assert "SIGSEGV" in answers.pop(3)
    assert answers == [[2], [4], [6], [10], [12], [14], [16]]


def test_runs_that_waited_behind_the_one_that_crashed_are_done(serving, wire):
    store(wire, "hostile", "def run(x):\n    time.sleep(0.3)\n    die('SIGSEGV')\n    return x")
    with ThreadPoolExecutor(8) as pool:

        def ask(number):
            with serving.wire() as own:
                return run(own, "good" if number else "hostile", [number])

        answers = list(pool.map(ask, range(8)))

    assert "SIGSEGV" in answers[0]
    assert answers[1:] == [[2 * number] for number in range(1, 8)]


def test_a_graph_with_a_model_that_crashes_fails_and_the_next_one_does_not(wire):
    store(wire, "hostile", CRASH)

    def graph(value, model):
        words = ["AI.DAGEXECUTE", "ROUTING", "t", "|>", "AI.TENSORSET", "t", "FLOAT", 1, "VALUES"]
        words += [value, "|>", "AI.MODELEXECUTE", model, "INPUTS", 1, "t", "OUTPUTS", 1, "u"]
        words += ["|>", "AI.MODELEXECUTE", "good", "INPUTS", 1, "u", "OUTPUTS", 1, "v"]
        return wire.ask(*words, "|>", "AI.TENSORGET", "v", "VALUES")

    assert b"SIGSEGV" in graph(13, "hostile")
    assert b"$1\r\n8\r\n" in graph(2, "hostile")


def test_a_model_that_crashes_three_times_running_is_refused_until_it_is_stored_again(wire):
    store(wire, "hostile", CRASH)
    for _ in range(2):  # what goes well in between begins it anew
        for _ in range(2):
            assert "SIGSEGV" in run(wire, "hostile", [13])
        assert run(wire, "hostile", [1]) == [2]
    for _ in range(3):
        assert "SIGSEGV" in run(wire, "hostile", [13])
    began = time.monotonic()
    refused = [run(wire, "hostile", [value]) for value in (13, 1)]
    seconds = time.monotonic() - began

    print(refused, f"{seconds:.4f} s")
    assert all("hostile is not run until it is stored again" in str(each) for each in refused)
    about = wire.read("INFO", "models").decode()
    assert re.search(r"model_hostile:.*crashes=7,refused=yes", about)
    store(wire, "hostile", CRASH)
    assert run(wire, "hostile", [1]) == [2]


# --------------------------------------------------------------------------- stores
def test_a_crash_while_a_model_is_stored_is_an_error_of_the_store_and_the_old_one_stays(wire):
    store(wire, "stored", DOUBLE)

    command = ("AI.MODELSTORE", "stored", "HOSTILE", "CPU", "BLOB", b"die('SIGSEGV')")
    error = wire.read(*command)

    print(error)
    assert isinstance(error, WireError)
    assert "SIGSEGV" in error
    assert run(wire, "stored", [2]) == [4]


def test_models_that_take_long_to_store_keep_nobody_from_storing(serving, wire):
    with ThreadPoolExecutor(3) as pool:

        def slow(number):
            with serving.wire() as own:
                store(own, f"slow{number}", f"time.sleep(3)\n{DOUBLE}")

        began = time.monotonic()
        waiting = [pool.submit(slow, number) for number in range(3)]
        time.sleep(0.3)
        store(wire, "quick", DOUBLE)
        seconds = time.monotonic() - began
        assert run(wire, "quick", [2]) == [4]
        assert not any(each.done() for each in waiting)
    print(f"stored after {seconds:.2f} s beside three that took 3 s")
    assert seconds < 0.3 + NOISE


# --------------------------------------------------------------------------- time
@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        "ctypes.CDLL(None).pause()",  # in C, without the interpreter's lock
        "ctypes.PyDLL(None).sleep(60)",  # in C, with it
        "signal.signal(15, signal.SIG_IGN); time.sleep(60)",
        "os.kill(os.getpid(), signal.SIGSTOP)",
    ],
)
def test_a_run_beyond_its_time_is_ended_whatever_it_does_and_others_are_served(serving, wire, body):
    store(wire, "hostile", f"def run(x):\n    {body}\n    return x")
    with meanwhile(serving) as waits:
        began = time.monotonic()
        error = run(wire, "hostile", [1])
        seconds = time.monotonic() - began

    print(f"{body}: {error!r} after {seconds:.3f} s; others waited {max(waits):.3f} s at most")
    assert "The run was ended" in error
    assert LIMIT <= seconds < LIMIT + NOISE
    assert max(waits) < NOISE


def test_a_worker_that_is_killed_from_outside_costs_one_run(wire):
    store(wire, "pid", "def run(x): return np.array([os.getpid(), os.getppid()], 'f')")
    worker, nursery = map(int, run(wire, "pid", [1]))

    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not is_there(worker))
    began = time.monotonic()
    outcomes = [run(wire, "pid", [1]) for _ in range(3)]

    print(f"{outcomes} within {time.monotonic() - began:.3f} s")
    assert sum(isinstance(each, str) for each in outcomes) <= 1
    assert outcomes[-1] != [worker, nursery]


def test_a_nursery_that_is_killed_from_outside_is_there_again(wire):
    store(wire, "pid", "def run(x): return np.array([os.getpid(), os.getppid()], 'f')")
    worker, nursery = map(int, run(wire, "pid", [1]))

    os.kill(nursery, signal.SIGKILL)
    wait_until(lambda: not is_there(nursery) and not is_there(worker))
    began = time.monotonic()
    wait_until(lambda: not isinstance(run(wire, "pid", [1]), str))  # it imports the backend anew
    print(f"there again within {time.monotonic() - began:.3f} s")
    assert nursery not in run(wire, "pid", [1])


# --------------------------------------------------------------------------- memory, files
def test_a_run_that_takes_more_memory_than_a_worker_may_fails_and_says_so(serving, wire):
    grow = "def run(x):\n    kept = []\n    while True: kept.append(np.empty(50_000_000))"
    store(wire, "hostile", grow)

    with meanwhile(serving):
        error = run(wire, "hostile", [1])

    print(error)
    assert re.search("memory|alloc", error, re.IGNORECASE)


def test_a_model_that_leaks_costs_a_run_now_and_then_and_the_others_are_right(wire):
    store(
        wire,
        "leaking",
        "kept = []\ndef run(x):\n    kept.append(np.empty(25_000_000))\n    return x",
    )

    outcomes = [run(wire, "leaking", [1]) for _ in range(20)]

    print({str(each) for each in outcomes})
    assert outcomes.count([1]) > 10


@pytest.mark.parametrize(
    "body",
    [
        "open('/etc/passwd').read()",
        "open('/etc/hostname', 'w')",
        "open(FILE, 'w').write('here')",
        "os.mkdir(FILE)",
        "os.listdir('/root')",
        "socket.socket().connect(('127.0.0.1', PORT))",
        "socket.create_server(('127.0.0.1', 0))",
        "os.execv('/bin/true', ['true'])",
    ],
)
def test_a_run_that_reaches_for_files_the_network_or_programs_fails_at_the_system(
    serving, wire, tmp_path, body
):
    place = repr(str(tmp_path / "written"))
    body = body.replace("FILE", place).replace("PORT", str(serving.port))
    store(wire, "hostile", f"def run(x):\n    {body}\n    return x")

    error = run(wire, "hostile", [1])

    print(error)
    assert isinstance(error, str)
    assert re.search("Permission denied|not permitted|No such file", error)
    assert not any(tmp_path.iterdir())


# --------------------------------------------------------------------------- frameworks
def cases(**which):
    """Returns those of the catalogue whose framework is installed, for a test."""
    there = [name for name, module in FRAMEWORKS.items() if find_spec(module)]
    found = hostile_models.all_of(*there, **which)
    return [pytest.param(each, id=each.name) for each in found]


@pytest.mark.parametrize("hostile", cases(does="crash"))
def test_models_that_crash_their_framework_cost_one_error_that_says_so(serving, wire, hostile):
    key = hostile.name
    began = time.monotonic()
    with meanwhile(serving) as waits:
        error = wire.read(*hostile.store(key))
        if hostile.when == "run":
            assert error == "OK"
            setting, command = hostile.run(key)
            replies = [wire.read(*each) for each in setting]
            assert replies == ["OK"] * len(setting)
            error = wire.read(*command)
    seconds = time.monotonic() - began

    print(f"{key}: {error!r} after {seconds:.2f} s; others waited {max(waits):.3f} s at most")
    assert isinstance(error, WireError)
    assert re.search(r"signal \d+ \(SIG\w+\)", error)
    if hostile.when == "run":
        assert key in error
    if hostile.good:
        setting, command = hostile.run(key, good=True)
        assert [wire.read(*each) for each in [*setting, command]] == ["OK"] * (len(setting) + 1)


@pytest.mark.parametrize("hostile", cases(does="endless", when="run"))
def test_models_that_never_end_are_ended_in_time(serving, wire, hostile):
    key = hostile.name
    command = prepared(wire, hostile, key)
    with meanwhile(serving) as waits:
        began = time.monotonic()
        error = wire.read(*command)
        seconds = time.monotonic() - began

    print(f"{key}: {error!r} after {seconds:.3f} s; others waited {max(waits):.3f} s at most")
    assert "MODEL_EXECUTION_TIMEOUT" in error
    assert seconds < LIMIT + NOISE


REACHING = [case for does in ("reads", "writes", "beyond") for case in cases(does=does)]


@pytest.mark.parametrize("hostile", REACHING)
def test_models_that_reach_for_files_or_memory_that_is_not_theirs_get_an_error(wire, hostile):
    written = hostile_models.WRITTEN
    written.unlink(missing_ok=True)

    error = wire.read(*hostile.store(hostile.name))
    if error == "OK":
        setting, command = hostile.run(hostile.name)
        assert [wire.read(*each) for each in setting] == ["OK"] * len(setting)
        error = wire.read(*command)

    print(f"{hostile.name}: {error!r}")
    assert isinstance(error, WireError)
    assert "root:" not in error
    assert not written.exists()


@pytest.mark.parametrize("hostile", cases(does="memory"))
def test_models_that_want_all_memory_are_refused_it(serving, wire, hostile):
    command = prepared(wire, hostile, hostile.name)

    error = wire.read(*command)

    print(f"{hostile.name}: {error!r}")
    assert isinstance(error, WireError)
    assert serving.memory() < 2**30


@pytest.mark.skipif(
    find_spec("onnxruntime") is None or find_spec("torch") is None,
    reason="ONNX Runtime or torch is not installed",
)
def test_what_is_never_built_is_given_up_and_others_are_stored_and_run_meanwhile(
    environment, start
):
    endless = [*hostile_models.all_of("ONNX", "TORCH", does="endless", when="store")]
    assert [each.name for each in endless] == [
        "onnx-doubling-functions",
        "torch-setstate",
        "script-doubling-types",
    ]
    doubling, _, script = endless
    requests = [each.store(each.name) for each in endless]
    requests += [
        ["AI.MODELSET", "old", "ONNX", "CPU", "BLOB", doubling.make()],
        ["AI.SCRIPTSET", "older", "CPU", "SOURCE", script.make()],
    ]
    imported = [
        next(hostile_models.all_of(name, does="SIGFPE", when="run")) for name in ("ONNX", "TORCH")
    ]
    with start("--store-timeout", "4000") as serving, ExitStack() as opened:
        other, *wires = [opened.enter_context(serving.wire()) for _ in range(1 + len(requests))]
        for each in imported:
            assert other.read(*each.store("imported")) == "OK"
        began = time.monotonic()
        for wire, request in zip(wires, requests, strict=True):
            wire.send(*request)
        store(other, "quick", DOUBLE)
        assert run(other, "quick", [1]) == [2]
        for each in imported:
            assert other.read(*each.store("another")) == "OK"
        others = time.monotonic() - began
        errors = [wire.reply().decode() for wire in wires]
        seconds = time.monotonic() - began
        assert other.read("EXISTS", *(request[1] for request in requests)) == 0

    print(f"{errors!r} after {seconds:.2f} s; others were stored within {others:.2f} s")
    assert {*errors} == {"-ERR building it took longer than 4 s, the --store-timeout\r\n"}
    assert others < seconds
    assert 4.0 <= seconds < 4.0 + NOISE


# --------------------------------------------------------------------------- ends of the server
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - it is only looked at


def test_kill_minus_9_of_the_server_leaves_no_process_and_no_shared_memory(environment, start):
    def killed():
        with start() as serving, serving.wire() as wire:
            store(wire, "good", DOUBLE)
            assert run(wire, "good", [1] * 100_000) == [2] * 100_000
            store(wire, "busy", "def run(x):\n    while True: pass")
            wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 1)
            wire.send("AI.MODELEXECUTE", "busy", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
            time.sleep(0.2)
            processes.extend(processes_of(serving.process.pid))
            serving.process.kill()
            serving.process.wait()

    processes = []
    before = {*SHARED_MEMORY.iterdir()}
    with pytest.raises(AssertionError, match="ended by itself"):
        killed()
    began = time.monotonic()
    assert processes
    wait_until(lambda: not any(map(is_there, processes)))
    print(f"{len(processes)} processes ended within {time.monotonic() - began:.3f} s")
    assert {*SHARED_MEMORY.iterdir()} <= before


def test_a_server_that_ends_leaves_no_process(environment, start):
    with start() as serving:
        with serving.wire() as wire:
            store(wire, "good", DOUBLE)
            assert run(wire, "good", [1]) == [2]
        processes = processes_of(serving.process.pid)
    assert processes
    wait_until(lambda: not any(map(is_there, processes)))


def test_workers_of_a_model_that_leaks_can_be_replaced_after_some_runs(environment, start):
    with start("--recycle-workers-after", "5") as serving, serving.wire() as wire:
        store(wire, "pid", "def run(x): return np.array([os.getpid()], 'f')")
        pids = [run(wire, "pid", [1])[0] for _ in range(12)]
    print(pids)
    assert len({*pids}) == 3
