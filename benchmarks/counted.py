"""Show how well the memory that the server counts agrees with what its process really takes.

Run it with `python benchmarks/counted.py`, or `nox -s counted`; `--help` tells what it can leave
out. Each load meets a server of its own. What the process has grown by, as the system says, is set
beside what INFO says that memory has grown by; and what the counting of a request costs is not
looked at here.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from figures import TENSORKEEP
from models import model
from rich.console import Console
from rich.table import Table
from servers import SERVE, BenchError, started

from tensorkeep_server.testing import Wire, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from onnx import NodeProto
    from servers import Server

# Under a limit that nothing reaches, memory that was freed goes back to the system.
_COMMAND: Final = (*SERVE, "--maxmemory", "100gb")
GOAL: Final = 0.10
MB: Final = 1_000_000
_AT_ONCE: Final = 500  # requests that are sent before their replies are read
_SEED: Final = 14
_SETTLING: Final = 4.0  # seconds after which memory that was freed has gone back to the system
_EVICTING: Final = 100 * MB


class Client:
    """A connection that sends many requests at once.

    Attributes:
        wire: The connection.
    """

    def __init__(self, port: int) -> None:
        self.wire = Wire(port)
        self.port = port

    def send(self, requests: Iterator[Sequence[str | bytes | float]]) -> None:
        """Sends requests, some at once, and reads all replies."""
        few: list[bytes] = []
        for words in requests:
            few.append(request(*words))
            if len(few) == _AT_ONCE or sum(map(len, few)) > MB:
                self._flush(few)
        self._flush(few)

    def _flush(self, few: list[bytes]) -> None:
        self.wire.socket.sendall(b"".join(few))
        for _ in few:
            reply = self.wire.reply()
            if reply.startswith(b"-") and not reply.startswith(b"-OOM"):
                raise BenchError(reply.decode())
        few.clear()

    def used(self) -> int:
        """Returns what INFO says."""
        text = self.wire.read("INFO", "memory").decode()
        return int(text.partition("used_memory:")[2].partition("\r")[0])


Requests: TypeAlias = "Iterator[Sequence[str | bytes | float]]"


def _strings(rng: random.Random, size: int, count: int) -> Requests:
    for number in range(count):
        yield "SET", f"string:{size}:{number}", rng.randbytes(size)


def _mixed_strings(rng: random.Random, total: int) -> Requests:
    number = 0
    while total > 0:
        size = int(2 ** rng.uniform(3, 17))
        yield "SET", f"mixed:{number}", rng.randbytes(size)
        number += 1
        total -= size + 250


def _tensors(rng: random.Random, size: int, count: int) -> Requests:
    for number in range(count):
        blob = rng.randbytes(4 * size)
        yield "AI.TENSORSET", f"tensor:{size}:{number}", "FLOAT", size, "BLOB", blob


def _values(count: int) -> Requests:
    for number in range(count):
        yield "AI.TENSORSET", f"values:{number}", "DOUBLE", 2, 3, "VALUES", 1, 2, 3, 4, 5, number


def _hashes(rng: random.Random, count: int, each: int) -> Requests:
    for number in range(count):
        pairs = (
            word
            for field in range(each)
            for word in (f"field:{field}", rng.randbytes(rng.randrange(5, 60)))
        )
        yield "HSET", f"hash:{each}:{number}", *pairs


def _lists(rng: random.Random, count: int, each: int) -> Requests:
    for number in range(count):
        words = (rng.randbytes(rng.randrange(2, 60)) for _ in range(each))
        yield "RPUSH", f"list:{each}:{number}", *words


def _sets(rng: random.Random, count: int, each: int) -> Requests:
    for number in range(count):
        yield "SADD", f"set:{each}:{number}", *(rng.randbytes(16) for _ in range(each))


def _sorted_sets(rng: random.Random, count: int, each: int) -> Requests:
    for number in range(count):
        pairs = (word for _ in range(each) for word in (rng.random(), rng.randbytes(12)))
        yield "ZADD", f"zset:{each}:{number}", *pairs


def _large_containers(client: Client, rng: random.Random, scale: float) -> None:
    for _ in range(int(100 * scale)):
        for commands in (_hashes, _lists, _sets, _sorted_sets):
            client.send(commands(rng, 1, 1000))
        for kind in ("hash", "list", "set", "zset"):
            client.wire.ask("RENAME", f"{kind}:1000:0", f"{kind}:{rng.random()}")


def _models(client: Client, rng: random.Random, scale: float) -> None:
    width = 1500
    blobs = np.random.default_rng(rng.randrange(2**32))
    for number in range(int(8 * scale) or 1):
        nodes, weights = _product(blobs, width)
        blob = model("wide", [width], [width], nodes, weights).blob
        client.send(iter([("AI.MODELSTORE", f"model:{number}", "ONNX", "CPU", "BLOB", blob)]))


def _product(
    rng: np.random.Generator, width: int
) -> tuple[list[NodeProto], dict[str, NDArray[np.float64]]]:
    from onnx import helper  # noqa: PLC0415 - it takes long to import, and few loads need it

    return [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": rng.normal(0, 1, (width, width))}


def _outputs(client: Client, rows: int, count: int) -> None:
    from onnx import helper  # noqa: PLC0415 - as above

    nodes = [helper.make_node("Mul", ["x", "two"], ["y"])]
    blob = model("x2", [256], [256], nodes, {"two": np.array(2.0)}).blob
    client.send(iter([("AI.MODELSTORE", "x2", "ONNX", "CPU", "BLOB", blob)]))
    values = np.ones((rows, 256), np.float32).tobytes()
    client.send(iter([("AI.TENSORSET", "x", "FLOAT", rows, 256, "BLOB", values)]))
    for number in range(count):
        outputs = ("OUTPUTS", 1, f"y:{rows}:{number}")
        client.send(iter([("AI.MODELEXECUTE", "x2", "INPUTS", 1, "x", *outputs)]))
        client.send(iter([("AI.TENSORGET", f"y:{rows}:{number}", "BLOB")]))


def _half_requests(client: Client, stack: ExitStack, count: int, size: int) -> None:
    for number in range(count):
        other = stack.enter_context(Wire(client.port))
        whole = request("SET", f"half:{number}", bytes(size))
        other.socket.sendall(whole[: len(whole) * 9 // 10])


def _idle(client: Client, stack: ExitStack, count: int) -> None:
    for _ in range(count):
        stack.enter_context(Wire(client.port)).ask("PING")


def _transactions(client: Client, stack: ExitStack, count: int) -> None:
    for number in range(20):
        other = Client(client.port)
        stack.enter_context(other.wire)
        other.wire.ask("MULTI")
        other.send(("SET", f"queued:{number}:{at}", bytes(400)) for at in range(count // 20))


def _unread(client: Client, stack: ExitStack, count: int, *, gone: bool) -> None:
    blob = bytes(8 * MB)
    for number in range(count):
        key = f"unread:{number // 5}"
        if gone or number % 5 == 0:
            client.send(iter([("AI.TENSORSET", key, "UINT8", len(blob), "BLOB", blob)]))
        other = stack.enter_context(Wire(client.port))
        other.send("AI.TENSORGET", key, "BLOB")
        time.sleep(0.05)
        if gone:
            client.wire.ask("DEL", key)


def _churn(client: Client, rng: random.Random, scale: float) -> None:
    """Values of all sizes come, are replaced by others, and go."""
    for _ in range(6):
        client.send(
            ("SET", f"churn:{rng.randrange(int(20_000 * scale))}", rng.randbytes(size))
            for size in (int(2 ** rng.uniform(8, 14)) for _ in range(int(15_000 * scale)))
        )
        client.send(
            ("AI.TENSORSET", f"t:{rng.randrange(200)}", "UINT8", size, "BLOB", rng.randbytes(size))
            for size in (rng.randrange(MB // 2) for _ in range(int(150 * scale)))
        )
        client.send(("DEL", f"t:{rng.randrange(200)}") for _ in range(100))


def _evict(client: Client, rng: random.Random, scale: float) -> None:
    client.wire.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    client.wire.ask("CONFIG", "SET", "maxmemory", client.used() + int(_EVICTING * scale))
    for _ in range(6):
        client.send(_mixed_strings(rng, int(60 * MB * scale)))
        client.send(_tensors(rng, 60_000, int(200 * scale)))
        client.send(_lists(rng, int(2000 * scale), 100))


def _mixed(client: Client, rng: random.Random, stack: ExitStack, scale: float) -> None:
    n = int(1000 * scale)
    client.send(_strings(rng, 40, 60 * n))
    client.send(_mixed_strings(rng, 20_000 * n))
    client.send(_tensors(rng, 10, 30 * n))
    client.send(_tensors(rng, 100_000, n // 15))
    client.send(_hashes(rng, 5 * n, 10))
    client.send(_lists(rng, 5 * n, 20))
    client.send(_sets(rng, 2 * n, 30))
    client.send(_sorted_sets(rng, n, 100))
    _models(client, rng, scale / 3)
    _half_requests(client, stack, 3, int(5 * MB * scale))
    _idle(client, stack, n // 2)


LOADS: Final[dict[str, Callable[[Client, random.Random, ExitStack, float], None]]] = {
    "strings of 8 bytes": lambda c, r, _, s: c.send(_strings(r, 8, int(300_000 * s))),
    "strings of 500 bytes": lambda c, r, _, s: c.send(_strings(r, 500, int(100_000 * s))),
    "strings of all sizes": lambda c, r, _, s: c.send(_mixed_strings(r, int(80 * MB * s))),
    "strings of 1 MB": lambda c, r, _, s: c.send(_strings(r, MB, int(80 * s))),
    "keys that expire": lambda c, r, _, s: c.send(
        ("SET", f"k:{number}", r.randbytes(20), "EX", 1000) for number in range(int(200_000 * s))
    ),
    "tensors of 10 floats": lambda c, r, _, s: c.send(_tensors(r, 10, int(150_000 * s))),
    "tensors of 6 values": lambda c, _r, _, s: c.send(_values(int(100_000 * s))),
    "tensors of 4 KB": lambda c, r, _, s: c.send(_tensors(r, 1000, int(20_000 * s))),
    "tensors of 4 MB": lambda c, r, _, s: c.send(_tensors(r, MB, int(25 * s))),
    "small hashes": lambda c, r, _, s: c.send(_hashes(r, int(50_000 * s), 8)),
    "small lists": lambda c, r, _, s: c.send(_lists(r, int(50_000 * s), 8)),
    "small sets": lambda c, r, _, s: c.send(_sets(r, int(50_000 * s), 8)),
    "small sorted sets": lambda c, r, _, s: c.send(_sorted_sets(r, int(30_000 * s), 8)),
    "large containers": lambda c, r, _, s: _large_containers(c, r, s),
    "models": lambda c, r, _, s: _models(c, r, s),
    "outputs of 8 KB, read": lambda c, _r, _, s: _outputs(c, 8, int(5000 * s)),
    "outputs of 1 MB, read": lambda c, _r, _, s: _outputs(c, 1000, int(80 * s)),
    "half requests": lambda c, _r, k, s: _half_requests(c, k, 8, int(10 * MB * s)),
    "idle clients": lambda c, _r, k, s: _idle(c, k, int(3000 * s)),
    "transactions": lambda c, _r, k, s: _transactions(c, k, int(80_000 * s)),
    "replies that are not read": lambda c, _r, k, _: _unread(c, k, 10, gone=False),
    "such replies, values deleted": lambda c, _r, k, _: _unread(c, k, 10, gone=True),
    "values replaced and deleted": lambda c, r, _, s: _churn(c, r, s),
    "evicting": lambda c, r, _, s: _evict(c, r, s),
    "a bit of everything": _mixed,
}


@dataclass(frozen=True, slots=True)
class Figure:
    """What a load has made memory grow by.

    Attributes:
        load: Its name.
        taken: Bytes, as the system says.
        counted: Bytes, as INFO says.
    """

    load: str
    taken: int
    counted: int

    @property
    def ratio(self) -> float:
        """What is counted of what is taken."""
        return self.counted / max(self.taken, 1)


def measure(name: str, scale: float) -> Figure:
    """Put a load on a server of its own."""
    with started(TENSORKEEP, _COMMAND) as server, ExitStack() as stack:
        client = Client(server.port)
        stack.enter_context(client.wire)
        _warm_up(client)
        taken, counted = _rss(server), client.used()
        LOADS[name](client, random.Random(_SEED), stack, scale)  # noqa: S311 - the same each time
        time.sleep(_SETTLING)
        return Figure(name, _rss(server) - taken, client.used() - counted)


def _warm_up(client: Client) -> None:
    """Has done once what takes memory the first time: the framework is loaded, and has run."""
    _outputs(client, 1, 1)
    time.sleep(0.3)
    client.wire.ask("FLUSHALL")
    time.sleep(0.3)


def _rss(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    if found is None:
        raise BenchError("the system does not tell what the process takes")
    return int(found[1]) * 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and say by the exit status whether all are within the goal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="loads whose name a regular expression finds")
    parser.add_argument("--scale", type=float, default=1.0, help="how much of each load")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args(arguments)
    figures = []
    table = Table("load", "taken, MB", "counted, MB", "counted of taken")
    for name in LOADS:
        if not re.search(options.only, name):
            continue
        figure = measure(name, options.scale)
        figures.append(figure)
        print(f"{name}: {figure.ratio:.3f}", file=sys.stderr)
        numbers = (figure.taken / MB, figure.counted / MB)
        table.add_row(name, *(f"{number:.1f}" for number in numbers), f"{figure.ratio:.3f}")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in figures], indent=1))
    return int(any(abs(each.ratio - 1) > GOAL for each in figures))


if __name__ == "__main__":
    sys.exit(main())
