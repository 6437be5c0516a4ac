"""Values in versions: each kind writes a version of itself, and reads which one is there.

What is read must be one version through and through. So each spreads its version over as much of
itself as it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from crash_history import Wrong
from onnx import TensorProto, helper, numpy_helper

from tensorkeep_server.testing import WireError

if TYPE_CHECKING:
    from tensorkeep_server.testing import Wire


class NotDone(Exception):
    """The server said that nothing was done: the engine is not there."""


class Unsure(Exception):
    """The server said that the command may have been done."""


def ask(wire: Wire, *words: Any) -> Any:
    """Sends a command; returns its reply.

    Raises:
        NotDone: Nothing was done.
        Unsure: It may have been done.
        Wrong: An error that no crash explains.
    """
    reply = wire.read(*words)
    if not isinstance(reply, WireError):
        return reply
    if reply.startswith("LOADING"):
        raise NotDone(reply)
    if "may have been done" in reply:
        raise Unsure(reply)
    if reply.endswith("key is empty") or "key is empty or" in reply:
        return None
    raise Wrong(f"{words[0]}: {reply}")


def expect(reply: Any, expected: Any, what: str) -> None:
    """Makes sure that a reply is what it must be.

    Raises:
        Wrong: It is not.
    """
    if reply != expected:
        raise Wrong(f"{what}: {str(reply)[:200]}")


class Plain:
    """A string of plain data, up to 64 KB."""

    def __init__(self, name: str) -> None:
        self.name = name

    def write(self, wire: Wire, version: int) -> None:
        expect(ask(wire, "SET", self.name, self._value(version)), "OK", "SET")

    def read(self, wire: Wire) -> int:
        value = ask(wire, "GET", self.name)
        if value is None:
            return 0
        version = int(value.partition(b" ")[0])
        if value != self._value(version):
            raise Wrong(f"{self.name}: a mixed value")
        return version

    def _value(self, version: int) -> bytes:
        return f"{version} ".encode() * (1 + version * 7919 % 8000)


class Counter:
    """A number that is counted up: a request that is done twice would show."""

    def __init__(self, name: str) -> None:
        self.name = name

    def write(self, wire: Wire, version: int) -> None:
        expect(ask(wire, "INCR", self.name), version, f"INCR to {version}")

    def read(self, wire: Wire) -> int:
        return int(ask(wire, "GET", self.name) or 0)


class Pair:
    """Two keys that are written in one transaction."""

    def __init__(self, name: str) -> None:
        self.name = name

    def write(self, wire: Wire, version: int) -> None:
        expect(ask(wire, "MULTI"), "OK", "MULTI")
        for half in "ab":  # from here on what was begun is lost with the connection
            expect(ask(wire, "SET", f"{self.name}:{half}", version), "QUEUED", "SET in MULTI")
        expect(ask(wire, "EXEC"), ["OK", "OK"], "EXEC")

    def read(self, wire: Wire) -> int:
        first, second = ask(wire, "MGET", f"{self.name}:a", f"{self.name}:b")
        if first != second:
            raise Wrong(f"{self.name}: half of a transaction, {first} and {second}")
        return int(first or 0)


class Tensor:
    """A tensor whose shape and elements change with its version."""

    def __init__(self, name: str) -> None:
        self.name = name

    def write(self, wire: Wire, version: int) -> None:
        elements = self._elements(version)
        words = ("FLOAT", *elements.shape, "BLOB", elements.tobytes())
        expect(ask(wire, "AI.TENSORSET", self.name, *words), "OK", "AI.TENSORSET")

    def read(self, wire: Wire) -> int:
        found = ask(wire, "AI.TENSORGET", self.name, "META", "BLOB")
        if found is None:
            return 0
        _, _, _, shape, _, blob = found
        version = int(np.frombuffer(blob, np.float32)[0])
        elements = self._elements(version)
        if tuple(shape) != elements.shape or blob != elements.tobytes():
            raise Wrong(f"{self.name}: a mixed tensor")
        return version

    def _elements(self, version: int) -> Any:
        return np.full((1 + version * 31 % 50, 1 + version * 17 % 70), version, np.float32)


class Model:
    """A model that adds its version, which is its tag too; it is run whenever it is read."""

    def __init__(self, name: str) -> None:
        self.name = name

    def write(self, wire: Wire, version: int) -> None:
        words = ("ONNX", "CPU", "TAG", version, "BLOB", adding(version))
        expect(ask(wire, "AI.MODELSTORE", self.name, *words), "OK", "AI.MODELSTORE")

    def read(self, wire: Wire) -> int:
        told = ask(wire, "AI.MODELGET", self.name, "META")
        if told is None:
            return 0
        version = int(told[told.index(b"tag") + 1])
        _, _, values = ask(
            *(wire, "AI.DAGEXECUTE", "ROUTING", self.name),
            *("|>", "AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 0),
            *("|>", "AI.MODELEXECUTE", self.name, "INPUTS", 1, "x", "OUTPUTS", 2, "y", "z"),
            *("|>", "AI.TENSORGET", "y", "VALUES"),
        )
        if [float(value) for value in values] != [version]:
            raise Wrong(f"{self.name}: it is tagged {version}, and adds {values}")
        return version


class Outputs:
    """Two outputs that a run of a model stores at once."""

    def __init__(self, name: str) -> None:
        self.name = name

    def prepare(self, wire: Wire) -> None:
        """Stores the model."""
        words = ("ONNX", "CPU", "BLOB", adding(0))
        expect(ask(wire, "AI.MODELSTORE", f"{self.name}:model", *words), "OK", "AI.MODELSTORE")

    def write(self, wire: Wire, version: int) -> None:
        y, z = f"{self.name}:y", f"{self.name}:z"
        model = f"{self.name}:model"
        reply = ask(
            *(wire, "AI.DAGEXECUTE", "PERSIST", 2, y, z, "ROUTING", model),
            *("|>", "AI.TENSORSET", "x", "FLOAT", 1, "VALUES", version),
            *("|>", "AI.MODELEXECUTE", model, "INPUTS", 1, "x", "OUTPUTS", 2, y, z),
        )
        expect(reply, ["OK", "OK"], "AI.DAGEXECUTE")

    def read(self, wire: Wire) -> int:
        y, z = [
            0 if values is None else int(float(values[0]))
            for values in (
                ask(wire, "AI.TENSORGET", f"{self.name}:{half}", "VALUES") for half in "yz"
            )
        ]
        if y != z:
            raise Wrong(f"{self.name}: half of what a run stores, {y} and {z}")
        return y


KINDS = (Plain, Counter, Pair, Tensor, Model, Outputs)
"""All kinds."""


def adding(number: int) -> bytes:
    """Returns a model that adds a number to what it is given, and returns that twice."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "n"], ["y"]), helper.make_node("Identity", ["y"], ["z"])],
        "adding",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "yz"],
        [numpy_helper.from_array(np.array([number], np.float32), "n")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()
