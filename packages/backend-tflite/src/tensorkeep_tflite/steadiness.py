"""Whether the time of a run depends on shapes only.

Decided from which operators a model has. Of one that is not known here, nothing is promised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep_tflite.modelfile import STRING
from tensorkeep_tflite.operators import Op

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorkeep_tflite.modelfile import ModelFile

# Operators whose outputs have sizes that stand in the values of inputs, by the inputs' positions.
# Where such an input is no constant, the shape of what the model is given says nothing about the
# time that it takes.
SIZED_BY: Final[Mapping[int, tuple[int, ...]]] = {
    Op.RESIZE_BILINEAR: (1,),
    Op.PAD: (1,),
    Op.BATCH_TO_SPACE_ND: (1, 2),
    Op.SPACE_TO_BATCH_ND: (1, 2),
    Op.MEAN: (1,),
    Op.STRIDED_SLICE: (1, 2, 3),
    Op.TOPK_V2: (1,),
    Op.PADV2: (1,),
    Op.SLICE: (1, 2),
    Op.TRANSPOSE_CONV: (0,),
    Op.SPARSE_TO_DENSE: (1,),
    Op.TILE: (1,),
    Op.SUM: (1,),
    Op.REDUCE_PROD: (1,),
    Op.REDUCE_MAX: (1,),
    Op.ONE_HOT: (1,),
    Op.REDUCE_MIN: (1,),
    Op.REDUCE_ANY: (1,),
    Op.FILL: (0,),
    Op.RANGE: (0, 1, 2),
    Op.RESIZE_NEAREST_NEIGHBOR: (1,),
    Op.MIRROR_PAD: (1,),
    Op.SPLIT_V: (1,),
    Op.UNIQUE: (0,),
    Op.WHERE: (0,),
    Op.NON_MAX_SUPPRESSION_V4: (0, 1, 2),
    Op.NON_MAX_SUPPRESSION_V5: (0, 1, 2),
    Op.SCATTER_ND: (2,),
    Op.SEGMENT_SUM: (1,),
    Op.BROADCAST_TO: (1,),
    Op.RFFT2D: (1,),
    Op.REDUCE_ALL: (1,),
    Op.CONV_3D_TRANSPOSE: (0,),
    Op.MULTINOMIAL: (1,),
    Op.UNSORTED_SEGMENT_PROD: (2,),
    Op.UNSORTED_SEGMENT_MAX: (2,),
    Op.UNSORTED_SEGMENT_SUM: (2,),
    Op.UNSORTED_SEGMENT_MIN: (2,),
}
# Operators that decide from values what or how much to compute, or of which nothing is known.
UNSTEADY: Final = frozenset(
    (
        Op.SKIP_GRAM,
        Op.CUSTOM,
        Op.IF,
        Op.WHILE,
        Op.STABLEHLO_COMPOSITE,
    )
)


def is_steady(model: ModelFile) -> bool:
    """Returns whether the time of a run can depend on the shapes of the inputs only."""
    graph = model.graph
    if any(graph.tensors[index].type == STRING for index in graph.inputs):
        return False  # the time depends on the lengths
    return follows_from_shapes(model)


def follows_from_shapes(model: ModelFile) -> bool:
    """Returns whether all sizes follow from the shapes of the inputs."""
    graph = model.graph
    for operator in graph.operators:
        if operator.code in UNSTEADY:
            return False
        sizing = SIZED_BY.get(operator.code, ())
        inputs = [operator.inputs[each] for each in sizing if each < len(operator.inputs)]
        if not all(model.is_constant(graph.tensors[index]) for index in inputs):
            return False
    return True
