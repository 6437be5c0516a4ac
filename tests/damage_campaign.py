"""Damaged models by the thousand, sent to a real server: what crashes, and who feels it.

`python tests/damage_campaign.py --models 1000` starts a server for each backend, as people start
it, and stores and runs models that were damaged at random, as those programs do it that damage them
without a server (`packages/backend-*/tests/damaging.py`). Meanwhile two other clients are watched:
one sends PING, one runs a good model. The program ends with 1 when one of them got an error or a
wrong answer, when a key was lost, or when the server ended.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from beside import Beside, Waits, watching
from rich.console import Console
from rich.progress import Progress, TextColumn
from rich.table import Table

from tensorkeep_server.testing import WireError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Serving

    from tensorkeep.tensor import Tensor
    from tensorkeep.testing import ModelExample
    from tensorkeep_server.testing import Wire

PACKAGES = Path(__file__).parents[1] / "packages"
BACKENDS = ("ONNX", "TORCH", "TF", "TFLITE")
KEPT = 200  # keys that must be there in the end
SEVERAL = 8  # keys that damaged models are stored under
# Its own setting would wait a minute for each model that is never built.
OPTIONS = ("--store-timeout", "10000")


@dataclass
class Found:
    """What came of a backend's models.

    Attributes:
        backend: The backend.
        models: How many damaged models were sent.
        outcomes: What came of them: `refused`, `failed`, `run`, or `crashed` or `ended` (for
            time), when they were stored or run.
        causes: How often a worker died of what.
        keys_lost: Keys that were gone or had changed in the end.
        beside: What the two other clients met with.
        seconds: How long it took.
        failure: What went wrong with the server itself.
    """

    backend: str
    models: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    causes: dict[str, int] = field(default_factory=dict)
    keys_lost: int = 0
    beside: Beside = field(default_factory=Beside)
    seconds: float = 0.0
    failure: str = ""

    @property
    def lost(self) -> int:
        """Requests of other clients that got an error or a wrong answer."""
        both = (self.beside.pings, self.beside.runs)
        return sum(each.wrong + sum(each.errors.values()) for each in both)

    @property
    def sound(self) -> bool:
        """Whether nobody else felt anything."""
        return not (self.failure or self.lost or self.keys_lost) and bool(self.beside.runs.count)


def outcome(reply: object, when: str) -> str:
    """Returns what became of a model, by the reply to its command."""
    if not isinstance(reply, WireError):
        return "run" if when == "run" else ""
    if "ended its worker process" in reply:
        return f"crashed when {when}"
    if re.search(r"was ended|took longer", reply):
        return f"ended when {when}"
    return "failed" if when == "run" else "refused"


def tensor_set(key: str, tensor: Tensor) -> list[Any]:
    """Returns the command that stores a tensor."""
    head = ["AI.TENSORSET", key, tensor.dtype.name, *tensor.shape]
    if tensor.dtype.name == "STRING":
        return [*head, "VALUES", *tensor.values()]
    return [*head, "BLOB", np.ascontiguousarray(tensor.numpy()).tobytes()]


def model_store(key: str, backend: str, example: ModelExample, blob: bytes) -> list[Any]:
    """Returns the command that stores a model."""
    names: list[Any] = []
    for word, given in (("INPUTS", example.input_names), ("OUTPUTS", example.output_names)):
        names += [word, len(given), *given] if given else []
    return ["AI.MODELSTORE", key, backend, "CPU", *names, "BLOB", blob]


def model_run(key: str, inputs: list[str], outputs: int) -> list[Any]:
    """Returns the command that runs a model."""
    names = [f"{key}:y{place}" for place in range(outputs)]
    return ["AI.MODELEXECUTE", key, "INPUTS", len(inputs), *inputs, "OUTPUTS", outputs, *names]


class Campaign:
    """One backend's models on one server."""

    def __init__(self, backend: str, damaging: Any, serving: Serving, seed: str) -> None:
        self.found = Found(backend)
        self._damage = damaging.damaged
        self._examples = list(damaging.examples())
        self._draw = random.Random(f"{seed} {backend}")
        self._serving = serving
        self._outcomes: Counter[str] = Counter()
        self._causes: Counter[str] = Counter()
        self._count = [1] * len(self._examples)
        self._good: list[int] = []

    def run(self, models: int) -> Iterator[Found]:
        """Sends so many damaged models, and gives what was found so far after each."""
        found = self.found
        began = time.monotonic()
        with self._serving.wire() as wire:
            self._prepare(wire)
            first = self._good[0]
            key, inputs = f"good{first}", self._inputs(first)
            with watching(self._serving.port, key, inputs) as found.beside:
                for number in range(models):
                    place = number % len(self._examples)
                    blob = self._damage(self._examples[place].blob, self._draw)
                    if blob is not None:
                        self._use(wire, f"damaged{number % SEVERAL}", place, blob)
                        found.models += 1
                    found.outcomes, found.causes = dict(self._outcomes), dict(self._causes)
                    found.seconds = time.monotonic() - began
                    yield found
            found.keys_lost = self._lost(wire)

    def _inputs(self, place: int) -> list[str]:
        return [f"x{place}:{at}" for at in range(len(self._examples[place].inputs))]

    def _prepare(self, wire: Wire) -> None:
        for place, example in enumerate(self._examples):
            store = model_store(f"good{place}", self.found.backend, example, example.blob)
            check(wire, store)
            for key, tensor in zip(self._inputs(place), example.inputs, strict=True):
                check(wire, tensor_set(key, tensor))
            for count in range(1, 5) if example.inputs else ():  # nobody tells how many outputs
                run = model_run(f"good{place}", self._inputs(place), count)
                if wire.read(*run) == "OK":
                    self._good.append(place)
                    self._count[place] = count
                    break
        for number in range(KEPT):
            check(wire, ["AI.TENSORSET", f"kept{number}", "INT64", 1, "VALUES", number])

    def _use(self, wire: Wire, key: str, place: int, blob: bytes) -> None:
        example = self._examples[place]
        reply = wire.read(*model_store(key, self.found.backend, example, blob))
        seen = outcome(reply, "stored")
        if not seen:
            self._outcomes["stored"] += 1
            reply = wire.read(*model_run(key, self._inputs(place), self._count[place]))
            seen = outcome(reply, "run")
        self._outcomes[seen] += 1
        cause = re.search(r"worker process: (.*?)(?:, as the|;|$)", str(reply))
        if "crashed" in seen and cause:
            self._causes[cause[1][:60]] += 1

    def _lost(self, wire: Wire) -> int:
        kept = [wire.read("AI.TENSORGET", f"kept{number}", "VALUES") for number in range(KEPT)]
        lost = sum(values != [number] for number, values in enumerate(kept))
        for place in self._good:
            run = model_run(f"good{place}", self._inputs(place), self._count[place])
            lost += wire.read(*run) != "OK"
        return lost


def check(wire: Wire, command: list[Any]) -> None:
    """Sends what has to be answered with OK."""
    reply = wire.read(*command)
    if reply != "OK":
        raise SystemExit(f"{command[:2]}: {reply!r}")


def one_backend(backend: str, models: int, seed: str, isolate: str) -> None:
    """Does one backend's part, in a process of its own; prints a line of JSON now and then."""
    folder = PACKAGES / f"backend-{backend.lower()}" / "tests"
    from conftest import serve  # noqa: PLC0415 - before the backend's folder has one too

    del sys.modules["conftest"]
    sys.path.insert(0, str(folder))
    damaging = importlib.import_module("damaging")
    said = 0.0
    campaign = None
    with tempfile.TemporaryDirectory() as place:
        try:
            with serve(Path(place), *OPTIONS, "--isolate", isolate) as serving:
                campaign = Campaign(backend, damaging, serving, seed)
                for found in campaign.run(models):
                    if time.monotonic() - said > 0.2:
                        said = time.monotonic()
                        print(json.dumps(asdict(found)), flush=True)
        except (AssertionError, OSError, EOFError) as error:
            found = campaign.found if campaign else Found(backend)
            found.failure = f"{type(error).__name__}: {error}"[-3000:]
    print(json.dumps(asdict(found)), flush=True)


def read_back(text: str) -> Found:
    """Returns what such a line says."""
    found = Found(**json.loads(text))
    beside: Any = found.beside
    found.beside = Beside(Waits(**beside["pings"]), Waits(**beside["runs"]))
    return found


def table(all_found: list[Found]) -> Table:
    """Returns what was found as a table, for people."""
    made = Table(title="Damaged models", caption="times are those of other clients, in ms")
    made.add_column("")
    for found in all_found:
        made.add_column(found.backend, justify="right")
    outcomes = sorted({name for found in all_found for name in found.outcomes})
    rows: list[tuple[str, list[object]]] = [("models sent", [each.models for each in all_found])]
    rows += [(name, [each.outcomes.get(name, 0) for each in all_found]) for name in outcomes]
    causes = sorted({name for found in all_found for name in found.causes})
    rows += [(f"  {name}", [each.causes.get(name, 0) for each in all_found]) for name in causes]
    rows += [
        ("requests of others lost", [each.lost for each in all_found]),
        ("keys lost", [each.keys_lost for each in all_found]),
        ("PING p50", [each.beside.pings.p50_ms for each in all_found]),
        ("PING p99", [each.beside.pings.p99_ms for each in all_found]),
        ("good model p50", [each.beside.runs.p50_ms for each in all_found]),
        ("good model p99", [each.beside.runs.p99_ms for each in all_found]),
        ("seconds", [round(each.seconds) for each in all_found]),
        ("sound", ["yes" if each.sound else "NO" for each in all_found]),
    ]
    for name, values in rows:
        made.add_row(
            name, *[f"{each:,}" if isinstance(each, int) else f"{each}" for each in values]
        )
    return made


def main() -> int:
    """Reads the options, sends the models, and shows what came of them."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--models", type=int, default=1000, help="models of each backend")
    options.add_argument("--seed", default=str(random.randrange(2**31)))
    options.add_argument("--backends", nargs="*", default=BACKENDS, metavar="NAME")
    options.add_argument("--isolate", default="auto", help="the server's setting")
    options.add_argument("--json", action="store_true", help="print the figures for programs")
    options.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.alone:
        one_backend(chosen.backends[0], chosen.models, chosen.seed, chosen.isolate)
        return 0
    console = Console(stderr=True)
    console.print(f"seed {chosen.seed}")
    all_found = []
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[seen]}"))
    with Progress(*columns, console=console) as progress:
        for backend in chosen.backends:
            bar = progress.add_task(backend, total=chosen.models, seen="")
            told = ["--alone", "--backends", backend, "--models", str(chosen.models)]
            command = [sys.executable, __file__, *told, "--seed", chosen.seed]
            found = Found(backend, failure="it told nothing")
            with subprocess.Popen(
                [*command, "--isolate", chosen.isolate], stdout=subprocess.PIPE, text=True
            ) as program:
                assert program.stdout is not None
                for line in filter(lambda line: line.startswith("{"), program.stdout):
                    found = read_back(line)
                    crashes = sum(n for name, n in found.outcomes.items() if "crashed" in name)
                    seen = f"{crashes} crashes"
                    progress.update(bar, completed=found.models, seen=seen)
            if program.returncode:
                found.failure = found.failure or f"the program ended with {program.returncode}"
            all_found.append(found)
    if chosen.json:
        print(json.dumps([asdict(each) for each in all_found], indent=1))
    else:
        Console(width=None if console.is_terminal else 110).print(table(all_found))
    for each in all_found:
        if each.failure:
            console.print(f"{each.backend}: {each.failure}", style="red", markup=False)
    return 0 if all(each.sound for each in all_found) else 1


if __name__ == "__main__":
    sys.exit(main())
