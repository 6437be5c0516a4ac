"""Which ONNX models are harmless: no input can make them end, block or fill this process.

Found by entry point in the group `tensorkeep.harmless`. ONNX Runtime is not imported. A model is
harmless if it is written as exporters write models, has only operators of `HARMLESS` used as
was tested, and needs no more memory or time than is known for the bytes that it is given.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from tensorkeep.size_bounds import (
    AtMost,
    Shape,
    Unbounded,
    any_size,
    factor_of_all,
    inputs_of,
)
from tensorkeep_onnx.graph_reader import SIZES, Constant, Declared, read_graph
from tensorkeep_onnx.harmless_operators import OPSETS, Made, Unlisted, Use, Value, check_use
from tensorkeep_onnx.strict_messages import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorkeep.model import ModelSpec
    from tensorkeep_onnx.graph_reader import Graph, Node

LIGHT: Final = True
"""ONNX Runtime is imported without keeping others waiting."""

_INPUTS: Final = frozenset((1, 2, 3, 6, 7, 9, 11))  # types of inputs: numbers and truth values
_ALONE: Final = -1  # in place of the number of an input
_MOST_BYTES: Final = 2**30  # of what is held at once, where each axis of any size has the size 1
# Bytes of what is held at once for each byte of an input: 64 KiB never take more than 1 GiB.
_MOST_FOR_EACH_BYTE: Final = 2**14
_MOST_PRODUCTS: Final = 2**36  # multiplications, likewise
_MOST_FIXED: Final = 2**26  # bytes of values that are the same in every run
_log: Final = logging.getLogger(__name__)


def why_isolated(spec: ModelSpec, blob: bytes) -> str:
    """Returns why a model is not to run in the process that serves clients.

    Args:
        spec: What the user says of the model.
        blob: The model.

    Returns:
        The first reason that was found, for people; empty for a harmless model.
    """
    try:
        if spec.device.kind != "CPU":
            return "the operators were tested on the CPU only"
        if blob.startswith(b"PK"):
            return "its weights lie in files of an archive"
        _Check(read_graph(blob)).run()
    except (Unreadable, Unlisted, Unbounded) as error:
        return str(error)
    except Exception:  # noqa: BLE001 - what the check stumbles over is not harmless
        _log.exception("The check of an ONNX model failed")
        return "the check of the model failed"
    return ""


class _Check:
    """A walk over the nodes of a graph, and what is known of its values."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._values: dict[bytes, Value] = {}
        self._sent: list[float] = []  # bytes of each input, where all symbols are 1
        # What is held while a node runs: bytes where all symbols are 1, and bytes for each byte of
        # each input; the same by value, to be taken off after its last use.
        self._held: defaultdict[int, float] = defaultdict(float)
        self._costs: dict[bytes, dict[int, float]] = {}
        self._products = self._fixed = 0.0

    def run(self) -> None:
        """Raises what is not harmless in the graph."""
        graph = self._graph
        if graph.opset not in OPSETS:
            raise Unreadable(f"version {graph.opset} of the operators was not tested")
        if not graph.outputs or not graph.inputs:
            raise Unreadable("it has no inputs or no outputs")
        for name, constant in graph.constants.items():
            self._set(name, _of(constant))
        for number, (name, declared) in enumerate(graph.inputs.items()):
            self._set(name, self._input(number, declared))
        last = {name: place for place, node in enumerate(graph.nodes) for name in node.inputs}
        last |= dict.fromkeys(graph.outputs, len(graph.nodes))
        for place, node in enumerate(graph.nodes):
            try:
                self._walk(node)
            except (Unreadable, Unlisted, Unbounded) as error:
                raise Unlisted(f"{_printable(node.operator)}: {error}") from error
            self._release(
                name for name in {*node.inputs, *node.outputs} if last.get(name, place) == place
            )
        self._compare_all()

    def _compare_all(self) -> None:
        """Raises unless what the graph says of its values is so."""
        for name, declared in (*self._graph.outputs.items(), *self._graph.told.items()):
            if name not in self._values:
                raise Unreadable("an output or a described value is made by no node")
            _compare(declared, self._values[name])

    def _release(self, names: Iterable[bytes]) -> None:
        """Takes off what values need that are not used again."""
        for name in names:
            for number, cost in self._costs.pop(name, {}).items():
                self._held[number] -= cost

    def _set(self, name: bytes, value: Value) -> None:
        if not name or name in self._values:
            raise Unreadable("a value has no name, or one that is there twice")
        self._values[name] = value

    def _input(self, number: int, declared: Declared) -> Value:
        if declared.dtype not in _INPUTS or declared.shape is None:
            raise Unreadable("an input has a type that was not tested, or no shape")
        shape: Shape = tuple(
            any_size(number, axis) if size is None else size
            for axis, size in enumerate(declared.shape)
        )
        self._sent.append(factor_of_all(shape) * SIZES[declared.dtype])
        return Value(declared.dtype, shape)

    def _walk(self, node: Node) -> None:
        values = []
        for name in node.inputs:
            if name and name not in self._values:
                raise Unlisted("an input is made by no node before it")
            values.append(self._values[name] if name else None)
        made = check_use(Use(node, self._graph.opset, values))
        given = node.attributes.get("value") if node.operator == "Constant" else None
        constant = given if isinstance(given, Constant) else None
        fixed = all(value is None or value.fixed for value in values)
        if constant is None:
            self._count(node.outputs[0], made, fixed=fixed)
        if node.operator == "Identity" and values[0] is not None:
            constant = values[0].constant
        self._set(node.outputs[0], Value(made.dtype, made.shape, constant, fixed))

    def _count(self, name: bytes, made: Made, *, fixed: bool) -> None:
        """Adds up what nodes need."""
        elements = factor_of_all(made.shape)
        size = elements * SIZES[made.dtype]
        more = (elements + made.scratch) * SIZES[made.dtype]  # while the node runs
        self._products += elements * made.products
        if fixed:
            self._fixed += more + elements * made.products
        inputs = inputs_of(made.shape)
        rates = {number: self._held[number] + more / self._sent[number] for number in inputs}
        if max(rates.values(), default=0) > _MOST_FOR_EACH_BYTE:
            raise Unbounded("a small input can fill the memory")
        if self._held[_ALONE] + more > _MOST_BYTES:
            raise Unbounded("its values can fill the memory")
        if self._products > _MOST_PRODUCTS:
            raise Unbounded("it takes more time than was tested")
        if self._fixed > _MOST_FIXED:
            raise Unbounded("it computes with constants only")
        self._costs[name] = {number: size / self._sent[number] for number in inputs}
        self._costs[name][_ALONE] = size
        for number, cost in self._costs[name].items():
            self._held[number] += cost


def _of(constant: Constant) -> Value:
    return Value(constant.dtype, constant.shape, constant, fixed=True)


def _compare(declared: Declared, value: Value) -> None:
    """Raises unless what a model says of a value is what is known of it."""
    if declared.dtype != value.dtype:
        raise Unreadable("a value is of another type than is said")
    if declared.shape is None:
        return
    fits = len(declared.shape) == len(value.shape) and all(
        said is None or isinstance(size, AtMost) or said == size
        for said, size in zip(declared.shape, value.shape, strict=True)
    )
    if not fits:
        raise Unreadable("a value is of another shape than is said")


def _printable(name: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in name[:50])
