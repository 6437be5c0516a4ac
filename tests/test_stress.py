"""The stress program in small; `nox -s stress` runs it with a million requests."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorkeep_onnx", reason="the stress program runs ONNX models")


def test_under_load_and_change_every_reply_is_right():
    program = Path(__file__).with_name("stress.py")
    run = subprocess.run(
        [sys.executable, program, "--requests", "15000", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr + run.stdout
    done = json.loads(run.stdout)
    assert min(
        done[what]
        for what in (
            "single runs",
            "graphs",
            "runs of changing models",
            "clients that vanished",
            "models stored",
            "models deleted",
        )
    )
