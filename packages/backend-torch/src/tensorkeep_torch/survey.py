"""What a graph of TorchScript may do: found out once, so that no run has to be careful in vain.

Where the graph leaves it open, the answer is the careful one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from tensorkeep_torch.internals import simplify, tags_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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

_CALLS: Final = frozenset(("prim::CallFunction", "prim::CallMethod"))
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
_STRUCTURE: Final = frozenset(("prim::If", "prim::Loop"))
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


def survey(function: Native) -> Survey:
    """Looks through the graph of a function and of all that it calls."""
    graph = function.inlined_graph
    # What is switched off, such as in-place variants, goes away.
    simplify(graph)
    writes = loops = False
    steady = True
    for node in nodes(graph):
        kind = node.kind()
        writes = writes or kind in _CALLS or _may_write(kind, node)
        loops = loops or kind == "prim::Loop"
        steady = steady and not _depends_on_values(kind, node)
    return Survey(writes, loops, steady)


def nodes(block: Native) -> Iterator[Native]:
    """Gives all nodes of a graph, however deep."""
    for node in block.nodes():
        yield node
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


def _may_write(kind: str, node: Native) -> bool:
    if kind in _NORMS:
        return node.inputsAt(_IN_TRAINING).node().kind() != "prim::Constant" or bool(
            node.inputsAt(_IN_TRAINING).toIValue()
        )
    return _WRITES.search(node.schema()) is not None


def _depends_on_values(kind: str, node: Native) -> bool:
    if kind in _DEPENDS or not kind.startswith(_KNOWN):
        return True
    if kind in _DESCRIBES or kind in _STRUCTURE:
        return False
    inputs, outputs = _kinds(node.inputs()), _kinds(node.outputs())
    if "TensorType" not in inputs:
        return False
    if kind == "aten::where" and len(inputs) == 1:
        return True
    if outputs & {"BoolType", "FloatType", "IntType", "NumberType", "StringType", "ComplexType"}:
        return True
    _, _, overload = node.schema().partition("(")[0].partition(".")
    return bool(_DEPENDS_TAGS.intersection(tags_of(kind, overload)))


def _kinds(values: Iterable[Native]) -> set[str]:
    return {value.type().kind() for value in values}
