"""What is known of TensorFlow's operators: which a model may use, and which take steady time.

No model shall reach the server's files, by mistake or in a known way. TensorFlow has some 1,900
operators, and new ones with each version. Those with effects outside the graph are nearly all
marked as stateful, so of the stateful ones only those named here are allowed; of the others, those
that reach for a file all the same are refused by name, and so are TensorFlow's internal ones.

This module knows names of operators and nothing of graphs.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from tensorkeep_tf.framework import op_def_registry, tf

if TYPE_CHECKING:
    from collections.abc import Mapping

# What a variable is called: TensorFlow 2's, and those of older graphs.
VARIABLES: Final = frozenset({"VarHandleOp", "VariableV2", "Variable"})

# Where a loop comes round, in all its forms; a run can be ended there.
LOOPS: Final = frozenset({"For", "LoopCond", "StatelessWhile", "While"})

# Stateful operators whose effects stay within the model.
_HARMLESS: Final = VARIABLES | {
    # reading and setting variables
    "AssignAddVariableOp",
    "AssignSubVariableOp",
    "AssignVariableOp",
    "DisableCopyOnRead",
    "ReadVariableOp",
    "ResourceGather",
    "ResourceGatherNd",
    "VarIsInitializedOp",
    "VariableShape",
    # calls and control flow
    "Assert",
    "Case",
    "CheckNumerics",
    "CheckNumericsV2",
    "DeviceIndex",
    "GuaranteeConst",
    "If",
    "StatefulPartitionedCall",
    "While",
    # tables in memory
    "HashTable",
    "HashTableV2",
    "InitializeTableV2",
    "LookupTableFindV2",
    "LookupTableImportV2",
    "LookupTableInsertV2",
    "LookupTableSizeV2",
    "MutableDenseHashTableV2",
    "MutableHashTableV2",
    # arrays and stacks of loops
    "StackCloseV2",
    "StackPopV2",
    "StackPushV2",
    "StackV2",
    "TensorArrayCloseV3",
    "TensorArrayConcatV3",
    "TensorArrayGatherV3",
    "TensorArrayReadV3",
    "TensorArrayScatterV3",
    "TensorArraySizeV3",
    "TensorArraySplitV3",
    "TensorArrayV3",
    "TensorArrayWriteV3",
    # random numbers
    "Multinomial",
    "NonDeterministicInts",
    "ParameterizedTruncatedNormal",
    "RandomGamma",
    "RandomPoisson",
    "RandomPoissonV2",
    "RandomShuffle",
    "RandomStandardNormal",
    "RandomUniform",
    "RandomUniformInt",
    "RngReadAndSkip",
    "RngSkip",
    "SampleDistortedBoundingBox",
    "SampleDistortedBoundingBoxV2",
    "StatefulRandomBinomial",
    "StatefulStandardNormalV2",
    "StatefulTruncatedNormal",
    "StatefulUniform",
    "StatefulUniformFullInt",
    "StatefulUniformInt",
    "StatelessRandomGetAlg",
    "TruncatedNormal",
    # what else a network may need
    "CudnnRNN",
    "CudnnRNNV2",
    "CudnnRNNV3",
    "Empty",
}

# Of the others: those that read, write or open something by name, that run Python or end the
# process, that wait for other runs, and those that make up input pipelines.
_OUTSIDE: Final = re.compile(
    r"File|Reader|Dataset|Iterator|Restore|PyFunc|ImmutableConst|VocabRemapping|codeProto"
    r"|Abort|Barrier|Queue|Batch$|BatchFunction|Unbatch"
    r"|Debug|^Copy|Xla|TPU|Infeed|Collective|RemoteCall"
)


def refusal(name: str) -> str:
    """Returns why a model may not use an operator; empty when it may.

    Args:
        name: An operator, not a function of the model.
    """
    known = op_def_registry.get(name)
    if known is None:
        return f"Op type not registered '{name}'"
    public = hasattr(tf.raw_ops, name)  # others rely on how TensorFlow itself puts them to use
    if not public or _OUTSIDE.search(name) or (known.is_stateful and name not in _HARMLESS):
        return f"Op {name} is not allowed: it can reach files, Python or the server itself"
    return ""


# In which field of an AttrValue an attribute of a type is kept; all others are called like it.
_FIELDS: Final = {"string": "s", "int": "i", "float": "f", "bool": "b"}


@cache
def attributes(name: str) -> Mapping[str, tuple[str, ...]]:
    """Returns where an operator's attributes are kept, by their names.

    Args:
        name: An operator that is known.

    Returns:
        The field of the AttrValue; of a list also the field of its ListValue.
    """
    kept = {}
    for each in op_def_registry.get(name).attr:
        kind, _, element = each.type.rstrip(")").partition("(")
        kept[each.name] = tuple(_FIELDS.get(word, word) for word in (kind, element) if word)
    return kept


@cache
def counts(name: str) -> frozenset[str]:
    """Returns the attributes that say how many of something an operator has: inputs, say."""
    known = op_def_registry.get(name)
    several = {each.number_attr for each in (*known.input_arg, *known.output_arg)} - {""}
    return frozenset({"parallel_iterations", *several})  # the first of loops, counted in 32 bits


# --------------------------------------------------------------------------- steady time
# Operators whose time depends on the shapes of what they are given alone.
_PLAIN: Final = frozenset(
    """
    Abs Acos Acosh Add AddN AddV2 Asin Asinh Atan Atan2 Atanh AvgPool AvgPool3D BatchMatMul
    BatchMatMulV2 BatchMatMulV3 BiasAdd BiasAddV1 Cast Ceil ClipByValue Const Conv Conv2D Conv3D Cos
    Cosh DepthToSpace DepthwiseConv2dNative Div DivNoNan Einsum Elu Equal Erf Erfc Exp Expm1 Floor
    FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Greater GreaterEqual Identity
    IdentityN Inv InvertPermutation IsFinite IsInf IsNan L2Loss LRN LeakyRelu Less LessEqual Log
    Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul MaxPool MaxPool3D Maximum Minimum Mod
    Mul MulNoNan Neg NoOp NotEqual OnesLike Pack PartitionedCall Placeholder Pow Rank
    ReadVariableOp RealDiv Reciprocal Relu Relu6 Rint Round Rsqrt Select SelectV2 Selu Shape ShapeN
    Sigmoid Sign Sin Sinh Size Snapshot Softmax Softplus Softsign SpaceToDepth Sqrt Square
    SquaredDifference Squeeze StatefulPartitionedCall StopGradient Sub Tan Tanh TruncateDiv Unpack
    VarHandleOp VariableV2 Xdivy Xlogy ZerosLike
    """.split()  # noqa: SIM905 - 130 names, not as many lines
)
# The same, if the inputs of these numbers, which decide sizes, hold the same values each time.
_PLAIN_WHEN_SIZED: Final = {
    "All": (1,),
    "Any": (1,),
    "ArgMax": (1,),
    "ArgMin": (1,),
    "BroadcastTo": (1,),
    "ConcatV2": (-1,),
    "Conv2DBackpropInput": (0,),
    "Conv3DBackpropInputV2": (0,),
    "ExpandDims": (1,),
    "Fill": (0,),
    "GatherV2": (2,),
    "Max": (1,),
    "Mean": (1,),
    "Min": (1,),
    "MirrorPad": (1,),
    "OneHot": (1,),
    "Pad": (1,),
    "PadV2": (1,),
    "Prod": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "ResizeBilinear": (1,),
    "ResizeNearestNeighbor": (1,),
    "Slice": (1, 2),
    "Split": (0,),
    "SplitV": (1, 2),
    "StridedSlice": (1, 2, 3),
    "Sum": (1,),
    "Tile": (1,),
    "TopKV2": (1,),
    "Transpose": (1,),
}
# Operators that take longer for some values than for others, but return what shapes say.
_SIZED_BY_SHAPES: Final = frozenset(
    """
    AsString CheckNumerics CheckNumericsV2 Cumprod Cumsum GatherNd HashTable HashTableV2
    InitializeTableV2 LookupTableFindV2 LookupTableImportV2 MutableDenseHashTableV2
    MutableHashTableV2 ResourceGather ResourceGatherNd ReverseV2 StaticRegexReplace StringJoin
    StringLength StringLower StringStrip StringToHashBucketFast StringToHashBucketStrong
    StringToNumber StringUpper
    """.split()  # noqa: SIM905 - as above
)
# Their outputs hold the same values for inputs of the same shapes.
FIXED_BY_SHAPES: Final = frozenset({"Const", "Rank", "Shape", "ShapeN", "Size"})


def has_known_sizes(name: str) -> bool:
    """Returns whether the sizes of what an operator returns can be known from shapes."""
    return is_plain(name) or name in _SIZED_BY_SHAPES


def is_plain(name: str) -> bool:
    """Returns whether the time that an operator takes can be known from shapes."""
    return name in _PLAIN or name in _PLAIN_WHEN_SIZED


def sized_by(name: str) -> tuple[int, ...]:
    """Returns the numbers of the inputs whose values decide the size of what an operator does."""
    return _PLAIN_WHEN_SIZED.get(name, ())
