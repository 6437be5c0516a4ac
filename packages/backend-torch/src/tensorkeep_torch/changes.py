"""What is changed in a graph before it runs: what it does stays, but for what it prints.

Loops can be ended, tensors that are made empty are full of zeros, and nothing is printed: the
server's standard output is not for those who store models, and a pipe that nobody reads would hold
up the run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tensorkeep_torch.graphs import FORK, copied_nodes, inlined, nodes, subgraph_of
from tensorkeep_torch.internals import compile_source, function_of, leave_out
from tensorkeep_torch.loops import make_interruptible
from tensorkeep_torch.survey import TALKS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorkeep_torch.internals import Native
    from tensorkeep_torch.survey import Survey

_EMPTY: Final = re.compile(r"aten::\w*empty\w*")
# torch's allocator fills memory on the CPU, but for that of other layouts; on a GPU nobody does.
_SOURCE: Final = """
def zeros(x):
    return x if x.is_quantized else x.zero_()
"""
_unit: Final = compile_source(_SOURCE)
_zeros: Final = _unit.find_function("zeros")


def changed_for_runs(function: Native, found: Survey) -> Native:
    """Returns the function that is to be run, the same one where there is nothing to change.

    Args:
        function: A function or method; of a method, the first parameter is its module.
        found: What is known of it.

    Returns:
        A function; one with loops takes a flag behind its other arguments, and raises when that
        is set.
    """
    if found.fills and not (found.loops or found.talks):
        return function
    graph = inlined(function)
    silence([graph])
    leave_out(graph)  # an empty loop would no longer be one
    if not found.fills:
        fill(graph)
    if found.loops:
        make_interruptible(graph)
    graph.lint()
    return function_of(function.name, graph)


def silence(graphs: Iterable[Native]) -> None:
    """Takes out of graphs what prints or warns; what they call is left as it is."""
    for graph in graphs:
        for node in nodes(graph):
            if node.kind() in TALKS:
                node.destroy()


def fill(graph: Native) -> None:
    """Has a graph write zeros to tensors that it makes without writing anything to them."""
    for node in nodes(graph, tasks=False):
        if node.kind() == FORK:
            fill(subgraph_of(node))
        elif _EMPTY.fullmatch(node.kind()):
            copies, (filled,) = copied_nodes(graph, _zeros, [node.output()])
            last = node
            for copy in copies:
                copy.insertAfter(last)
                last = copy
            node.output().replaceAllUsesAfterNodeWith(last, filled)
