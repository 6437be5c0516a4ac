"""What a graph of TorchScript may do: found out once, so that no run has to be careful in vain.

Where the graph leaves it open, the answer is the careful one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import torch

from tensorkeep_torch.graphs import FORK, nodes
from tensorkeep_torch.internals import decide, tags_of
from tensorkeep_torch.operators import grows, is_class_allowed, operator_of
from tensorkeep_torch.state import keeps_state, written_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tensorkeep_torch.internals import Native

_METHOD: Final = "prim::CallMethod"
_CALLS: Final = frozenset(("prim::CallFunction", _METHOD))
_PYTHON: Final = "prim::PythonOp"
_TALKS: Final = frozenset(("aten::warn", "prim::Print"))
_OBJECT: Final = "prim::CreateObject"

# What a tensor says of itself without looking at its elements.
_DESCRIBES: Final = re.compile(
    r"aten::(?:__is__|__isnot__|dim|get_device|is_complex|is_contiguous|is_floating_point"
    r"|is_signed|len|numel|size|storage_offset|stride)"
    r"|prim::(?:device|dtype|is_(?:cpu|cuda|mkldnn|nested|quantized|sparse)|layout|requires_grad)"
)
# What takes as long as the elements say, beside those that torch itself marks so.
_DEPENDS: Final = re.compile(
    r"aten::(?:_?pack_padded_sequence|_pad_packed_sequence|argwhere|one_hot|repeat_interleave"
    r"|tensor_split|wait)|prim::(?:CallFunction|CallMethod|PythonOp|SetAttr|fork)"
)
_DEPENDS_TAGS: Final = frozenset((torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape))
# What is the same in each run, if nothing writes to it.
_GIVEN: Final = frozenset(("prim::Constant", "prim::GetAttr"))
# What makes tensors of numbers, and lists of tensors.
_MAKES: Final = re.compile(
    r"aten::(?:arange|full|ones|scalar_tensor|tensor|zeros)|prim::(?:ListConstruct|NumToTensor)"
)
_CHANCE: Final = ("aten::bernoulli", "aten::dropout", "aten::multinomial", "aten::rand")
_HOLDS_TENSOR: Final = re.compile(r"\bTensor\b")
_KNOWN: Final = ("aten::", "prim::", "quantized::")


@dataclass(frozen=True, slots=True)
class Survey:
    """What a graph may do.

    Attributes:
        writes: Whether it may write to the memory of its inputs.
        decided_by: An operator by which the time that it takes, or the sizes of what it returns,
            may depend on more than the shapes of its inputs; empty when there is none.
        state: Whether it may change what it is given again in its next run.
        fills: Whether it writes to all the memory that it makes room for.
        forks: Whether it starts tasks, which may go on when it has ended.
    """

    writes: bool
    decided_by: str
    state: bool
    fills: bool
    forks: bool

    @property
    def steady(self) -> bool:
        """Whether the time that it takes depends on the shapes of its inputs only."""
        return not self.decided_by


def survey(graph: Native, module: Native = None, first: int = 0) -> Survey:
    """Looks through the graph of a function.

    Args:
        graph: Its graph with all that it calls in place, which this changes.
        module: The module of a method.
        first: How many of its parameters, without the module, are given the same in every run.
    """
    if module is not None:
        _settle(graph, module)
        first += 1
    # What is switched off, such as training and in-place variants, goes away.
    decide(graph)
    found = nodes(graph)
    kinds = {node.kind() for node in found}
    changes = any(written_values(node) for node in found)
    writes = changes and any(_may_write(node) for node in found)
    return Survey(
        writes=writes,
        decided_by=_decided_by(graph, found),
        state=changes and keeps_state(graph, found, first),
        fills=kinds.isdisjoint(_CALLS) and all(operator_of(node).fills for node in found),
        forks=FORK in kinds,
    )


def silence(found: Iterable[Native]) -> None:
    """Takes those of some nodes out of their graph that print or warn.

    A script that prints in a loop fills a log faster than anybody empties it.
    """
    for node in found:
        if node.kind() in _TALKS:
            node.destroy()


def _decided_by(graph: Native, found: Sequence[Native]) -> str:
    deciding = [node for node in found if _depends_on_values(node.kind(), node)]
    aliases = graph.alias_db() if deciding else None
    return next((node.kind() for node in deciding if not _is_fixed(node, aliases)), "")


def _is_fixed(node: Native, aliases: Native) -> bool:
    """Returns whether what a node is given is the same for inputs of the same shapes.

    Traced modules compute with sizes as tensors; others look up rows of what they hold.

    Args:
        node: A node of a graph in which no other one before it looks at elements of inputs.
        aliases: What in the graph may be the same memory.
    """
    if not node.kind().startswith("aten::"):
        return False
    # How many elements there are of what is indexed, the indices alone say.
    todo = [node.inputsAt(1)] if node.kind() == "aten::index" else list(node.inputs())
    seen: set[str] = set()
    while todo:
        value = todo.pop()
        name = value.debugName()
        if name in seen or not _HOLDS_TENSOR.search(value.type().annotation_str):
            continue
        seen.add(name)
        maker = value.node()
        kind = maker.kind()
        if aliases.has_writers(value):
            return False
        if kind in _GIVEN:
            continue
        inputs = list(maker.inputs())
        of_tensors = any(_HOLDS_TENSOR.search(each.type().annotation_str) for each in inputs)
        if not _MAKES.fullmatch(kind) and (not kind.startswith("aten::") or not of_tensors):
            return False
        if kind.startswith(_CHANCE):
            return False
        todo += inputs
    return True


def _settle(graph: Native, module: Native) -> None:
    """Puts numbers and switches that a module has into a graph, unless runs may change them."""
    if graph.findNode("prim::SetAttr") is not None:
        return
    known = {next(graph.inputs()).debugName(): module}
    for node in nodes(graph):
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


def forbidden(found: Iterable[Native], python: frozenset[object]) -> str | None:
    """Returns the first operator or class in some nodes that no model or script may use.

    Args:
        found: The nodes.
        python: The functions of Python that may be called.
    """
    for node in found:
        kind: str = node.kind()
        if kind == _PYTHON:
            if node.pyobj() not in python:
                return str(node.pyname())
        elif not operator_of(node).allowed:
            return kind
        elif kind in {_OBJECT, _METHOD} and not is_class_allowed(name := _class_of(node)):
            return name
    return None


def growing(found: Iterable[Native]) -> str | None:
    """Returns the first operator in some nodes that gives tensors more memory."""
    return next((node.kind() for node in found if grows(node.kind())), None)


def _class_of(node: Native) -> str:
    """Returns the name of the class that a node makes an object of, or calls a method of."""
    value = node.output() if node.kind() == _OBJECT else node.inputsAt(0)
    name: str = value.type().annotation_str
    return name


def _may_write(node: Native) -> bool:
    """Returns whether a node may write to the memory of tensors."""
    if not written_values(node):
        return False
    return node.kind() in _CALLS or operator_of(node).tensors


def _depends_on_values(kind: str, node: Native) -> bool:
    if _DEPENDS.fullmatch(kind) or not kind.startswith(_KNOWN):
        return True
    return not _DESCRIBES.fullmatch(kind) and _is_told_by_values(node.schema())


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
