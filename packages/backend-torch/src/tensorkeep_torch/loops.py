"""Loops that can be ended from another thread.

torch's interpreter knows no way to be stopped. So a function that has loops is given one more
parameter, a flag, and each of its loops looks at it at every turn: some 50 ns, in C++, without
the interpreter of Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from tensorkeep_torch.internals import add_tensor_input, compile_source, function_of

if TYPE_CHECKING:
    from tensorkeep_torch.internals import Native

_SOURCE: Final = """
def check(flag: Tensor):
    if bool(flag):
        raise Exception("the run was ended")
"""
_unit: Final = compile_source(_SOURCE, {"Exception": Exception}.get)


def new_flag() -> torch.Tensor:
    """Returns a flag that tells loops to go on."""
    return torch.zeros((), dtype=torch.bool)


def set_flag(flag: torch.Tensor) -> None:
    """Has a flag tell loops to end; on any thread."""
    flag.fill_(1)


def interruptible(function: Native) -> Native:
    """Returns a function whose loops can be ended.

    Args:
        function: A function or method; of a method, the first parameter is its module.

    Returns:
        A function that takes a flag behind its other arguments, and raises when that is set.
    """
    graph = function.inlined_graph
    flag = add_tensor_input(graph, "flag")
    for loop in graph.findAllNodes("prim::Loop"):
        _insert_check(graph, next(loop.blocks()), flag)
    graph.lint()
    return function_of(function.name, graph)


def _insert_check(graph: Native, body: Native, flag: Native) -> None:
    """Puts the nodes of `check` at the beginning of a loop's body."""
    pattern = _unit.find_function("check").graph
    copies = {next(pattern.inputs()).debugName(): flag}
    first = next(body.nodes(), None)
    for node in pattern.nodes():
        copy = graph.createClone(node, lambda value: copies[value.debugName()])
        if first is None:
            body.addNode(copy)
        else:
            copy.insertBefore(first)
        for old, new in zip(node.outputs(), copy.outputs(), strict=True):
            copies[old.debugName()] = new
