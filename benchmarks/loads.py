"""What one client may ask of a server while others expect to be served: long, large and many.

This file decides what is asked, never how long it may take.
"""

from __future__ import annotations

import secrets
from functools import cache
from threading import Thread
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from large_models import large_model

from tensorkeep_server.testing import request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tensorkeep_server.testing import Wire

BACKENDS: Final = ("ONNX", "TORCH", "TF", "TFLITE")
MIB: Final = 1024 * 1024
_READ: Final = 4 * MIB
_AT_ONCE: Final = 10_000  # elements in a command that fills a list, a hash or a set
_PATIENCE: Final = 300.0


class Size(NamedTuple):
    """How much is asked for.

    Attributes:
        megabytes: Of a large model and of a large tensor.
        values: Elements of a tensor that is asked for as VALUES.
        items: Elements of a list, a hash, a set, and arguments of one request.
        pipeline: Commands of a pipeline.
    """

    megabytes: int
    values: int
    items: int
    pipeline: int


FULL: Final = Size(megabytes=500, values=16 * MIB, items=1_000_000, pipeline=500_000)
QUICK: Final = Size(megabytes=50, values=MIB, items=100_000, pipeline=50_000)


class Load(NamedTuple):
    """Something that a client asks for.

    Attributes:
        group: Loads of one group meet one server, one after the other.
        name: What it is.
        ready: Makes the requests that come before it and are not measured.
        asked: Makes the requests that are measured.
        refused: Whether the reply is to be an error.
    """

    group: str
    name: str
    ready: Callable[[], list[bytes]]
    asked: Callable[[], list[bytes]]
    refused: bool = False


def ask(wire: Wire, requests: Iterable[bytes]) -> None:
    """Send requests, read until all of them were answered, and do not look at the replies."""
    mark = secrets.token_hex(16).encode()
    end = b"$32\r\n%b\r\n" % mark
    sent = [*requests, request("ECHO", mark)]
    wire.socket.settimeout(_PATIENCE)
    sending = Thread(target=lambda: [*map(wire.socket.sendall, sent)])
    sending.start()
    room = bytearray(_READ)
    tail = b""
    while not tail.endswith(end):
        count = wire.socket.recv_into(room)
        if not count:
            raise EOFError("the server closed the connection")
        tail = (tail + room[max(0, count - len(end)) : count])[-len(end) :]
    sending.join()


def loads(size: Size) -> list[Load]:
    """Return all loads."""
    return [
        Load("nothing", "nothing", _nothing, _nothing),
        *(_import(backend) for backend in BACKENDS),
        *(load for backend in BACKENDS for load in _of_model(backend, size)),
        *_of_tensors(size),
        *_of_values(size),
        *_of_plain_data(size),
        *_of_pipelines(size),
        *_of_scripts(),
    ]


def _nothing() -> list[bytes]:
    return []


def _asking(*words: str | bytes | float) -> Callable[[], list[bytes]]:
    return lambda: [request(*words)]


# --------------------------------------------------------------------------- models
def _import(backend: str) -> Load:
    command = _asking("AI.CONFIG", "LOADBACKEND", backend, "x")
    return Load(f"import {backend}", f"{backend}: imported", _nothing, command)


def _of_model(backend: str, size: Size) -> list[Load]:
    model = cache(lambda: large_model(backend, size.megabytes))
    group = f"model {backend}"

    def store() -> list[bytes]:
        _, words, _, blob = model()
        return [request("AI.MODELSTORE", "m", backend, "CPU", *words, "BLOB", blob)]

    def first() -> list[bytes]:
        width = model().width
        x = np.zeros(width, np.float32).tobytes()
        return [
            request("AI.CONFIG", "LOADBACKEND", backend, "x"),
            request("AI.TENSORSET", "x", "FLOAT", 1, width, "BLOB", x),
        ]

    def run() -> list[bytes]:
        once = request("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
        return [once] * 5

    def pieces() -> list[bytes]:
        _, words, _, blob = model()
        cut = [blob[at : at + MIB] for at in range(0, len(blob), MIB)]
        return [request("AI.MODELSTORE", "m", backend, "CPU", *words, "BLOB", *cut)]

    named = f"{backend}: {size.megabytes} MB "
    return [
        Load(group, f"{named}stored", first, store),
        Load(group, f"{named}run", _nothing, run),
        Load(group, f"{named}read (MODELGET)", _nothing, _asking("AI.MODELGET", "m", "BLOB")),
        Load(group, f"{named}stored over it, in pieces", _nothing, pieces),
        Load(group, f"{named}deleted", _nothing, _asking("AI.MODELDEL", "m")),
        Load(group, f"{named}stored, then FLUSHALL", store, _asking("FLUSHALL")),
    ]


# --------------------------------------------------------------------------- tensors
def _of_tensors(size: Size) -> list[Load]:
    group = "tensors"
    count = size.megabytes * 250_000

    def tensor(*key: str) -> Callable[[], list[bytes]]:
        blob = bytes(4 * count)
        return lambda: [request("AI.TENSORSET", k, "FLOAT", count, "BLOB", blob) for k in key]

    def strings() -> list[bytes]:
        blob = b"some\0" * size.items
        return [request("AI.TENSORSET", "s", "STRING", size.items, "BLOB", blob)]

    named = f"tensor of {size.megabytes} MB "
    return [
        Load(group, f"{named}set", _nothing, tensor("t")),
        Load(group, f"{named}set over it", _nothing, tensor("t")),
        Load(group, f"{named}read", _nothing, _asking("AI.TENSORGET", "t", "BLOB")),
        Load(group, f"{named}deleted", _nothing, _asking("DEL", "t")),
        Load(group, f"{named}expired", tensor("t"), _asking("PEXPIRE", "t", 50)),
        Load(group, "tensor of strings set", _nothing, strings),
        Load(
            group, "tensor of strings as VALUES", _nothing, _asking("AI.TENSORGET", "s", "VALUES")
        ),
        Load(group, "tensor of strings deleted", _nothing, _asking("DEL", "s")),
    ]


def _of_values(size: Size) -> list[Load]:
    group = "values"

    def floats() -> list[bytes]:
        blob = np.random.default_rng(0).standard_normal(size.values, np.float32).tobytes()
        return [request("AI.TENSORSET", "f", "FLOAT", size.values, "BLOB", blob)]

    get = ("|>", "AI.TENSORGET", "f", "VALUES")
    dag = _asking("AI.DAGEXECUTE_RO", "LOAD", 1, "f", *(get * 3))
    numbers = [b"%.7g" % n for n in np.random.default_rng(0).standard_normal(size.items)]
    numbers = numbers[: size.items - 10]
    few = size.items // 100 - 10
    put: tuple[str | bytes | float, ...] = (
        *("|>", "AI.TENSORSET", "p", "FLOAT", few, "VALUES"),
        *numbers[:few],
    )
    return [
        Load(group, "VALUES of many floats", floats, _asking("AI.TENSORGET", "f", "VALUES")),
        Load(
            group,
            "VALUES of many bytes",
            _asking("AI.TENSORSET", "b", "UINT8", 4 * size.values),
            _asking("AI.TENSORGET", "b", "VALUES"),
        ),
        Load(group, "DAG of three long VALUES", _nothing, dag),
        Load(
            group,
            "tensor set by a million VALUES",
            _nothing,
            _asking("AI.TENSORSET", "v", "FLOAT", len(numbers), "VALUES", *numbers),
        ),
        Load(
            group,
            "DAG that sets a million VALUES",
            _nothing,
            _asking("AI.DAGEXECUTE", "ROUTING", "r", *(put * 90)),
        ),
    ]


# --------------------------------------------------------------------------- plain data
def _of_plain_data(size: Size) -> list[Load]:
    group = "plain data"
    items = range(0, size.items, _AT_ONCE)
    words = {at: [b"item:%d" % number for number in range(at, at + _AT_ONCE)] for at in items}

    def fill(command: str, key: str) -> Callable[[], list[bytes]]:
        return lambda: [request(command, key, *words[at]) for at in items]

    def pairs(command: str, key: tuple[str, ...]) -> Callable[[], list[bytes]]:
        return lambda: [
            request(command, *key, *(word for w in words[at] for word in (w, b"value")))
            for at in items
        ]

    return [
        Load(group, "LRANGE of all", fill("RPUSH", "l"), _asking("LRANGE", "l", 0, -1)),
        Load(group, "SMEMBERS", fill("SADD", "s"), _asking("SMEMBERS", "s")),
        Load(group, "HGETALL", pairs("HSET", ("h",)), _asking("HGETALL", "h")),
        Load(group, "KEYS of all", pairs("MSET", ()), _asking("KEYS", "*")),
        Load(group, "list, set and hash deleted", _nothing, _asking("DEL", "l", "s", "h")),
        Load(group, "FLUSHALL", _nothing, _asking("FLUSHALL")),
    ]


# --------------------------------------------------------------------------- pipelines
def _of_pipelines(size: Size) -> list[Load]:
    group = "pipelines"
    words = [b"item:%d" % number for number in range(100_000)]
    fill = _asking("RPUSH", "l", *words)
    slow = request("LPOS", "l", "missing")
    transaction = [request("MULTI"), *[slow] * 10, request("EXEC")]
    return [
        Load(group, "pipeline of 700 slow commands", fill, lambda: [slow * 700]),
        Load(group, "PING in line, many", _nothing, lambda: [b"PING\r\n" * size.pipeline]),
        Load(
            group,
            "pipeline of small commands",
            _nothing,
            lambda: [request("GET", "k") * size.pipeline],
        ),
        Load(group, "EXEC of 10 slow commands", _nothing, lambda: transaction),
    ]


# --------------------------------------------------------------------------- scripts
def _doubling(functions: int) -> str:
    first = "def f0(x: Tensor):\n    return x + x\n"
    others = (
        f"def f{n}(x: Tensor):\n    return f{n - 1}(f{n - 1}(x))\n" for n in range(1, functions)
    )
    return first + "".join(others)


def _nested(loops: int) -> str:
    lines = ["def f(x: Tensor, n: int):"]
    lines += [f"{' ' * (level + 1)}while n > {level}:" for level in range(loops)]
    lines += [f"{' ' * (loops + 1)}n = n - 1", " return x"]
    return "\n".join([*lines, ""])


def _long(lines: int) -> str:
    return "def f(x: Tensor):\n" + "    x = x + 1\n" * lines + "    return x\n"


def _of_scripts() -> list[Load]:
    group = "scripts"
    tiny = "def f(x: Tensor):\n    return x\n"
    ready = _asking("AI.SCRIPTSET", "s", "CPU", "SOURCE", tiny)  # loads the backend

    def store(source: str) -> Callable[[], list[bytes]]:
        return _asking("AI.SCRIPTSET", "s", "CPU", "SOURCE", source)

    def load(name: str, source: str, *, refused: bool = False) -> Load:
        return Load(group, name, ready, store(source), refused)

    return [
        load("script of 9 functions that double", _doubling(9)),
        load("script of 16 of them, refused", _doubling(16), refused=True),
        load("script of 12 nested loops", _nested(12)),
        load("script of 90 of them, refused", _nested(90), refused=True),
        load("script of 1,000 lines", _long(1_000)),
        load("script of 20,000 of them, refused", _long(20_000), refused=True),
    ]
