"""Several servers on one engine, clients spread over them, while their model is replaced.

`python tests/several_servers.py --servers 4 --requests 1000000` starts a Valkey and servers as
people start them. Version n of a model multiplies by n. One client stores version after version,
now through one server and now through another; all others run the model and read what came out. A
result must be of a version that was stored before the request began, or that was being stored until
it ended: anything older is stale, anything else is wrong. The program ends with 1 when there was
one.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from conftest import serve
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.progress import Progress

from tensorkeep_server.testing import Wire, request
from tensorkeep_valkey.testing import running_engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import Serving

MODEL, X = "several-m", "several-x"
AT_ONCE = 16  # runs that a client sends at a time
_OK = b"+OK\r\n"
_COUNTING = threading.Lock()


def version_of_model(number: int) -> bytes:
    """Returns a model that multiplies by a number."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "by"], ["y"])],
        "version",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.array(number, np.float32), "by")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    made.ir_version = 8
    return made.SerializeToString()


@dataclass
class Found:
    """What came of it.

    Attributes:
        servers: How many servers there were.
        seconds: How long it took.
        counts: Requests and versions.
        wrong: What was wrong, and how often.
    """

    servers: int
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)


class Versions:
    """Which versions a result may be of."""

    def __init__(self) -> None:
        self.stored = 1  # the newest whose storing was acknowledged
        self.begun = 1  # the newest whose storing has begun

    def judge(self, before: int, result: float) -> str:
        """Returns what is wrong with a result, empty for nothing.

        Args:
            before: The version that was stored when its request began.
            result: What the model has made of 1.
        """
        if result != round(result) or not 1 <= result <= self.begun:
            return "a value of no version"
        return "a stale model" if result < before else ""


def replace_again_and_again(
    wires: Sequence[Wire], versions: Versions, ended: threading.Event, found: Found
) -> None:
    """Stores version after version, through each server in turn."""
    for number in count(2):
        if ended.is_set():
            return
        versions.begun = number
        wire = wires[number % len(wires)]
        reply = wire.ask("AI.MODELSTORE", MODEL, "ONNX", "CPU", "BLOB", version_of_model(number))
        if reply != _OK:
            found.wrong[f"storing: {reply[:80]!r}"] += 1
            return
        versions.stored = number
        found.counts["versions"] += 1
        time.sleep(0.02)


def run_and_read(wire: Wire, name: str, versions: Versions, left: list[int], found: Found) -> None:
    """Runs the model and reads what came out, until enough requests were made by all together."""
    run = request("AI.MODELEXECUTE", MODEL, "INPUTS", "1", X, "OUTPUTS", "1", name)
    read = request("AI.TENSORGET", name, "BLOB")
    message = (run + read) * AT_ONCE
    each = len(_OK) + len(b"$16\r\n") + 16 + 2
    while left[0] > 0:
        with _COUNTING:
            left[0] -= AT_ONCE
        before = versions.stored
        wire.socket.sendall(message)
        got = b""
        while len(got) < each * AT_ONCE:
            try:
                part = wire.socket.recv(1 << 16)
            except TimeoutError:  # an error among the replies makes them shorter
                found.wrong[f"replies that are too short: {got[-200:]!r}"] += 1
                return
            if not part:
                found.wrong["a connection was closed"] += 1
                return
            got += part
            if b"-" in got[:1] or b"\r\n-" in got[:each]:
                found.wrong[f"an error: {got[:120]!r}"] += 1
                return
        for at in range(AT_ONCE):
            reply = got[at * each : (at + 1) * each]
            if not reply.startswith(_OK + b"$16\r\n"):
                found.wrong[f"a reply: {reply[:60]!r}"] += 1
                return
            values = np.frombuffer(reply[len(_OK) + 5 : -2], np.float32)
            wrong = versions.judge(before, float(values[0]))
            if len({*values.tolist()}) != 1:
                wrong = "a value that is mixed"
            if wrong:
                found.wrong[wrong] += 1
        with _COUNTING:
            found.counts["requests"] += AT_ONCE


def several(servers: int, clients: int, requests: int, console: Console) -> Found:
    """Starts everything, makes so many requests, and returns what came of them."""
    found, versions, left = Found(servers), Versions(), [requests]
    ended = threading.Event()
    with ExitStack() as stack:
        engine = stack.enter_context(running_engine())
        url = f"valkey://127.0.0.1:{engine.port}"
        running: list[Serving] = []
        for _ in range(servers):
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="several-")))
            running.append(stack.enter_context(serve(folder, "--store", url)))
        first = stack.enter_context(Wire(running[0].port))
        assert first.ask("AI.MODELSTORE", MODEL, "ONNX", "CPU", "BLOB", version_of_model(1)) == _OK
        assert first.ask("AI.TENSORSET", X, "FLOAT", "1", "4", "VALUES", *["1"] * 4) == _OK
        writers = [stack.enter_context(Wire(each.port)) for each in running]
        wires = [stack.enter_context(Wire(running[at % servers].port)) for at in range(clients)]
        replacing = threading.Thread(
            target=replace_again_and_again, args=(writers, versions, ended, found)
        )
        threads = [
            threading.Thread(target=run_and_read, args=(wire, f"y{at}", versions, left, found))
            for at, wire in enumerate(wires)
        ]
        began = time.monotonic()
        with Progress(console=console) as progress:
            task = progress.add_task("requests", total=requests)
            for each in (replacing, *threads):
                each.start()
            while any(each.is_alive() for each in threads):
                progress.update(task, completed=found.counts["requests"])
                time.sleep(0.1)
        ended.set()
        replacing.join()
        found.seconds = time.monotonic() - began
    return found


def main() -> int:
    """Reads the options, makes the requests, and shows what came of them."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--servers", type=int, default=2)
    options.add_argument("--clients", type=int, default=8)
    options.add_argument("--requests", type=int, default=1_000_000)
    options.add_argument("--json", action="store_true", help="print the figures for programs")
    chosen = options.parse_args()
    console = Console(stderr=True)
    found = several(chosen.servers, chosen.clients, chosen.requests, console)
    if chosen.json:
        print(
            json.dumps(
                {
                    "servers": found.servers,
                    "seconds": found.seconds,
                    "counts": dict(found.counts),
                    "wrong": dict(found.wrong),
                },
                indent=1,
            )
        )
    else:
        Console().print(
            f"{found.servers} servers, {found.counts['requests']:,} requests in"
            f" {found.seconds:.0f} s, {found.counts['versions']:,} versions stored"
        )
    for what, times in found.wrong.items():
        console.print(f"{times} times: {what}", style="red", markup=False)
    return 1 if found.wrong or found.counts["requests"] < chosen.requests else 0


if __name__ == "__main__":
    sys.exit(main())
