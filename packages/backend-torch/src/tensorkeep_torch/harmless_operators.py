"""The operators of torch that are known to be harmless, and with which arguments.

A list of what may: each entry says what a call may look like, and how large its result can get. It
is drawn from attack, see `attack_torch.py` beside the tests: what is listed ended no process in
any of its figures.
"""

from __future__ import annotations

import operator
from ast import literal_eval
from dataclasses import dataclass, field
from itertools import count
from math import isfinite, prod
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tensorkeep.size_bounds import (
    AtMost,
    Shape,
    Size,
    Unfitting,
    broadcast,
    largest,
    times,
    total,
    window_count,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_FARTHEST: Final = 1024  # of strides, dilations, paddings and kernels
_MOST_AXES: Final = 8
_numbers: Final = count()


class Unlisted(ValueError):
    """A call that is not known to be harmless; the text says why, for people."""


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """A tensor in a run that is only thought of.

    Attributes:
        shape: Its sizes, or what they are at most.
        fixed: Whether it is one of the model's weights.
        number: Tells it from others.
    """

    shape: Shape
    fixed: bool = False
    number: int = field(default_factory=lambda: next(_numbers))


@dataclass(frozen=True, slots=True)
class SizeOf:
    """The size of an axis of a tensor, which is not known."""

    array: Array
    axis: int


class Unknown:
    """A value of which nothing is known."""


UNKNOWN: Final = Unknown()


@dataclass(frozen=True, slots=True)
class Call:
    """A call of an operator.

    Attributes:
        values: What each parameter is given.
        pin: Notes that an axis has a size, as a run fails otherwise.
    """

    values: Mapping[str, Any]
    pin: Callable[[Size, int], None]

    def tensor(self, name: str = "x") -> Array:
        """Returns an argument that must be a tensor."""
        found = self.values[name]
        if not isinstance(found, Array):
            raise Unlisted(f"its {name} is no tensor")
        return found

    def weights(self, name: str, *shape: int) -> Array:
        """Returns an argument that must be one of the model's tensors, of a shape."""
        found = self.tensor(name)
        if not found.fixed:
            raise Unlisted(f"its {name} is none of the model's weights")
        if shape and found.shape != shape:
            raise Unlisted("its weights do not fit")
        return found

    def whole(self, name: str, least: int, most: int) -> int:
        """Returns an argument that is a whole number."""
        found = self.values[name]
        if type(found) is not int or not least <= found <= most:
            raise Unlisted(f"its {name} is not in the range that was tested")
        return found

    def wholes(self, name: str, length: int, least: int, most: int) -> tuple[int, ...]:
        """Returns an argument that is so many whole numbers, or one for all."""
        found = self.values[name]
        if isinstance(found, list) and len(found) == 1:
            found = found[0]
        values = found if isinstance(found, list) else [found] * length
        if len(values) != length or not all(
            type(each) is int and least <= each <= most for each in values
        ):
            raise Unlisted(f"its {name} is not in the range that was tested")
        return tuple(values)

    def flag(self, name: str) -> bool:
        """Returns an argument that is true or false."""
        found = self.values[name]
        if not isinstance(found, bool):
            raise Unlisted(f"its {name} is not known")
        return found

    def finite(self, *names: str) -> None:
        """Makes sure that arguments are finite numbers."""
        for name in names:
            found = self.values[name]
            if type(found) not in {int, float} or not isfinite(found):
                raise Unlisted(f"its {name} is not in the range that was tested")

    def only(self, name: str, *values: object) -> None:
        """Makes sure that an argument is one of some values."""
        found = self.values[name]
        if not any(
            found is each or (type(found) is type(each) and found == each) for each in values
        ):
            raise Unlisted(f"its {name} was not tested")

    def axis(self, name: str, rank: int) -> int:
        """Returns an argument that is one of so many axes, counted from the first."""
        found = self.values[name]
        if type(found) is not int:
            raise Unlisted(f"its {name} is not known")
        return _axis(found, rank)

    def axes(self, name: str, rank: int) -> tuple[int, ...]:
        """Returns an argument that is different axes of so many, counted from the first."""
        found = self.values[name]
        values = found if isinstance(found, list) else [found]
        if not all(type(each) is int for each in values):
            raise Unlisted(f"its {name} is not known")
        axes = tuple(_axis(each, rank) for each in values)
        if len(set(axes)) < len(axes):
            raise Unfitting("an axis is there twice")
        return axes


def _axis(axis: int, rank: int) -> int:
    if not -max(rank, 1) <= axis < max(rank, 1):
        raise Unfitting("there is no such axis")
    return axis % max(rank, 1)


Rule: TypeAlias = "Callable[[Call], Any]"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a call of an operator may look like.

    Attributes:
        rule: Checks the arguments, and says what it returns.
        names: The names of its parameters, in order.
        defaults: What parameters are where they are not given.
    """

    rule: Rule
    names: tuple[str, ...]
    defaults: Mapping[str, Any]

    def values(self, given: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what each parameter is given."""
        if len(given) > len(self.names):
            raise Unlisted("it has more arguments than were tested")
        found = dict(zip(self.names, given, strict=False))
        if found.keys() & named.keys() or not {*named} <= {*self.names}:
            raise Unlisted("it has arguments that were not tested")
        found = {**self.defaults, **found, **named}
        if len(found) < len(self.names):
            raise Unlisted("it has fewer arguments than were tested")
        return found


# --------------------------------------------------------------------------- element by element
def _like_x(call: Call) -> Array:
    for name, value in call.values.items():
        if name in {"x", "inplace", "training", "train"}:
            continue
        if name == "approximate":
            call.only(name, "none", "tanh")
        elif value is not None:
            call.finite(name)
    return Array(call.tensor().shape)


def _same_x(call: Call) -> Array:
    """The same memory: it is changed in place."""
    _like_x(call)
    return _changed(call)


def _changed(call: Call) -> Array:
    found = call.tensor()
    if found.fixed:
        raise Unlisted("it changes weights")
    return found


def _untrained(call: Call) -> Array:
    for name in ("train", "training"):
        if call.values.get(name, False) is not False:
            raise Unlisted("it is trained")
    call.finite(*({"p"} & call.values.keys()))
    return Array(call.tensor().shape)


def _both(call: Call) -> Shape:
    shapes = []
    for name in ("x", "other"):
        found = call.values[name]
        if isinstance(found, Array):
            shapes.append(found.shape)
        elif type(found) not in {int, float, bool}:
            raise Unlisted(f"its {name} is not known")
    if "alpha" in call.values:
        call.finite("alpha")
    if not shapes:
        raise Unlisted("it is given numbers only")
    return _checked(broadcast(*shapes))


def _checked(shape: Shape) -> Shape:
    if len(shape) > _MOST_AXES + 4:
        raise Unlisted("it has more axes than were tested")
    return shape


def _binary(call: Call) -> Array:
    return Array(_both(call))


def _binary_in_place(call: Call) -> Array:
    _both(call)
    return _changed(call)  # torch refuses what would make it larger


def _power(call: Call) -> Array:
    call.finite("exponent")
    return Array(call.tensor().shape)


def _clamp(call: Call) -> Array:
    call.finite(*(name for name in ("min", "max") if call.values[name] is not None))
    return Array(call.tensor().shape)


def _along_axis(call: Call) -> Array:
    shape = call.tensor().shape
    call.axis("dim", len(shape))
    call.only("dtype", None, 6, 7)
    return Array(shape)


def _to(call: Call) -> Array:
    call.only("dtype", 6, 7)
    for name in ("non_blocking", "copy"):
        call.flag(name)
    call.only("memory_format", None)
    return Array(call.tensor().shape)


# --------------------------------------------------------------------------- matrices
def _linear(call: Call) -> Array:
    weights = _known(call.weights("weight").shape)
    if len(weights) != 2:  # noqa: PLR2004 - a matrix
        raise Unlisted("its weights are no matrix")
    outs, ins = weights
    if call.values["bias"] is not None:
        call.weights("bias", outs)
    shape = call.tensor().shape
    if not shape:
        raise Unfitting("it is given a single number")
    call.pin(shape[-1], ins)
    return Array((*shape[:-1], outs))


def _addmm(call: Call) -> Array:
    call.finite("beta", "alpha")
    weights = _known(call.weights("other").shape)
    if len(weights) != 2:  # noqa: PLR2004 - a matrix
        raise Unlisted("its weights are no matrix")
    ins, outs = weights
    call.weights("added", outs)
    shape = call.tensor().shape
    if len(shape) != 2:  # noqa: PLR2004 - a matrix
        raise Unfitting("it is given no matrix")
    call.pin(shape[1], ins)
    return Array((shape[0], outs))


def _matmul(call: Call) -> Array:
    first, second = call.tensor("x").shape, call.tensor("other").shape
    if not first or not second:
        raise Unfitting("it is given a single number")
    depth = second[-2] if len(second) > 1 else second[-1]
    if isinstance(depth, int):
        call.pin(first[-1], depth)
    elif isinstance(first[-1], int):
        call.pin(depth, first[-1])
    rows, columns = first[-2:-1], second[-1:] if len(second) > 1 else ()
    return Array(_checked((*broadcast(first[:-2], second[:-2]), *rows, *columns)))


def _known(shape: Shape) -> tuple[int, ...]:
    known = tuple(size for size in shape if isinstance(size, int))
    if len(known) != len(shape):
        raise Unlisted("it is given sizes that are not known")
    return known


def _conv(axes: int) -> Callable[[Call], Array]:
    def rule(call: Call) -> Array:
        for name in ("benchmark", "deterministic", "cudnn_enabled", "allow_tf32"):
            if name in call.values:
                call.flag(name)
        if "transposed" in call.values:
            call.only("transposed", False)  # noqa: FBT003 - a value
            call.wholes("output_padding", axes, 0, 0)
        weights = _known(call.weights("weight").shape)
        if len(weights) != axes + 2:
            raise Unlisted("its weights have other axes")
        outs, ins, *kernel = weights
        groups = call.whole("groups", 1, outs)
        if outs % groups:
            raise Unlisted("its groups do not fit")
        if call.values["bias"] is not None:
            call.weights("bias", outs)
        windows = _windows(call, kernel)
        shape = call.tensor().shape
        if len(shape) not in {axes + 1, axes + 2}:
            raise Unfitting("it is given other axes")
        call.pin(shape[-axes - 1], ins * groups)
        space = _moved(shape[-axes:], windows, ceil=False)
        return Array((*shape[: -axes - 1], outs, *space))

    return rule


def _windows(call: Call, kernel: Sequence[int]) -> list[tuple[int, int, int]]:
    """Returns stride, padding and reach of a window along each axis."""
    axes = len(kernel)
    strides = call.wholes("stride", axes, 1, _FARTHEST)
    pads = call.wholes("padding", axes, 0, _FARTHEST)
    steps = call.wholes("dilation", axes, 1, _FARTHEST) if "dilation" in call.values else [1] * axes
    reach = [(size - 1) * step + 1 for size, step in zip(kernel, steps, strict=True)]
    if any(pad >= far for pad, far in zip(pads, reach, strict=True)):
        raise Unlisted("its padding is larger than its kernel")
    return list(zip(strides, pads, reach, strict=True))


def _moved(space: Shape, windows: list[tuple[int, int, int]], *, ceil: bool) -> tuple[Size, ...]:
    """Returns how many places windows have along each axis."""
    return tuple(
        window_count(size, (pad, pad), reach, stride, ceil=ceil)
        for size, (stride, pad, reach) in zip(space, windows, strict=True)
    )


def _pool(axes: int) -> Rule:
    def rule(call: Call) -> Array:
        kernel = call.wholes("kernel", axes, 1, _FARTHEST)
        if call.values["stride"] in ([], None):
            call = Call({**call.values, "stride": [*kernel]}, call.pin)
        if "count_include_pad" in call.values:
            call.flag("count_include_pad")
        if "divisor" in call.values:
            call.only("divisor", None)
        ceil, windows = call.flag("ceil_mode"), _windows(call, kernel)
        shape = call.tensor().shape
        if len(shape) not in {axes + 1, axes + 2}:
            raise Unfitting("it is given other axes")
        return Array((*shape[:-axes], *_moved(shape[-axes:], windows, ceil=ceil)))

    return rule


def _adaptive(axes: int) -> Rule:
    def rule(call: Call) -> Array:
        size = call.wholes("output_size", axes, 1, 64)
        shape = call.tensor().shape
        if len(shape) not in {axes + 1, axes + 2}:
            raise Unfitting("it is given other axes")
        return Array((*shape[:-axes], *size))

    return rule


# --------------------------------------------------------------------------- norms
def _batch_norm(call: Call) -> Array:
    call.only("training", False)  # noqa: FBT003 - a value
    call.finite("momentum", "eps")
    call.flag("cudnn_enabled")
    running = _known(call.weights("running_mean").shape)
    if len(running) != 1:
        raise Unlisted("its weights do not fit")
    for name in ("running_var", "weight", "bias"):
        if call.values[name] is not None or name == "running_var":
            call.weights(name, *running)
    shape = call.tensor().shape
    if len(shape) < 2:  # noqa: PLR2004 - rows and channels
        raise Unfitting("it is given other axes")
    call.pin(shape[1], *running)
    return Array(shape)


def _layer_norm(call: Call) -> Array:
    call.finite("eps")
    call.flag("cudnn_enable")
    wanted = call.values["normalized_shape"]
    if not isinstance(wanted, list) or not wanted or not all(type(each) is int for each in wanted):
        raise Unlisted("its normalized_shape was not tested")
    for name in ("weight", "bias"):
        if call.values[name] is not None:
            call.weights(name, *wanted)
    shape = call.tensor().shape
    if len(wanted) > len(shape):
        raise Unfitting("it is given other axes")
    for size, want in zip(shape[-len(wanted) :], wanted, strict=True):
        if want < 1:
            raise Unlisted("its normalized_shape was not tested")
        call.pin(size, want)
    return Array((*shape[: -len(wanted)], *wanted))


# --------------------------------------------------------------------------- shapes
def _flatten(call: Call) -> Array:
    shape = call.tensor().shape
    first, last = call.axis("start_dim", len(shape)), call.axis("end_dim", len(shape))
    if first > last:
        raise Unfitting("there is nothing between its axes")
    return Array((*shape[:first], times(shape[first : last + 1]), *shape[last + 1 :]))


def _reshape(call: Call) -> Array:
    array, wanted = call.tensor(), call.values["shape"]
    if not isinstance(wanted, list) or len(wanted) > _MOST_AXES or wanted.count(-1) > 1:
        raise Unlisted("its shape was not tested")
    left, sizes = list(array.shape), []
    for place, size in enumerate(wanted):
        if isinstance(size, SizeOf) and size.array is array and left[place : place + 1]:
            if size.axis != place:
                raise Unlisted("its shape was not tested")
            left[place] = 1
            sizes.append(array.shape[place])
        elif type(size) is int and (size > 0 or size == -1):
            sizes.append(size)
        else:
            raise Unlisted("its shape was not tested")
    known = prod(size for size in wanted if type(size) is int and size > 0)
    if -1 in wanted:
        sizes[wanted.index(-1)] = times(left, known)
    elif all(isinstance(size, int) for size in left) and times(left) != known:
        raise Unfitting("its shape does not fit")
    return Array(tuple(sizes))


def _permute(call: Call) -> Array:
    shape = call.tensor().shape
    order = call.axes("dims", len(shape))
    if len(order) != len(shape):
        raise Unfitting("its dims do not fit")
    return Array(tuple(shape[axis] for axis in order))


def _transpose(call: Call) -> Array:
    shape = list(call.tensor().shape)
    if shape:
        one, other = call.axis("dim0", len(shape)), call.axis("dim1", len(shape))
        shape[one], shape[other] = shape[other], shape[one]
    return Array(tuple(shape))


def _turned(call: Call) -> Array:
    shape = call.tensor().shape
    if len(shape) > 2:  # noqa: PLR2004 - a matrix
        raise Unfitting("it is given more axes")
    return Array(shape[::-1])


def _unsqueeze(call: Call) -> Array:
    shape = call.tensor().shape
    axis = call.axis("dim", len(shape) + 1)
    return Array(_checked((*shape[:axis], 1, *shape[axis:])))


def _reduce(call: Call) -> Array:
    shape = call.tensor().shape
    call.only("dtype", None, 6, 7)
    keep = call.flag("keepdim")
    axes = call.values["dim"]
    found = range(len(shape)) if axes in (None, []) else call.axes("dim", len(shape))
    return Array(_reduced(shape, found, keep=keep))


def _arg(call: Call) -> Array:
    shape = call.tensor().shape
    keep = call.flag("keepdim")
    axis = range(len(shape)) if call.values["dim"] is None else [call.axis("dim", len(shape))]
    return Array(_reduced(shape, axis, keep=keep))


def _reduced(shape: Shape, axes: Sequence[int], *, keep: bool) -> Shape:
    kept = ((axis, size) for axis, size in enumerate(shape) if keep or axis not in axes)
    return tuple(1 if axis in axes else size for axis, size in kept)


def _cat(call: Call) -> Array:
    arrays = call.values["tensors"]
    if not isinstance(arrays, list) or not arrays or len(arrays) > 100:  # noqa: PLR2004 - as of DenseNet
        raise Unlisted("its tensors were not tested")
    if not all(isinstance(each, Array) for each in arrays):
        raise Unlisted("its tensors were not tested")
    shapes = [each.shape for each in arrays]
    rank = len(shapes[0])
    # What has one axis may be an empty tensor, which torch leaves out, whatever the others are.
    if any(len(shape) != rank for shape in shapes):
        raise Unlisted("its tensors have different axes")
    if not rank:
        raise Unfitting("it is given single numbers")
    axis = call.axis("dim", rank)
    sizes: list[Size] = []
    for place in range(rank):
        along = [shape[place] for shape in shapes]
        sizes.append(total(along) if place == axis else largest(along))
    return Array(tuple(sizes))


# --------------------------------------------------------------------------- plain values
def _size(call: Call) -> Any:  # noqa: ANN401 - a number or a list of them
    array = call.tensor()
    sizes = [
        SizeOf(array, axis) if isinstance(size, AtMost) else size
        for axis, size in enumerate(array.shape)
    ]
    if call.values["dim"] is None:
        return sizes
    return sizes[call.axis("dim", len(sizes))] if sizes else UNKNOWN


def _rank(call: Call) -> int:
    return len(call.tensor().shape)


def _length(call: Call) -> int:
    found = call.values["x"]
    if not isinstance(found, list):
        raise Unlisted("its length is not known")
    return len(found)


def _is(call: Call) -> bool:
    one, other = call.values["x"], call.values["other"]
    if isinstance(one, Unknown) or isinstance(other, Unknown):
        raise Unlisted("a choice depends on values")
    if one is not None and other is not None:
        raise Unlisted("it compares what was not tested")
    return one is other


def _is_not(call: Call) -> bool:
    return not _is(call)


def _not(call: Call) -> Any:  # noqa: ANN401 - true or false, or not known
    found = call.values["x"]
    return not found if isinstance(found, bool) else UNKNOWN


def _compared(name: str) -> Rule:
    def rule(call: Call) -> Any:  # noqa: ANN401 - a tensor, true or false, or not known
        one, other = call.values["x"], call.values["other"]
        if isinstance(one, Array) or isinstance(other, Array):
            return Array(_both(call))
        plain = (int, float, bool)
        if isinstance(one, plain) and isinstance(other, plain):
            return bool(getattr(operator, name)(one, other))
        return UNKNOWN

    return rule


def _nothing(call: Call) -> None:
    del call


def _text(call: Call) -> Unknown:
    if type(call.values["message"]) is not str:
        raise Unlisted("its message is not known")
    return UNKNOWN


def _contiguous(call: Call) -> Array:
    call.only("memory_format", 0)
    return Array(call.tensor().shape)


# --------------------------------------------------------------------------- the list
def _entries() -> Mapping[str, Entry]:  # noqa: PLR0915 - a line each
    found: dict[str, Entry] = {}

    def add(names: str, rule: Rule, parameters: str = "x") -> None:
        pairs = [each.partition("=") for each in parameters.split()]
        defaults = {name: literal_eval(value) for name, given, value in pairs if given}
        for name in names.split():
            found[f"torch.{name}"] = Entry(rule, tuple(each[0] for each in pairs), defaults)

    add("relu sigmoid tanh exp log sqrt rsqrt erf abs neg sin cos floor ceil reciprocal", _like_x)
    add("selu silu mish hardswish hardsigmoid relu6 log_sigmoid log1p expm1", _like_x)
    add("relu_ sigmoid_ tanh_ silu_ hardswish_ hardsigmoid_ relu6_ selu_ mish_", _same_x)
    add("gelu", _like_x, "x approximate='none'")
    add("elu", _like_x, "x alpha=1 scale=1 input_scale=1")
    add("elu_", _same_x, "x alpha=1 scale=1 input_scale=1")
    add("leaky_relu", _like_x, "x slope=0.01")
    add("leaky_relu_", _same_x, "x slope=0.01")
    add("hardtanh", _like_x, "x least=-1 most=1")
    add("hardtanh_", _same_x, "x least=-1 most=1")
    add("softplus", _like_x, "x beta=1 threshold=20")
    add("dropout feature_dropout", _untrained, "x p train")
    add("contiguous", _contiguous, "x memory_format=0")
    add("clone detach alias", _like_x)
    add("add sub rsub", _binary, "x other alpha=1")
    add("mul div maximum minimum", _binary, "x other")
    add("add_ sub_", _binary_in_place, "x other alpha=1")
    add("mul_ div_", _binary_in_place, "x other")
    add("pow", _power, "x exponent")
    add("clamp", _clamp, "x min=None max=None")
    add("softmax log_softmax", _along_axis, "x dim dtype=None")
    add("to", _to, "x dtype non_blocking=False copy=False memory_format=None")
    add("linear", _linear, "x weight bias=None")
    add("matmul", _matmul, "x other")
    add("addmm", _addmm, "added x other beta=1 alpha=1")
    conv = "x weight bias=None stride=1 padding=0 dilation=1 groups=1"
    traced = "transposed output_padding groups benchmark deterministic cudnn_enabled allow_tf32"
    for axes in (1, 2, 3):
        add(f"conv{axes}d", _conv(axes), conv)
        pooled = "x kernel stride=[] padding=0"
        add(f"max_pool{axes}d", _pool(axes), f"{pooled} dilation=1 ceil_mode=False")
        divided = "" if axes == 1 else " divisor=None"
        averaged = f"{pooled} ceil_mode=False count_include_pad=True"
        add(f"avg_pool{axes}d", _pool(axes), averaged + divided)
        add(f"adaptive_avg_pool{axes}d", _adaptive(axes), "x output_size")
    add("_convolution", _any_conv, f"x weight bias stride padding dilation {traced}")
    norm = "x weight bias running_mean running_var training momentum eps cudnn_enabled"
    add("batch_norm", _batch_norm, norm)
    add(
        "layer_norm",
        _layer_norm,
        "x normalized_shape weight=None bias=None eps=1e-5 cudnn_enable=True",
    )
    add("flatten", _flatten, "x start_dim=0 end_dim=-1")
    add("view reshape", _reshape, "x shape")
    add("permute", _permute, "x dims")
    add("transpose", _transpose, "x dim0 dim1")
    add("t", _turned)
    add("unsqueeze", _unsqueeze, "x dim")
    add("mean sum", _reduce, "x dim=None keepdim=False dtype=None")
    add("argmax", _arg, "x dim=None keepdim=False")
    add("cat", _cat, "tensors dim=0")
    add("size", _size, "x dim=None")
    add("dim", _rank)
    add("len", _length)
    add("__is__", _is, "x other")
    add("__isnot__", _is_not, "x other")
    add("__not__", _not)
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        add(name, _compared(name), "x other")
    add("warn", _nothing, "message level=2")
    add("format", _text, "message a=0 b=0 c=0 d=0 e=0")
    return found


def _any_conv(call: Call) -> Array:
    axes = len(call.weights("weight").shape) - 2
    if not 1 <= axes <= 3:  # noqa: PLR2004 - axes of space
        raise Unlisted("it has more or fewer axes than were tested")
    return _conv(axes)(call)


HARMLESS: Final = _entries()
"""The operators, by their names in the source of an archive."""
