"""Start `tensorkeep serve`, wait until it answers, and stop it again.

This file decides how the server's process is started, watched and ended. It knows no models.
"""

from __future__ import annotations

import errno
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
START_LIMIT = 30.0
STOP_LIMIT = 15.0
SHOWN_LINES = 20


class ServerError(Exception):
    """The server did not start, ended by itself, or did not end cleanly."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it listens and how long it took until it answered."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    startup_seconds: float

    def client(self) -> redis.Redis:
        """Return a new client that never waits for ever."""
        return redis.Redis(HOST, self.port, socket_timeout=30)

    def wait(self) -> None:
        """Return when the server has ended."""
        self.process.wait()


@contextmanager
def serving(port: int | None) -> Iterator[Server]:
    """Run a server on `port` (None: a free one) for the length of a `with` block.

    Raises:
        ServerError: The port is taken, or the server did not start, ended by itself, or did not
            end with exit code 0 after SIGTERM. The text holds the last lines it wrote.
    """
    chosen = usable_port(0 if port is None else port)
    # The server works in a folder of its own: what it may write is gone with the demonstration.
    with tempfile.TemporaryDirectory(prefix="tensorkeep-demo-") as folder:
        log = Path(folder) / "server.log"
        began = time.perf_counter()
        process = start(chosen, log)
        try:
            wait_until_it_answers(process, chosen, log)
            yield Server(process, chosen, log, time.perf_counter() - began)
        except redis.ConnectionError as error:
            try:
                process.wait(1)  # A dying server's connections close before it is gone.
            except subprocess.TimeoutExpired:
                raise error from None
            raise ended_by_itself(process, log) from error
        finally:
            ran_to_the_end = process.poll() is None
            in_time = stop(process)
        if not ran_to_the_end:
            raise ended_by_itself(process, log)
        if not in_time:
            raise ServerError(
                f"the server did not end within {STOP_LIMIT:.0f} s after SIGTERM{last_lines(log)}"
            )
        if process.returncode != 0:
            raise ServerError(
                f"the server answered SIGTERM with exit code {process.returncode} instead of 0"
                f"{last_lines(log)}"
            )


def usable_port(port: int) -> int:
    """Return `port`, or a free one for 0, after a look whether a server could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            reason = "in use" if taken else f"not usable: {error}"
            raise ServerError(f"port {port} is {reason}; choose another with --port") from error
        return int(probe.getsockname()[1])


def start(port: int, log: Path) -> subprocess.Popen[bytes]:
    """Start the server; what it writes goes to `log`.

    It gets a session of its own, so that Ctrl-C reaches the demonstration alone, which then
    ends the server in good order.
    """
    command = [sys.executable, "-m", "tensorkeep_server", "serve", "--port", str(port)]
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            start_new_session=True,
        )


def wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return when the server answers PING."""
    deadline = time.monotonic() + START_LIMIT
    once = Retry(NoBackoff(), 0)
    with redis.Redis(HOST, port, socket_timeout=1, retry=once) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise ended_by_itself(process, log)
            try:
                client.ping()
            except (redis.ConnectionError, redis.TimeoutError):
                time.sleep(0.01)
            else:
                return
    raise ServerError(
        f"the server did not answer PING on port {port} within {START_LIMIT:.0f} s{last_lines(log)}"
    )


def stop(process: subprocess.Popen[bytes]) -> bool:
    """End the server with SIGTERM; return False if it took SIGKILL to end it in time."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def ended_by_itself(process: subprocess.Popen[bytes], log: Path) -> ServerError:
    """Return the error for a server that ended though nobody had asked it to."""
    return ServerError(
        f"the server ended by itself with exit code {process.returncode}{last_lines(log)}"
    )


def last_lines(log: Path) -> str:
    """Return the end of what the server wrote, to be put after an error's text."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:]
    if not lines:
        return "; it wrote nothing"
    return "; it wrote:\n" + "\n".join(f"  | {line}" for line in lines)
