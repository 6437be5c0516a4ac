"""Stress: many clients at once, models that come and go, and every reply is checked.

`python tests/stress.py --requests 1000000` starts a server and keeps it busy over real sockets:
single runs, graphs over two devices, models with and without batching, clients that vanish in the
middle, models that are replaced and deleted while they run. Each model multiplies by a number, so
what a reply must be is computed directly; a reply that differs ends the program with an error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tensorkeep_server.testing import WireError, read_value, request

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH = 3
GONE = "ERR model key is empty"
NO_TENSOR = "ERR tensor key is empty or in a different shard"


@dataclass
class Stored:
    """A model's key and what its factor may be: the factors of all versions still in doubt.

    Attributes:
        key: The key.
        device: Where it runs.
        options: Batch options.
        versions: (factor, when it was first sent, when its successor was answered); the factor 0
            stands for "deleted".
    """

    key: str
    device: str
    options: tuple[str, ...]
    versions: list[tuple[int, float, float]] = field(default_factory=list)

    def possible(self, since: float) -> set[int]:
        """Returns the factors that a request sent at `since` and answered now may have met."""
        return {factor for factor, _, until in self.versions if until >= since}

    def replace(self, factor: int) -> None:
        """Notes that a new version is being sent."""
        self.versions.append((factor, time.monotonic(), float("inf")))

    def replaced(self) -> None:
        """Notes that the last version was answered: the earlier ones are gone."""
        now = time.monotonic()
        *old, new = self.versions
        ended = [(f, s, min(until, now)) for f, s, until in old]
        self.versions = [*(v for v in ended if v[2] > now - 60), new]


def multiplier(factor: int) -> bytes:
    """Returns an ONNX model that multiplies [N, WIDTH] by a number."""
    node = helper.make_node("Mul", ["x", "factor"], ["y"])
    shape: list[str | int | None] = ["N", WIDTH]
    graph = helper.make_graph(
        [node],
        "multiplier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array(factor, np.float32), "factor")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model.SerializeToString()


BLOBS = {factor: multiplier(factor) for factor in range(2, 10)}


class Client:
    """One connection that speaks bytes; replies are read in order."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Sends commands in one pipeline and returns their replies."""
        self._writer.write(b"".join(request(*command) for command in commands))
        return [read_value(await self._reply()) for _ in commands]

    async def vanish(self, *commands: tuple[Any, ...]) -> None:
        """Sends commands and closes the connection without waiting."""
        self._writer.write(b"".join(request(*command) for command in commands))
        await self._writer.drain()
        self._writer.transport.abort()
        await self.connect()

    async def _reply(self) -> bytes:
        line = await self._reader.readuntil(b"\r\n")
        if line[:1] == b"$" and line != b"$-1\r\n":
            return line + await self._reader.readexactly(int(line[1:]) + 2)
        if line[:1] == b"*":
            return line + b"".join([await self._reply() for _ in range(int(line[1:]))])
        return line


class Stress:
    """The load: what clients do, and what must come back."""

    def __init__(self, port: int, requests: int, seed: int) -> None:
        self.port = port
        self.left = requests
        self.done: Counter[str] = Counter()
        self._random = random.Random(seed)
        self.stable = [
            Stored("plain", "CPU", ()),
            Stored("batched", "CPU", ("BATCHSIZE", "16")),
            Stored("held", "CPU", ("BATCHSIZE", "8", "MINBATCHSIZE", "2", "MINBATCHTIMEOUT", "2")),
            Stored("other", "CPU:1", ()),
            Stored("other-batched", "CPU:1", ("BATCHSIZE", "16")),
        ]
        self.changing = [
            Stored("changing", "CPU", ()),
            Stored("changing-batched", "CPU:1", ("BATCHSIZE", "8")),
        ]

    async def run(self, clients: int, progress: Progress) -> None:
        """Runs all clients until the requests are used up."""
        chief = Client(self.port)
        await chief.connect()
        for factor, model in enumerate([*self.stable, *self.changing], 2):
            await self._store(chief, model, factor)
        bar = progress.add_task("requests", total=self.left)
        workers = [asyncio.create_task(self._work(n, bar, progress)) for n in range(clients)]
        changer = asyncio.create_task(self._change(chief))
        try:
            await asyncio.gather(*workers)
        finally:
            changer.cancel()
            for worker in workers:
                worker.cancel()

    async def _store(self, client: Client, model: Stored, factor: int) -> None:
        model.replace(factor)
        store = ("AI.MODELSTORE", model.key, "ONNX", model.device, *model.options)
        (reply,) = await client.ask((*store, "BLOB", BLOBS[factor]))
        check(reply == "OK", "MODELSTORE", reply)
        model.replaced()

    async def _change(self, client: Client) -> None:
        """Replaces and deletes models, for ever."""
        while True:
            model = self._random.choice(self.changing)
            if self._random.random() < 0.3:
                model.replace(0)
                (reply,) = await client.ask(("DEL", model.key))
                check(reply in {0, 1}, "DEL", reply)
                model.replaced()
                self.done["models deleted"] += 1
            else:
                await self._store(client, model, self._random.choice(list(BLOBS)))
                self.done["models stored"] += 1
            await asyncio.sleep(0.002)

    async def _work(self, number: int, bar: Any, progress: Progress) -> None:
        client = Client(self.port)
        await client.connect()
        chance = random.Random(number)
        acts = [self._single, self._single, self._graph, self._unstable, self._leave]
        while self.left > 0:
            act = chance.choice(acts)
            used = await act(client, chance, f"{{{number}}}")
            self.left -= used
            progress.advance(bar, used)

    async def _single(self, client: Client, chance: random.Random, own: str) -> int:
        """A tensor, a run, the answer: three commands in one pipeline."""
        model = chance.choice(self.stable)
        x = values(chance)
        replies = await client.ask(
            ("AI.TENSORSET", f"x{own}", "FLOAT", *x.shape, "BLOB", x.tobytes()),
            ("AI.MODELEXECUTE", model.key, "INPUTS", 1, f"x{own}", "OUTPUTS", 1, f"y{own}"),
            ("AI.TENSORGET", f"y{own}", "BLOB"),
        )
        check(replies[:2] == ["OK", "OK"], model.key, replies)
        (factor,) = model.possible(time.monotonic())
        check(same(replies[2], x * factor), model.key, replies, x)
        self.done["single runs"] += 1
        return 3

    async def _graph(self, client: Client, chance: random.Random, own: str) -> int:
        """A chain of models over both devices, in one command."""
        chain = [chance.choice(self.stable) for _ in range(chance.randint(1, 4))]
        x = values(chance)
        command: list[Any] = ["AI.DAGEXECUTE", "ROUTING", own, "|>", "AI.TENSORSET", "t0", "FLOAT"]
        command += [*x.shape, "BLOB", x.tobytes()]
        expected = x
        for at, model in enumerate(chain):
            command += ["|>", "AI.MODELEXECUTE", model.key, "INPUTS", 1, f"t{at}"]
            command += ["OUTPUTS", 1, f"t{at + 1}"]
            (factor,) = model.possible(time.monotonic())
            expected = expected * np.float32(factor)
        command += ["|>", "AI.TENSORGET", f"t{len(chain)}", "BLOB"]
        (reply,) = await client.ask(tuple(command))
        check(reply[:-1] == ["OK"] * (len(chain) + 1), "DAG", reply)
        check(same(reply[-1], expected), "DAG", reply, x)
        self.done["graphs"] += 1
        return 1

    async def _unstable(self, client: Client, chance: random.Random, own: str) -> int:
        """A run of a model that is being replaced and deleted meanwhile."""
        model = chance.choice(self.changing)
        x = values(chance)
        sent = time.monotonic()
        replies = await client.ask(
            ("AI.TENSORSET", f"x{own}", "FLOAT", *x.shape, "BLOB", x.tobytes()),
            ("DEL", f"z{own}"),
            ("AI.MODELEXECUTE", model.key, "INPUTS", 1, f"x{own}", "OUTPUTS", 1, f"z{own}"),
            ("AI.TENSORGET", f"z{own}", "BLOB"),
        )
        possible = model.possible(sent)
        if isinstance(replies[2], WireError):
            check(replies[2] == GONE and 0 in possible, model.key, replies, possible)
            check(replies[3] == NO_TENSOR, model.key, replies)
            self.done["runs of deleted models"] += 1
        else:
            right = [factor for factor in possible if same(replies[3], x * factor)]
            check(len(right) == 1 and right != [0], model.key, replies, possible, x)
            self.done["runs of changing models"] += 1
        return 4

    async def _leave(self, client: Client, chance: random.Random, own: str) -> int:
        """A client that goes away before it is answered, and comes back."""
        if chance.random() < 0.9:
            return await self._single(client, chance, own)
        model = chance.choice(self.stable)
        x = values(chance)
        await client.vanish(
            ("AI.TENSORSET", f"v{own}", "FLOAT", *x.shape, "BLOB", x.tobytes()),
            ("AI.MODELEXECUTE", model.key, "INPUTS", 1, f"v{own}", "OUTPUTS", 1, f"w{own}"),
        )
        self.done["clients that vanished"] += 1
        return 2


def values(chance: random.Random) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns whole numbers: products of a few of them are exact in float32."""
    rows = chance.choice((1, 1, 1, 2, 3, 9, 20))
    return np.array(
        [[chance.randint(1, 99) for _ in range(WIDTH)] for _ in range(rows)], np.float32
    )


def same(blob: object, expected: np.ndarray[Any, Any]) -> bool:
    """Whether a reply holds exactly these numbers."""
    return isinstance(blob, bytes) and blob == expected.astype(np.float32).tobytes()


def check(holds: bool, *seen: object) -> None:  # noqa: FBT001 - like an assertion
    """Ends the program when a reply is not what it must be."""
    if not holds:
        raise SystemExit(f"wrong reply: {seen!r}")


@contextmanager
def server() -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Runs a server on a free port; it must end cleanly and have logged no traceback."""
    with subprocess.Popen(
        [sys.executable, "-m", "tensorkeep_server", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        if found is None:
            process.kill()
            raise SystemExit(f"the server did not start: {line}{process.communicate()[1]}")
        try:
            yield int(found[1]), process
        finally:
            process.terminate()
            _, log = process.communicate(timeout=30)
            check(process.returncode == 0 and "Traceback" not in log, process.returncode, log)


def main() -> None:
    """Reads the options, runs the load, and shows what was done."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--requests", type=int, default=20_000, help="commands to send")
    options.add_argument("--clients", type=int, default=64, help="connections at once")
    options.add_argument("--seed", type=int, default=random.randrange(2**31))
    options.add_argument("--json", action="store_true", help="print the counts for programs")
    chosen = options.parse_args()
    console = Console(stderr=True)
    console.print(f"seed {chosen.seed}")
    with server() as (port, _):
        stress = Stress(port, chosen.requests, chosen.seed)
        started = time.perf_counter()
        with Progress(console=console) as progress:
            asyncio.run(stress.run(chosen.clients, progress))
        seconds = time.perf_counter() - started
    counts = {**stress.done, "seconds": round(seconds, 1)}
    if chosen.json:
        print(json.dumps(counts))
        return
    table = Table("what", "how often", title="every reply was right")
    for what, count in counts.items():
        table.add_row(what, f"{count:,}")
    Console().print(table)


if __name__ == "__main__":
    main()
