"""What a TFLITE file says of axis 0: which first sizes are fixed, never that two are the same.

A converter writes down the sizes of one row, and beside them which of them may be any. Older files
have the sizes of one row alone, though LiteRT takes others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorkeep.batch_axis import BatchAxis, batch_axis
from tensorkeep_tflite.steadiness import follows_from_shapes

if TYPE_CHECKING:
    from tensorkeep.batch_axis import Sizes
    from tensorkeep_tflite.modelfile import ModelFile, TensorEntry


def axis_of(model: ModelFile) -> BatchAxis:
    """Returns what is known of axis 0 of a model."""
    graph = model.graph
    for index, name in zip(graph.outputs, model.output_names, strict=True):
        if model.is_constant(graph.tensors[index]):
            return BatchAxis.none(f"output {name!r} is the same for any batch")
    described = [
        [(name, _sizes(graph.tensors[i])) for i, name in zip(indices, names, strict=True)]
        for indices, names in (
            (graph.inputs, model.input_names),
            (graph.outputs, model.output_names),
        )
    ]
    by_values = "" if follows_from_shapes(model) else "values may decide sizes in it"
    return batch_axis(described[0], described[1], by_values)


def _sizes(tensor: TensorEntry) -> Sizes:
    if not tensor.shape:  # no axes, or nobody knows how many
        return None
    if tensor.signature:
        return [size if size >= 0 else None for size in tensor.signature]
    return [size if size > 1 else None for size in tensor.shape[:1]] + list(tensor.shape[1:])
