"""Clients beside a load: how long PING and runs of a good model take, and whether these are right.

`watching(port, key, inputs)` starts two of them, in processes of their own, so that what they
measure is the server and not the load's own work.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from select import select
from typing import TYPE_CHECKING, Any

from tensorkeep_server.testing import Wire, WireError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_EACH = 0.01  # seconds between two requests


@dataclass
class Waits:
    """What one client met with.

    Attributes:
        count: How many requests it sent.
        errors: Those that were answered with an error, by its text.
        wrong: How many were answered otherwise than in the beginning.
        p50_ms: What half of them took at most.
        p99_ms: What 99 of 100 took at most.
        worst_ms: The longest.
    """

    count: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    wrong: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    worst_ms: float = 0.0


@dataclass
class Beside:
    """What both clients met with; there when `watching` has ended."""

    pings: Waits = field(default_factory=Waits)
    runs: Waits = field(default_factory=Waits)


@contextmanager
def watching(port: int, key: str, inputs: Sequence[str]) -> Iterator[Beside]:
    """Runs both clients for as long as the block lasts.

    Args:
        port: Where the server listens.
        key: The key of a good model, which has one output.
        inputs: The keys of its inputs.
    """
    found = Beside()
    programs = [
        subprocess.Popen(
            [sys.executable, __file__, str(port), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for words in ((), (key, *inputs))
    ]
    try:
        for program in programs:  # both have begun
            assert program.stdout is not None
            program.stdout.readline()
        yield found
        texts = [program.communicate("")[0] for program in programs]
        found.pings, found.runs = (Waits(**json.loads(text)) for text in texts)
    finally:
        for program in programs:
            program.kill()
            program.wait()


def percentile(seconds: Sequence[float], percent: float) -> float:
    """Returns what so many of a hundred took at most, in milliseconds."""
    if not seconds:
        return 0.0
    place = min(len(seconds) - 1, int(len(seconds) * percent / 100))
    return round(sorted(seconds)[place] * 1000, 2)


def _asked(port: int, words: list[str]) -> Waits:
    """Sends the same request until somebody closes the standard input."""
    waits, seconds = Waits(), []
    with Wire(port) as wire:
        first = _answer(wire, words)
        print(flush=True)
        while not select([sys.stdin], [], [], _EACH)[0]:
            began = time.perf_counter()
            answer = _answer(wire, words)
            seconds.append(time.perf_counter() - began)
            if isinstance(answer, WireError):
                waits.errors[str(answer)] = waits.errors.get(str(answer), 0) + 1
            elif answer != first:
                waits.wrong += 1
    waits.count = len(seconds)
    waits.p50_ms, waits.p99_ms = percentile(seconds, 50), percentile(seconds, 99)
    waits.worst_ms = percentile(seconds, 100)
    return waits


def _answer(wire: Wire, words: list[str]) -> Any:
    if not words:
        return wire.read("PING")
    key, *inputs = words
    names: list[Any] = ["INPUTS", len(inputs), *inputs, "OUTPUTS", 1, f"{key}:beside"]
    ran = wire.read("AI.MODELEXECUTE", key, *names)
    return wire.read("AI.TENSORGET", f"{key}:beside", "BLOB") if ran == "OK" else ran


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_asked(int(sys.argv[1]), sys.argv[2:]).__dict__))
