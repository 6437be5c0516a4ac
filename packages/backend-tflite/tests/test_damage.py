"""A damaged model never ends the process."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = 200  # for each of eight models: a few seconds


@pytest.mark.parametrize("seed", ["one", "two", "three"])
def test_whatever_is_damaged_the_process_goes_on(tmp_path, seed):
    file = tmp_path / "damaged.tflite"

    ran = subprocess.run(
        [sys.executable, Path(__file__).with_name("damaging.py"), seed, str(ROUNDS), file],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, f"died of {file.read_bytes()!r}\n{ran.stderr}"
    outcomes = ast.literal_eval(ran.stdout)
    assert sum(outcomes.values()) > 7 * ROUNDS
    assert min(outcomes["rejected"], outcomes["run"]) > 100
