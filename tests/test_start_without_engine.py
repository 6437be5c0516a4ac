"""A server whose engine is away when it starts waits for it, and ends when it is told to."""

import signal
import subprocess
import sys
import time

import pytest

from tensorkeep_server.testing import Wire
from tensorkeep_valkey.testing import running_engine

LIMIT = 60.0  # seconds


@pytest.fixture
def starting(tmp_path):
    """A server that waits for its engine, and that engine."""
    log = tmp_path / "log"
    with running_engine() as engine, log.open("wb") as file:
        engine.kill()
        path = tmp_path / "s"
        command = ["serve", "--port", "0", "--unix-socket", path, "--store", engine.unix]
        process = subprocess.Popen(
            [sys.executable, "-m", "tensorkeep_server", *command], stdout=file, stderr=file
        )
        try:
            until(lambda: "cannot be reached" in log.read_text(), process)
            yield process, engine, path, log
        finally:
            process.kill()
            process.wait()


def until(condition, process):
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_begins_once_the_engine_is_there(starting):
    process, engine, path, log = starting
    engine.start()
    until(lambda: "is ready on" in log.read_text(), process)
    with Wire(str(path)) as wire:
        assert wire.ask("AI.TENSORSET", "t", "FLOAT", 1) == b"+OK\r\n"
        assert wire.ask("EXISTS", "t") == b":1\r\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT) == 0
    assert "Traceback" not in log.read_text()


def test_it_ends_at_once_when_it_is_told_to(starting):
    process, _, path, log = starting
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)

    assert process.wait(LIMIT) == 0
    assert time.monotonic() - began < LIMIT / 4
    assert "Traceback" not in log.read_text()
    assert not path.exists()
