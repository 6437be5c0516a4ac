"""What a server needs for its start: none of what only some requests need."""

import json
import re
import subprocess
import sys

from tensorkeep_server.testing import Wire

# Prints what was imported when the server ends, which is no less than what was at its start.
HOOK = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules))))
from tensorkeep_server.__main__ import main
main(["serve", "--port", "0"])
"""
FRAMEWORKS = {"ai_edge_litert", "onnx", "onnxruntime", "tensorflow", "tflite_runtime", "torch"}
# The libraries of the other commands of the command line.
CLIENTS = {"hiredis", "redis", "rich.progress", "rich.table"}


def imported_by_a_server_that_was_asked(*requests):
    """What a server has imported after it answered some requests."""
    with subprocess.Popen(
        [sys.executable, "-c", HOOK], stdout=subprocess.PIPE, text=True
    ) as process:
        ready = process.stdout.readline()
        with Wire(int(re.search(r"127\.0\.0\.1:(\d+)", ready)[1])) as wire:
            for request in requests:
                assert wire.ask(*request).startswith((b"+", b"*")), request
            wire.send("SHUTDOWN", "NOSAVE")
        modules = set(json.loads(process.stdout.read()))
    assert "tensorkeep_server.connection" in modules
    return modules


def test_no_framework_is_imported_to_start_and_to_keep_tensors():
    modules = imported_by_a_server_that_was_asked(
        ("PING",),
        ("AI.TENSORSET", "t", "FLOAT", 2, "VALUES", 1, 2),
        ("AI.TENSORGET", "t", "VALUES"),
        ("COMMAND",),
    )
    assert not modules & FRAMEWORKS


def test_what_only_the_other_commands_need_is_not_imported_to_start():
    assert not imported_by_a_server_that_was_asked() & CLIENTS


def test_a_framework_is_imported_with_the_first_model(digits):
    modules = imported_by_a_server_that_was_asked(
        ("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", digits.blob)
    )
    assert "onnxruntime" in modules
