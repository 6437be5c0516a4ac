"""The operators of ONNX that are known to be harmless, and with which attributes and constants.

A list of what may: each entry says what a use of an operator may look like, and how large its
outputs can get. It is drawn from attack, see `attack_onnx.py` beside the tests: what is
listed ended no process of ONNX Runtime in any of its figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, prod
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tensorkeep.size_bounds import (
    Shape,
    Size,
    broadcast,
    factor_of,
    factor_of_all,
    largest,
    times,
    total,
    window_count,
)
from tensorkeep_onnx.graph_reader import (
    BOOL,
    DOUBLE,
    FLOAT,
    INT8,
    INT32,
    INT64,
    UINT8,
    Constant,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tensorkeep_onnx.graph_reader import Node

OPSETS: Final = range(11, 24)
"""Versions of the operators that were attacked."""

FLOATS: Final = frozenset((FLOAT, DOUBLE))
_WHOLE: Final = frozenset((INT32, INT64))
NUMBERS: Final = FLOATS | _WHOLE
_ANY: Final = NUMBERS | {BOOL, UINT8, INT8}
_FARTHEST: Final = 1024  # of strides, dilations, and paddings of convolutions


class Unlisted(ValueError):
    """A use of an operator that is not known to be harmless; the text says why, for people."""


class Value(NamedTuple):
    """A value in a graph.

    Attributes:
        dtype: Of TensorProto.DataType.
        shape: Its sizes, or what they are at most.
        constant: What it is, where the model brings it.
        fixed: Whether it is the same in every run.
    """

    dtype: int
    shape: Shape
    constant: Constant | None = None
    fixed: bool = False


class Made(NamedTuple):
    """What a node makes.

    Attributes:
        dtype: Of TensorProto.DataType.
        shape: As in `Value`.
        products: Multiplications for each element.
        scratch: Elements of memory that it needs while it runs, where all symbols are 1.
    """

    dtype: int
    shape: Shape
    products: float = 1.0
    scratch: float = 0.0


@dataclass(frozen=True, slots=True)
class Use:
    """A node, and what it is given."""

    node: Node
    opset: int
    values: Sequence[Value | None]

    def value(self, place: int) -> Value:
        """Returns an input that must be there."""
        found = self.optional(place)
        if found is None:
            raise Unlisted("an input is missing")
        return found

    def optional(self, place: int) -> Value | None:
        """Returns an input that may be missing."""
        return self.values[place] if place < len(self.values) else None

    def weights(self, place: int, *shape: Size) -> Value:
        """Returns an input that must be a constant, of a shape."""
        found = self.value(place)
        if found.constant is None:
            raise Unlisted("its weights are no constants")
        if shape and found.shape != shape:
            raise Unlisted("its weights do not fit")
        return found

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """Returns an attribute that is a whole number."""
        found = self.node.attributes.get(name, default)
        if not isinstance(found, int) or not least <= found <= most:
            raise Unlisted(f"its {name} is not in the range that was tested")
        return found

    def wholes(self, name: str, default: tuple[int, ...], least: int, most: int) -> tuple[int, ...]:
        """Returns an attribute that is a list of as many whole numbers as its default."""
        found = self.node.attributes.get(name, default)
        if not isinstance(found, tuple) or len(found) != len(default):
            raise Unlisted(f"its {name} does not fit")
        checked = [each for each in found if isinstance(each, int) and least <= each <= most]
        if len(checked) != len(default):
            raise Unlisted(f"its {name} is not in the range that was tested")
        return tuple(checked)

    def real(self, name: str, default: float) -> float:
        """Returns an attribute that is a finite number."""
        found = self.node.attributes.get(name, default)
        if not isinstance(found, float) or not isfinite(found):
            raise Unlisted(f"its {name} is not in the range that was tested")
        return found

    def axis(self, default: int, rank: int, name: str = "axis") -> int:
        """Returns an attribute that is one of so many axes, counted from the first."""
        return self.whole(name, default, -rank, rank - 1) % rank

    def listed(self, place: int, name: str) -> tuple[int, ...] | None:
        """Returns whole numbers that are a constant, or an attribute as they were earlier."""
        given = self.optional(place)
        found = self.node.attributes.get(name)
        if given is None:
            if found is not None and not isinstance(found, tuple):
                raise Unlisted(f"its {name} is no list")
            numbers: Sequence[float] | None = found
        elif given.constant is None or given.dtype != INT64 or found is not None:
            raise Unlisted(f"its {name} are no constants")
        elif len(given.shape) > 1:
            raise Unlisted(f"its {name} are no list")
        else:
            numbers = given.constant.numbers()
        if numbers is None:
            return None
        return tuple(int(each) for each in numbers)

    def axes(self, place: int, rank: int) -> tuple[int, ...] | None:
        """Returns different axes of so many, counted from the first; None where none are said."""
        found = self.listed(place, "axes")
        if found is None:
            return None
        counted = tuple(each % rank for each in found if -rank <= each < rank)
        if len(counted) != len(found) or len(set(counted)) != len(counted):
            raise Unlisted("its axes are not different ones of its input")
        return counted


Rule: TypeAlias = "Callable[[Use], Made]"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a use of an operator may look like.

    Attributes:
        rule: Checks the rest, and says what it makes.
        inputs: The fewest and the most inputs.
        dtypes: Types that its first input may have.
        attributes: The attributes that it may have.
        same: How many of its first inputs must have the type of the first.
        since: The first version of the operators that has it.
        gaps: Whether inputs may be left out by an empty name.
    """

    rule: Rule
    inputs: tuple[int, int] = (1, 1)
    dtypes: frozenset[int] = FLOATS
    attributes: frozenset[str] = frozenset()
    same: int = 100
    since: int = 1
    gaps: bool = False


def check_use(use: Use) -> Made:
    """Returns what a node makes.

    Raises:
        Unlisted: It is not known to be harmless.
        Unbounded: A size grows faster than the inputs.
    """
    entry = HARMLESS.get(use.node.operator)
    if entry is None or use.opset < entry.since:
        raise Unlisted("it is not on the list of operators known to be harmless")
    fewest, most = entry.inputs
    if not fewest <= len(use.values) <= most:
        raise Unlisted("it has more or fewer inputs than were tested")
    if not entry.gaps and None in use.values:
        raise Unlisted("it has an input without a name")
    if unknown := use.node.attributes.keys() - entry.attributes:
        raise Unlisted(f"its attribute {min(unknown)} was not tested")
    if len(use.node.outputs) != 1:
        raise Unlisted("it has more outputs than were tested")
    if fewest:
        first = use.value(0).dtype
        if first not in entry.dtypes:
            raise Unlisted("it is given a type of elements that was not tested")
        if any(each is not None and each.dtype != first for each in use.values[: entry.same]):
            raise Unlisted("it is given elements of different types")
    return entry.rule(use)


# --------------------------------------------------------------------------- element by element
def _like_first(use: Use) -> Made:
    """An element each: shape and type are those of the input."""
    for name, value in use.node.attributes.items():
        if isinstance(value, float):
            use.real(name, 0.0)
        elif name != "approximate" or value not in {b"none", b"tanh"}:
            raise Unlisted(f"its {name} was not tested")
    first = use.value(0)
    return Made(first.dtype, first.shape)


def _broadcast(use: Use) -> Made:
    shape = broadcast(*(use.value(place).shape for place in range(len(use.values))))
    return Made(use.value(0).dtype, shape)


def _compare(use: Use) -> Made:
    return Made(BOOL, _broadcast(use).shape)


def _where(use: Use) -> Made:
    if use.value(1).dtype != use.value(2).dtype or use.value(1).dtype not in NUMBERS:
        raise Unlisted("it is given a type of elements that was not tested")
    return Made(use.value(1).dtype, _broadcast(use).shape)


def _power(use: Use) -> Made:
    if use.value(1).constant is None:
        raise Unlisted("its exponent is no constant")
    return _broadcast(use)


def _prelu(use: Use) -> Made:
    first = use.value(0)
    if broadcast(first.shape, use.weights(1).shape) != first.shape:
        raise Unlisted("its slope does not fit")
    return Made(first.dtype, first.shape)


def _clip(use: Use) -> Made:
    for place in (1, 2):
        limit = use.optional(place)
        if limit is not None and (limit.constant is None or limit.shape != ()):
            raise Unlisted("its limits are no constants")
    first = use.value(0)
    return Made(first.dtype, first.shape)


def _dropout(use: Use) -> Made:
    use.real("ratio", 0.5)
    for place, dtype in ((1, FLOAT), (2, BOOL)):
        given = use.optional(place)
        if given is None:
            continue
        if given.constant is None or given.shape != () or given.dtype != dtype:
            raise Unlisted("what it is given beside its input is no constant")
        if dtype == BOOL and given.constant.numbers()[0]:
            raise Unlisted("it is trained")
    first = use.value(0)
    return Made(first.dtype, first.shape)


def _cast(use: Use) -> Made:
    to = use.whole("to", 0, 0, 100)
    if to not in NUMBERS | {BOOL}:
        raise Unlisted("it makes a type of elements that was not tested")
    if use.value(0).dtype in FLOATS and to in _WHOLE:
        raise Unlisted("it makes whole numbers of others")
    return Made(to, use.value(0).shape)


def _along_axis(use: Use) -> Made:
    first = use.value(0)
    if not first.shape:
        raise Unlisted("it is given a single number")
    use.axis(-1 if use.opset >= 13 else 1, len(first.shape))  # noqa: PLR2004 - a version
    return Made(first.dtype, first.shape)


# --------------------------------------------------------------------------- matrices
def _matmul(use: Use) -> Made:
    first, second = use.value(0).shape, use.value(1).shape
    if not first or not second:
        raise Unlisted("it is given a single number")
    rows, columns = first[-2:-1], second[-1:] if len(second) > 1 else ()
    depth = second[-2] if len(second) > 1 else second[-1]
    _agree(first[-1], depth)
    shape = (*broadcast(first[:-2], second[:-2]), *rows, *columns)
    return Made(use.value(0).dtype, shape, min(factor_of(first[-1]), factor_of(depth)))


def _agree(one: Size, other: Size) -> None:
    if isinstance(one, int) and isinstance(other, int) and one != other:
        raise Unlisted("its inputs do not fit")


def _gemm(use: Use) -> Made:
    use.real("alpha", 1.0)
    use.real("beta", 1.0)
    sides = []
    for place, name in enumerate(("transA", "transB")):
        shape = use.value(place).shape
        if len(shape) != 2:  # noqa: PLR2004 - a matrix
            raise Unlisted("it is given no matrix")
        sides.append(shape[::-1] if use.whole(name, 0, 0, 1) else shape)
    (rows, depth), (other, columns) = sides
    _agree(depth, other)
    shape = (rows, columns)
    added = use.optional(2)
    if added is not None:
        fits = len(added.shape) <= 2 and all(  # noqa: PLR2004 - a matrix
            a in {1, b} for a, b in zip(added.shape[::-1], shape[::-1], strict=False)
        )
        if not fits:
            raise Unlisted("what it adds does not fit")
    return Made(use.value(0).dtype, shape, min(factor_of(depth), factor_of(other)))


def _conv(use: Use) -> Made:
    first, weights = use.value(0), use.weights(1)
    rank = len(first.shape) - 2
    kernel = _known(weights.shape[2:])
    if not 1 <= rank <= 3 or len(kernel) != rank:  # noqa: PLR2004 - axes of space
        raise Unlisted("it has more or fewer axes than were tested")
    outs, ins = _known(weights.shape[:2])
    group = use.whole("group", 1, 1, outs)
    if first.shape[1] != ins * group or outs % group:
        raise Unlisted("its weights do not fit")
    if use.wholes("kernel_shape", kernel, 1, _FARTHEST) != kernel:
        raise Unlisted("its kernel_shape does not fit")
    if use.optional(2) is not None:
        use.weights(2, outs)
    space = _windows(use, kernel, first.shape[2:], ceil=False)
    depth = float(ins * prod(kernel))
    area = factor_of_all(space)
    # The single-precision kernels unfold at most a square of the depth, the others all of it.
    unfolded = depth * (min(area, depth) if first.dtype == FLOAT else area)
    return Made(first.dtype, (first.shape[0], outs, *space), depth, unfolded)


def _known(shape: Shape) -> tuple[int, ...]:
    known = tuple(size for size in shape if isinstance(size, int))
    if len(known) != len(shape):
        raise Unlisted("it is given sizes that are not known")
    return known


def _windows(use: Use, kernel: tuple[int, ...], space: Shape, *, ceil: bool) -> Shape:
    """Returns the sizes of what windows that move over space make.

    The runtime divides by sizes of space: a client may not choose them, for it may choose 0.
    """
    rank = len(kernel)
    known = _known(space)
    strides = use.wholes("strides", (1,) * rank, 1, _FARTHEST)
    dilations = use.wholes("dilations", (1,) * rank, 1, _FARTHEST)
    reach = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
    pads = use.wholes("pads", (0,) * (2 * rank), 0, _FARTHEST)
    auto = use.node.attributes.get("auto_pad", b"NOTSET")
    if auto not in {b"NOTSET", b"VALID", b"SAME_UPPER", b"SAME_LOWER"}:
        raise Unlisted("its auto_pad was not tested")
    if auto != b"NOTSET" and ("pads" in use.node.attributes or ceil or max(dilations) > 1):
        raise Unlisted("its auto_pad was not tested together with others of its attributes")
    sizes: list[Size] = []
    for axis, size in enumerate(known):
        before, after = pads[axis], pads[axis + rank]
        if max(before, after) >= reach[axis]:
            raise Unlisted("its pads are larger than its kernel")
        if auto in {b"SAME_UPPER", b"SAME_LOWER"}:
            sizes.append(-(-size // strides[axis]))
        else:
            span = (before, after)
            sizes.append(window_count(size, span, reach[axis], strides[axis], ceil=ceil))
    return tuple(sizes)


def _pool(use: Use) -> Made:
    first = use.value(0)
    kernel = use.node.attributes.get("kernel_shape")
    rank = len(first.shape) - 2
    if not isinstance(kernel, tuple) or not 1 <= rank <= 3:  # noqa: PLR2004 - axes of space
        raise Unlisted("it has more or fewer axes than were tested")
    kernel = use.wholes("kernel_shape", (1,) * rank, 1, _FARTHEST)
    use.whole("storage_order", 0, 0, 0)
    use.whole("count_include_pad", 0, 0, 1)
    ceil = bool(use.whole("ceil_mode", 0, 0, 1))
    space = _windows(use, kernel, first.shape[2:], ceil=ceil)
    return Made(first.dtype, (*first.shape[:2], *space), float(prod(kernel)))


def _global_pool(use: Use) -> Made:
    first = use.value(0)
    if len(first.shape) < 3:  # noqa: PLR2004 - one axis of space
        raise Unlisted("it has fewer axes than were tested")
    space = _known(first.shape[2:])  # as with windows
    return Made(first.dtype, (*first.shape[:2], *(1 for _ in space)), float(prod(space)))


# --------------------------------------------------------------------------- norms
def _batch_norm(use: Use) -> Made:
    first = use.value(0)
    use.real("epsilon", 1e-5)
    use.real("momentum", 0.9)
    use.whole("training_mode", 0, 0, 0)
    if len(first.shape) < 2:  # noqa: PLR2004 - rows and channels
        raise Unlisted("it has fewer axes than were tested")
    for place in range(1, 5):
        use.weights(place, first.shape[1])
    return Made(first.dtype, first.shape)


def _layer_norm(use: Use) -> Made:
    first = use.value(0)
    use.real("epsilon", 1e-5)
    use.whole("stash_type", 1, 1, 1)
    if not first.shape:
        raise Unlisted("it is given a single number")
    normalized = first.shape[use.axis(-1, len(first.shape)) :]
    _known(normalized)
    use.weights(1, *normalized)
    if use.optional(2) is not None:
        use.weights(2, *normalized)
    return Made(first.dtype, first.shape)


# --------------------------------------------------------------------------- shapes
def _concat(use: Use) -> Made:
    shapes = [use.value(place).shape for place in range(len(use.values))]
    rank = len(shapes[0])
    if not rank or any(len(shape) != rank for shape in shapes):
        raise Unlisted("its inputs do not fit")
    if "axis" not in use.node.attributes:
        raise Unlisted("its axis is missing")
    axis = use.axis(0, rank)
    sizes = []
    for place in range(rank):
        along = [shape[place] for shape in shapes]
        known = {size for size in along if isinstance(size, int)}
        if place != axis and len(known) > 1:
            raise Unlisted("its inputs do not fit")
        sizes.append(total(along) if place == axis else known.pop() if known else largest(along))
    return Made(use.value(0).dtype, tuple(sizes))


def _flatten(use: Use) -> Made:
    first = use.value(0)
    rank = len(first.shape)
    axis = use.whole("axis", 1, -rank, rank)
    axis += rank if axis < 0 else 0
    return Made(first.dtype, (times(first.shape[:axis]), times(first.shape[axis:])))


def _transpose(use: Use) -> Made:
    first = use.value(0)
    rank = len(first.shape)
    perm = use.wholes("perm", (*range(rank),)[::-1], 0, max(rank - 1, 0))
    if len(set(perm)) != rank:
        raise Unlisted("its perm is no order of its axes")
    return Made(first.dtype, tuple(first.shape[each] for each in perm))


def _reshape(use: Use) -> Made:
    first = use.value(0)
    wanted = use.listed(1, "shape")
    use.whole("allowzero", 0, 0, 0)
    if wanted is None or len(wanted) > 8 or min(wanted, default=0) < -1 or wanted.count(-1) > 1:  # noqa: PLR2004 - axes
        raise Unlisted("its shape was not tested")
    left = list(first.shape)
    sizes: list[Size] = []
    for place, size in enumerate(wanted):
        if size == 0 and place >= len(first.shape):
            raise Unlisted("its shape does not fit")
        sizes.append(first.shape[place] if size == 0 else size)
        if size == 0:
            left[place] = 1
    known = prod(size for size in wanted if size > 0)
    if -1 in wanted:
        sizes[wanted.index(-1)] = times(left, known)
    elif times(left) != known and all(isinstance(size, int) for size in left):
        raise Unlisted("its shape does not fit")
    return Made(first.dtype, tuple(sizes))


def _squeeze(use: Use) -> Made:
    first = use.value(0)
    axes = use.axes(1, len(first.shape))
    if axes is None or any(first.shape[axis] != 1 for axis in axes):
        raise Unlisted("its axes are not all of the size 1")
    kept = tuple(size for axis, size in enumerate(first.shape) if axis not in axes)
    return Made(first.dtype, kept)


def _unsqueeze(use: Use) -> Made:
    first = use.value(0)
    found = use.listed(1, "axes")
    rank = len(first.shape) + len(found or ())
    axes = use.axes(1, rank)
    if axes is None or rank > 8:  # noqa: PLR2004 - axes
        raise Unlisted("its axes were not tested")
    sizes = iter(first.shape)
    return Made(first.dtype, tuple(1 if axis in axes else next(sizes) for axis in range(rank)))


def _reduce(use: Use) -> Made:
    first = use.value(0)
    rank = len(first.shape)
    axes = use.axes(1, rank)
    keep = use.whole("keepdims", 1, 0, 1)
    if not axes:
        if use.whole("noop_with_empty_axes", 0, 0, 1):
            raise Unlisted("its axes were not tested")
        axes = tuple(range(rank))
    use.whole("noop_with_empty_axes", 0, 0, 1)
    return Made(first.dtype, _reduced(first.shape, axes, keep))


def _arg(use: Use) -> Made:
    first = use.value(0)
    if not first.shape:
        raise Unlisted("it is given a single number")
    axis = use.axis(0, len(first.shape))
    use.whole("select_last_index", 0, 0, 1)
    return Made(INT64, _reduced(first.shape, (axis,), use.whole("keepdims", 1, 0, 1)))


def _reduced(shape: Shape, axes: Sequence[int], keep: int) -> Shape:
    kept = ((axis, size) for axis, size in enumerate(shape) if keep or axis not in axes)
    return tuple(1 if axis in axes else size for axis, size in kept)


def _constant(use: Use) -> Made:
    value = use.node.attributes.get("value")
    if not isinstance(value, Constant):
        raise Unlisted("its value is no tensor")
    return Made(value.dtype, value.shape)


# --------------------------------------------------------------------------- the list
def _entries() -> Mapping[str, Entry]:
    found: dict[str, Entry] = {}

    def add(names: str, entry: Entry) -> None:
        found.update(dict.fromkeys(names.split(), entry))

    add("Identity", Entry(_like_first, dtypes=_ANY))
    add("Neg Abs Sign", Entry(_like_first, dtypes=NUMBERS))
    add("Relu", Entry(_like_first))
    add("Sigmoid Tanh Exp Log Sqrt Erf Reciprocal Floor Ceil Round", Entry(_like_first))
    add("Sin Cos Softplus Softsign", Entry(_like_first))
    add("LeakyRelu Elu", Entry(_like_first, attributes=frozenset(("alpha",))))
    add("Selu", Entry(_like_first, attributes=frozenset(("alpha", "gamma"))))
    add("HardSigmoid", Entry(_like_first, attributes=frozenset(("alpha", "beta"))))
    add("HardSwish", Entry(_like_first, since=14))
    add("Gelu", Entry(_like_first, attributes=frozenset(("approximate",)), since=20))
    add("Not", Entry(_like_first, dtypes=frozenset((BOOL,))))
    add("Dropout", Entry(_dropout, (1, 3), attributes=frozenset(("ratio", "seed")), same=1))
    add("Cast", Entry(_cast, dtypes=_ANY, attributes=frozenset(("to",))))
    add("Clip", Entry(_clip, (1, 3), gaps=True))
    add("PRelu", Entry(_prelu, (2, 2)))
    add("Add Sub Mul", Entry(_broadcast, (2, 2), NUMBERS))
    add("Div", Entry(_broadcast, (2, 2)))
    add("Pow", Entry(_power, (2, 2)))
    add("Min Max Sum", Entry(_broadcast, (1, 50)))
    add("And Or Xor", Entry(_compare, (2, 2), frozenset((BOOL,))))
    add("Equal Greater Less", Entry(_compare, (2, 2), NUMBERS))
    add("GreaterOrEqual LessOrEqual", Entry(_compare, (2, 2), NUMBERS, since=12))
    add("Where", Entry(_where, (3, 3), frozenset((BOOL,)), same=1))
    add("Softmax LogSoftmax", Entry(_along_axis, attributes=frozenset(("axis",))))
    add("MatMul", Entry(_matmul, (2, 2)))
    add(
        "Gemm",
        Entry(_gemm, (2, 3), attributes=frozenset(("alpha", "beta", "transA", "transB"))),
    )
    windows = frozenset(("auto_pad", "dilations", "kernel_shape", "pads", "strides"))
    add("Conv", Entry(_conv, (2, 3), attributes=windows | {"group"}))
    add("MaxPool", Entry(_pool, attributes=windows | {"ceil_mode", "storage_order"}))
    add("AveragePool", Entry(_pool, attributes=windows | {"ceil_mode", "count_include_pad"}))
    add("GlobalAveragePool GlobalMaxPool", Entry(_global_pool))
    norm = frozenset(("epsilon",))
    add(
        "BatchNormalization",
        Entry(_batch_norm, (5, 5), attributes=norm | {"momentum", "training_mode"}),
    )
    add(
        "LayerNormalization",
        Entry(_layer_norm, (2, 3), attributes=norm | {"axis", "stash_type"}, since=17),
    )
    add("Concat", Entry(_concat, (1, 100), _ANY, frozenset(("axis",))))
    add("Flatten", Entry(_flatten, dtypes=_ANY, attributes=frozenset(("axis",))))
    add("Transpose", Entry(_transpose, dtypes=_ANY, attributes=frozenset(("perm",))))
    add("Reshape", Entry(_reshape, (2, 2), _ANY, frozenset(("allowzero",)), same=1))
    axes = frozenset(("axes",))
    add("Squeeze", Entry(_squeeze, (1, 2), _ANY, axes, same=1))
    add("Unsqueeze", Entry(_unsqueeze, (1, 2), _ANY, axes, same=1))
    reduced = axes | {"keepdims", "noop_with_empty_axes"}
    add(
        "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare"
        " ReduceLogSum ReduceLogSumExp",
        Entry(_reduce, (1, 2), FLOATS, reduced, same=1),
    )
    one = frozenset(("axis", "keepdims", "select_last_index"))
    add("ArgMax ArgMin", Entry(_arg, attributes=one))
    add("Constant", Entry(_constant, (0, 0), attributes=frozenset(("value",))))
    return found


HARMLESS: Final = _entries()
"""The operators, all of ONNX' own domain, by name."""
