"""Graphs of TensorFlow, as far as they must be known before TensorFlow builds them.

A graph is cut down to what its outputs need, nodes and functions, and what is left is looked
through: whatever was not looked at here, TensorFlow never sees. This module decides what a graph
may not hold, and never what it computes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from google.protobuf.message import DecodeError

from tensorkeep.errors import ModelRejected
from tensorkeep_tf import operators
from tensorkeep_tf.framework import tf
from tensorkeep_tf.messages import INVALID_GRAPH, input_not_found, output_not_found

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

# Messages of TensorFlow's protobufs (GraphDef, NodeDef, AttrValue) bring no types.
GraphDef = Any
NodeDef = Any
AttrValue = Any

_PLACEHOLDER: Final = "Placeholder"
_CONSTANT: Final = "Const"
_DEEPEST: Final = 100  # calls of functions within each other
_MOST_NODES: Final = 1_000_000  # with all functions written out
_MOST_COUNTED: Final = 100_000  # inputs or outputs of a node, or turns of a loop side by side
_OF_NODE: Final = re.compile(r".+:\d{1,9}", re.DOTALL)
_STRING: Final = 7  # DataType.DT_STRING


@dataclass(frozen=True, slots=True)
class Survey:
    """What a look through a graph found.

    Attributes:
        variables: Names of the nodes outside functions that are variables.
        unfrozen: Name of any node that is a variable, functions included; empty when none is.
        loops: Whether something in it may run again and again.
        steady: Whether the time of a run can depend on the shapes of the inputs only.
        sized_by: An operator by which values of inputs may decide sizes, or of which that is not
            known; empty when all sizes follow from the shapes of the inputs.
        weights: Bytes of all constants and variables.
    """

    variables: tuple[str, ...]
    unfrozen: str
    loops: bool
    steady: bool
    sized_by: str
    weights: int


# --------------------------------------------------------------------------- reading
def parse(blob: bytes) -> GraphDef:
    """Reads a serialized GraphDef.

    Raises:
        ModelRejected: The bytes are none.
    """
    try:
        graph = tf.compat.v1.GraphDef.FromString(blob)
    except DecodeError as error:
        raise ModelRejected(INVALID_GRAPH) from error
    if not graph.node:  # messages of other kinds read as one in which nothing is known
        raise ModelRejected(f"{INVALID_GRAPH}: there is no node in it")
    return graph


def check_names(graph: GraphDef, inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Checks that inputs name placeholders and outputs name nodes, or tensors of these.

    Raises:
        ModelRejected: The first that does not.
    """
    ops = {node.name: node.op for node in graph.node}
    for name in inputs:
        if ops.get(tensor_of(name).removesuffix(":0")) != _PLACEHOLDER:
            raise ModelRejected(input_not_found(name))
    for name in outputs:
        if node_of(name) not in ops:
            raise ModelRejected(output_not_found(name))


def tensor_of(name: str) -> str:
    """Returns the tensor that a user means by `node` or by `node:1`."""
    return name if _OF_NODE.fullmatch(name) else f"{name}:0"


def node_of(tensor: str) -> str:
    """Returns the node in `node`, `node:1`, `node:output:1` or `^node`, as graphs write inputs."""
    return tensor.removeprefix("^").partition(":")[0]


def called_by(node: NodeDef, functions: Collection[str]) -> Iterator[str]:
    """Gives the names of the functions that a node calls."""
    if node.op in functions:
        yield node.op
    todo = list(node.attr.values())
    while todo:
        value = todo.pop()
        for function in (value.func,) if value.HasField("func") else value.list.func:
            yield function.name
            todo += function.attr.values()


# --------------------------------------------------------------------------- cutting and checking
def cut(graph: GraphDef, roots: Iterable[str], allowed: Collection[str] = frozenset()) -> GraphDef:
    """Returns what some nodes of a graph need, after a look at every operator in it.

    Args:
        graph: The graph; it may be changed.
        roots: Names of nodes of the graph.
        allowed: Operators that are refused otherwise; the caller sees to what they reach.

    Raises:
        ModelRejected: An operator is unknown or not allowed, or something that is needed is not
            in the graph.
    """
    nodes = {node.name: node for node in graph.node}
    functions = {each.signature.name: each for each in graph.library.function}
    kept = _needed(nodes, roots)
    called = _called([nodes[name] for name in kept], functions)
    _check([nodes[name] for name in kept], functions, (), allowed)
    for name in called:
        _check(
            functions[name].node_def,
            functions,
            [each.name for each in functions[name].signature.attr],
            allowed,
        )
    if len(kept) < len(graph.node) or len(called) < len(graph.library.function):
        # Into a new graph: nodes cannot be taken out one by one in any bearable time.
        whole, graph = graph, tf.compat.v1.GraphDef()
        graph.versions.CopyFrom(whole.versions)
        graph.node.extend(nodes[name] for name in kept)
        graph.library.function.extend(functions[name] for name in called)
    # Gradients name functions too, and nobody trains here.
    del graph.library.gradient[:], graph.library.registered_gradients[:]
    return graph


def place(graph: GraphDef, device: str) -> None:
    """Puts every node on a device, whatever device it was trained on; empty leaves the choice."""
    for body in _bodies(graph):
        for node in body:
            node.device = device
            if "_class" in node.attr:  # with another node, which may have been cut off
                del node.attr["_class"]


def _needed(nodes: Mapping[str, NodeDef], roots: Iterable[str]) -> list[str]:
    todo = list(roots)
    kept: dict[str, None] = {}
    while todo:
        name = todo.pop()
        if name in kept:
            continue
        if name not in nodes:
            raise ModelRejected(f'The node "{name}" is needed and not in the graph')
        kept[name] = None
        todo += map(node_of, nodes[name].input)
    return list(kept)


def _called(nodes: Sequence[NodeDef], functions: Mapping[str, Any]) -> list[str]:
    """Returns the functions that nodes call, and those that these call.

    TensorFlow writes functions out where they are called, and does not survive those that call
    themselves, or a few that call each other many times.
    """
    extents: dict[str, _Extent] = {}

    def extent(body: Sequence[NodeDef], level: int) -> _Extent:
        if level > _DEEPEST:
            raise ModelRejected(f"Functions call each other, or themselves, {_DEEPEST} deep")
        size, depth = len(body), 0
        for node in body:
            for name in called_by(node, functions):
                if name not in functions:
                    raise ModelRejected(f'The function "{name}" is needed and not in the graph')
                if name not in extents:
                    extents[name] = extent(functions[name].node_def, level + 1)
                inner = extents[name]
                size, depth = size + inner.size, max(depth, inner.depth + 1)
        if size > max(_MOST_NODES, len(body)):
            raise ModelRejected(f"With functions written out it has over {_MOST_NODES} nodes")
        return _Extent(size, depth)

    if extent(nodes, 0).depth > _DEEPEST:
        raise ModelRejected(f"Functions call each other, or themselves, {_DEEPEST} deep")
    return list(extents)


class _Extent(NamedTuple):
    """What a graph or function is with all functions written out: its nodes, and how deep."""

    size: int
    depth: int


def _check(
    nodes: Sequence[NodeDef],
    functions: Collection[str],
    parameters: Collection[str],
    allowed: Collection[str],
) -> None:
    for op in {node.op for node in nodes} - set(functions) - set(allowed):
        why = operators.refusal(op)
        if why:
            raise ModelRejected(why)
    for node in nodes:
        if node.op not in functions:
            for name, value in node.attr.items():
                why = _wrong(node.op, name, value, parameters)
                if why:
                    raise ModelRejected(f'The attribute "{name}" of the node "{node.name}" {why}')
        if node.op == _CONSTANT and not _is_sound(node):
            raise ModelRejected(f'The constant "{node.name}" is not what it says')


def _wrong(op: str, name: str, value: AttrValue, parameters: Collection[str]) -> str:
    """Returns what is wrong with an attribute of an operator; empty when nothing is.

    TensorFlow looks at some only while it simplifies the graph, and ends the process if something
    is; or takes memory for as many inputs as they say.
    """
    kept = operators.attributes(op).get(name)
    if kept is not None and not _is_kept(value, kept, parameters):
        return "is not of the type that its operator takes"
    if name in operators.counts(op) and not 0 <= value.i <= _MOST_COUNTED:
        return f"is {value.i}"
    return ""


def _is_kept(value: AttrValue, fields: tuple[str, ...], parameters: Collection[str]) -> bool:
    """Returns whether the value of an attribute is of the type that its operator takes."""
    kind = value.WhichOneof("value")
    if kind == "placeholder":
        return value.placeholder in parameters
    if kind != fields[0]:
        return False
    return kind != "list" or all(field.name == fields[1] for field, _ in value.list.ListFields())


def _is_sound(node: NodeDef) -> bool:
    """Returns whether a constant is of the type that it says, and of sizes that can be.

    TensorFlow believes that while it simplifies the graph, and ends the process where it is not
    so. Whether there are as many values, it looks itself.
    """
    tensor = node.attr["value"].tensor
    shape = tensor.tensor_shape
    same = tensor.dtype == node.attr["dtype"].type
    return same and not shape.unknown_rank and all(each.size >= 0 for each in shape.dim)


def _bodies(graph: GraphDef) -> list[Sequence[NodeDef]]:
    return [graph.node, *(each.node_def for each in graph.library.function)]


# --------------------------------------------------------------------------- looking through
def survey(graph: GraphDef) -> Survey:
    """Looks through a graph that `cut` returned."""
    functions = {each.signature.name for each in graph.library.function}
    bodies = _bodies(graph)
    ops = {node.op for body in bodies for node in body} - functions
    variables = [[node.name for node in body if node.op in operators.VARIABLES] for body in bodies]
    unknown = sorted(op for op in ops if not operators.has_known_sizes(op))
    sized_by = next(filter(None, [*unknown, *map(_sized_by, bodies)]), "")
    return Survey(
        variables=tuple(variables[0]),
        unfrozen=next((name for names in variables for name in names), ""),
        loops=not ops.isdisjoint(operators.LOOPS),
        steady=not sized_by and all(map(operators.is_plain, ops)),
        sized_by=sized_by,
        weights=sum(_weight(node) for body in bodies for node in body),
    )


def _sized_by(body: Sequence[NodeDef]) -> str:
    """Returns an operator of a graph or function that values give a size; empty without one."""
    nodes = {node.name: node for node in body}
    fixed: set[str] = set()
    for node in body:
        inputs = [each for each in node.input if not each.startswith("^")]
        for number in operators.sized_by(node.op):
            if inputs[number:] and not _is_fixed(node_of(inputs[number]), nodes, fixed):
                return str(node.op)
    return ""


def _is_fixed(name: str, nodes: Mapping[str, NodeDef], fixed: set[str]) -> bool:
    """Returns whether a node gives the same values for inputs of the same shapes.

    Args:
        name: The node, or an argument of the function.
        nodes: The nodes of the graph or function.
        fixed: Nodes known to do so; those that are found are added.
    """
    todo = [name]
    while todo:
        name = todo.pop()
        if name in fixed:
            continue
        node = nodes.get(name)
        if node is None or (not node.input and node.op != _CONSTANT):
            return False
        fixed.add(name)
        if node.op not in operators.FIXED_BY_SHAPES:
            todo += map(node_of, node.input)
    return True


def _weight(node: NodeDef) -> int:
    """Returns the bytes of a constant's or variable's values, 0 for every other node."""
    if node.op == _CONSTANT:
        tensor = node.attr["value"].tensor
        dtype, shape = tensor.dtype, tensor.tensor_shape
    elif node.op in operators.VARIABLES:
        dtype, shape = node.attr["dtype"].type, node.attr["shape"].shape
    else:
        return 0
    if dtype == _STRING:
        return 0
    return prod((max(int(each.size), 0) for each in shape.dim), start=_itemsize(dtype))


def _itemsize(dtype: int) -> int:
    try:
        return int(tf.dtypes.as_dtype(dtype).size)
    except TypeError:  # a number that is no type; TensorFlow will say so
        return 0
