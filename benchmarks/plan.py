"""What is measured: comparisons, each with its contenders and what they are asked.

A plan is made of values; nothing starts before `prepare` is called.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from figures import ONNX_RUNTIME, REDIS, TENSORKEEP, Load
from load import by_benchmark, by_socket, directly, session_of
from models import models
from servers import INLINE_OFF, SWITCH_INTERVALS, BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from load import Repetition
    from models import Model
    from servers import Servers

    from tensorkeep_server.testing import Wire

    Command = Sequence[str | bytes | int]

SMALL = "small commands"
RUNS = "model runs"
LARGE = "large tensors"
SETTINGS = "settings"

SMALL_LOADS = [Load(1), Load(16), Load(50), Load(1, 16), Load(50, 16)]
RUN_LOADS = [Load(1), Load(16), Load(50), Load(50, 16)]
SETTINGS_LOADS = [Load(1), Load(50)]

# No byte of it is zero, so that it can be an argument of redis-benchmark.
FOUR_FLOATS = struct.pack("<4f", 1.1, 1.2, 1.3, 1.4)
SHAPES = {"602 KB": (1, 3, 224, 224), "64 MB": (1, 16 * 1024 * 1024)}
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Asked:
    """A server that is asked over the wire.

    Attributes:
        who: Its name in the tables.
        ready: Stores what is needed, and returns the command that is measured.
        by_socket: Whether one socket asks, instead of redis-benchmark.
    """

    who: str
    ready: Callable[[Wire], Command]
    by_socket: bool = False


@dataclass(frozen=True, slots=True)
class Called:
    """ONNX Runtime in the process that measures."""

    model: str
    who: str = ONNX_RUNTIME


@dataclass(frozen=True, slots=True)
class Comparison:
    """Contenders that are measured in turn, under one load."""

    family: str
    name: str
    load: Load
    contenders: tuple[Asked | Called, ...]

    @property
    def title(self) -> str:
        """What `--only` is compared with."""
        return f"{self.name}, {self.load.text}"


def plan() -> list[Comparison]:
    """Return everything that is measured, in the order of the tables."""
    return [*small_commands(), *model_runs(), *large_tensors(), *settings()]


def small_commands() -> list[Comparison]:
    """Compare commands that do next to nothing: what is left is the protocol."""
    text = ("SET", "t", FOUR_FLOATS)
    tensor = ("AI.TENSORSET", "t", "FLOAT", 1, 4, "BLOB", FOUR_FLOATS)
    pairs: dict[str, tuple[Command, Command]] = {
        "PING": (("PING",), ("PING",)),
        "TENSORSET, 4 floats": (text, tensor),
        "TENSORGET, 4 floats": (("GET", "t"), ("AI.TENSORGET", "t", "BLOB")),
    }
    return [
        Comparison(
            SMALL,
            name,
            load,
            (
                Asked(REDIS, partial(after, text, theirs)),
                Asked(TENSORKEEP, partial(after, tensor, ours)),
            ),
        )
        for name, (theirs, ours) in pairs.items()
        for load in SMALL_LOADS
    ]


def model_runs() -> list[Comparison]:
    """Run each model, beside a PING of Redis as the yardstick of the moment."""
    found = []
    for name in ("x2", "mlp", "cnn"):
        for load in RUN_LOADS:
            run = partial(stored_model, name)
            contenders: list[Asked | Called] = [Asked(REDIS, ping), Asked(TENSORKEEP, run)]
            if name == "mlp":
                contenders.append(Asked(INLINE_OFF, run))
            if load == Load(1):
                contenders.append(Called(name))
            found.append(Comparison(RUNS, f"MODELEXECUTE {name}", load, tuple(contenders)))
    return found


def large_tensors() -> list[Comparison]:
    """Move large tensors in and out, beside Redis' strings of the same size."""
    return [
        Comparison(
            LARGE,
            f"TENSOR{verb}, {size}",
            Load(1),
            (
                Asked(REDIS, partial(large_string, verb, size), by_socket=True),
                Asked(TENSORKEEP, partial(large_tensor, verb, size), by_socket=True),
            ),
        )
        for size in SHAPES
        for verb in ("SET", "GET")
    ]


def settings() -> list[Comparison]:
    """Show what Python's switch interval does while a worker's thread and the loop compete."""
    return [
        Comparison(
            SETTINGS,
            f"switch interval, {name}",
            load,
            tuple(Asked(who, partial(stored_model, name)) for who in SWITCH_INTERVALS),
        )
        for name in ("mlp", "cnn")
        for load in SETTINGS_LOADS
    ]


# ---------------------------------------------------------------- getting ready
def prepare(contender: Asked | Called, load: Load, servers: Servers, seconds: float) -> Repetition:
    """Make a contender ready; what is returned measures it for about so many seconds.

    Raises:
        BenchError: It does not answer as it should.
    """
    if isinstance(contender, Called):
        return directly(models()[contender.model], seconds)
    server = servers[contender.who]
    try:
        with server.connect() as wire:
            command = contender.ready(wire)
        if contender.by_socket:
            return by_socket(server, command, seconds)
        return by_benchmark(server, command, load, seconds)
    except BenchError as error:
        raise BenchError(f"{contender.who}: {error}") from error


def ping(wire: Wire) -> Command:  # noqa: ARG001 - nothing to be stored
    """Need nothing."""
    return ("PING",)


def after(before: Command, command: Command, wire: Wire) -> Command:
    """Send one command, and measure another."""
    send(wire, before)
    return command


def stored_model(name: str, wire: Wire) -> Command:
    """Store a model, and run it."""
    store(wire, models()[name])
    return execute(name)


def large_string(verb: str, size: str, wire: Wire) -> Command:
    """Store bytes as a string."""
    put = ("SET", size, large(size))
    return after(put, put if verb == "SET" else ("GET", size), wire)


def large_tensor(verb: str, size: str, wire: Wire) -> Command:
    """Store bytes as a tensor."""
    put: Command = ("AI.TENSORSET", size, "FLOAT", *SHAPES[size], "BLOB", large(size))
    return after(put, put if verb == "SET" else ("AI.TENSORGET", size, "BLOB"), wire)


@cache
def large(size: str) -> bytes:
    """Return the bytes of a large tensor."""
    return np.random.default_rng(0).random(SHAPES[size], np.float32).tobytes()


def execute(name: str) -> Command:
    """Return the command that runs a stored model."""
    return ("AI.MODELEXECUTE", name, "INPUTS", 1, f"{name}:x", "OUTPUTS", 1, f"{name}:y")


def store(wire: Wire, model: Model) -> None:
    """Store a model and its input, run it, and compare the answer with ONNX Runtime's own.

    Raises:
        BenchError: The answer is another one.
    """
    key = f"{model.name}:x"
    send(wire, ("AI.MODELSTORE", model.name, "ONNX", "CPU", "BLOB", model.blob))
    send(wire, ("AI.TENSORSET", key, "FLOAT", *model.x.shape, "BLOB", model.x.tobytes()))
    send(wire, execute(model.name))
    reply = wire.read("AI.TENSORGET", f"{model.name}:y", "BLOB")
    expected = session_of(model).run(["y"], {"x": model.x})[0].ravel()
    if not np.allclose(np.frombuffer(reply, np.float32), expected, atol=TOLERANCE):
        raise BenchError(f"{model.name} answers something else than ONNX Runtime")


def send(wire: Wire, command: Command) -> None:
    """Send a command whose answer must be OK.

    Raises:
        BenchError: It was another one, or there was none.
    """
    try:
        reply = wire.ask(*command)
    except (OSError, EOFError) as error:
        raise BenchError(f"{command[0]!r} is not answered: {error!r}") from error
    if reply != b"+OK\r\n":
        raise BenchError(f"{command[0]!r} is answered {reply[:300].decode(errors='replace')!r}")
