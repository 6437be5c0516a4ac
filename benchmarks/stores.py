"""Compare the stores: the memory store, a Valkey behind the server, and redis-server itself.

All run side by side and take turns, repetition by repetition. Each server has the first core for
itself; the load and, behind a server, the engine share the second. Rates and times come from
redis-benchmark, processor time from the server's threads.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from figures import REDIS, Load
from load import by_benchmark, by_socket
from models import models
from rich.console import Console
from rich.progress import track
from rich.table import Table
from servers import COMMANDS, SERVE, BenchError, Cores, Server, on_cores, started

from tensorkeep_valkey.engine_program import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from figures import Sample
    from load import Repetition

MEMORY, SOCKET, TCP = "memory", "Valkey, socket", "Valkey, TCP"
ALL: Final = (REDIS, MEMORY, SOCKET, TCP)
_SMALL: Final = b"x" * 16
_LARGE: Final = (1, 3, 224, 224)  # a picture of 602 KB
_LARGE_BYTES: Final = 602_112


@dataclass(frozen=True, slots=True)
class Row:
    """One command with one number of clients.

    Attributes:
        name: The command, for people.
        command: Its words.
        clients: Clients that ask at the same time.
        plain: Whether redis-server knows it.
        large: Whether it moves 602 KB; one client is measured then.
    """

    name: str
    command: tuple[str | bytes, ...]
    clients: int
    plain: bool
    large: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """What one row took with each server; medians over the repetitions.

    Attributes:
        name: The row's name.
        clients: Its clients.
        rates: Requests per second, by server.
        p50_us: Microseconds that half of the requests took at most, by server.
        cpu_us: Microseconds of processor time of the server per request, by server.
    """

    name: str
    clients: int
    rates: dict[str, float]
    p50_us: dict[str, float]
    cpu_us: dict[str, float]


def rows() -> list[Row]:
    """Return what is measured."""
    picture = bytes(_LARGE_BYTES)
    shape = tuple(map(str, _LARGE))
    commands: list[tuple[str, tuple[str | bytes, ...], bool]] = [
        ("PING", ("PING",), True),
        ("SET 16 bytes", ("SET", "k16", _SMALL), True),
        ("GET 16 bytes", ("GET", "k16"), True),
        ("SET 602 KB", ("SET", "k602", picture), True),
        ("GET 602 KB", ("GET", "k602"), True),
        (
            "AI.TENSORSET 4 floats",
            ("AI.TENSORSET", "t4", "FLOAT", "1", "4", "BLOB", b"0123456789abcdef"),
            False,
        ),
        ("AI.TENSORGET 4 floats", ("AI.TENSORGET", "t4", "BLOB"), False),
        ("AI.TENSORSET 602 KB", ("AI.TENSORSET", "t602", "FLOAT", *shape, "BLOB", picture), False),
        ("AI.TENSORGET 602 KB", ("AI.TENSORGET", "t602", "BLOB"), False),
        (
            "AI.MODELEXECUTE x2",
            ("AI.MODELEXECUTE", "x2", "INPUTS", "1", "t4", "OUTPUTS", "1", "y4"),
            False,
        ),
    ]
    return [
        Row(name, command, clients, plain, "602 KB" in name)
        for name, command, plain in commands
        for clients in ((1,) if "602 KB" in name else (1, 50))
    ]


@contextmanager
def serving(name: str, cores: Cores) -> Iterator[Server]:
    """Run one of the compared servers, and its engine, for the length of a `with` block."""
    if name == REDIS:
        with started(REDIS, COMMANDS[REDIS], cores.server) as server:
            yield server
        return
    if name == MEMORY:
        with started(name, SERVE, cores.server) as server:
            yield server
        return
    with tempfile.TemporaryDirectory(prefix="tk") as folder:
        socket = str(Path(folder, "s"))
        engine = (find_program(""), "--save", "", "--unixsocket", socket, "--dir", folder)
        with started(f"{name}: the engine", engine, cores.load) as behind:
            url = f"unix://{socket}" if name == SOCKET else f"valkey://127.0.0.1:{behind.port}"
            with started(name, (*SERVE, "--store", url), cores.server) as server:
                yield server


def prepare(server: Server) -> None:
    """Store what the rows read.

    Raises:
        BenchError: The server answered with an error.
    """
    x2 = models()["x2"].blob
    picture = bytes(_LARGE_BYTES)
    commands: list[tuple[str | bytes | int, ...]] = [
        ("SET", "k16", _SMALL),
        ("SET", "k602", picture),
    ]
    if server.name != REDIS:
        commands += [
            ("AI.TENSORSET", "t4", "FLOAT", "1", "4", "BLOB", b"0123456789abcdef"),
            ("AI.TENSORSET", "t602", "FLOAT", *_LARGE, "BLOB", picture),
            ("AI.MODELSTORE", "x2", "ONNX", "CPU", "BLOB", x2),
            ("AI.MODELEXECUTE", "x2", "INPUTS", "1", "t4", "OUTPUTS", "1", "y4"),
        ]
    with server.connect() as wire:
        wire.socket.settimeout(60)
        for command in commands:
            reply = wire.ask(*command)
            if reply != b"+OK\r\n":
                raise BenchError(f"{server.name}, {command[0]!r}: {reply[:300]!r}")


def measure(row: Row, servers: Sequence[Server], reps: int, seconds: float) -> Figure:
    """Run repetitions of one row in turn."""
    asked = [server for server in servers if row.plain or server.name != REDIS]
    repetitions = {server.name: _repetition(row, server, seconds) for server in asked}
    samples: dict[str, list[Sample]] = {name: [] for name in repetitions}
    for rep in range(reps):
        for name in repetitions if rep % 2 else reversed(repetitions):
            samples[name].append(repetitions[name]())
    return Figure(
        row.name,
        row.clients,
        {name: statistics.median(s.rate for s in each) for name, each in samples.items()},
        {name: statistics.median(s.p50_ms * 1000 for s in each) for name, each in samples.items()},
        {name: statistics.median(s.cpu_us or 0.0 for s in each) for name, each in samples.items()},
    )


def _repetition(row: Row, server: Server, seconds: float) -> Repetition:
    if row.large:  # more than a program may be given as an argument
        return by_socket(server, row.command, seconds)
    return by_benchmark(server, row.command, Load(row.clients), seconds)


def table(figures: Sequence[Figure]) -> Table:
    """Return what people read: rate, p50 and processor time of each server."""
    made = Table(title="Stores: requests/s (p50 us, server's processor time us)")
    made.add_column("command")
    made.add_column("clients", justify="right")
    for name in ALL:
        made.add_column(name, justify="right")
    for each in figures:
        made.add_row(
            each.name,
            str(each.clients),
            *(
                f"{each.rates[name]:,.0f} ({each.p50_us[name]:.0f}, {each.cpu_us[name]:.1f})"
                if name in each.rates
                else "-"
                for name in ALL
            ),
        )
    return made


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--secs", type=float, default=1.0)
    parser.add_argument("--json", type=Path, help="file for programs")
    asked = parser.parse_args()
    todo = [row for row in rows() if asked.only in row.name]
    cores = Cores.here()
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(name, cores)) for name in ALL]
        for server in servers:
            prepare(server)
        stack.enter_context(on_cores(cores.load))
        figures = [
            measure(row, servers, asked.reps, asked.secs)
            for row in track(todo, "measuring", console=Console(stderr=True))
        ]
    Console(width=170).print(table(figures))
    if asked.json:
        asked.json.write_text(json.dumps([asdict(each) for each in figures], indent=1) + "\n")


if __name__ == "__main__":
    main()
