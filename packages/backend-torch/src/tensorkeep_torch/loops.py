"""Loops that can be ended from another thread.

torch's interpreter knows no way to be stopped. So a function that has loops is given one more
parameter, a list with one boolean, and each of its loops looks at that at every turn, in C++,
without the interpreter of Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep_torch.graphs import FORK, copied_nodes, subgraph_of
from tensorkeep_torch.internals import add_flag_input, compile_source, list_of

if TYPE_CHECKING:
    from tensorkeep_torch.internals import Native

# What is written to may have changed: without that, torch would look once for all loops that lie
# in one another.
_SOURCE: Final = """
def check(flag: List[bool]):
    if flag[0]:
        flag[0] = True
        raise Exception("the run was ended")
"""
_unit: Final = compile_source(_SOURCE, {"Exception": Exception}.get)
_check: Final = _unit.find_function("check")


def new_flag() -> Native:
    """Returns a flag that tells loops to go on."""
    return list_of([False])


def set_flag(flag: Native) -> None:
    """Has a flag tell loops to end; on any thread."""
    flag[0] = True


def make_interruptible(graph: Native) -> None:
    """Adds a parameter to a graph, a flag, and has its loops raise when that is set.

    Args:
        graph: The graph, with all that it calls in place; the tasks that it starts have graphs
            of their own, which get the flag from it.
    """
    flag = add_flag_input(graph, "flag")
    for loop in graph.findAllNodes("prim::Loop"):
        body = next(loop.blocks())
        first = next(body.nodes(), body.returnNode())
        for node in copied_nodes(graph, _check, [flag])[0]:
            node.insertBefore(first)
    for task in graph.findAllNodes(FORK):
        task.addInput(flag)
        make_interruptible(subgraph_of(task))
