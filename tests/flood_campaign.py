"""Attacks a server by what clients hold, and measures what others feel of it.

`python tests/flood_campaign.py` starts a server for each attack: 20 clients that ask for tensors of
64 MB and do not read, 10,000 idle connections, clients that send a byte a second, floods of
connections, and requests that are abandoned after 480 of 500 MB. Beside it, in processes of their
own, one client sends PING and another has a model run, before the attack and while it goes on.

For each attack it tells how many connections were held, the memory of the server at its peak and
after the attack, the 99th percentile of what others waited without and with it, and how many of
their requests were lost. It ends with 1 when one was, or memory was beyond what it may be.
`--store` runs it over an engine, whose relayed replies are not read then.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Self

import floods
import numpy as np
from beside import Beside, watching
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

from tensorkeep_server.testing import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

MIB = floods.MIB
MODEL, INPUT = "floods:model", "floods:input"


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the attacks are; the fields say of what.

    Attributes:
        seconds: How long others are watched, without an attack and with it.
        readers: Clients that do not read.
        value: Bytes of what they ask for.
        idle: Idle connections.
        slow: Clients that send slowly.
        a_second: Connections that are opened in a second.
        senders: Clients that abandon a request.
        announced: Bytes of it.
        sent: Bytes that they send of it.
    """

    seconds: float = 5.0
    readers: int = 20
    value: int = 64 * MIB
    idle: int = 10_000
    slow: int = 200
    a_second: int = 1000
    senders: int = 8
    announced: int = 500 * MIB
    sent: int = 480 * MIB


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        name: For people.
        begin: Begins it, on a port.
        most: Bytes that the server may take for it, beside what it took before.
    """

    name: str
    begin: Callable[[int], AbstractContextManager[floods.Flood]]
    most: int


@dataclass
class Found:
    """What an attack did.

    Attributes:
        attack: Its name.
        connections: How many it held, or opened.
        memory_before: Megabytes that the server took before it.
        memory_peak: At its peak.
        memory_after: A second after it.
        p99_without: What 99 of 100 requests of others took at most before it, in milliseconds.
        p99_with: While it went on.
        p99_around: While it began, and while it ended.
        worst: The longest that one took in all that time.
        requests: How many others sent meanwhile.
        lost: How many of those were not answered, or wrongly.
        wrong: What must not be, in words; empty for nothing.
        skipped: Why it was not made; empty when it was.
    """

    attack: str
    connections: int = 0
    memory_before: float = 0.0
    memory_peak: float = 0.0
    memory_after: float = 0.0
    p99_without: float = 0.0
    p99_with: float = 0.0
    p99_around: float = 0.0
    worst: float = 0.0
    requests: int = 0
    lost: int = 0
    wrong: str = ""
    skipped: str = ""


SPARE = 64 * MIB  # bytes that the server may take for whatever else it does meanwhile


def attacks(scale: Scale, *, engine: bool) -> list[Attack]:
    """Returns the attacks.

    Args:
        scale: How large they are.
        engine: Whether the values are an engine's: then each reader has a copy of its tensor.
    """
    tensor = ("AI.TENSORGET", floods.LARGE, "BLOB")
    plain = ("GET", f"{floods.LARGE}:plain")
    copies = scale.readers * scale.value if engine else 0
    return [
        Attack(
            "tensors that are not read",
            partial(floods.unread, clients=scale.readers, command=tensor),
            2 * copies + SPARE,
        ),
        Attack(
            "strings that are not read",
            partial(floods.unread, clients=scale.readers, command=plain),
            scale.readers * 4 * MIB * engine + SPARE,
        ),
        Attack(
            "idle connections",
            partial(floods.idle, clients=scale.idle),
            scale.idle * 16 * 1024 + SPARE,
        ),
        Attack("slow senders", partial(floods.slow, clients=scale.slow), SPARE),
        Attack("connections", partial(floods.connections, a_second=scale.a_second), SPARE),
        Attack("half requests", partial(floods.halves, a_second=scale.a_second), SPARE),
        Attack(
            "abandoned requests",
            partial(
                floods.abandoned, clients=scale.senders, announced=scale.announced, sent=scale.sent
            ),
            scale.senders * scale.sent + SPARE,
        ),
    ]


class Memory:
    """The memory of a process, looked at all the time.

    Args:
        pid: Its number.
    """

    def __init__(self, pid: int) -> None:
        self._file = Path(f"/proc/{pid}/status")
        self.peak = 0.0
        self._stop = Event()
        self._thread = Thread(target=self._look, daemon=True)

    def now(self) -> float:
        """Returns the megabytes that it takes."""
        for line in self._file.read_text("ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def _look(self) -> None:
        while not self._stop.wait(0.01):
            self.peak = max(self.peak, self.now())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def served(options: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Runs a server; yields its port and the number of its process."""
    words = ("serve", "--port", "0", "--log-level", "error", *options)
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorkeep_server", *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        yield int(ready.partition(" is ready on ")[2].split()[0].rpartition(":")[2]), process.pid
        process.terminate()
        if process.wait(60) != 0:
            raise RuntimeError(f"the server ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()


def store_model(port: int) -> None:
    """Stores a model and its input."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "xy")
    by = numpy_helper.from_array(np.array([2], np.float32), "by")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "by"], ["y"])], "m", [x], [y], [by])
    opsets = [helper.make_opsetid("", 17)]
    blob = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    with Wire(port) as wire:
        assert wire.ask("AI.MODELSTORE", MODEL, "ONNX", "CPU", "BLOB", blob) == b"+OK\r\n"
        assert wire.ask("AI.TENSORSET", INPUT, "FLOAT", 3, "VALUES", 1, 2, 3) == b"+OK\r\n"


def carry_out(attack: Attack, scale: Scale, options: Sequence[str]) -> Found:
    """Makes an attack on a server of its own."""
    found = Found(attack.name)
    with served(options) as (port, pid):
        store_model(port)
        floods.store_large(port, scale.value)
        watch = partial(watching, port, MODEL, [INPUT])
        with watch() as without:
            time.sleep(scale.seconds)
        memory = Memory(pid)
        found.memory_before = memory.now()
        try:
            with memory, ExitStack() as stack:
                with watch() as coming:
                    flood = stack.enter_context(attack.begin(port))
                with watch() as during:
                    time.sleep(scale.seconds)
                with watch() as going:
                    stack.close()
                    time.sleep(1.0)
        except floods.NotPossibleError as error:
            found.skipped = str(error)
            return found
        found.connections = flood.connections
        found.memory_peak, found.memory_after = memory.peak, memory.now()
    judge(found, attack, (without, coming, during, going), flood.refused)
    return found


def judge(found: Found, attack: Attack, phases: Sequence[Beside], refused: int) -> None:
    """Writes down what others felt, and what was wrong.

    Args:
        found: What is known already.
        attack: The attack.
        phases: What others met with before it, as it began, while it went on, and as it ended.
        refused: Connections that the server has not taken.
    """
    waits = [(each.pings, each.runs) for each in phases]
    p99 = [max(one.p99_ms, other.p99_ms) for one, other in waits]
    found.p99_without, found.p99_with = p99[0], p99[2]
    found.p99_around = max(p99[1], p99[3])
    meanwhile = [each for both in waits[1:] for each in both]
    found.worst = max(each.worst_ms for each in meanwhile)
    found.requests = sum(each.count for each in meanwhile)
    found.lost = sum(each.wrong + sum(each.errors.values()) for each in meanwhile)
    taken = (found.memory_peak - found.memory_before) * MIB
    kept = (found.memory_after - found.memory_before) * MIB
    wrong = []
    if found.lost or not found.requests:
        wrong.append(f"{found.lost} of {found.requests} requests were lost")
    if refused:
        wrong.append(f"{refused} connections were refused")
    if taken > attack.most:
        wrong.append(f"it took {taken / MIB:.0f} MB, {attack.most / MIB:.0f} are allowed")
    if kept > 2 * SPARE:
        wrong.append(f"it kept {kept / MIB:.0f} MB")
    found.wrong = "; ".join(wrong)


def table(results: Sequence[Found]) -> Table:
    """Returns the figures for people."""
    shown = Table(title="Floods")
    for title in ("attack", "connections", "MB before", "peak", "after", "p99 ms without", "with"):
        shown.add_column(title, justify="left" if title == "attack" else "right")
    for title in ("around", "worst", "requests", "lost"):
        shown.add_column(title, justify="right")
    for each in results:
        if each.skipped:
            shown.add_row(each.attack, f"skipped: {each.skipped}")
            continue
        shown.add_row(
            *(each.attack, str(each.connections)),
            *(f"{size:.0f}" for size in (each.memory_before, each.memory_peak, each.memory_after)),
            *(f"{wait:.1f}" for wait in (each.p99_without, each.p99_with, each.p99_around)),
            f"{each.worst:.1f}",
            *(str(each.requests), str(each.lost)),
        )
    return shown


def main() -> None:
    """Makes the attacks that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", default="memory", help="memory, or an engine such as valkey-9.1")
    parser.add_argument("--only", default="", help="attacks whose names contain this")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    for name, value in asdict(Scale()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    asked = vars(parser.parse_args())
    scale = Scale(**{name: asked[name] for name in asdict(Scale())})
    engine = asked["store"] != "memory"
    results = []
    for attack in attacks(scale, engine=engine):
        if asked["only"] not in attack.name:
            continue
        with ExitStack() as stack:
            options = ["--max-clients", str(scale.idle + 100)]
            if engine:
                from tensorkeep_valkey.testing import running_engine  # noqa: PLC0415 - with one alone

                running = stack.enter_context(running_engine(asked["store"]))
                options += ["--store", running.unix]
            results.append(carry_out(attack, scale, options))
    if asked["json"]:
        print(json.dumps([asdict(each) for each in results]))
    else:
        console = Console()
        console.print(table(results))
        for each in results:
            if each.wrong:
                console.print(f"{each.attack}: {each.wrong}")
    if not results or any(each.wrong for each in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
