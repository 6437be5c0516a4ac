"""Half an hour of mixed load, with crashing models among good ones: what grows, what is right.

`python tests/endurance.py --minutes 30` starts a server as people start it. Some clients run good
models of every installed framework, small and large, and compare each answer; one stores and runs
models that end, hang or fill their workers, one after another. Memory, descriptors and threads of
the server and of its workers are looked at all the time. The program ends with 1 when an answer was
wrong, a good request failed, or something grew.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hostile_models
import numpy as np
from beside import percentile
from conftest import serve
from hostile_models import tensor_set, torch_forward
from rich.console import Console
from rich.progress import Progress, TextColumn
from rich.table import Table

from tensorkeep_server.testing import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conftest import Serving

    from tensorkeep_server.testing import Wire

DIGITS = Path(__file__).parents[1] / "examples" / "digits"
FRAMEWORKS = {
    "ONNX": "onnxruntime",
    "TORCH": "torch",
    "TF": "tensorflow",
    "TFLITE": "ai_edge_litert",
}
OPTIONS = ("--store-timeout", "10000")  # its own would wait a minute for each that never ends
WORKER_MEMORY = 3000  # MB
SAMPLES = 120  # looks at the processes
LARGE = 150_528  # floats: a picture of 224 by 224
GROWTH = 1.15  # what may have become of a level, and a little more:
MORE_BYTES, MORE_FILES, MORE_THREADS = 30 * 2**20, 10, 4


@dataclass(frozen=True)
class Good:
    """A model or script whose answers are known.

    Attributes:
        key: Its key.
        store: The command that stores it.
        inputs: What it may be given.
        run: Returns the command that runs it on the tensor under a key, into another.
        tolerance: How far an answer may be from the first one for the same input.
    """

    key: str
    store: list[Any]
    inputs: tuple[np.ndarray, ...]
    run: Callable[[str, str], list[Any]]
    tolerance: float = 1e-5


@dataclass(frozen=True)
class Level:
    """What the processes take at one moment.

    Attributes:
        at: Seconds since the beginning.
        server_bytes: Memory of the server.
        server_files: Its descriptors.
        server_threads: Its threads.
        workers: How many processes it has started.
        workers_bytes: Memory of all of them, shared parts counted in each.
        workers_files: Most descriptors of one of them.
    """

    at: float
    server_bytes: int
    server_files: int
    server_threads: int
    workers: int
    workers_bytes: int
    workers_files: int


def good_models(frameworks: Sequence[str]) -> list[Good]:
    """Returns good models for some frameworks."""
    with np.load(DIGITS / "heldout.npz") as held_out:
        pictures = (held_out["images"] / 16).astype(np.float32)
    one, many = pictures[:1], pictures[:16]
    shapes = {"ONNX": (-1, 1, 8, 8), "TORCH": (-1, 1, 8, 8)}
    files = {
        "ONNX": "digits.onnx",
        "TORCH": "digits.pt",
        "TF": "digits.pb",
        "TFLITE": "digits.tflite",
    }
    named = ("INPUTS", 1, "images", "OUTPUTS", 1, "probabilities")
    found = []
    for backend in frameworks:
        blob = (DIGITS / files[backend]).read_bytes()
        names = named if backend == "TF" else ()
        shape = shapes.get(backend, (-1, 8, 8, 1))
        given = [one] if backend == "TFLITE" else [one, many]
        for options in ((), ("BATCHSIZE", 8, "MINBATCHSIZE", 2, "MINBATCHTIMEOUT", 2)):
            key = f"good-{backend}{'-batched' if options else ''}"
            store = ["AI.MODELSTORE", key, backend, "CPU", *options, *names, "BLOB", blob]
            inputs = tuple(each.reshape(shape) for each in given)
            found.append(Good(key, store, inputs, modelexecute(key)))
    if "TORCH" in frameworks:
        blob = torch_forward("return torch.mul(x, 2)")
        large = (np.arange(LARGE, dtype="f"),)
        store = ["AI.MODELSTORE", "good-large", "TORCH", "CPU", "BLOB", blob]
        found.append(Good("good-large", store, large, modelexecute("good-large")))
        source = hostile_models.script("return x + len(keys)")
        store = ["AI.SCRIPTSTORE", "good-script", "CPU", "ENTRY_POINTS", 1, "f", "SOURCE", source]

        def call(x: str, y: str) -> list[Any]:
            return ["AI.SCRIPTEXECUTE", "good-script", "f", "INPUTS", 1, x, "OUTPUTS", 1, y]

        found.append(Good("good-script", store, (one, large[0]), call))
    return found


def modelexecute(key: str) -> Callable[[str, str], list[Any]]:
    """Returns what makes the command that runs a model."""
    return lambda x, y: ["AI.MODELEXECUTE", key, "INPUTS", 1, x, "OUTPUTS", 1, y]


class Load:
    """All clients of one server, on threads."""

    def __init__(self, serving: Serving, frameworks: Sequence[str], seed: str) -> None:
        self._serving = serving
        self._seed = seed
        self._frameworks = frameworks
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.seconds: list[float] = []  # of good runs
        self.pings: list[float] = []
        self._good = good_models(frameworks)
        self._answers: dict[tuple[str, int], np.ndarray] = {}
        self._hostile = list(hostile_models.all_of(*frameworks))

    def prepare(self) -> None:
        """Stores what is good, and asks for all answers once."""
        with self._serving.wire() as wire:
            for good in self._good:
                require(wire, good.store)
                for place, array in enumerate(good.inputs):
                    self._answers[good.key, place] = self._answered(wire, good, array, "first")

    def start(self, clients: int) -> list[threading.Thread]:
        """Starts the clients."""
        works = [*[self._be_good] * clients, self._be_hostile, self._ping]
        threads = [
            threading.Thread(target=self._work, args=(work, number))
            for number, work in enumerate(works)
        ]
        for thread in threads:
            thread.start()
        return threads

    def end(self) -> None:
        """Lets the clients end."""
        self._ended.set()

    def times(self) -> dict[str, float]:
        """Returns what requests took, in milliseconds."""
        both = {"good requests": self.seconds, "PING": self.pings}
        return {
            f"{name} p{percent}, ms": percentile(seconds, percent)
            for name, seconds in both.items()
            for percent in (50, 99)
        }

    def _work(self, work: Callable[..., None], number: int) -> None:
        draw = random.Random(f"{self._seed} {number}")
        try:
            with self._serving.wire() as wire:
                while not self._ended.is_set():
                    work(wire, draw, f"{{{number}}}")
        except Exception as error:  # noqa: BLE001 - a client that ends is a failure that is told
            self._note(f"a client ended: {type(error).__name__}: {error}")

    def _note(self, what: str) -> None:
        with self._lock:
            self.wrong[what[:200]] += 1

    def _answered(self, wire: Wire, good: Good, array: np.ndarray, own: str) -> np.ndarray:
        require(wire, tensor_set(f"x{own}", array))
        require(wire, good.run(f"x{own}", f"y{own}"))
        return np.frombuffer(wire.read("AI.TENSORGET", f"y{own}", "BLOB"), np.float32)

    def _be_good(self, wire: Wire, draw: random.Random, own: str) -> None:
        good = draw.choice(self._good)
        place = draw.randrange(len(good.inputs))
        began = time.perf_counter()
        try:
            answer = self._answered(wire, good, good.inputs[place], own)
        except ValueError as error:
            self._note(str(error))
            return
        seconds = time.perf_counter() - began
        expected = self._answers[good.key, place]
        close = answer.shape == expected.shape and np.allclose(
            answer, expected, good.tolerance, good.tolerance
        )
        if not close:
            self._note(f"wrong answer of {good.key}")
        with self._lock:
            self.counts["good answers"] += close
            self.seconds.append(seconds)
        time.sleep(draw.random() * 0.01)

    def _be_hostile(self, wire: Wire, draw: random.Random, own: str) -> None:
        hostile = draw.choice(self._hostile)
        reply = wire.read(*hostile.store(hostile.name))
        if reply == "OK":
            setting, run = hostile.run(hostile.name)
            for each in setting:
                require(wire, each)
            for _ in range(draw.choice((1, 1, 4))):
                reply = wire.read(*run)
                self._count_hostile(str(reply), hostile.name)
        else:
            self._count_hostile(str(reply), hostile.name)
        time.sleep(draw.random() * 0.2)

    def _count_hostile(self, text: str, name: str) -> None:
        kinds = {
            "not run until": "refused after three crashes",
            "ended its worker process": "crashes",
            "took longer": "ended for time",
            "memory": "ended for memory",
            "alloc": "ended for memory",
            "OK": "ran well",
        }
        kind = next((kind for words, kind in kinds.items() if words in text), f"error: {text[:90]}")
        with self._lock:
            self.counts[kind] += 1
            self.counts[f"  {name}: {kind}"] += 1

    def _ping(self, wire: Wire, draw: random.Random, own: str) -> None:
        began = time.perf_counter()
        if wire.read("PING") != "PONG":
            self._note("wrong answer of PING")
        self.pings.append(time.perf_counter() - began)
        time.sleep(0.02)


def require(wire: Wire, command: list[Any]) -> None:
    """Sends what has to be answered with OK.

    Raises:
        ValueError: It was not; the text says what it was answered.
    """
    reply = wire.read(*command)
    if reply != "OK":
        kind = "error" if isinstance(reply, WireError) else "reply"
        raise ValueError(f"{kind} to {command[0]} {command[1]}: {reply}")


def children_of(pid: int) -> list[int]:
    """Returns the processes that a process has started, and those that they have."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *children_of(child)]
    return found


def level(pid: int, at: float) -> Level:
    """Returns what a server and its workers take now."""
    memory, files, threads = taken(pid)
    workers = [seen for child in children_of(pid) if (seen := taken(child))[0]]
    return Level(
        round(at, 1),
        memory,
        files,
        threads,
        len(workers),
        sum(each[0] for each in workers),
        max((each[1] for each in workers), default=0),
    )


def taken(pid: int) -> tuple[int, int, int]:
    """Returns the memory, descriptors and threads of a process; zeros when it has ended."""
    place = Path(f"/proc/{pid}")
    with suppress(OSError, KeyError, ValueError):
        text = (place / "status").read_text()
        status = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        size = int(status["VmRSS"].split()[0]) * 1024
        return size, len(list((place / "fd").iterdir())), int(status["Threads"])
    return 0, 0, 0


def grown(levels: Sequence[Level]) -> dict[str, str]:
    """Returns what grew between the second quarter of the time and the last, with both levels."""
    quarter = max(1, len(levels) // 4)
    found = {}
    allowed = {
        "server_bytes": MORE_BYTES,
        "server_files": MORE_FILES,
        "server_threads": MORE_THREADS,
        "workers": MORE_THREADS,
        "workers_files": MORE_FILES,
    }
    for name, more in allowed.items():
        then, now = (
            float(np.median([getattr(each, name) for each in some]))
            for some in (levels[quarter : 2 * quarter], levels[-quarter:])
        )
        if now > then * GROWTH + more:
            found[name] = f"{then:,.0f} to {now:,.0f}"
    return found


def table(levels: Sequence[Level]) -> Table:
    """Returns the levels over time, for people."""
    made = Table(title="Levels")
    heads = ("after, s", "server, MB", "files", "threads", "processes", "theirs, MB", "files")
    for head in heads:
        made.add_column(head, justify="right")
    for each in levels[:: max(1, len(levels) // 15)]:
        server, workers = each.server_bytes / 1e6, each.workers_bytes / 1e6
        numbers = (each.at, server, each.server_files, each.server_threads)
        made.add_row(
            *(f"{number:.0f}" for number in (*numbers, each.workers, workers, each.workers_files))
        )
    return made


@dataclass
class Found:
    """What was found.

    Attributes:
        counts: How often what was done.
        wrong: What went wrong, and how often.
        times: What requests took, in milliseconds.
        levels: What the processes took, over time.
        information: What the server itself told of isolation in the end.
        failure: What went wrong with the server.
    """

    counts: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, int] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    levels: list[Level] = field(default_factory=list)
    information: str = ""
    failure: str = ""

    @property
    def grown(self) -> dict[str, str]:
        """What grew; see `grown`."""
        return grown(self.levels) if self.levels else {}

    @property
    def sound(self) -> bool:
        """Whether models crashed, and nothing else came of it."""
        return bool(self.counts.get("crashes")) and not (self.failure or self.wrong or self.grown)


def kept_busy(seconds: float, clients: int, seed: str, console: Console) -> Found:
    """Keeps a server busy, and returns what was found."""
    frameworks = [name for name, module in FRAMEWORKS.items() if find_spec(module)]
    found = Found()
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[seen]}"))
    with tempfile.TemporaryDirectory() as folder, Progress(*columns, console=console) as progress:
        bar = progress.add_task("endurance", total=seconds, seen="")
        try:
            with serve(Path(folder), *OPTIONS, "--worker-memory", str(WORKER_MEMORY)) as serving:
                load = Load(serving, frameworks, seed)
                load.prepare()
                began, threads = time.monotonic(), load.start(clients)
                try:
                    while (at := time.monotonic() - began) < seconds:
                        found.levels.append(level(serving.process.pid, at))
                        right, bad = load.counts["good answers"], sum(load.wrong.values())
                        seen = f"{right:,} right, {bad} wrong, {load.counts['crashes']:,} crashes"
                        progress.update(bar, completed=at, seen=seen)
                        time.sleep(seconds / SAMPLES)
                finally:
                    load.end()
                    for thread in threads:
                        thread.join()
                    found.counts, found.wrong = dict(load.counts), dict(load.wrong)
                    found.times = load.times()
                with serving.wire() as wire:
                    found.information = wire.read("INFO", "isolation").decode()
        except (AssertionError, OSError, EOFError, ValueError) as error:
            found.failure = f"{type(error).__name__}: {error}"[-3000:]
    return found


def main() -> int:
    """Reads the options, keeps the load going, and shows what came of it."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--minutes", type=float, default=30.0)
    options.add_argument("--clients", type=int, default=6, help="clients of good models")
    options.add_argument("--seed", default=str(random.randrange(2**31)))
    options.add_argument("--json", action="store_true", help="print all figures for programs")
    chosen = options.parse_args()
    console = Console(stderr=True)
    console.print(f"seed {chosen.seed}")
    found = kept_busy(chosen.minutes * 60, chosen.clients, chosen.seed, console)
    if chosen.json:
        print(json.dumps({**asdict(found), "grown": found.grown, "sound": found.sound}, indent=1))
    else:
        out = Console(width=None if console.is_terminal else 110)
        out.print(table(found.levels))
        counted = Table(
            "what", "how often", title=f"{chosen.minutes:g} minutes, seed {chosen.seed}"
        )
        for what, count in (*sorted(found.counts.items()), *found.times.items()):
            counted.add_row(what, f"{count:,}")
        out.print(counted)
        out.print(found.information, markup=False)
    for what, count in found.wrong.items():
        console.print(f"{count} times: {what}", style="red", markup=False)
    for what, text in found.grown.items():
        console.print(f"{what} grew from {text}", style="red", markup=False)
    if found.failure:
        console.print(found.failure, style="red", markup=False)
    return 0 if found.sound else 1


if __name__ == "__main__":
    sys.exit(main())
