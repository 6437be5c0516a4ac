"""What a server imports: nothing that only some requests need, and then only what those need."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tensorkeep.backends import Backends
from tensorkeep_server.testing import Wire

HERE = Path(__file__).parent
DIGITS = HERE.parent / "examples" / "digits"
PATIENCE = 90  # seconds; a busy machine needs 40 to import a framework for the first time
FRAMEWORKS = {"ai_edge_litert", "onnx", "onnxruntime", "tensorflow", "tflite_runtime", "torch"}
# The libraries of the other commands of the command line.
CLIENTS = {"hiredis", "redis", "rich.progress", "rich.table"}
# By backend: its framework, the network in its format, and what is said about it besides.
NETWORKS = {
    "ONNX": ("onnxruntime", "digits.onnx", ""),
    "TF": ("tensorflow", "digits.pb", "INPUTS 1 images OUTPUTS 1 probabilities"),
    "TFLITE": ("ai_edge_litert", "digits.tflite", ""),
    "TORCH": ("torch", "digits.pt", ""),
}


@pytest.fixture
def imported_after(tmp_path):
    """Asks a server; gives what it has imported when it ends, no less than at its start."""

    def imported_after(*requests, isolate="auto"):
        file = tmp_path / "modules.json"
        command = [sys.executable, HERE / "telling.py", file, "serve", "--port", "0"]
        command += ["--isolate", isolate]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                ready = process.stdout.readline()
                with Wire(int(re.search(r"127\.0\.0\.1:(\d+)", ready)[1])) as wire:
                    wire.socket.settimeout(PATIENCE)
                    for request in requests:
                        assert wire.ask(*request).startswith((b"+", b"*")), request
                    wire.send("SHUTDOWN", "NOSAVE")
                process.communicate(timeout=PATIENCE)
            finally:
                process.kill()  # does nothing when it has ended
        modules = set(json.loads(file.read_text()))
        assert "tensorkeep_server.connection" in modules
        return modules

    return imported_after


def test_no_framework_is_imported_to_start_and_to_keep_tensors(imported_after):
    modules = imported_after(
        ("PING",),
        ("AI.TENSORSET", "t", "FLOAT", 2, "VALUES", 1, 2),
        ("AI.TENSORGET", "t", "VALUES"),
        ("COMMAND",),
    )
    assert not modules & FRAMEWORKS


def test_what_only_the_other_commands_need_is_not_imported_to_start(imported_after):
    assert not imported_after() & CLIENTS


def stored_and_run(backend):
    """The requests that store a network, run it and get what it returned."""
    _, file, words = NETWORKS[backend]
    blob = (DIGITS / file).read_bytes()
    return (
        ("AI.MODELSTORE", "m", backend, "CPU", *words.split(), "BLOB", blob),
        ("AI.TENSORSET", "x", "FLOAT", 1, 1, 8, 8),
        ("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y"),
        ("AI.TENSORGET", "y", "VALUES"),
    )


of_each_backend = pytest.mark.parametrize("backend", sorted({*NETWORKS} & {*Backends().names()}))


@of_each_backend
def test_no_model_brings_a_framework_unless_it_is_harmless_and_the_framework_light(
    imported_after, backend
):
    modules = imported_after(*stored_and_run(backend))
    assert modules & FRAMEWORKS == ({"onnxruntime"} if backend == "ONNX" else set())


@of_each_backend
def test_where_nothing_is_isolated_a_model_brings_the_framework_of_its_backend_and_no_other(
    imported_after, backend
):
    modules = imported_after(*stored_and_run(backend), isolate="none")
    assert modules & FRAMEWORKS == {NETWORKS[backend][0]}
