"""Workers end with the server, however it ends, and not before."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# A server with a worker that is busy and one that is not; it prints their processes and the
# nursery's.
SERVER = """
import os, signal, sys, threading, time
from pathlib import Path
from tensorkeep.config import BackendOptions
from tensorkeep.device import CPU
from tensorkeep.hookspecs import RunContext
from tensorkeep.isolation import WorkerOptions
from tensorkeep.model import ModelSpec
from tensorkeep.tensor import DType, Tensor
from tensorkeep_workers_process import start

sys.path.append(sys.argv[1])
workers = start(WorkerOptions(), {"ATTACK": "attacking_backend:plugin"})
plugin = workers.plugin("ATTACK")
busy = plugin.model_create(ModelSpec("ATTACK"), sys.argv[2].encode(), BackendOptions())
given = [Tensor.zeros(DType.FLOAT, (8,))]
def run():
    plugin.model_run(busy, given, RunContext(CPU))
threading.Thread(target=run, daemon=True).start()
((_, pool, _),) = workers._backends.values()
while not pool._busy:
    time.sleep(0.01)
idle = plugin.model_create(ModelSpec("ATTACK"), b"run pid", BackendOptions())
signal.signal(signal.SIGINT, lambda *_: None)
signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGHUP, lambda *_: None)
nurseries = {Path(f"/proc/{each.pid}/stat").read_text().split()[3] for each in workers.workers()}
print(*(each.pid for each in workers.workers()), *nurseries, flush=True)
for line in sys.stdin:
    if line.startswith("close"):
        workers.close()
    print(plugin.model_run(idle, given, RunContext(CPU))[0].values()[0], flush=True)
"""


@pytest.fixture
def serve():
    """Returns a function that starts a server, and returns it and its processes."""
    started = []

    def start(busy="run hang"):
        line = [sys.executable, "-c", SERVER, str(Path(__file__).parent), busy]
        server = subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(server)
        return server, [int(pid) for pid in server.stdout.readline().split()]

    yield start
    for each in started:
        each.kill()
        each.wait()
        each.stdout.close()
        each.stdin.close()


def are_gone(pids):
    end = time.monotonic() + 30
    while any(is_there(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def is_there(pid):
    """Returns whether a process runs; one that nobody has buried yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ask(server, line="\n"):
    server.stdin.write(line)
    server.stdin.flush()
    return int(server.stdout.readline())


@pytest.mark.parametrize("busy", ["run hang", "run spin", "run hold"])
def test_killing_the_server_leaves_no_process(serve, busy):
    server, pids = serve(busy)
    assert len(pids) == 3

    server.kill()

    assert are_gone(pids)


def test_a_server_that_ends_without_closing_leaves_no_process(serve):
    server, pids = serve()

    server.communicate()

    assert are_gone(pids)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_for_the_server_and_its_group_do_not_end_workers(serve, sent):
    server, pids = serve()

    for _ in range(2):
        os.killpg(server.pid, sent)
        for pid in pids:
            os.kill(pid, sent)

    assert ask(server) in pids
    assert all(is_there(pid) for pid in pids)


def test_a_nursery_that_was_killed_takes_its_workers_along_and_there_is_another(serve):
    server, pids = serve()
    *_, nursery = pids

    os.kill(nursery, signal.SIGKILL)

    assert are_gone(pids)
    assert ask(server) not in pids
