"""What torch's files tell of axis 0: whether it is a batch along which requests may share a run.

Programs of `torch.export` say of every tensor which sizes are free, and which are the same; what
they say was proved when they were exported. TorchScript says nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tensorkeep.batch_axis import BatchAxis, batch_axis
from tensorkeep_torch.translation import only

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.batch_axis import Sizes
    from tensorkeep_torch.program import Program
    from tensorkeep_torch.translation import Interface, Json

_SYMBOL: Final = re.compile(r"Symbol\('(\w+)'")
_BY_VALUES: Final = re.compile(r"u\d+")  # symbols for sizes that torch could not tell from shapes
_DECIDING: Final = (".cond", ".while_loop")
_STATE: Final = "a run of it may change what it holds"


def of_script(found: Program, inputs: Sequence[str]) -> BatchAxis:
    """Returns what is known of axis 0 of a TorchScript module.

    Args:
        found: Its program.
        inputs: Names of its inputs.
    """
    if found.state:
        return BatchAxis.none(_STATE)
    by_values = f"values may decide what its operator {found.decided_by} does"
    return batch_axis([(name, None) for name in inputs], [], by_values if found.decided_by else "")


def of_program(graph: Json, interface: Interface) -> BatchAxis:
    """Returns what is known of axis 0 of an exported program.

    Args:
        graph: Its graph.
        interface: What goes into it and what comes out.
    """
    if interface.changes:
        return BatchAxis.none(_STATE)
    for node in graph["nodes"]:
        if node["target"].endswith(_DECIDING):
            return BatchAxis.none(f"its operator {node['target']} decides what to do for all rows")
    tensors = graph["tensor_values"]
    for tensor in tensors.values():
        for size in map(_size, tensor["sizes"]):
            if isinstance(size, str) and _BY_VALUES.search(size):
                return BatchAxis.none("sizes in it depend on values")
    return batch_axis(_sized(interface.inputs, tensors), _sized(interface.outputs, tensors))


def _sized(names: Sequence[str], tensors: Json) -> list[tuple[str, Sizes]]:
    return [(name, [_size(size) for size in tensors[name]["sizes"]]) for name in names]


def _size(size: Json) -> int | str:
    """Returns a size: a number, a symbol, or an expression with all symbols that are in it."""
    kind, value = only(size)
    if kind == "as_int":
        number: int = value
        return number
    text: str = value["expr_str"]
    symbols = _SYMBOL.findall(text)
    return symbols[0] if len(symbols) == 1 and text.startswith("Symbol(") else text
