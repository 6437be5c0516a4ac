"""The simulation of examples/flow: SmartRedis in its loop, a model in the store for every step."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from smartredis import Client, Dataset

FLOW = Path(__file__).parents[2] / "examples/flow"
CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children")
LIMIT = 100  # seconds


def command(address):
    """What a user types."""
    return [sys.executable, str(FLOW / "simulate.py"), "--address", address, "--json"]


def simulate(address):
    """Runs the program to its end."""
    return subprocess.run(
        command(address), capture_output=True, text=True, timeout=LIMIT, check=False
    )


@pytest.fixture(scope="module")
def reports(address):
    """What the program reports when it is run for the second time on one store."""
    first, second = simulate(address), simulate(address)
    for ended in (first, second):
        assert ended.returncode == 0, ended.stderr
    assert without_times(json.loads(first.stdout)) == without_times(json.loads(second.stdout))
    return json.loads(second.stdout)


@pytest.fixture
def client(reports, environment):
    """A client of the store after that."""
    return Client(None, logger_name="flow")


def without_times(reports):
    return [{**report, "step_seconds": None} for report in reports]


def test_the_model_makes_the_errors_of_the_coarse_grid_much_smaller(reports):
    assert [report["step"] for report in reports] == [0, 10, 20, 30, 40, 50, 60]
    assert reports[0]["plain"] == reports[0]["corrected"] < 1e-12
    for report in reports[1:]:
        assert report["plain"] > 0.05
        assert report["corrected"] < report["plain"] / 2


def test_energy_only_fades(reports):
    energies = [report["energy"] for report in reports]
    assert energies == sorted(energies, reverse=True)
    assert all(report["spread"] > 0 for report in reports)


def test_each_member_has_put_its_states_behind_its_own_prefix(client):
    fields = []
    for member in ("member_0", "member_1"):
        assert client.get_list_length(f"{member}.states") == 7
        fields.append(client.get_tensor(f"{member}.{{state_60}}.vorticity"))
    assert not np.allclose(*fields)
    states = map(Dataset.from_pybind, client.get_datasets_from_list("ensemble"))
    (last,) = (state for state in states if state.get_meta_scalars("step").tolist() == [60])
    np.testing.assert_array_equal(last.get_tensor("vorticity"), fields)


def test_every_step_has_run_the_model_in_the_store(client, address):
    (model,) = client.get_ai_info([address], "subgrid")
    (script,) = client.get_ai_info([address], "subgrid_script")
    # Storing them again, as the second run does, begins to count anew.
    assert (model["calls"], model["errors"]) == ("120", "0")
    assert (script["calls"], script["errors"]) == ("240", "0")


def test_without_a_store_it_says_so(monkeypatch):
    monkeypatch.setenv("SR_CONN_TIMEOUT", "1")
    ended = simulate("127.0.0.1:1")
    assert ended.returncode == 1
    assert "127.0.0.1:1: " in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(not CHILDREN.exists(), reason="this system does not tell a process's children")
def test_a_member_that_dies_ends_the_simulation(address):
    with subprocess.Popen(command(address), stderr=subprocess.PIPE, text=True) as program:
        deadline = time.monotonic() + LIMIT
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children")
        while not (started := children.read_text().split()):
            assert program.poll() is None
            assert time.monotonic() < deadline
        os.kill(int(started[0]), signal.SIGKILL)
        _, told = program.communicate(timeout=LIMIT)
    assert program.returncode == 1
    assert "member_0 ended with exit code -9" in told
