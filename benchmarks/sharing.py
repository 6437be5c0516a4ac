"""What is measured of sharing: rows of one run, devices of one request, requests of one client.

Each comparison is a pair: what is shared stands second. Both are asked of the same process.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from contenders import Asked, Called, CalledTwice, Comparison, Round, execute, send, store
from figures import TENSORKEEP, Load
from models import heavy, models
from servers import ALL_CORES, INLINE_OFF

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep_server.testing import Wire

    Command = Sequence[str | bytes | int]

BATCHING = "batching"
ROWS = "rows of one call"
DEVICES = "two devices"
DAGS = "commands and DAGs"

BATCH_SIZES = {"mlp": 32, "cnn": 8}
BATCH_LOADS = [Load(1), Load(16), Load(50)]
DAG_LOADS = [Load(1), Load(50)]
DEVICE_NAMES = ("CPU", "CPU:1")


def sharing() -> list[Comparison]:
    """Return what is measured of sharing."""
    return [*batching(), *devices(), *dags()]


def batching() -> list[Comparison]:
    """Run a model without and with BATCHSIZE, and call ONNX Runtime with as many rows."""
    found = []
    for name, size in BATCH_SIZES.items():
        calls = (Called(name, "1 row"), Called(name, f"{size} rows", size))
        found.append(Comparison(ROWS, name, Load(1), calls))
        for server, title in zip((TENSORKEEP, INLINE_OFF), batchings(name), strict=True):
            pair = (
                Asked("without", partial(stored, name, 0), server=server),
                Asked("BATCHSIZE", partial(stored, name, size), server=server),
            )
            found += [Comparison(BATCHING, title, load, pair) for load in BATCH_LOADS]
    return found


def batchings(name: str) -> tuple[str, str]:
    """Return the names of a model's comparisons: with the server's defaults, and inline off."""
    title = f"batching {name} by {BATCH_SIZES[name]}"
    return title, f"{title}, inline off"


def devices() -> list[Comparison]:
    """Run two heavy operations of one DAG on one device, and on two.

    Beside it the same without a server: what the cores allow at this moment.
    """
    first, second = DEVICE_NAMES
    pair = (
        Asked("one device", partial(two_runs, first, first), by_socket=True, server=ALL_CORES),
        Asked("two devices", partial(two_runs, first, second), by_socket=True, server=ALL_CORES),
    )
    calls = (CalledTwice("one device", 1), CalledTwice("two devices", 2))
    return [
        Comparison(DEVICES, "DAG of two heavy runs", Load(1), pair),
        Comparison(DEVICES, "two heavy calls in one thread or two", Load(1), calls),
    ]


def dags() -> list[Comparison]:
    """Set, run and get as three commands sent at once, and as one DAG."""
    return [
        Comparison(
            DAGS,
            f"set, run, get {name}",
            load,
            (
                Round("three commands", partial(three_commands, name), TENSORKEEP),
                Round("one DAG", partial(one_dag, name), TENSORKEEP),
            ),
        )
        for name in ("x2", "mlp")
        for load in DAG_LOADS
    ]


# ---------------------------------------------------------------- getting ready
def stored(name: str, size: int, wire: Wire) -> Command:
    """Store a model under a key of its own, with a batch size or none, and run it."""
    key = f"{name}:batch{size}"
    options: tuple[str | int, ...] = ("BATCHSIZE", size) if size else ()
    store(wire, models()[name], key, *options)
    return execute(key)


def two_runs(first: str, second: str, wire: Wire) -> Command:
    """Store the heavy model on both devices, and run it on these."""
    model = heavy()
    for device in DEVICE_NAMES:
        send(wire, ("AI.MODELSTORE", f"heavy:{device}", "ONNX", device, "BLOB", model.blob))
    shape = model.x.shape
    send(wire, ("AI.TENSORSET", "heavy:x", "FLOAT", *shape, "BLOB", model.x.tobytes()))
    return (
        *("AI.DAGEXECUTE", "LOAD", 1, "heavy:x"),
        *("|>", "AI.MODELEXECUTE", f"heavy:{first}", "INPUTS", 1, "heavy:x", "OUTPUTS", 1, "a"),
        *("|>", "AI.MODELEXECUTE", f"heavy:{second}", "INPUTS", 1, "heavy:x", "OUTPUTS", 1, "b"),
    )


def three_commands(name: str, wire: Wire) -> Sequence[Command]:
    """Store a model; set its input, run it, get its output."""
    store(wire, models()[name])
    return set_run_get(name)


def one_dag(name: str, wire: Wire) -> Sequence[Command]:
    """Store a model; set its input, run it, get its output, all in one command."""
    store(wire, models()[name])
    parts = [part for command in set_run_get(name) for part in ("|>", *command)]
    return [("AI.DAGEXECUTE", "ROUTING", name, *parts)]


def set_run_get(name: str) -> list[Command]:
    """Return the three commands."""
    x = models()[name].x
    return [
        ("AI.TENSORSET", f"{name}:x", "FLOAT", *x.shape, "BLOB", x.tobytes()),
        execute(name),
        ("AI.TENSORGET", f"{name}:y", "BLOB"),
    ]
