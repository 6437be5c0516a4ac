"""Several workers run one model at once, on as many threads of torch's as were asked for."""

import subprocess
import sys
import threading

import numpy as np
import pytest


def test_threads_that_run_one_model_at_once_get_their_own_answers(archives, load, run):
    model = load(archives.scripted("def forward(self, x):\n    return torch.sqrt(x)\n"))
    barrier = threading.Barrier(8)
    wrong = []

    def work(number):
        barrier.wait()
        for turn in range(100):
            value = number * 1000 + turn
            (output,) = run(model, np.full(50, value**2, np.float32))
            if set(output.values()) != {value}:
                wrong.append((number, turn))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong


# Numbers of threads hold for a process, so each of these is one.
HEAD = """
import sys, threading
from tensorkeep.config import BackendOptions
from tensorkeep.device import CPU
from tensorkeep.errors import ModelRejected
from tensorkeep.model import ModelSpec, ScriptSpec
from tensorkeep_torch import plugin
import torch

blob = bytes.fromhex(sys.stdin.read())
def build(**options):
    return plugin.model_create(ModelSpec("TORCH"), blob, BackendOptions(**options))
def on_a_thread(action):
    found = []
    thread = threading.Thread(target=lambda: found.append(action()))
    thread.start()
    thread.join()
    return found[0]
default = torch.get_num_threads(), torch.get_num_interop_threads()
"""


@pytest.fixture
def told(doubling):
    """Runs a program in a process of its own, and returns what it prints."""

    def told(program, **env):
        done = subprocess.run(
            [sys.executable, "-c", HEAD + program],
            input=doubling.hex(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return told


def test_threads_that_run_models_have_the_numbers_that_were_asked_for(told):
    # As in a server: built on the loader's thread, run on others that were there before.
    program = """
ready, go = threading.Event(), threading.Event()
def work():
    ready.set()
    go.wait()
    return torch.get_num_threads()
found = []
worker = threading.Thread(target=lambda: found.append(work()))
worker.start()
ready.wait()
on_a_thread(lambda: build(intra_op_threads=3, inter_op_threads=2))
go.set()
worker.join()
print(found[0], on_a_thread(torch.get_num_threads), torch.get_num_interop_threads())
"""
    assert told(program) == ["3", "3", "2"]


def test_scripts_set_them_as_well(told):
    program = """
spec, options = ScriptSpec(), BackendOptions(intra_op_threads=3)
on_a_thread(lambda: plugin.script_create(spec, b"def f(x):\\n    return x\\n", options))
print(on_a_thread(torch.get_num_threads))
"""
    assert told(program) == ["3"]


def test_by_default_torch_decides(told):
    program = """
build()
print((torch.get_num_threads(), torch.get_num_interop_threads()) == default)
"""
    assert told(program) == ["True"]


def test_the_same_number_may_be_asked_for_again_but_no_other(told):
    program = """
build(inter_op_threads=3)
build(inter_op_threads=3)
try:
    build(inter_op_threads=4)
except ModelRejected as error:
    print(error)
"""
    assert " ".join(told(program)) == (
        "Cannot set number of inter-op threads after parallel work has started"
    )


def test_threads_that_wait_for_work_do_not_spin_unless_someone_wants_it(monkeypatch):
    code = "import os, tensorkeep_torch.ahead; print(os.environ['OMP_WAIT_POLICY'])"
    for before, after in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        if before is None:
            monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        else:
            monkeypatch.setenv("OMP_WAIT_POLICY", before)
        told = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert told.stdout.strip() == after
