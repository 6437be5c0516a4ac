"""Compare requests over TLS with the same ones without it, beside a redis-server that has both.

Each server has both ports, so that one process serves both in turn, repetition by repetition. It
has the first core for itself, the load the second. Also how many handshakes are done in a second,
and how long a client without TLS waits meanwhile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from figures import REDIS, TENSORKEEP
from pinging import pinging
from rich.console import Console
from rich.progress import track
from rich.table import Table
from servers import COMMANDS, Cores, Server, free_port, on_cores, started
from stores import Figure, Row, measure

if TYPE_CHECKING:
    from collections.abc import Sequence

_SMALL: Final = b"x" * 16
_LARGE: Final = bytes(602_112)  # a picture
_MILLISECONDS: Final = 1000
_THREADS: Final = 2  # that connect


def rows() -> list[Row]:
    """Return what is measured."""
    commands: tuple[tuple[str, tuple[str | bytes, ...]], ...] = (
        ("PING", ("PING",)),
        ("SET 16 bytes", ("SET", "k16", _SMALL)),
        ("GET 16 bytes", ("GET", "k16")),
        ("SET 602 KB", ("SET", "k602", _LARGE)),
        ("GET 602 KB", ("GET", "k602")),
    )
    return [
        Row(name, command, clients, plain=True, large="602 KB" in name)
        for name, command in commands
        for clients in ((1,) if "602 KB" in name else (1, 50))
    ]


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of localhost that is its own authority, and its key."""
    made, key = folder / "server.crt", folder / "server.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(made)),
        ],
        check=True,
        capture_output=True,
    )
    return made, key


def both(stack: ExitStack, name: str, made: tuple[Path, Path], cores: Cores) -> list[Server]:
    """Start a server with both ports; return it as it is reached without TLS, and with it."""
    port = free_port()
    options = {
        "--tls-port": port,
        "--tls-cert-file": made[0],
        "--tls-key-file": made[1],
        "--tls-ca-cert-file": made[0],
        "--tls-auth-clients": "no",
    }
    words = [str(word) for option in options.items() for word in option]
    plain = stack.enter_context(started(name, (*COMMANDS[name], *words), cores.server))
    secured = replace(plain, name=f"{name}, TLS", port=port, trusted=str(made[0]))
    return [plain, secured]


def handshakes(plain: Server, secured: Server, count: int) -> tuple[float, float, float]:
    """Connect again and again, from two threads, while another process says PING without TLS.

    Returns:
        Handshakes per second, and of the waits for PONG meanwhile the median and the 99th
        percentile, in milliseconds.
    """

    def connect() -> None:
        for _ in range(count // _THREADS):
            secured.connect().close()

    with pinging({plain.name: plain.port}) as pings:
        pings.take()
        began = time.perf_counter()
        threads = [threading.Thread(target=connect) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - began
        waits = [each.seconds * _MILLISECONDS for each in pings.take()[plain.name]]
    return count / took, statistics.median(waits), statistics.quantiles(waits, n=100)[98]


def table(figures: Sequence[Figure]) -> Table:
    """Return what people read: rate, p50 and processor time of each server."""
    made = Table(title="TLS: requests/s (p50 us, server's processor time us)")
    for title in ("command", "clients", *figures[0].rates):
        made.add_column(title)
    for each in figures:
        shown = (
            f"{each.rates[name]:,.0f} ({each.p50_us[name]:.0f}, {each.cpu_us[name]:.1f})"
            for name in each.rates
        )
        made.add_row(each.name, str(each.clients), *shown)
    return made


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--secs", type=float, default=1.0)
    parser.add_argument("--handshakes", type=int, default=800)
    parser.add_argument("--json", type=Path, help="file for programs")
    asked = parser.parse_args()
    todo = [row for row in rows() if asked.only in row.name]
    cores = Cores.here()
    console = Console(width=170)
    with tempfile.TemporaryDirectory(prefix="tk") as folder, ExitStack() as stack:
        made = certificate(Path(folder))
        servers = [way for name in (REDIS, TENSORKEEP) for way in both(stack, name, made, cores)]
        stack.enter_context(on_cores(cores.load))
        for server in servers[::2]:
            with server.connect() as wire:
                wire.ask("SET", "k16", _SMALL)
                wire.ask("SET", "k602", _LARGE)
        figures = [
            measure(row, [*servers], asked.reps, asked.secs)
            for row in track(todo, "measuring", console=Console(stderr=True))
        ]
        console.print(table(figures))
        for plain, secured in zip(servers[::2], servers[1::2], strict=True):
            rate, half, p99 = handshakes(plain, secured, asked.handshakes)
            console.print(
                f"{secured.name}: {rate:,.0f} handshakes/s; PING without TLS meanwhile:"
                f" p50 {half:.2f} ms, p99 {p99:.2f} ms"
            )
    if asked.json:
        asked.json.write_text(json.dumps([asdict(each) for each in figures], indent=1) + "\n")


if __name__ == "__main__":
    main()
