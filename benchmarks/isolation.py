"""Compare the kinds of workers: the same networks run by threads and by processes, side by side.

Two servers, alike but for --isolate, take turns, repetition by repetition; they and the load may
use all cores. Rates and times come from redis-benchmark.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from figures import Load
from load import Timing, benchmark
from networks import NAMES, Network, network
from rich.console import Console
from rich.progress import track
from rich.table import Table
from servers import BenchError, Server, started

if TYPE_CHECKING:
    from collections.abc import Sequence

THREADS, PROCESSES = "threads", "processes"
_SERVE: Final = (sys.executable, "-m", "tensorkeep_server", "serve")
_ISOLATE: Final = {THREADS: "none", PROCESSES: "all"}
_MODULES: Final = {"TORCH": "torch", "TF": "tensorflow", "TFLITE": "ai_edge_litert"}
_CLIENTS: Final = (1, 16, 50)
_TRIAL: Final = 50  # requests by which the rate is guessed


@dataclass(frozen=True, slots=True)
class Figure:
    """What one network took with one number of clients; medians over the repetitions.

    Attributes:
        backend: The backend.
        network: The network.
        clients: Clients that ask at the same time.
        rates: Runs per second, by kind of worker.
        p50_us: Microseconds that half of the runs took at most, by kind of worker.
        ratio: Runs per second of processes for one of threads; median of the pairs.
    """

    backend: str
    network: str
    clients: int
    rates: dict[str, float]
    p50_us: dict[str, float]
    ratio: float


def store(server: Server, backend: str, model: Network, batch: int) -> list[str]:
    """Store a network and its input, and return the command that runs it.

    Raises:
        BenchError: The server answered with an error.
    """
    key, x = f"{backend}-{model.name}", f"{backend}-{model.name}-x"
    batching = ("BATCHSIZE", batch) if batch else ()
    shape = model.x.shape
    run = ["AI.MODELEXECUTE", key, "INPUTS", "1", x, "OUTPUTS", "1", f"{key}-y"]
    with server.connect() as wire:
        wire.socket.settimeout(120)
        for command in (
            ("AI.MODELSTORE", key, backend, "CPU", *batching, *model.words, "BLOB", model.blob),
            ("AI.TENSORSET", x, "FLOAT", *shape, "BLOB", model.x.tobytes()),
            run,
        ):
            reply = wire.ask(*command)
            if reply != b"+OK\r\n":
                raise BenchError(f"{server.name}, {key}, {command[0]}: {reply[:300]!r}")
    return run


def compare(
    servers: Sequence[Server],
    command: Sequence[str],
    clients: int,
    reps: int,
    seconds: float,
) -> tuple[dict[str, float], dict[str, float], float]:
    """Run repetitions in turn; return rates, times and the ratio as in `Figure`."""
    load = Load(clients)
    counts = {
        server.name: max(
            clients, round(benchmark(server, command, load, max(clients, _TRIAL)).rate * seconds)
        )
        for server in servers
    }
    timings: dict[str, list[Timing]] = {server.name: [] for server in servers}
    for rep in range(reps):
        for server in servers if rep % 2 else reversed(servers):
            timings[server.name].append(benchmark(server, command, load, counts[server.name]))
    pairs = zip(timings[PROCESSES], timings[THREADS], strict=True)
    return (
        {name: statistics.median(t.rate for t in each) for name, each in timings.items()},
        {name: statistics.median(t.p50_ms * 1000 for t in each) for name, each in timings.items()},
        statistics.median(one.rate / other.rate for one, other in pairs),
    )


def table(figures: Sequence[Figure]) -> Table:
    """Return what people read."""
    made = Table(title="Workers that are threads, and processes")
    for column in ("backend", "network", "clients", "threads/s", "processes/s", "ratio"):
        made.add_column(column, justify="left" if column in ("backend", "network") else "right")
    made.add_column("p50 threads, us", justify="right")
    made.add_column("p50 processes, us", justify="right")
    for each in figures:
        made.add_row(
            *(each.backend, each.network, str(each.clients)),
            *(f"{each.rates[kind]:.0f}" for kind in (THREADS, PROCESSES)),
            f"{each.ratio:.2f}",
            *(f"{each.p50_us[kind]:.0f}" for kind in (THREADS, PROCESSES)),
        )
    return made


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", action="append", choices=[*_MODULES], help="default: all")
    parser.add_argument("--network", action="append", choices=NAMES, help="default: all")
    parser.add_argument("--clients", action="append", type=int, help="default: 1, 16 and 50")
    parser.add_argument("--batch", type=int, default=0, help="BATCHSIZE of the models")
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--secs", type=float, default=1.0)
    parser.add_argument("--json", type=Path, help="file for programs")
    asked = parser.parse_args()
    backends = asked.backend or [name for name in _MODULES if find_spec(_MODULES[name])]
    todo = [(backend, name) for backend in backends for name in asked.network or NAMES]
    figures = []
    with ExitStack() as stack:
        servers = [
            stack.enter_context(started(kind, (*_SERVE, "--isolate", isolate)))
            for kind, isolate in _ISOLATE.items()
        ]
        for backend, name in track(todo, "measuring", console=Console(stderr=True)):
            made = network(backend, name)
            commands = [store(server, backend, made, asked.batch) for server in servers]
            for clients in asked.clients or _CLIENTS:
                found = compare(servers, commands[0], clients, asked.reps, asked.secs)
                figures.append(Figure(backend, name, clients, *found))
    Console(width=120).print(table(figures))
    if asked.json:
        asked.json.write_text(json.dumps([asdict(each) for each in figures], indent=1) + "\n")


if __name__ == "__main__":
    main()
