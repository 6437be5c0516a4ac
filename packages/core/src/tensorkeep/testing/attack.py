"""Attacks the operators of a framework, and counts what they do not survive.

A list of operators that are known to be harmless is worth what was tried on them. So a program of
a backend makes models that are odd in all that its check lets through, and `attack` builds them and
runs them on odd inputs in processes of their own, thousands for each operator. How a model is made
depends on the format.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from tensorkeep.config import BackendOptions
from tensorkeep.hookspecs import RunContext
from tensorkeep.model import ModelSpec
from tensorkeep.tensor import Tensor

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import DTypeLike, NDArray

WHOLE: Final = (
    0,
    1,
    2,
    3,
    4,
    5,
    8,
    -1,
    -2,
    -3,
    2**31 - 1,
    -(2**31),
    2**31,
    2**62,
    -(2**63),
    2**63 - 1,
)
"""Whole numbers for attributes and arguments."""
REAL: Final = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e30, 3e38, -3e38, 1e-5)
"""Finite numbers of single precision."""
STRANGE: Final = (*REAL, float("inf"), float("-inf"), float("nan"))
"""Others as well."""
SIZES: Final = (1, 1, 2, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33)
"""Sizes that models are made for."""
ODD_SIZES: Final = (0, 0, 1, 1, 2, 3, 5, 8, 31, 64, 257, 1000)
"""Sizes that runs are given where any will do."""
MOST_ELEMENTS: Final = 200_000
"""Elements that an input has at most."""

_MEMORY: Final = 8 * 2**30  # bytes that a process may ask for
_EXPLODED: Final = 2**30  # bytes of memory that such inputs must not take
_SLOW: Final = 2.0  # seconds of processor time that they must not take
_PATIENCE: Final = 60.0  # seconds for one model, on a busy machine
_RUNS: Final = 4  # of each model
_ENOUGH: Final = 5  # deaths of an operator that is not listed


class Chance(Random):
    """Draws odd things."""

    def often(self, share: float) -> bool:
        """Returns whether something is to be done that is done in a share of all cases."""
        return self.random() < share

    def shape(self, least: int = 0, most: int = 5) -> tuple[int, ...]:
        """Draws sizes, for a number of axes between two."""
        return tuple(self.choice(SIZES) for _ in range(self.randint(least, most)))

    def array(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """Draws numbers, usual ones or extreme ones."""
        kind = np.dtype(dtype)
        generator = np.random.default_rng(self.getrandbits(32))
        luck = self.random()
        if kind == np.bool_:
            return np.asarray(generator.integers(0, 2, shape), np.bool_)
        if kind.kind in "iu":
            info = np.iinfo(kind)
            low, high = (info.min, info.max) if luck < 0.3 else (max(info.min, -3), 4)  # noqa: PLR2004 - chance
            return np.asarray(generator.integers(low, high, shape, kind, endpoint=True))
        if kind.kind != "f":
            return np.full(shape, "text", object)
        found = np.array(generator.normal(0, 1 if luck < 0.7 else 1e20, shape).astype(kind))  # noqa: PLR2004 - chance
        if found.size and self.often(0.5):
            found.reshape(-1)[self.randrange(found.size)] = self.choice(STRANGE)
        return found

    def whole(self, *usual: int) -> int:
        """Draws one of some whole numbers, or a strange one now and then."""
        return self.choice(WHOLE) if self.often(0.04) else self.choice(usual)


class Attempt(Protocol):
    """A model that is tried."""

    def blob(self) -> bytes:
        """Returns the model."""

    def feeds(self) -> list[NDArray[Any]]:
        """Draws what a run is given."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is attacked.

    Attributes:
        backend: The backend's name.
        plugin: Imports its plugin.
        why_isolated: Its check.
        operators: The names of operators, by the name of what is done with them.
        make: Makes a model of an operator.
        unchecked: What is done without asking the check.
    """

    backend: str
    plugin: Callable[[], Any]
    why_isolated: Callable[[ModelSpec, bytes], str]
    operators: Mapping[str, Sequence[str]]
    make: Callable[[str, Chance], Attempt]
    unchecked: Collection[str] = ()


def attack(target: Target) -> None:
    """Is the program: reads its arguments, attacks, and prints the figures."""
    if sys.argv[1:2] == ["one"]:
        _, _, what, operator, seed, start, count = sys.argv
        _attack_here(target, what, operator, seed, range(int(start), int(start) + int(count)))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=[*target.operators])
    parser.add_argument("--count", type=int, default=1000, help="models for each operator")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--only", nargs="*", help="operators")
    parser.add_argument("--why", action="store_true", help="say why models were not run")
    parser.add_argument("--keep", default="", help="a folder for the models that killed")
    parser.add_argument("--out", help="a file for the figures")
    options = parser.parse_args()
    figures = {}
    for operator in options.only or target.operators[options.what]:
        found = _Campaign(options.what, operator, options.seed, options.keep)
        found.run(options.count, enough=options.what in target.unchecked)
        figures[operator] = dict(found.outcomes) | {"killers": found.killers}
        print(operator, figures[operator], flush=True)  # noqa: T201 - what the program is for
        for detail, times in found.details.most_common(8):
            if options.why or detail.startswith(("memory", "slow")):
                print("   ", times, detail, flush=True)  # noqa: T201 - likewise
    if options.out:
        Path(options.out).write_text(json.dumps(figures, indent=1))


# --------------------------------------------------------------------------- a process that may die
def _attack_here(target: Target, what: str, operator: str, seed: str, numbers: range) -> None:
    """Builds and runs models, and says of each what became of it, a line each."""
    if sys.platform != "win32":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    plugin = target.plugin()
    for number in numbers:
        draw = Chance(f"{seed}/{operator}/{number}")
        outcome = _try_one(target, plugin, draw, operator, checked=what not in target.unchecked)
        text = f"{number} {outcome}".replace("\n", " ")
        os.write(1, f"{text[:500]}\n".encode("utf-8", "replace"))


def _try_one(target: Target, plugin: Any, draw: Chance, operator: str, *, checked: bool) -> str:  # noqa: ANN401 - a module
    try:
        attempt = target.make(operator, draw)
        blob = attempt.blob()
    except Exception as error:  # noqa: BLE001 - the attack's own fault
        return f"unmade {error!r}"
    _keep("model", blob)
    spec = ModelSpec(target.backend)
    if checked and (reason := target.why_isolated(spec, blob)):
        return f"isolated {reason}"
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins anew
    before, began = _peak(), time.process_time()
    outcome = _build_and_run(plugin, spec, blob, attempt)
    if _peak() - before > _EXPLODED or "alloc" in outcome:
        return f"memory {_peak() - before} {outcome}"
    if time.process_time() - began > _SLOW:
        return f"slow {time.process_time() - began}"
    return outcome


def _build_and_run(plugin: Any, spec: ModelSpec, blob: bytes, attempt: Attempt) -> str:  # noqa: ANN401 - a module
    try:
        model = plugin.model_create(spec, blob, BackendOptions(intra_op_threads=2))
    except Exception as error:  # noqa: BLE001 - whatever a framework raises
        return f"rejected {error}"
    outcome = "failed"
    for _ in range(_RUNS):
        feeds = attempt.feeds()
        _keep("inputs", *(part for each in feeds for part in (_head(each), each.tobytes())))
        try:
            plugin.model_run(model, [*map(Tensor.from_numpy, feeds)], RunContext(spec.device))
        except Exception as error:  # noqa: BLE001 - whatever a framework raises
            outcome = f"failed {error}" if outcome.startswith("failed") else outcome
        else:
            outcome = "run"
    return outcome


def _keep(what: str, *contents: bytes) -> None:
    """Writes down what is tried, where that was asked for."""
    if folder := os.environ.get("TENSORKEEP_ATTACK_KEEP", ""):
        Path(folder, f"{os.getpid()}.{what}").write_bytes(b"".join(contents))


def _head(array: NDArray[Any]) -> bytes:
    return f"{array.dtype} {array.shape}\n".encode()


def _peak() -> int:
    """Returns the most memory that this process had, in bytes."""
    if sys.platform != "linux":
        return 0
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) * 1024


# --------------------------------------------------------------------------- what is counted
@dataclass(slots=True)
class _Campaign:
    """What became of the models of one operator.

    Attributes:
        outcomes: How many had which outcome.
        details: What else was said of them, and how often.
        killers: The numbers of those that ended a process, and how.
    """

    what: str
    operator: str
    seed: str
    keep: str
    outcomes: Counter[str] = field(default_factory=Counter)
    details: Counter[str] = field(default_factory=Counter)
    killers: list[str] = field(default_factory=list)

    def run(self, count: int, *, enough: bool) -> None:
        done = 0
        while done < count and not (enough and len(self.killers) >= _ENOUGH):
            done, end = self._one_process(done, count - done)
            if end:
                self.outcomes["hung" if end == "hung" else "died"] += 1
                self.killers.append(f"{self.seed}/{self.operator}/{done} {end}")
                done += 1

    def _one_process(self, done: int, count: int) -> tuple[int, str]:
        """Returns the number of the model that ended a process, and how; nothing if none did."""
        command = [sys.executable, sys.argv[0], "one", self.what, self.operator, self.seed]
        with subprocess.Popen(  # noqa: S603 - this program itself
            [*command, str(done), str(count)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"TENSORKEEP_ATTACK_KEEP": self.keep},
        ) as process:
            pipe = process.stdout
            if pipe is None:
                raise AssertionError("a pipe was asked for")
            rest = b""
            while True:
                ready, _, _ = select.select([pipe], [], [], _PATIENCE)
                data = os.read(pipe.fileno(), 65536) if ready else b""
                if not data:
                    break
                *lines, rest = (rest + data).split(b"\n")
                done += sum(self._note(line.decode("utf-8", "replace")) for line in lines)
            if not ready:
                process.kill()
            code = process.wait()
        self._keep_last(process.pid, done, code)
        if not ready:
            return done, "hung"
        return done, (f"signal {-code}" if code < 0 else f"code {code}") if code else ""

    def _note(self, line: str) -> bool:
        """Counts one outcome; returns whether it was one."""
        number, _, rest = line.partition(" ")
        outcome, _, detail = rest.partition(" ")
        if not number.isdigit():  # what a framework prints
            return False
        self.outcomes[outcome] += 1
        if outcome in {"memory", "slow"}:
            self.details[f"{outcome} {number} {detail[:150]}"] += 1
        elif outcome in {"isolated", "rejected", "unmade"}:
            self.details[f"{outcome} {detail[:150]}"] += 1
        return True

    def _keep_last(self, pid: int, number: int, code: int) -> None:
        for last in Path(self.keep).glob(f"{pid}.*") if self.keep else ():
            if code:
                last.rename(last.with_name(f"{self.operator}-{self.seed}-{number}{last.suffix}"))
            else:
                last.unlink()
