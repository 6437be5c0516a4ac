"""Compare requests of a user who may use some keys and commands with those of one who may do all.

Both ask the same server, in turn. What counts is the server's processor time for each request.
"""

from __future__ import annotations

import argparse
import statistics
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from figures import TENSORKEEP
from load import by_rounds
from models import models
from rich.console import Console
from rich.progress import track
from rich.table import Table
from servers import COMMANDS, Cores, on_cores, started

_USER: Final = "web"
_RULES: Final = ("on", ">secret", "~shop:*", "+@run", "+@tensor", "+get", "+set")
_CLIENTS: Final = 50
_SMALL: Final = b"x" * 16
_TENSOR: Final = ("FLOAT", "1", "4", "VALUES", "1", "2", "3", "4")
_REQUESTS: Final[tuple[tuple[str | bytes, ...], ...]] = (
    ("GET", "shop:k"),
    ("SET", "shop:k", _SMALL),
    ("AI.TENSORSET", "shop:t", *_TENSOR),
    ("AI.TENSORGET", "shop:x", "BLOB"),
    ("AI.MODELEXECUTE", "shop:m", "INPUTS", "1", "shop:x", "OUTPUTS", "1", "shop:y"),
)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reps", type=int, default=15)
    parser.add_argument("--secs", type=float, default=0.5)
    asked = parser.parse_args()
    cores = Cores.here()
    table = Table(title=f"Processor time of the server per request, us ({_CLIENTS} clients)")
    for title in ("command", "may do all", "may do some", "ratio"):
        table.add_column(title)
    with ExitStack() as stack:
        free = stack.enter_context(started(TENSORKEEP, COMMANDS[TENSORKEEP], cores.server))
        limited = replace(free, name=_USER, user=_USER)
        stack.enter_context(on_cores(cores.load))
        with free.connect() as wire:
            wire.ask("ACL", "SETUSER", _USER, *_RULES)
            wire.ask("AI.MODELSTORE", "shop:m", "ONNX", "CPU", "BLOB", models()["x2"].blob)
            wire.ask("AI.TENSORSET", "shop:x", *_TENSOR)
            wire.ask("SET", "shop:k", _SMALL)
        for words in track(_REQUESTS, "measuring", console=Console(stderr=True)):
            ways = [by_rounds(each, [words], _CLIENTS, asked.secs) for each in (free, limited)]
            samples = [[way().cpu_us or 0.0 for way in ways] for _ in range(asked.reps)]
            costs = [statistics.median(sample) for sample in zip(*samples, strict=True)]
            ratio = statistics.median(some / every for every, some in samples)
            table.add_row(str(words[0]), *(f"{cost:.1f}" for cost in costs), f"{ratio:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
