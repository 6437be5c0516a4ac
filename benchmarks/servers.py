"""Start and stop the servers that are compared, each on the core it is given.

This file also reads what a server's process uses: CPU time and memory. It drives no load.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from figures import REDIS, TENSORKEEP

from tensorkeep_server.testing import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

HOST = "127.0.0.1"
FIRST_PORT, PORTS = 10_000, 20_000
START_LIMIT = 30.0
STOP_LIMIT = 15.0
LOOK_EVERY = 0.001  # seconds between two tries to reach a server that starts
SHOWN_LINES = 20

# One thread inside an operator, for all: otherwise ONNX Runtime's pool moves to the other core.
SERVE = (sys.executable, "-m", "tensorkeep_server", "serve", "--intra-op-parallelism", "1")
ALWAYS_HOP = (*SERVE, "--inline-limit", "0")

SWITCHING = Path(__file__).with_name("switching.py")

INLINE_OFF = "inline off"
ALL_CORES = "all cores"
SWITCH_INTERVALS = {
    f"switch {seconds * 1000:g} ms": (sys.executable, str(SWITCHING), f"{seconds}")
    for seconds in (0.005, 0.0005, 0.0001)
}
COMMANDS = {
    REDIS: (REDIS, "--save", "", "--appendonly", "no", "--loglevel", "warning"),
    TENSORKEEP: SERVE,
    INLINE_OFF: ALWAYS_HOP,
    ALL_CORES: SERVE,
    **SWITCH_INTERVALS,
}


class BenchError(Exception):
    """A measurement cannot be made, and why."""


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores of the server and of the load; empty where nothing can be pinned.

    Attributes:
        server: Where a server runs.
        load: Where the load runs.
        all: Where a server runs that needs more than one.
    """

    server: frozenset[int] = frozenset()
    load: frozenset[int] = frozenset()
    all: frozenset[int] = frozenset()

    @classmethod
    def here(cls) -> Cores:
        """Choose two of the cores that this process may use."""
        if not hasattr(os, "sched_setaffinity"):
            return cls()
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) == 1:
            return cls()
        return cls(frozenset(usable[:1]), frozenset(usable[1:2]), frozenset(usable))

    @property
    def note(self) -> str:
        """Say how the cores are shared."""
        if not self.server:
            return "Server and load share all cores: there is one only, or no way to choose."
        return "The server has one core for itself and the load another."


@contextmanager
def on_cores(cores: frozenset[int]) -> Iterator[None]:
    """Run the block, and the processes that it starts, on some cores; no cores: as it is."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        name: Its name in the tables.
        process: Its process.
        port: Where it listens.
        start_seconds: From the start of the process to the first PONG.
        trusted: File of the certificates to trust, where TLS is spoken to it; empty for no TLS.
        user: Who its clients are, with the password `secret`; empty where they need not say.
    """

    name: str
    process: subprocess.Popen[bytes]
    port: int
    start_seconds: float
    trusted: str = ""
    user: str = ""

    def cpu_seconds(self) -> float | None:
        """Return the CPU time of all its threads so far, None where the system hides it."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        try:
            spent = [int(task.read_text().split()[0]) for task in tasks]
        except (OSError, IndexError, ValueError):  # a thread that has just ended, another system
            return None
        return sum(spent) / 1e9 if spent else None

    def memory_mb(self) -> float | None:
        """Return the megabytes that it has in memory, None where the system hides it."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.exists():
            return None
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmRSS"].split()[0]) * 1024 / 1e6

    def connect(self) -> Wire:
        """Return a new connection."""
        wire = Wire(
            self.port, ssl.create_default_context(cafile=self.trusted) if self.trusted else None
        )
        if self.user:
            wire.ask("AUTH", self.user, "secret")
        return wire


@contextmanager
def serving(name: str, cores: Cores) -> Iterator[Server]:
    """Run a server that the tables have a name for; see `started`."""
    with started(name, COMMANDS[name], cores.all if name == ALL_CORES else cores.server) as server:
        yield server


@contextmanager
def started(
    name: str, command: Sequence[str], cores: frozenset[int] = frozenset()
) -> Iterator[Server]:
    """Run a server on a free port for the length of a `with` block.

    Args:
        name: Its name in the tables.
        command: What starts it, without the port.
        cores: The cores that it may use; none for all.

    Raises:
        BenchError: It did not start; the text holds the last lines that it wrote.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="tensorkeep-bench-") as folder:
        log = Path(folder, "log")
        with on_cores(cores), log.open("wb") as output:
            began = time.perf_counter()
            process = subprocess.Popen(
                [*command, "--port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=without_settings(os.environ),
                start_new_session=True,
            )
        try:
            wait_for_pong(name, process, port, log)
            yield Server(name, process, port, time.perf_counter() - began)
        finally:
            stop(process)


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what would change a server's settings."""
    return {key: text for key, text in environment.items() if not key.startswith("TENSORKEEP_")}


def free_port() -> int:
    """Return a port on which nobody listens.

    It is none of those that the system gives to whoever wants any: others could get it before the
    server that it is for.
    """
    while True:
        port = FIRST_PORT + secrets.randbelow(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


def wait_for_pong(name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return once the server answers PING."""
    deadline = time.monotonic() + START_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with Wire(port) as wire:
                if wire.ask("PING") == b"+PONG\r\n":
                    return
        except (ConnectionError, EOFError):
            time.sleep(LOOK_EVERY)
    lines = log.read_text(errors="replace").splitlines()[-SHOWN_LINES:]
    raise BenchError("\n".join([f"{name} did not answer PING; it wrote:", *lines]))


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server, in good order if it will."""
    process.terminate()
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Servers:
    """The servers of a run: each starts when it is first asked for and ends with the block."""

    def __init__(self, cores: Cores) -> None:
        self.cores = cores
        self._stack = ExitStack()
        self._running: dict[str, Server] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def __getitem__(self, name: str) -> Server:
        """Return a running server by its name in the tables."""
        if name not in self._running:
            self._running[name] = self._stack.enter_context(serving(name, self.cores))
        return self._running[name]


def missing_tools() -> list[str]:
    """Return which of Redis' programs are not installed."""
    return [tool for tool in (REDIS, "redis-benchmark") if shutil.which(tool) is None]
