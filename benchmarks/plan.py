"""What is measured: comparisons, each with its contenders and what they are asked.

A plan is made of values; how contenders are asked stands in contenders.py.
"""

from __future__ import annotations

import struct
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from contenders import Asked, Called, Comparison, execute, send, store
from figures import REDIS, TENSORKEEP, Load
from frameworks import frameworks
from models import models
from servers import INLINE_OFF, SWITCH_INTERVALS
from sharing import sharing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contenders import Contender

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


def plan() -> list[Comparison]:
    """Return everything that is measured, in the order of the tables."""
    parts = small_commands(), model_runs(), large_tensors(), sharing(), frameworks(), settings()
    return [comparison for part in parts for comparison in part]


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
            contenders: list[Contender] = [Asked(REDIS, ping), Asked(TENSORKEEP, run)]
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
