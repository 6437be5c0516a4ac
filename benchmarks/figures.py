"""What was measured, as plain values, and the way to JSON and back."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

REDIS = "redis-server"
TENSORKEEP = "Tensorkeep"
ONNX_RUNTIME = "ONNX Runtime"

WITH_MODELS = "with the three models"


@dataclass(frozen=True, slots=True)
class Load:
    """How many clients ask at the same time, and how many requests each sends at once."""

    clients: int = 1
    pipeline: int = 1

    @property
    def text(self) -> str:
        """Say it in words: `50 clients x 16` send 16 requests at once, each."""
        clients = "1 client" if self.clients == 1 else f"{self.clients} clients"
        return clients if self.pipeline == 1 else f"{clients} x {self.pipeline}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One repetition.

    Attributes:
        rate: Requests answered per second.
        p50_ms: Half of the answers came within this time; with pipelining, the whole burst's.
        p99_ms: 99 of 100 answers did.
        cpu_us: CPU time of the server's process per request, None where the system hides it.
        other_cpus: CPUs that anything but client and server took meanwhile, stolen time included.
    """

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float | None
    other_cpus: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """The repetitions of one contender."""

    who: str
    samples: tuple[Sample, ...]

    @property
    def best(self) -> float:
        """The highest rate: on a machine shared with others the fairest figure."""
        return max(s.rate for s in self.samples)

    @property
    def rate(self) -> float:
        """The median rate."""
        return median(s.rate for s in self.samples)

    @property
    def p50_ms(self) -> float:
        """The median of the repetitions' medians."""
        return median(s.p50_ms for s in self.samples)

    @property
    def least_p50_ms(self) -> float:
        """The least of the repetitions' medians."""
        return min(s.p50_ms for s in self.samples)

    @property
    def p99_ms(self) -> float:
        """The median of the repetitions' 99th percentiles."""
        return median(s.p99_ms for s in self.samples)

    @property
    def cpu_us(self) -> float | None:
        """The median CPU time of a request."""
        known = [s.cpu_us for s in self.samples if s.cpu_us is not None]
        return median(known) if known else None

    @property
    def least_cpu_us(self) -> float | None:
        """The least CPU time of a request: the one that other load disturbed least."""
        return min((s.cpu_us for s in self.samples if s.cpu_us is not None), default=None)

    @property
    def other_cpus(self) -> float | None:
        """The median of what others took."""
        known = [s.other_cpus for s in self.samples if s.other_cpus is not None]
        return median(known) if known else None


@dataclass(frozen=True, slots=True)
class Group:
    """Contenders that were measured in turn (A B A B), so that one disturbance meets them all."""

    family: str
    name: str
    load: Load
    measured: tuple[Measured, ...]

    def of(self, who: str) -> Measured | None:
        """Return one contender's repetitions, None if it does not take part."""
        return next((m for m in self.measured if m.who == who), None)


@dataclass(frozen=True, slots=True)
class Run:
    """Everything of one run.

    Attributes:
        date: When it began.
        machine: What it ran on and with which versions.
        notes: What a reader has to know about how it ran.
        groups: The speeds.
        starts: Seconds from the start of the process to the first PONG, by server.
        memory: Megabytes (1e6) in memory, by server and moment.
    """

    date: str
    machine: dict[str, str]
    notes: tuple[str, ...]
    groups: tuple[Group, ...]
    starts: dict[str, tuple[float, ...]]
    memory: dict[str, dict[str, float]]


def run_from(json: dict[str, Any]) -> Run:
    """Return the run that `dataclasses.asdict` had turned into what JSON can carry."""
    groups = tuple(
        Group(
            family=group["family"],
            name=group["name"],
            load=Load(**group["load"]),
            measured=tuple(
                Measured(each["who"], tuple(Sample(**sample) for sample in each["samples"]))
                for each in group["measured"]
            ),
        )
        for group in json["groups"]
    )
    starts = {who: tuple(seconds) for who, seconds in json["starts"].items()}
    return Run(json["date"], json["machine"], tuple(json["notes"]), groups, starts, json["memory"])
