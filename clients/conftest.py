"""The installed server in a process of its own, for those who ask it from another environment.

A client's environment is the client's: old versions of NumPy and redis-py, nothing of ours. The
server runs from another environment, whose Python the variable TENSORKEEP_SERVER_PYTHON names, and
this file needs only what every client's environment has.
"""

import os
import re
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

DIGITS = Path(__file__).parents[1] / "examples/digits"
READY = re.compile(r"ready on \S*?127\.0\.0\.1:(\d+)")
UNFORESEEN = re.compile(r"Traceback \(most|unexpectedly|Exception in|never awaited")
START_LIMIT = STOP_LIMIT = 30.0  # seconds
TORCH_MODEL = """
import sys, torch

class Line(torch.nn.Module):
    def forward(self, x):
        return 2 * x + 1

torch.jit.script(Line()).save(sys.argv[1])
"""


@pytest.fixture(scope="session")
def server_python():
    """The Python of the environment that holds the server."""
    return os.environ["TENSORKEEP_SERVER_PYTHON"]


@contextmanager
def run(command, folder):
    """Runs a program that says where it listens; gives its process and port.

    It must live until it is told to end, and end in good order.
    """
    log_file = folder / "log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={k: v for k, v in os.environ.items() if not k.startswith("TENSORKEEP_")},
        )
    try:
        yield process, port_of(process, log_file)
        assert process.poll() is None, f"the program ended by itself:\n{log_file.read_text()}"
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_LIMIT)
        assert process.returncode == 0, log_file.read_text()
        assert not UNFORESEEN.search(log_file.read_text()), log_file.read_text()
    finally:
        process.kill()  # does nothing when it has ended
        process.wait()


@contextmanager
def serve(command, folder):
    """Gives the port of a server."""
    with run(command, folder) as (_, listening):
        yield listening


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    """Runs a program that listens: `with running("python", "service.py") as (process, port)`."""
    return lambda *command: run(command, tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="session")
def start(server_python, tmp_path_factory):
    """Starts a server of a test's own: `with start("--port", "7000") as port`.

    `program` is what else Python may run in the place of the server's command.
    """

    def start(*options, program=("-m", "tensorkeep_server")):
        command = [server_python, *program, "serve", "--port", "0", *options]
        return serve(command, tmp_path_factory.mktemp("server"))

    return start


@pytest.fixture(scope="session")
def port(start):
    """The port of the server that the tests share; each begins with no keys."""
    with start() as port:
        yield port


def port_of(process, log_file):
    """Waits until the program says where it listens."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        ready = READY.search(log_file.read_text())
        if ready:
            return int(ready[1])
        assert process.poll() is None, f"the program did not start:\n{log_file.read_text()}"
        time.sleep(0.01)
    raise TimeoutError(f"the program did not start in {START_LIMIT} s:\n{log_file.read_text()}")


@dataclass(frozen=True)
class Digits:
    """The network of examples/digits in several formats, and pictures that it has not seen."""

    onnx: bytes
    tf: bytes
    torch: bytes
    tflite: bytes
    pictures: np.ndarray  # [N, 1, 8, 8]
    labels: np.ndarray  # [N]

    def read_well(self, probabilities):
        """Whether these answers for all the pictures are probabilities, and right as a rule."""
        return (
            probabilities.shape == (len(self.labels), 10)
            and np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
            and np.mean(probabilities.argmax(axis=1) == self.labels) > 0.98
        )


@pytest.fixture(scope="session")
def digits():
    with np.load(DIGITS / "heldout.npz") as held_out:
        pictures = (held_out["images"][:, None] / 16).astype(np.float32)
        labels = held_out["labels"]
    names = ("digits.onnx", "digits.pb", "digits.pt", "digits.tflite")
    return Digits(*((DIGITS / name).read_bytes() for name in names), pictures, labels)


@pytest.fixture(scope="session")
def line(server_python, tmp_path_factory):
    """A TorchScript model that answers 2 x + 1; torch is where the server is."""
    folder = tmp_path_factory.mktemp("torch")
    program, model = folder / "line.py", folder / "line.pt"
    program.write_text(TORCH_MODEL)  # a file: TorchScript reads a module's source
    subprocess.run([server_python, "-W", "ignore", str(program), str(model)], check=True)
    return model.read_bytes()
