"""Graphs of TorchScript: all that a function does in one, and walking through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep_torch.internals import inline

if TYPE_CHECKING:
    from tensorkeep_torch.internals import Native

FORK: Final = "prim::fork"
"""Nodes that start a task; what it does is in a graph of its own."""
_SUBGRAPH: Final = "Subgraph"
# Nodes of structure that have no graphs in them, and of which there are many.
_LEAVES: Final = frozenset(
    (
        "prim::Constant",
        "prim::GetAttr",
        "prim::ListConstruct",
        "prim::ListUnpack",
        "prim::RaiseException",
        "prim::TupleConstruct",
        "prim::TupleUnpack",
        "prim::device",
        "prim::dtype",
    )
)


def nodes(block: Native, *, tasks: bool = True) -> list[Native]:
    """Returns all nodes of a graph, however deep.

    Args:
        block: The graph, or a block of it.
        tasks: Whether also those of the tasks that it starts.
    """
    found: list[Native] = []
    _collect(block, found, tasks=tasks)
    return found


def _collect(block: Native, found: list[Native], *, tasks: bool) -> None:
    for node in block.nodes():
        found.append(node)
        kind: str = node.kind()
        if kind.startswith("prim::") and kind not in _LEAVES:  # asking each would take 20 us
            for inner in node.blocks():
                _collect(inner, found, tasks=tasks)
            subgraph = subgraph_of(node) if tasks else None
            if subgraph is not None:
                _collect(subgraph, found, tasks=tasks)


def subgraph_of(node: Native) -> Native:
    """Returns the graph of what a node does at another time, None where there is none."""
    return node.g(_SUBGRAPH) if node.hasAttribute(_SUBGRAPH) else None


def inlined(function: Native) -> Native:
    """Returns a graph of all that a function does, with what it calls in place, tasks included.

    Whatever is changed in it, the function stays as it is.
    """
    graph = function.inlined_graph
    _own_tasks(graph)
    return graph


def _own_tasks(graph: Native) -> None:
    """Gives the tasks in a graph graphs of their own, with what they call in place."""
    for node in graph.findAllNodes(FORK):
        task = node.g(_SUBGRAPH).copy()
        inline(task)
        _own_tasks(task)
        node.g_(_SUBGRAPH, task)
