"""Make a run: every comparison in turn, starts, memory, and a description of the machine.

Contenders take turns, repetition by repetition, so that what disturbs the machine meets them all.
"""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from contenders import prepare, send, store
from figures import REDIS, TENSORKEEP, WITH_MODELS, Group, Measured, Run
from models import models
from plan import large
from servers import Servers, on_cores, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contenders import Comparison
    from figures import Sample
    from servers import Cores

    Tell = Callable[[str], None]

STARTS = "start"
MEMORY = "memory"
START_REPETITIONS = 5
PACKAGES = ("tensorkeep", "onnxruntime", "numpy", "uvloop")


@dataclass(frozen=True, slots=True)
class Effort:
    """How often each contender is measured, and for how many seconds."""

    repetitions: int
    seconds: float


def measure(
    comparisons: Sequence[Comparison],
    effort: Effort,
    cores: Cores,
    extras: Sequence[str],
    tell: Tell,
) -> Run:
    """Measure what is asked for.

    Args:
        comparisons: The speeds.
        effort: How often and how long.
        cores: Who runs where.
        extras: Which of `STARTS` and `MEMORY` to measure as well.
        tell: Told what comes next, once per step (see `steps`).
    """
    date = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    with on_cores(cores.load):
        starts = measure_starts(cores, tell) if STARTS in extras else {}
        memory = measure_memory(cores, tell) if MEMORY in extras else {}
        with Servers(cores) as servers:
            groups = tuple(compare(each, effort, servers, tell) for each in comparisons)
    notes = (
        cores.note,
        f"{effort.repetitions} repetitions of about {effort.seconds:g} s each, contenders in turn.",
    )
    return Run(date, machine(), notes, groups, starts, memory)


def steps(comparisons: Sequence[Comparison], effort: Effort, extras: Sequence[str]) -> int:
    """Return how often `measure` will tell what comes next."""
    contenders = sum(len(each.contenders) for each in comparisons)
    starts = 2 * START_REPETITIONS if STARTS in extras else 0
    return contenders * (1 + effort.repetitions) + starts + (2 if MEMORY in extras else 0)


def compare(comparison: Comparison, effort: Effort, servers: Servers, tell: Tell) -> Group:
    """Measure one comparison, its contenders in turn."""
    ready = []
    for contender in comparison.contenders:
        tell(comparison.title)
        ready.append((contender.who, prepare(contender, comparison.load, servers, effort.seconds)))
    samples: dict[str, list[Sample]] = {who: [] for who, _ in ready}
    for _ in range(effort.repetitions):
        for who, repetition in ready:
            tell(comparison.title)
            samples[who].append(repetition())
    measured = tuple(Measured(who, tuple(each)) for who, each in samples.items())
    return Group(comparison.family, comparison.name, comparison.load, measured)


def measure_starts(cores: Cores, tell: Tell) -> dict[str, tuple[float, ...]]:
    """Start each server some times and take down how long it took until it answered."""
    seconds: dict[str, list[float]] = {REDIS: [], TENSORKEEP: []}
    for _ in range(START_REPETITIONS):
        for who, found in seconds.items():
            tell(f"start of {who}")
            with serving(who, cores) as server:
                found.append(server.start_seconds)
    return {who: tuple(found) for who, found in seconds.items()}


def measure_memory(cores: Cores, tell: Tell) -> dict[str, dict[str, float]]:
    """Look at a fresh server's memory: after its start, with models, with a large tensor."""
    memory: dict[str, dict[str, float]] = {}
    for who in (REDIS, TENSORKEEP):
        tell(f"memory of {who}")
        with serving(who, cores) as server, server.connect() as wire:
            found: dict[str, float | None] = {"after its start": server.memory_mb()}
            if who == TENSORKEEP:
                for model in models().values():
                    store(wire, model)
                found[WITH_MODELS] = server.memory_mb()
                large_tensor = ("AI.TENSORSET", "t", "FLOAT", 16 * 1024 * 1024, "BLOB")
                send(wire, (*large_tensor, large("64 MB")))
            else:
                send(wire, ("SET", "t", large("64 MB")))
            found["with 64 MiB of data as well"] = server.memory_mb()
            memory[who] = {moment: mb for moment, mb in found.items() if mb is not None}
    return memory


def machine() -> dict[str, str]:
    """Describe what this runs on, without names of hosts or paths."""
    redis = subprocess.run([REDIS, "--version"], capture_output=True, text=True, check=True).stdout
    return {
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "system": f"{platform.system()}, {platform.machine()}",
        "Python": platform.python_version(),
        REDIS: redis.partition("v=")[2].split()[0],
        **{name: version(name) for name in PACKAGES},
    }


def processor() -> str:
    """Return the processor's name as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
