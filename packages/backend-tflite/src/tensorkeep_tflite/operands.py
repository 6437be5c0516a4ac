"""Whether what an operator takes and returns suits it, as far as LiteRT does not look itself.

The tables follow the format. Where LiteRT was seen to end the process was found by damaging a
model of nearly every operator that it has; what is not in a table is left to LiteRT.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Final

from tensorkeep_tflite.modelfile import RESOURCE, STRING, VARIANT
from tensorkeep_tflite.operators import Op

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorkeep_tflite.modelfile import Operator, TensorEntry

# Operators that divide. Of integers, the processor itself ends a process that divides the least one
# by -1, and what is given at run time is not looked at.
DIVISIONS: Final = frozenset((Op.DIV, Op.FLOOR_DIV, Op.FLOOR_MOD))
# Operators for which LiteRT ends the process, or reads and writes beyond an array of sizes, when a
# run gives them another number of axes.
RIGID: Final = frozenset(
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
# The fewest inputs of operators that need more than one; those that can be left out by giving
# no tensor in their place count too.
FEWEST_INPUTS: Final[Mapping[int, int]] = {
    Op.ADD: 2,
    Op.CONV_2D: 2,
    Op.DEPTHWISE_CONV_2D: 3,
    Op.EMBEDDING_LOOKUP: 2,
    Op.FULLY_CONNECTED: 2,
    Op.HASHTABLE_LOOKUP: 3,
    Op.LSH_PROJECTION: 2,
    Op.LSTM: 5,
    Op.MUL: 2,
    Op.RESIZE_BILINEAR: 2,
    Op.RNN: 5,
    Op.SVDF: 5,
    Op.PAD: 2,
    Op.UNIDIRECTIONAL_SEQUENCE_RNN: 5,
    Op.GATHER: 2,
    Op.BATCH_TO_SPACE_ND: 3,
    Op.SPACE_TO_BATCH_ND: 3,
    Op.TRANSPOSE: 2,
    Op.MEAN: 2,
    Op.SUB: 2,
    Op.DIV: 2,
    Op.UNIDIRECTIONAL_SEQUENCE_LSTM: 20,
    Op.STRIDED_SLICE: 4,
    Op.BIDIRECTIONAL_SEQUENCE_RNN: 12,
    Op.TOPK_V2: 2,
    Op.SPLIT: 2,
    Op.BIDIRECTIONAL_SEQUENCE_LSTM: 48,
    Op.PRELU: 2,
    Op.MAXIMUM: 2,
    Op.ARG_MAX: 2,
    Op.MINIMUM: 2,
    Op.LESS: 2,
    Op.PADV2: 3,
    Op.GREATER: 2,
    Op.GREATER_EQUAL: 2,
    Op.LESS_EQUAL: 2,
    Op.SELECT: 3,
    Op.SLICE: 3,
    Op.TRANSPOSE_CONV: 3,
    Op.SPARSE_TO_DENSE: 4,
    Op.TILE: 2,
    Op.EXPAND_DIMS: 2,
    Op.EQUAL: 2,
    Op.NOT_EQUAL: 2,
    Op.SUM: 2,
    Op.POW: 2,
    Op.ARG_MIN: 2,
    Op.REDUCE_PROD: 2,
    Op.REDUCE_MAX: 2,
    Op.LOGICAL_OR: 2,
    Op.ONE_HOT: 4,
    Op.LOGICAL_AND: 2,
    Op.REDUCE_MIN: 2,
    Op.FLOOR_DIV: 2,
    Op.REDUCE_ANY: 2,
    Op.FILL: 2,
    Op.FLOOR_MOD: 2,
    Op.RANGE: 3,
    Op.RESIZE_NEAREST_NEIGHBOR: 2,
    Op.SQUARED_DIFFERENCE: 2,
    Op.MIRROR_PAD: 2,
    Op.SPLIT_V: 3,
    Op.REVERSE_V2: 2,
    Op.GATHER_ND: 2,
    Op.MATRIX_SET_DIAG: 2,
    Op.NON_MAX_SUPPRESSION_V4: 5,
    Op.NON_MAX_SUPPRESSION_V5: 6,
    Op.SCATTER_ND: 3,
    Op.SELECT_V2: 3,
    Op.SEGMENT_SUM: 2,
    Op.BATCH_MATMUL: 2,
    Op.CUMSUM: 2,
    Op.BROADCAST_TO: 2,
    Op.RFFT2D: 2,
    Op.CONV_3D: 2,
    Op.HASHTABLE_FIND: 3,
    Op.HASHTABLE_IMPORT: 3,
    Op.REDUCE_ALL: 2,
    Op.CONV_3D_TRANSPOSE: 3,
    Op.BROADCAST_ARGS: 2,
    Op.MULTINOMIAL: 2,
    Op.DYNAMIC_UPDATE_SLICE: 3,
    Op.UNSORTED_SEGMENT_PROD: 3,
    Op.UNSORTED_SEGMENT_MAX: 3,
    Op.UNSORTED_SEGMENT_SUM: 3,
    Op.ATAN2: 2,
    Op.UNSORTED_SEGMENT_MIN: 3,
    Op.BITWISE_XOR: 2,
    Op.RIGHT_SHIFT: 2,
}

# Inputs that an operator can do without, by position.
_LSTM: Final = frozenset((1, 5, 9, 10, 11, 12, 16, 17, 20, 21, 22, 23))
OPTIONAL: Final[Mapping[int, frozenset[int]]] = {
    Op.CONV_2D: frozenset((2,)),
    Op.DEPTHWISE_CONV_2D: frozenset((2,)),
    Op.FULLY_CONNECTED: frozenset((2,)),
    Op.TRANSPOSE_CONV: frozenset((3,)),
    Op.CONV_3D: frozenset((2,)),
    Op.CONV_3D_TRANSPOSE: frozenset((3,)),
    Op.SVDF: frozenset((3,)),
    Op.LSTM: _LSTM,
    Op.UNIDIRECTIONAL_SEQUENCE_LSTM: _LSTM,
    Op.BIDIRECTIONAL_SEQUENCE_RNN: frozenset((9, 10, 11)),
    Op.BIDIRECTIONAL_SEQUENCE_LSTM: frozenset(
        (1, 5, 9, 10, 11, 12, 16, 17, 18, 22, 26, 27, 28, 29, 33, 34, *range(39, 48))
    ),
}

# Of these, inputs that can only be left out together: those of a gate that is not there.
TOGETHER: Final[Mapping[int, tuple[tuple[int, ...], ...]]] = {
    Op.LSTM: ((1, 5, 12),),
    Op.UNIDIRECTIONAL_SEQUENCE_LSTM: ((1, 5, 12),),
    Op.BIDIRECTIONAL_SEQUENCE_LSTM: ((1, 5, 12), (18, 22, 29)),
}
# Operators that compute on one element after the other, and return the type that they take.
ELEMENTWISE: Final = frozenset(
    (
        Op.ADD,
        Op.FLOOR,
        Op.LOGISTIC,
        Op.MUL,
        Op.RELU,
        Op.RELU_N1_TO_1,
        Op.RELU6,
        Op.TANH,
        Op.SUB,
        Op.DIV,
        Op.EXP,
        Op.PRELU,
        Op.MAXIMUM,
        Op.MINIMUM,
        Op.NEG,
        Op.SIN,
        Op.LOG,
        Op.SQRT,
        Op.RSQRT,
        Op.POW,
        Op.FLOOR_DIV,
        Op.SQUARE,
        Op.ZEROS_LIKE,
        Op.FLOOR_MOD,
        Op.LEAKY_RELU,
        Op.SQUARED_DIFFERENCE,
        Op.ABS,
        Op.CEIL,
        Op.ADD_N,
        Op.COS,
        Op.ELU,
        Op.ROUND,
        Op.HARD_SWISH,
        Op.GELU,
        Op.RELU_0_TO_1,
        Op.ATAN2,
        Op.SIGN,
        Op.BITWISE_XOR,
        Op.RIGHT_SHIFT,
    )
)
# Operators whose outputs have the type of one of their inputs, by its position.
SAME_TYPE: Final[Mapping[int, int]] = {
    **dict.fromkeys(ELEMENTWISE, 0),
    Op.AVERAGE_POOL_2D: 0,
    Op.CONCATENATION: 0,
    Op.DEPTH_TO_SPACE: 0,
    Op.L2_NORMALIZATION: 0,
    Op.L2_POOL_2D: 0,
    Op.LOCAL_RESPONSE_NORMALIZATION: 0,
    Op.MAX_POOL_2D: 0,
    Op.RESHAPE: 0,
    Op.RESIZE_BILINEAR: 0,
    Op.SPACE_TO_DEPTH: 0,
    Op.PAD: 0,
    Op.GATHER: 0,
    Op.BATCH_TO_SPACE_ND: 0,
    Op.SPACE_TO_BATCH_ND: 0,
    Op.TRANSPOSE: 0,
    Op.MEAN: 0,
    Op.SQUEEZE: 0,
    Op.LSTM: 0,
    Op.RNN: 0,
    Op.SVDF: 0,
    Op.UNIDIRECTIONAL_SEQUENCE_RNN: 0,
    Op.UNIDIRECTIONAL_SEQUENCE_LSTM: 0,
    Op.BIDIRECTIONAL_SEQUENCE_RNN: 0,
    Op.BIDIRECTIONAL_SEQUENCE_LSTM: 0,
    Op.STRIDED_SLICE: 0,
    Op.SPLIT: 1,
    Op.PADV2: 0,
    Op.SELECT: 1,
    Op.SLICE: 0,
    Op.SPARSE_TO_DENSE: 2,
    Op.TILE: 0,
    Op.EXPAND_DIMS: 0,
    Op.SUM: 0,
    Op.REDUCE_PROD: 0,
    Op.REDUCE_MAX: 0,
    Op.PACK: 0,
    Op.ONE_HOT: 2,
    Op.UNPACK: 0,
    Op.REDUCE_MIN: 0,
    Op.FILL: 1,
    Op.RANGE: 0,
    Op.RESIZE_NEAREST_NEIGHBOR: 0,
    Op.MIRROR_PAD: 0,
    Op.SPLIT_V: 0,
    Op.REVERSE_V2: 0,
    Op.GATHER_ND: 0,
    Op.MATRIX_DIAG: 0,
    Op.MATRIX_SET_DIAG: 0,
    Op.SCATTER_ND: 1,
    Op.SELECT_V2: 1,
    Op.SEGMENT_SUM: 0,
    Op.CUMSUM: 0,
    Op.BROADCAST_TO: 0,
    Op.BROADCAST_ARGS: 0,
    Op.DYNAMIC_UPDATE_SLICE: 0,
    Op.UNSORTED_SEGMENT_PROD: 0,
    Op.UNSORTED_SEGMENT_MAX: 0,
    Op.UNSORTED_SEGMENT_SUM: 0,
    Op.UNSORTED_SEGMENT_MIN: 0,
}
# Operators that can return what is no number: strings, or what stands for a table of them. Those
# that run subgraphs are not among them: LiteRT fails to hand strings out of a subgraph.
BEYOND_NUMBERS: Final = frozenset(
    (
        Op.HASHTABLE_LOOKUP,
        Op.RESHAPE,
        Op.SKIP_GRAM,
        Op.GATHER,
        Op.SQUEEZE,
        Op.STRIDED_SLICE,
        Op.SLICE,
        Op.TILE,
        Op.EXPAND_DIMS,
        Op.FILL,
        Op.GATHER_ND,
        Op.CALL_ONCE,
        Op.HASHTABLE,
        Op.HASHTABLE_FIND,
        Op.HASHTABLE_IMPORT,
    )
)
# The number of axes that an input must have, by operator and position.
RANKS: Final[Mapping[int, Mapping[int, int]]] = {
    Op.CONV_2D: {1: 4},
    Op.DEPTHWISE_CONV_2D: {1: 4},
    Op.FULLY_CONNECTED: {1: 2},
    Op.TRANSPOSE_CONV: {1: 4},
    Op.LSTM: {0: 2},
    Op.RNN: {0: 2},
    Op.SVDF: {0: 2},
    Op.UNIDIRECTIONAL_SEQUENCE_RNN: {0: 3},
    Op.UNIDIRECTIONAL_SEQUENCE_LSTM: {0: 3},
    Op.BIDIRECTIONAL_SEQUENCE_RNN: {0: 3},
    Op.BIDIRECTIONAL_SEQUENCE_LSTM: {0: 3},
}
# Operators that bring quantised elements to one scale, so that there must be one.
SCALED: Final = frozenset(
    (
        Op.ADD,
        Op.SUB,
        Op.LESS,
        Op.GREATER,
        Op.GREATER_EQUAL,
        Op.LESS_EQUAL,
        Op.EQUAL,
        Op.NOT_EQUAL,
        Op.SQUARED_DIFFERENCE,
    )
)
# How much coarser the inputs' scales may be than the output's, by operator: the power of the
# inputs' that is compared, and the largest ratio. LiteRT ends the process beyond twice as much.
COARSER: Final[Mapping[int, tuple[int, int]]] = {
    Op.ADD: (1, 2**13),
    Op.SQUARED_DIFFERENCE: (2, 2**11),
}

# Operators whose output has the shape of their input: as weights, both are read by one of the two.
SAME_SHAPE: Final = frozenset((Op.DEQUANTIZE, Op.DENSIFY))

# Types of quantised elements, by their numbers in the format: the values that they can have.
_QUANTISED: Final = {3: (0, 255), 7: (-32768, 32767), 9: (-128, 127)}
_NO_NUMBERS: Final = frozenset((STRING, RESOURCE, VARIANT))
_LEAST_SCALE, _LARGEST_SCALE = 2.0**-100, 2.0**100  # products of a few are still numbers


def has_enough(operator: Operator) -> bool:
    """Returns whether an operator has at least as many inputs as it must."""
    return len(operator.inputs) >= FEWEST_INPUTS.get(operator.code, 0)


def may_lack(operator: Operator, position: int) -> bool:
    """Returns whether an operator can do without an input."""
    together = TOGETHER.get(operator.code, ())
    return position in OPTIONAL.get(operator.code, ()) and all(
        operator.inputs[other] == -1 for group in together if position in group for other in group
    )


def fault_of_types(
    code: int, inputs: Sequence[TensorEntry | None], outputs: Sequence[TensorEntry]
) -> str:
    """Returns what is wrong with the types of an operator's operands; nothing if they suit.

    Args:
        code: The operator.
        inputs: What it takes, at least as many as it must; None where one is left out.
        outputs: What it returns.
    """
    position = SAME_TYPE.get(code)
    if position is not None and position < len(inputs):
        taken = inputs[position]
        if any(taken is None or each.type != taken.type for each in outputs):
            return "returns another type than it takes"
    if code not in BEYOND_NUMBERS and any(each.type in _NO_NUMBERS for each in outputs):
        return "can return nothing but numbers"
    given = [each for each in inputs if each is not None]
    if code in SCALED and given[0].type in _QUANTISED and not _can_be_scaled(code, given, outputs):
        return "takes or returns elements of a scale that it cannot have"
    return ""


def fault_of_shapes(
    code: int, inputs: Sequence[TensorEntry | None], outputs: Sequence[TensorEntry]
) -> str:
    """Returns what is wrong with the shapes of an operator's operands; nothing if they suit.

    Args:
        code: The operator.
        inputs: What it takes, at least as many as it must; None where one is left out.
        outputs: What it returns.
    """
    for position, rank in RANKS.get(code, {}).items():
        tensor = inputs[position]
        if tensor is not None and len(tensor.shape) != rank:
            return f"takes a tensor of {len(tensor.shape)} axes instead of {rank}"
    given = [each for each in inputs if each is not None]
    pairs = zip(given, outputs, strict=False) if code in SAME_SHAPE else ()
    if any(each.shape != other.shape for each, other in pairs):
        return "returns another shape than it takes"
    if code in ELEMENTWISE and any(prod(each.shape) == 0 for each in given):
        return "takes a tensor without elements"
    return ""


def fault_of_scales(tensor: TensorEntry) -> str:
    """Returns what is wrong with how a tensor is quantised; nothing if it makes sense."""
    if tensor.type not in _QUANTISED or not tensor.scales:
        return ""
    least, largest = _QUANTISED[tensor.type]
    floor = _LEAST_SCALE if len(tensor.scales) == 1 else 0  # a channel may be all zeros
    # Not "< floor or > ceiling": what is no number must be refused too.
    if not all(floor <= scale <= _LARGEST_SCALE for scale in tensor.scales):
        return "has a scale that makes no sense"
    if tensor.zeros and not least <= min(tensor.zeros) <= max(tensor.zeros) <= largest:
        return "has a zero that its type cannot hold"
    if len(tensor.zeros) not in {0, 1, len(tensor.scales)}:
        return "has another number of zeros than of scales"
    return ""


def _can_be_scaled(
    code: int, inputs: Sequence[TensorEntry], outputs: Sequence[TensorEntry]
) -> bool:
    """Returns whether the scales of quantised elements can be brought together."""
    if any(len(each.scales) != 1 for each in inputs):
        return False
    if code not in COARSER:
        return True
    power, ratio = COARSER[code]
    largest = max(each.scales[0] for each in inputs) ** power
    return all(len(each.scales) == 1 and largest <= each.scales[0] * ratio for each in outputs)
