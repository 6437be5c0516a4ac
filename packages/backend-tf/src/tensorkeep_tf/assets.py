"""Tables of a SavedModel that are filled from a file which the archive brings, its assets.

Operators that read a file are allowed here alone, and each gets the path of an unpacked asset
written into the graph, whatever path it had: so nothing outside of the archive can be read,
however the graph computes names. What the graph says only decides which of the assets it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tensorkeep.errors import ModelRejected
from tensorkeep_tf.framework import AssetFileDef, tf
from tensorkeep_tf.graphs import called_by, node_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Messages of TensorFlow's protobufs bring no types.
MetaGraph = Any
GraphDef = Any
NodeDef = Any

FILLING: Final = frozenset({"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"})
"""Operators that fill a table from the file that their second input names."""

_PASSING: Final = frozenset({"Identity", "ReadVariableOp"})  # return what they are given
_CALLS: Final = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_VARIABLE: Final = "VarHandleOp"
_ASSIGN: Final = "AssignVariableOp"
_TENSORFLOW_1: Final = "saved_model_assets"  # its collection


def asset_files(meta: MetaGraph) -> dict[str, str]:
    """Returns the file among the assets that each node stands for, by the name of the node."""
    packed = meta.collection_def[_TENSORFLOW_1].any_list.value
    told = [*meta.asset_file_def, *(AssetFileDef.FromString(each.value) for each in packed)]
    return {node_of(each.tensor_info.name): each.filename for each in told}


def needed_files(graph: GraphDef, files: Mapping[str, str]) -> dict[str, str]:
    """Returns those of some files whose nodes are in a graph, or that fill a table of it."""
    if not _filling(graph):
        return {}
    return {node.name: files[node.name] for node in graph.node if node.name in files}


def variables_of(graph: GraphDef, files: Mapping[str, str]) -> frozenset[str]:
    """Returns the variables of a graph that are given the name of a file, and no other value."""
    return frozenset(
        node_of(node.input[0])
        for node in graph.node
        if node.op == _ASSIGN and node_of(node.input[1]) in files
    )


def write_paths(graph: GraphDef, files: Mapping[str, str], paths: Mapping[str, str]) -> None:
    """Has every table that is filled from a file filled from an unpacked asset.

    Args:
        graph: A graph that `cut` returned; it is changed.
        files: The file that each node stands for, by the name of the node.
        paths: Where each file is unpacked.

    Raises:
        ModelRejected: It is not clear which file a table is filled from.
    """
    tracing = _Tracing(graph, files)
    # Found for all before anything is changed.
    found = [(where, node, tracing.file_of(where, node)) for where, node in _filling(graph)]
    bodies = {"": graph.node} | {
        function.signature.name: function.node_def for function in graph.library.function
    }
    for node in graph.node:
        if node.name in files:
            _make_constant(node, paths[files[node.name]])
    for number, (where, node, file) in enumerate(found):
        path = bodies[where].add()
        path.name = f"tensorkeep_asset_path_{number}"
        _make_constant(path, paths[file])
        node.input[1] = f"{path.name}:output:0" if where else path.name


def _filling(graph: GraphDef) -> list[tuple[str, NodeDef]]:
    """Returns the nodes that fill tables, each with the function that it is in, if any."""
    found = [("", node) for node in graph.node if node.op in FILLING]
    for function in graph.library.function:
        found += [
            (function.signature.name, node) for node in function.node_def if node.op in FILLING
        ]
    return found


def _make_constant(node: NodeDef, text: str) -> None:
    value = tf.make_tensor_proto(text, tf.string)
    node.op = "Const"
    del node.input[:]
    node.attr.clear()
    node.attr["dtype"].type = value.dtype
    node.attr["value"].tensor.CopyFrom(value)


class _Tracing:
    """Where names of files come from.

    Args:
        graph: The graph.
        files: The file that each node stands for.
    """

    def __init__(self, graph: GraphDef, files: Mapping[str, str]) -> None:
        self._files = files
        self._functions = {each.signature.name: each for each in graph.library.function}
        self._bodies: dict[str, Sequence[NodeDef]] = {"": graph.node} | {
            name: each.node_def for name, each in self._functions.items()
        }
        self._nodes = {
            name: {node.name: node for node in body} for name, body in self._bodies.items()
        }

    def file_of(self, function: str, node: NodeDef) -> str:
        """Returns the file that a node reads.

        Args:
            function: The function that the node is in, empty for the graph itself.
            node: The node.

        Raises:
            ModelRejected: It is none of the assets, or not clear which.
        """
        found = set(self._origins(function, node.input[1]))
        if len(found) != 1 or "" in found:
            raise ModelRejected(
                f'The table that "{node.name}" fills is not filled from a file of the assets'
            )
        return found.pop()

    def _origins(self, function: str, tensor: str) -> Iterator[str]:
        """Gives the files that a tensor may name; an empty name for anything else."""
        todo: list[tuple[str, str]] = [(function, tensor)]
        seen: set[tuple[str, str]] = set()
        while todo:
            function, tensor = todo.pop()
            name = node_of(tensor)
            if (function, name) in seen:
                continue
            seen.add((function, name))
            node = self._nodes[function].get(name)
            if not function and name in self._files:
                yield self._files[name]
            elif node is None:
                given = self._given(function, name)
                todo += given
                if not given:
                    yield ""
            elif node.op in _PASSING and node.input:
                todo.append((function, node.input[0]))
            elif node.op == _VARIABLE and not function:
                assigned = [
                    ("", each.input[1])
                    for each in self._bodies[""]
                    if each.op == _ASSIGN and node_of(each.input[0]) == name
                ]
                todo += assigned
                if not assigned:
                    yield ""
            else:
                yield ""

    def _given(self, function: str, argument: str) -> list[tuple[str, str]]:
        """Returns what is given to an argument of a function, wherever it is called."""
        if not function:
            return []
        names = [each.name for each in self._functions[function].signature.input_arg]
        if argument not in names:
            return []
        given = []
        for caller, body in self._bodies.items():
            for node in body:
                if function in called_by(node, self._functions):
                    plain = node.op in _CALLS or node.op == function
                    given.append((caller, node.input[names.index(argument)] if plain else ""))
        return given
