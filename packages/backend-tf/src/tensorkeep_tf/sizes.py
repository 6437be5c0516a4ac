"""Whether all sizes in a graph follow from the shapes of its inputs, and the time that runs take.

Only then can requests share a run. The operators of which that is known are listed here; of any
other one nothing is promised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tensorkeep_tf.graphs import CONSTANT, bodies, node_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Messages of TensorFlow's protobufs bring no types.
GraphDef = Any
NodeDef = Any

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
_FIXED_BY_SHAPES: Final = frozenset({"Const", "Rank", "Shape", "ShapeN", "Size"})


def sized_by(graph: GraphDef) -> str:
    """Returns an operator by which values may decide sizes, or of which that is not known.

    Empty when all sizes follow from the shapes of the inputs.
    """
    ops = _operators(graph)
    unknown = sorted(ops - _PLAIN - _SIZED_BY_SHAPES - _PLAIN_WHEN_SIZED.keys())
    return next(filter(None, [*unknown, *map(_sized_by, bodies(graph))]), "")


def is_steady(graph: GraphDef) -> bool:
    """Returns whether the time of a run can depend on the shapes of the inputs only."""
    return not sized_by(graph) and _operators(graph).isdisjoint(_SIZED_BY_SHAPES)


def _operators(graph: GraphDef) -> set[str]:
    functions = {each.signature.name for each in graph.library.function}
    return {node.op for body in bodies(graph) for node in body} - functions


def _sized_by(body: Sequence[NodeDef]) -> str:
    """Returns an operator of a graph or function that values give a size; empty without one."""
    nodes = {node.name: node for node in body}
    fixed: set[str] = set()
    for node in body:
        inputs = [each for each in node.input if not each.startswith("^")]
        for number in _PLAIN_WHEN_SIZED.get(node.op, ()):
            if inputs[number:] and not _is_fixed(node_of(inputs[number]), nodes, fixed):
                return str(node.op)
    return ""


def _is_fixed(name: str, nodes: Mapping[str, NodeDef], fixed: set[str]) -> bool:
    """Returns whether a node gives the same values for inputs of the same shapes.

    Args:
        name: The node, or an argument of the function.
        nodes: The nodes of the graph or function.
        fixed: Nodes known to do so; those that are found are added.
    """
    todo = [name]
    while todo:
        name = todo.pop()
        if name in fixed:
            continue
        node = nodes.get(name)
        if node is None or (not node.input and node.op != CONSTANT):
            return False
        fixed.add(name)
        if node.op not in _FIXED_BY_SHAPES:
            todo += map(node_of, node.input)
    return True
