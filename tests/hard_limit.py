"""A server whose memory the system limits, filled to the brim: nothing is lost, nothing half done.

    python tests/hard_limit.py --room 300 --seconds 60

A server is started once to see how many addresses it takes, and then with `ulimit -v` so many MB
above that. Clients store, change and read values of all kinds, each its own, and know what must be
there; whatever is answered OOM must have changed nothing. Meanwhile others announce large requests
and go away, and one sends PING. No connection may be lost. In the end everything is deleted, and
everything can be stored again.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Iterator

_MB = 2**20
_READY = re.compile(r"is ready on .*?127\.0\.0\.1:(\d+)")
_KEYS = 60  # of each client


@contextmanager
def limited(addresses: int | None, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Runs a server that may take so many bytes of addresses; gives its process and its port."""

    def limit() -> None:
        if addresses is not None:
            resource.setrlimit(resource.RLIMIT_AS, (addresses, addresses))

    command = [sys.executable, "-m", "tensorkeep_server", "serve", "--port", "0"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, preexec_fn=limit)  # noqa: PLW1509 - no threads yet
    try:
        end = time.monotonic() + 90
        while (found := _READY.search(log.read_text(errors="replace"))) is None:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server did not start:\n{log.read_text()}")
            time.sleep(0.05)
        yield process, int(found[1])
    finally:
        process.terminate()
        process.wait(30)


def addresses_of(process: subprocess.Popen[bytes]) -> int:
    """Returns the bytes of addresses that a process takes."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmSize:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


class Tried:
    """What happened, to all clients.

    Attributes:
        counts: Requests that were `done`, answered `OOM`, and `lost`; values that were `wrong`.
        waits: Seconds that each PING took.
        notes: What was wrong.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.waits: list[float] = []
        self.notes: list[str] = []
        self.over = threading.Event()

    def wrong(self, note: str) -> None:
        """Notes something that must not be."""
        self.counts["wrong"] += 1
        self.notes.append(note)


class Owner:
    """A client that knows what must be stored under its keys: kind and size, by key."""

    def __init__(self, port: int, number: int, tried: Tried) -> None:
        self._wire = redis.Redis(port=port, socket_timeout=60, retry=Retry(NoBackoff(), 0))
        self._random = random.Random(number)
        self._number = number
        self._tried = tried
        self._sizes: dict[str, int] = {}

    def work(self) -> None:
        """Stores and looks until it is over."""
        while not self._tried.over.is_set():
            try:
                self._step()
            except redis.ConnectionError as error:
                self._tried.counts["lost"] += 1
                self._tried.notes.append(repr(error))
                time.sleep(0.01)

    def _ask(self, *words: Any) -> Any:
        try:
            reply = self._wire.execute_command(*words)
        except redis.ResponseError as error:
            if "not enough memory" not in str(error):
                self._tried.wrong(f"{words[0]}: {error}")
            self._tried.counts["OOM"] += 1
            return None
        self._tried.counts["done"] += 1
        return reply

    def _step(self) -> None:
        kind = self._random.choice([*_GROWING])
        key = f"{self._number}:{kind}:{self._random.randrange(_KEYS)}"
        before = self._sizes.get(key, 0)
        grow, size, step = _GROWING[kind]
        more = self._random.choice(step)
        if self._random.random() < 0.1:
            if self._wire.delete(key) != (before > 0):
                self._tried.wrong(f"{key}: was there or not, against what is known")
            self._sizes[key] = 0
        elif self._ask(*grow(key, before, more)) is not None:
            self._sizes[key] = before + more
        found = self._ask(size, key)
        if found is not None and found != self._sizes.get(key, 0):
            self._tried.wrong(f"{key}: {found} and not {self._sizes.get(key, 0)}, grown by {more}")


def _pairs(before: int, more: int) -> list[str]:
    return [word for n in range(before, before + more) for word in (f"field{n}", "value")]


_MANY = (1, 10, 1000, 5000)
_GROWING: dict[str, tuple[Any, str, tuple[int, ...]]] = {
    "append": (lambda k, _, n: ("APPEND", k, b"x" * n), "STRLEN", (10, 10**4, 10**6, 4 * 10**6)),
    "setrange": (
        lambda k, b, n: ("SETRANGE", k, b + n - 1, b"x"),
        "STRLEN",
        (100, 10**5, 3 * 10**6),
    ),
    "list": (lambda k, _, n: ("RPUSH", k, *[b"element"] * n), "LLEN", _MANY),
    "set": (lambda k, b, n: ("SADD", k, *[f"m{i}" for i in range(b, b + n)]), "SCARD", _MANY),
    "hash": (lambda k, b, n: ("HSET", k, *_pairs(b, n)), "HLEN", _MANY),
    "sorted": (
        lambda k, b, n: ("ZADD", k, *[w for i in range(b, b + n) for w in (i, f"m{i}")]),
        "ZCARD",
        (1, 10, 1000),
    ),
}


def announce(port: int, tried: Tried) -> None:
    """Announces large requests, sends a part of them and goes away, again and again."""
    while not tried.over.is_set():
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 10) as wire,
        ):
            wire.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$200000000\r\n" + bytes(5 * _MB))
            time.sleep(0.05)


def ping(port: int, tried: Tried) -> None:
    """Sends PING, and notes how long each took."""
    wire = redis.Redis(port=port, socket_timeout=60, retry=Retry(NoBackoff(), 0))
    while not tried.over.is_set():
        began = time.perf_counter()
        try:
            wire.ping()
        except redis.RedisError as error:
            tried.counts["lost"] += 1
            tried.notes.append(f"PING: {error!r}")
        tried.waits.append(time.perf_counter() - began)
        time.sleep(0.01)


def run(room: int, seconds: float, clients: int, folder: Path) -> Tried:
    """Fills a server for some time; see the module.

    Raises:
        RuntimeError: It ended, or cannot store again in the end.
    """
    with limited(None, folder / "first.log") as (process, port):
        redis.Redis(port=port).set("warm", "up")
        addresses = addresses_of(process)
    tried = Tried()
    log = folder / "server.log"
    with limited(addresses + room, log) as (process, port):
        owners = [Owner(port, number, tried) for number in range(clients)]
        works: list[tuple[Any, tuple[Any, ...]]] = [(owner.work, ()) for owner in owners]
        works += [(announce, (port, tried)), (ping, (port, tried))]
        threads = [threading.Thread(target=work, args=args) for work, args in works]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        tried.over.set()
        for thread in threads:
            thread.join(120)
        if process.poll() is not None:
            raise RuntimeError(f"the server ended:\n{log.read_text()[-5000:]}")
        wire = redis.Redis(port=port, socket_timeout=60)
        wire.flushall()
        if not wire.set("again", b"x" * (room // 3)):
            raise RuntimeError("nothing can be stored any more")
    if "Traceback" in log.read_text(errors="replace"):
        tried.wrong(f"the log has a traceback:\n{log.read_text()[:5000]}")
    return tried


def main() -> int:
    """Runs it from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--room", type=int, default=300, help="MB above what an idle server takes")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tried = run(given.room * _MB, given.seconds, given.clients, Path(folder))
    waits = sorted(tried.waits) or [0.0]
    counts = {name: tried.counts[name] for name in ("done", "OOM", "lost", "wrong")}
    print(counts, f"PING: p50 {waits[len(waits) // 2] * 1000:.1f} ms,", end=" ")
    print(f"p99 {waits[len(waits) * 99 // 100] * 1000:.1f} ms")
    for note in tried.notes[:10]:
        print(note)
    return 1 if tried.counts["lost"] or tried.counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
