"""What a graph of TorchScript may do: found out once, so that no run has to be careful in vain.

Where the graph leaves it open, the answer is the careful one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import torch

from tensorkeep_torch.internals import decide, leave_out, tags_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tensorkeep_torch.internals import Native

# Operators that reach files or other machines, whoever asks for them.
_FORBIDDEN: Final = frozenset(
    (
        "aten::from_file",
        "aten::save",
        "debugprims::load_tensor",
        "prim::rpc_async",
        "prim::rpc_remote",
        "prim::rpc_sync",
    )
)
_FORBIDDEN_KINDS: Final = ("_c10d_functional", "c10d::", "symm_mem::")

_METHOD: Final = "prim::CallMethod"
_CALLS: Final = frozenset(("prim::CallFunction", _METHOD))
_PYTHON: Final = "prim::PythonOp"
# An argument that is a tensor, or a list of them, and is written to.
_WRITES: Final = re.compile(r"\bTensor(?:\([^)]*!|\[\]\([^)]*!)")
# These write to their statistics without saying so, which a caller may have given.
_NORMS: Final = frozenset(("aten::batch_norm", "aten::instance_norm"))
_IN_TRAINING: Final = 5  # which of their arguments says whether

# What a tensor says of itself without looking at its elements.
_DESCRIBES: Final = frozenset(
    (
        "aten::__is__",
        "aten::__isnot__",
        "aten::dim",
        "aten::get_device",
        "aten::is_complex",
        "aten::is_contiguous",
        "aten::is_floating_point",
        "aten::is_signed",
        "aten::len",
        "aten::numel",
        "aten::size",
        "aten::storage_offset",
        "aten::stride",
        "prim::device",
        "prim::dtype",
        "prim::is_cpu",
        "prim::is_cuda",
        "prim::is_mkldnn",
        "prim::is_nested",
        "prim::is_quantized",
        "prim::is_sparse",
        "prim::layout",
        "prim::requires_grad",
    )
)
# What takes as long as the elements say, beside those that torch itself marks so.
_DEPENDS: Final = frozenset(
    (
        "aten::argwhere",
        "aten::one_hot",
        "aten::pack_padded_sequence",
        "aten::repeat_interleave",
        "aten::tensor_split",
        "aten::wait",
        "prim::SetAttr",
        "prim::fork",
        _PYTHON,
        *_CALLS,
    )
)
_DEPENDS_TAGS: Final = frozenset((torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape))
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
_KNOWN: Final = ("aten::", "prim::", "quantized::")


@dataclass(frozen=True, slots=True)
class Survey:
    """What a graph may do.

    Attributes:
        writes: Whether it may write to the memory of its inputs.
        loops: Whether it has loops.
        steady: Whether the time that it takes depends on the shapes of its inputs only.
    """

    writes: bool
    loops: bool
    steady: bool


def survey(function: Native, module: Native = None) -> Survey:
    """Looks through the graph of a function and of all that it calls.

    Args:
        function: A function or method.
        module: The module of a method.
    """
    graph = function.inlined_graph
    if module is not None:
        _settle(graph, module)
    # What is switched off, such as training and in-place variants, goes away.
    decide(graph)
    writes, steady = False, True
    for node in nodes(graph):
        kind = node.kind()
        writes = writes or kind in _CALLS or _may_write(kind, node)
        steady = steady and not _depends_on_values(kind, node)
    leave_out(graph)
    return Survey(writes, graph.findNode("prim::Loop") is not None, steady)


def _settle(graph: Native, module: Native) -> None:
    """Puts numbers and switches that a module has into a graph, unless runs may change them."""
    if graph.findNode("prim::SetAttr") is not None:
        return
    known = {next(graph.inputs()).debugName(): module}
    for node in list(nodes(graph)):
        if node.kind() != "prim::GetAttr":
            continue
        owner = known.get(node.input().debugName())
        value = None if owner is None else owner.getattr(node.s("name"))
        if isinstance(value, (bool, int, float)):
            constant = graph.insertConstant(value)
            constant.node().moveBefore(node)
            node.output().replaceAllUsesWith(constant)
        elif value is not None:
            known[node.output().debugName()] = value


def nodes(block: Native) -> Iterator[Native]:
    """Gives all nodes of a graph, however deep."""
    for node in block.nodes():
        yield node
        kind: str = node.kind()
        if kind.startswith("prim::") and kind not in _LEAVES:  # asking each would take 20 us
            for inner in node.blocks():
                yield from nodes(inner)
            if node.hasAttribute("Subgraph"):
                yield from nodes(node.g("Subgraph"))


def forbidden(functions: Iterable[Native], allowed: frozenset[object] = frozenset()) -> str | None:
    """Returns the first operator in some functions that no model or script may use.

    Args:
        functions: Functions of torch; what they call is not looked at.
        allowed: The functions of Python that may be called.
    """
    for function in functions:
        for node in nodes(function.graph):
            kind: str = node.kind()
            if kind in _FORBIDDEN or kind.startswith(_FORBIDDEN_KINDS):
                return kind
            if kind == _PYTHON and node.pyobj() not in allowed:
                return str(node.pyname())
    return None


def size_of(functions: Sequence[Native]) -> int:
    """Returns how many nodes some functions have, each with all that it calls in place.

    torch puts them in place before a function runs: a few lines that call each other twice over
    and over would fill the memory.
    """
    found = {function.qualified_name: function.graph for function in functions}
    sizes: dict[str, int] = {}

    def size(name: str) -> int:
        if name not in sizes:
            called = [_called(node) for node in nodes(found[name])]
            sizes[name] = sum(size(each) if each in found else 1 for each in called)
        return sizes[name]

    return sum(map(size, found))


def _called(node: Native) -> str:
    """Returns the full name of the function that a node calls; empty when it calls none."""
    if node.kind() not in _CALLS:
        return ""
    name: str = node.inputsAt(0).type().annotation_str
    return f"{name}.{node.s('name')}" if node.kind() == _METHOD else name


def _may_write(kind: str, node: Native) -> bool:
    if kind in _NORMS:
        return node.inputsAt(_IN_TRAINING).toIValue() is not False
    return not kind.startswith("prim::") and _WRITES.search(node.schema()) is not None


def _depends_on_values(kind: str, node: Native) -> bool:
    if kind in _DEPENDS or not kind.startswith(_KNOWN):
        return True
    return kind not in _DESCRIBES and _is_told_by_values(node.schema())


@cache
def _is_told_by_values(schema: str) -> bool:
    """Returns whether an operator looks at elements to say something else than a tensor."""
    head, _, rest = schema.partition("(")
    taken, _, returned = rest.rpartition(" -> ")
    if "Tensor" not in taken:
        return False
    if "Tensor" not in returned and returned != "()":
        return True
    operator, _, overload = head.partition(".")
    if operator == "aten::where" and taken.count(",") == 0:
        return True
    return bool(_DEPENDS_TAGS.intersection(tags_of(operator, overload)))
