"""Graphs of TensorFlow: reading them, and cutting them down to what their outputs need."""

from __future__ import annotations

import re
from math import prod
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from tensorkeep.errors import ModelRejected
from tensorkeep_tf.framework import tf
from tensorkeep_tf.messages import INVALID_GRAPH, input_not_found, output_not_found

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

# Messages of TensorFlow's protobufs (GraphDef, NodeDef) bring no types.
GraphDef = Any
NodeDef = Any

CONSTANT: Final = "Const"

# What a variable is called: TensorFlow 2's, and those of older graphs.
_VARIABLES: Final = frozenset({"VarHandleOp", "VariableV2", "Variable"})
_PLACEHOLDER: Final = "Placeholder"
_OF_NODE: Final = re.compile(r".+:\d{1,9}", re.DOTALL)


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


def bodies(graph: GraphDef) -> list[Sequence[NodeDef]]:
    """Returns the nodes of the graph itself, and those of each of its functions."""
    return [graph.node, *(each.node_def for each in graph.library.function)]


def cut(graph: GraphDef, roots: Iterable[str]) -> GraphDef:
    """Returns what some nodes of a graph need: nodes, and functions that they call.

    Args:
        graph: The graph. It stays as it is, and is what is returned where all of it is needed.
        roots: Names of nodes.

    Raises:
        ModelRejected: Something that is needed is not in the graph.
    """
    nodes = {node.name: node for node in graph.node}
    functions = {each.signature.name: each for each in graph.library.function}
    kept = [nodes[name] for name in _needed(nodes, roots)]
    called = _called(kept, functions)
    if len(kept) == len(graph.node) and len(called) == len(functions):
        return graph
    part = tf.compat.v1.GraphDef()
    part.versions.CopyFrom(graph.versions)
    part.node.extend(kept)
    part.library.function.extend(functions[name] for name in called)
    return part


def place(graph: GraphDef, device: str) -> None:
    """Puts every node on a device, whatever device it was trained on; empty leaves the choice."""
    for body in bodies(graph):
        for node in body:
            node.device = device
            if "_class" in node.attr:  # with another node, which may have been cut off
                del node.attr["_class"]


def variables(graph: GraphDef) -> Iterator[str]:
    """Gives the names of all nodes that are variables."""
    return (node.name for body in bodies(graph) for node in body if node.op in _VARIABLES)


def weights(graph: GraphDef) -> int:
    """Returns the bytes of all constants and variables, but for strings."""
    return sum(_weight(node) for body in bodies(graph) for node in body)


def _needed(nodes: Mapping[str, NodeDef], roots: Iterable[str]) -> Collection[str]:
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
    return kept


def _called(nodes: Iterable[NodeDef], functions: Mapping[str, Any]) -> Collection[str]:
    todo = [name for node in nodes for name in _called_by(node, functions)]
    called: dict[str, None] = {}
    while todo:
        name = todo.pop()
        if name in called:
            continue
        if name not in functions:
            raise ModelRejected(f'The function "{name}" is needed and not in the graph')
        called[name] = None
        todo += (each for node in functions[name].node_def for each in _called_by(node, functions))
    return called


def _called_by(node: NodeDef, functions: Collection[str]) -> Iterator[str]:
    """Gives the names of the functions that a node calls."""
    if node.op in functions:
        yield node.op
    todo = list(node.attr.values())
    while todo:
        value = todo.pop()
        for function in (value.func,) if value.HasField("func") else value.list.func:
            yield function.name
            todo += function.attr.values()


def _weight(node: NodeDef) -> int:
    if node.op == CONSTANT:
        tensor = node.attr["value"].tensor
        dtype, shape = tensor.dtype, tensor.tensor_shape
    elif node.op in _VARIABLES:
        dtype, shape = node.attr["dtype"].type, node.attr["shape"].shape
    else:
        return 0
    try:
        found = tf.dtypes.as_dtype(dtype)
    except TypeError:  # a number that is no type; TensorFlow will say so
        return 0
    if found == tf.string:
        return 0
    return prod((max(int(each.size), 0) for each in shape.dim), start=int(found.size))
