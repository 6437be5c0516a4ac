"""Whether a model's graph makes sense, as far as LiteRT does not look itself.

LiteRT checks that a model is a whole flatbuffer, but takes much of what the graph says for
granted: a wrong number can make it read or write memory that is not its own, and end the server.
What is checked here is what the format promises of graphs: that what is taken was given or
computed before, that nothing is computed twice, that subgraphs fit and do not call themselves.
"""

from __future__ import annotations

from math import prod
from struct import calcsize, unpack_from
from typing import TYPE_CHECKING, Final

from tensorkeep_tflite.modelfile import BOOL, INT32, INT64, STRING
from tensorkeep_tflite.operands import (
    DIVISIONS,
    RIGID,
    fault_of_scales,
    fault_of_shapes,
    fault_of_types,
    has_enough,
    may_lack,
)
from tensorkeep_tflite.operators import CALLS, Op, name_of
from tensorkeep_tflite.options import fault_of_options, refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep_tflite.modelfile import ModelFile, Operator, Subgraph, TensorEntry

_WORD: Final = 4  # bytes


class UnsoundModel(ValueError):
    """The graph makes no sense, or is of a kind that may not be run."""


def check(model: ModelFile, blob: bytes) -> None:
    """Refuses a model with which LiteRT would not be safe.

    Raises:
        UnsoundModel: The text says what is wrong.
    """
    if model.external:
        raise UnsoundModel("weights in other files are not allowed")
    if not model.subgraphs or not model.buffers:
        raise UnsoundModel("there is no graph in it")
    for start, size in model.buffers:
        if start + size > len(blob):
            raise UnsoundModel("weights lie behind the end of the model")
    for number, graph in enumerate(model.subgraphs):
        _Check(model, blob, graph, f" of subgraph {number}" if number else "").run()
    _check_calls(model.subgraphs)


def ranks_to_keep(model: ModelFile) -> list[int] | None:
    """Returns the number of axes that each input must have; None when any will do."""
    if not any(each.code in RIGID for graph in model.subgraphs for each in graph.operators):
        return None
    main = model.graph
    return [len(main.tensors[index].shape) for index in main.inputs]


class _Check:
    """The checks of one subgraph."""

    def __init__(self, model: ModelFile, blob: bytes, graph: Subgraph, where: str) -> None:
        self._model = model
        self._blob = blob
        self._graph = graph
        self._where = where

    def run(self) -> None:
        graph = self._graph
        for tensor in graph.tensors:
            self._check_tensor(tensor)
        self._need_range(graph.inputs, "an input")
        self._need_range(graph.outputs, "an output")
        # Tensors that have values: all that is taken must be among them by then, and nothing may
        # be computed into them again. Constants lie in the stored model itself.
        known = {index for index, each in enumerate(graph.tensors) if self._is_given(each)}
        for index in graph.inputs:
            if index in known:
                raise UnsoundModel(f"an input{self._where} is a constant or given twice")
            known.add(index)
        known |= {index for index, each in enumerate(graph.tensors) if _needs_none(each)}
        for number, operator in enumerate(graph.operators):
            name = f"operator {number}{self._where} ({name_of(operator.code)})"
            self._check_operator(operator, name, known)
            for index in operator.outputs:
                if index in known:
                    raise UnsoundModel(f"{name} computes a tensor that has values already")
                known.add(index)
        if not known.issuperset(graph.outputs):
            raise UnsoundModel(f"an output{self._where} is never computed")

    def _check_tensor(self, tensor: TensorEntry) -> None:
        if tensor.buffer >= len(self._model.buffers):
            raise UnsoundModel(f"a tensor{self._where} has a buffer that the model does not have")
        if tensor.sparse:
            raise UnsoundModel("sparse weights are not supported")
        if fault := fault_of_scales(tensor):
            raise UnsoundModel(f"a tensor{self._where} {fault}")
        if tensor.type == STRING and self._model.is_constant(tensor):
            self._check_strings(tensor)

    def _check_strings(self, tensor: TensorEntry) -> None:
        # A count, where each string starts, where the last one ends, and the strings.
        start, size = self._model.buffers[tensor.buffer]
        count = prod(tensor.shape)
        head = (count + 2) * _WORD
        if size >= head and unpack_from("<i", self._blob, start)[0] == count >= 0:
            offsets = unpack_from(f"<{count + 1}i", self._blob, start + _WORD)
            if offsets[0] == head and offsets[-1] <= size and list(offsets) == sorted(offsets):
                return
        raise UnsoundModel(f"strings{self._where} are not whole")

    def _is_given(self, tensor: TensorEntry) -> bool:
        """Returns whether a tensor has values before a run."""
        return tensor.variable or self._model.is_constant(tensor)

    def _check_operator(self, operator: Operator, name: str, known: set[int]) -> None:
        if fault := refusal(operator) or fault_of_options(operator):
            raise UnsoundModel(f"{name} {fault}")
        if not has_enough(operator):
            raise UnsoundModel(f"{name} has too few inputs")
        tensors = self._graph.tensors
        inputs: list[TensorEntry | None] = []
        for position, index in enumerate(operator.inputs):
            if index == -1 and may_lack(operator, position):
                inputs.append(None)
                continue
            self._need_range((index,), f"what {name} takes")
            if index not in known:
                raise UnsoundModel(f"{name} takes a tensor that is not computed before")
            inputs.append(tensors[index])
        self._need_range(operator.intermediates, f"what {name} computes between")
        self._need_range(operator.outputs, f"what {name} computes")
        outputs = [tensors[index] for index in operator.outputs]
        if operator.code in DIVISIONS and not self._may_divide(inputs[1]):
            raise UnsoundModel(f"{name} divides integers by 0, -1 or what a run is given")
        for fault_of in (fault_of_types, fault_of_shapes):
            if fault := fault_of(operator.code, inputs, outputs):
                raise UnsoundModel(f"{name} {fault}")

    def _may_divide(self, divisor: TensorEntry | None) -> bool:
        """Returns whether no element can be divided in a way that ends the process."""
        kind = {INT32: "i", INT64: "q"}.get(divisor.type) if divisor is not None else None
        if divisor is None or kind is None:
            return True
        start, size = self._model.buffers[divisor.buffer]
        divisors = unpack_from(f"<{size // calcsize(kind)}{kind}", self._blob, start)
        return bool(divisors) and not {0, -1}.intersection(divisors)

    def _need_range(self, indices: Sequence[int], what: str) -> None:
        if indices and not 0 <= min(indices) <= max(indices) < len(self._graph.tensors):
            raise UnsoundModel(f"{what}{self._where} is a tensor that does not exist")


def _needs_none(tensor: TensorEntry) -> bool:
    """Returns whether a tensor has no elements, as the shape of a scalar, and so no values."""
    return prod(tensor.shape) == 0 and tensor.type != STRING


def _check_calls(graphs: Sequence[Subgraph]) -> None:
    """Refuses subgraphs that are not there, do not fit, or call themselves, even through others."""
    calls: list[set[int]] = []
    for graph in graphs:
        called: set[int] = set()
        for operator in graph.operators:
            if operator.code in CALLS:
                numbers = operator.numbers or ()
                name = name_of(operator.code)
                if not all(0 <= number < len(graphs) for number in numbers):
                    raise UnsoundModel(f"{name} calls a subgraph that does not exist")
                if not _fits(operator, graph, [graphs[number] for number in numbers]):
                    raise UnsoundModel(f"{name} calls a subgraph that does not fit it")
                called.update(numbers)
        calls.append(called)
    ended: set[int] = set()
    while len(ended) < len(graphs):
        ending = {index for index, called in enumerate(calls) if called <= ended} - ended
        if not ending:
            raise UnsoundModel("a subgraph calls itself")
        ended |= ending


def _fits(operator: Operator, graph: Subgraph, called: Sequence[Subgraph]) -> bool:
    """Returns whether subgraphs take and return the types that the operator that calls them has."""
    taken = _types(graph, operator.inputs)
    returned = _types(graph, operator.outputs)
    ways = [(_types(each, each.inputs), _types(each, each.outputs)) for each in called]
    match operator.code:
        case Op.WHILE:
            return ways == [(taken, [BOOL]), (taken, taken)] and returned == taken
        case Op.IF:
            return all(way == (taken[1:], returned) for way in ways)
        case Op.STABLEHLO_COMPOSITE:
            return ways == [(taken, returned)]
        case _:  # initialises, once, and gives nothing back
            return True


def _types(graph: Subgraph, indices: Sequence[int]) -> list[int]:
    return [graph.tensors[index].type for index in indices]
