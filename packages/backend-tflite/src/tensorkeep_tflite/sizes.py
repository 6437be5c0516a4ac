"""Whether all sizes in a graph follow from the shapes of its inputs, and the time that runs take.

Only then can requests share a run. Decided from which operators a model has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep_tflite.framework import schema
from tensorkeep_tflite.modelfile import STRING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorkeep_tflite.modelfile import Graph

# The operators of the format, by their codes.
Op: Final = schema.BuiltinOperator

# Operators whose outputs have sizes that stand in the values of inputs, by the inputs' positions.
# Where such an input is no constant, the shape of what the model is given says nothing about the
# time that it takes.
_SIZED_BY: Final[Mapping[int, tuple[int, ...]]] = {
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
# Operators that decide from values what or how much to compute, that keep something from one run to
# the next, or of which nothing is known.
_UNSTEADY: Final = frozenset(
    (
        Op.SKIP_GRAM,
        Op.CUSTOM,
        Op.EMBEDDING_LOOKUP_SPARSE,
        Op.IF,
        Op.WHILE,
        Op.VAR_HANDLE,
        Op.READ_VARIABLE,
        Op.ASSIGN_VARIABLE,
        Op.RANDOM_STANDARD_NORMAL,
        Op.RANDOM_UNIFORM,
    )
)
# Operators for which LiteRT reads and writes beyond an array of sizes, or ends the process, when a
# run gives them another number of axes than the model has.
_RIGID: Final = frozenset(
    (
        Op.BATCH_MATMUL,
        Op.LSTM,
        Op.RNN,
        Op.SVDF,
        Op.UNIDIRECTIONAL_SEQUENCE_RNN,
        Op.UNIDIRECTIONAL_SEQUENCE_LSTM,
        Op.BIDIRECTIONAL_SEQUENCE_RNN,
        Op.BIDIRECTIONAL_SEQUENCE_LSTM,
    )
)


def is_steady(graph: Graph) -> bool:
    """Returns whether the time of a run can depend on the shapes of the inputs only."""
    if any(each.type == STRING for each in graph.inputs):
        return False  # the time depends on the lengths
    return follows_from_shapes(graph)


def follows_from_shapes(graph: Graph) -> bool:
    """Returns whether all sizes follow from the shapes of the inputs."""
    for operator in graph.operators:
        if operator.code in _UNSTEADY or operator.code >= Op.STABLEHLO_LOGISTIC:
            return False
        sizing = _SIZED_BY.get(operator.code, ())
        if not all(operator.inputs[each] for each in sizing if each < len(operator.inputs)):
            return False
    return True


def ranks_to_keep(graph: Graph) -> list[int] | None:
    """Returns the number of axes that each input must have; None when any will do."""
    if not any(each.code in _RIGID for each in graph.operators):
        return None
    return [len(each.shape) for each in graph.inputs]
