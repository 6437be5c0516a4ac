"""Show how long a client waits for PING while another asks for what is long, large or many.

Run it with `python benchmarks/responsiveness.py`, or `nox -s responsiveness`; `--help` tells what
it can leave out. A second server, which nobody asks for anything but PING, shows what the machine
itself makes a client wait at the same time. What a machine does by chance, it does not do each
time: of several tries, the one in which a load kept others waiting least is shown.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

from figures import TENSORKEEP
from loads import FULL, QUICK, ask, loads
from pinging import pinging
from rich.console import Console
from rich.table import Table
from servers import BenchError, Cores, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loads import Load
    from pinging import Pinging, Wait
    from servers import Server

GOAL_MS: Final = 20.0
_LOADED, _IDLE = "loaded", "idle"
_SETTLING: Final = 0.3  # seconds before and after a load that are looked at with it


@dataclass(frozen=True, slots=True)
class Row:
    """What one load did to others.

    Attributes:
        load: What was asked for.
        seconds: How long it took.
        worst_ms: The longest wait for PING meanwhile, of a client of the same server.
        idle_ms: The same of a client of a server that does nothing else.
        pings: How many there were.
        failure: Why the load could not be done; empty when it was.
    """

    load: str
    seconds: float
    worst_ms: float
    idle_ms: float
    pings: int
    failure: str = ""

    @property
    def beyond_ms(self) -> float:
        """How much longer a client waited than the machine itself explains."""
        return max(0.0, self.worst_ms - self.idle_ms)

    @property
    def within(self) -> bool:
        """Whether the goal was reached."""
        return not self.failure and self.beyond_ms <= GOAL_MS


def best(tries: Sequence[Row]) -> Row:
    """Return the one of several tries of a load that kept others waiting least.

    One that failed is returned before all others.
    """
    return min(tries, key=lambda row: (not row.failure, row.beyond_ms))


def worst_ms(waits: Sequence[Wait]) -> float:
    """Return the longest wait in milliseconds, 0 for none."""
    return max((wait.seconds for wait in waits), default=0.0) * 1000


def measured(load: Load, server: Server, pings: Pinging) -> Row:
    """Ask for one load, and see how long others wait meanwhile."""
    failure = ""
    with server.connect() as wire:
        try:
            ask(wire, load.ready())
            asked = load.asked()
            time.sleep(_SETTLING)
            pings.take()
            errors = wire.read("INFO", "errorstats")
            began = time.perf_counter()
            ask(wire, asked)
            if (wire.read("INFO", "errorstats") != errors) is not load.refused:
                failure = "no reply was an error" if load.refused else "a reply was an error"
        except (OSError, EOFError) as error:
            failure = f"{type(error).__name__}: {error}"
            began = time.perf_counter()
        seconds = time.perf_counter() - began
    time.sleep(_SETTLING)
    waits = pings.take()
    worst, idle = worst_ms(waits[_LOADED]), worst_ms(waits[_IDLE])
    return Row(load.name, seconds, worst, idle, len(waits[_LOADED]), failure)


def rows(chosen: Sequence[Load], tries: int, console: Console) -> Iterator[Row]:
    """Measure loads, those of one group on one server for each try."""
    for _, group in groupby(chosen, lambda load: load.group):
        loads_of_group = [*group]
        found = [_on_one_server(loads_of_group) for _ in range(tries)]
        for row in map(best, zip(*found, strict=True)):
            console.print(f"{row.load}: {row.worst_ms:.1f} ms", highlight=False, markup=False)
            yield row


def _on_one_server(group: Sequence[Load]) -> list[Row]:
    cores = Cores()
    with (
        serving(TENSORKEEP, cores) as loaded,
        serving(TENSORKEEP, cores) as idle,
        pinging({_LOADED: loaded.port, _IDLE: idle.port}) as pings,
    ):
        return [measured(load, loaded, pings) for load in group]


def table(found: Sequence[Row]) -> Table:
    """Return what was measured as a table."""
    made = Table(title="Longest wait of another client for PING", caption_justify="left")
    made.add_column("while one client asks for", min_width=30)
    for title in ("took, s", "waited, ms", "idle server, ms", "beyond, ms"):
        made.add_column(title, justify="right")
    made.add_column(f"within {GOAL_MS:g} ms")
    for row in found:
        verdict = "[green]yes" if row.within else f"[red]{row.failure or 'no'}"
        figures = (row.seconds, row.worst_ms, row.idle_ms, row.beyond_ms)
        formats = ("{:.2f}", "{:.1f}", "{:.1f}", "{:.1f}")
        texts = [form.format(figure) for form, figure in zip(formats, figures, strict=True)]
        made.add_row(row.load, *texts, verdict)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code: 1 when a load kept others waiting."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--only", default="", metavar="REGEX", help="loads that this matches")
    parser.add_argument("--tries", type=int, default=3, help="of each load (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args(arguments)
    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    chosen = [
        load
        for load in loads(QUICK if options.quick else FULL)
        if re.search(options.only, f"{load.group}: {load.name}")
    ]
    if not chosen:
        console.print(f"--only {options.only!r} matches nothing", style="red", markup=False)
        return 1
    try:
        found = list(rows(chosen, options.tries, console))
    except BenchError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    console.print(table(found))
    if options.json is not None:
        texts = [asdict(row) | {"within": row.within} for row in found]
        options.json.write_text(json.dumps(texts, indent=1), encoding="utf-8")
    return 0 if all(row.within for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
