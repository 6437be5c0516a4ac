"""What a TFLITE file says of axis 0: which first sizes are fixed, never that two are the same.

A converter writes down the sizes of one row, and beside them which of them may be any. Older files
have the sizes of one row alone, though LiteRT takes others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorkeep.batch_axis import BatchAxis, batch_axis
from tensorkeep_tflite.sizes import follows_from_shapes

if TYPE_CHECKING:
    from tensorkeep.batch_axis import Sizes
    from tensorkeep_tflite.modelfile import Graph, Operand


def axis_of(graph: Graph) -> BatchAxis:
    """Returns what is known of axis 0 of a model."""
    for each in graph.outputs:
        if each.constant:
            return BatchAxis.none(f"output {each.name!r} is the same for any batch")
    inputs, outputs = (
        [(each.name, _sizes(each)) for each in ends] for ends in (graph.inputs, graph.outputs)
    )
    by_values = "" if follows_from_shapes(graph) else "values may decide sizes in it"
    return batch_axis(inputs, outputs, by_values)


def _sizes(operand: Operand) -> Sizes:
    if not operand.shape:  # no axes, or nobody knows how many
        return None
    if operand.signature:
        return [size if size >= 0 else None for size in operand.signature]
    return [size if size > 1 else None for size in operand.shape[:1]] + list(operand.shape[1:])
