"""Attacks the operators of torch, one by one and together; see `tensorkeep.testing.attack`.

`python attack_torch.py listed` makes modules of TorchScript of the operators that are called
harmless, odd in all that the check lets through, `composed` of many together, and `damaged` of
networks as torch writes them, with something changed. The list in
`harmless_operators.py` has only operators without a death in these figures.
"""

from functools import cache
from math import prod
from pathlib import Path

import numpy as np
from conftest import Archives, archive_of, pickled_tensor

from tensorkeep.testing.attack import MOST_ELEMENTS, ODD_SIZES, REAL, SIZES, WHOLE, Target, attack
from tensorkeep.testing.damage import damaged_archive, damaged_bytes, damaged_text
from tensorkeep_torch.harmless import why_isolated
from tensorkeep_torch.harmless_operators import HARMLESS, Array, Call

DTYPES = (
    *(np.float32,) * 6,
    *(np.float64, np.float64, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_),
)


def real(draw):
    return 1e300 if draw.often(0.03) else draw.choice(REAL)


# --------------------------------------------------------------------------- modules
class Maker:
    """Makes one module, a call at a time; sizes of inputs are what they are at first."""

    def __init__(self, draw):
        self.draw = draw
        self.values, self.weights, self.inputs, self.lines = {}, {}, {}, []

    def input(self, shape):
        name = f"x{len(self.inputs)}"
        self.inputs[name] = shape
        self.values[name] = Array(tuple(shape))
        return name

    def weight(self, *shape):
        name = f"w{len(self.weights)}"
        dtype = np.float32 if self.draw.often(0.95) else self.draw.choice((np.float64, np.int64))
        self.weights[name] = self.draw.array(shape, dtype)
        self.values[f"self.{name}"] = Array(tuple(shape), fixed=True)
        return f"self.{name}"

    def first(self, least=0, most=5):
        """Returns a value that there is, or a new input."""
        found = [
            name
            for name, value in self.values.items()
            if not value.fixed and least <= len(value.shape) <= most
        ]
        if not found or (len(self.inputs) < 2 and self.draw.often(0.1)):
            return self.input(self.draw.shape(least, most))
        return self.draw.choice(found[-5:])

    def shape(self, name):
        return self.values[name].shape

    def add(self, operator, arguments, **named):
        """Adds a call; arguments that are texts stand for themselves in its source."""
        entry = HARMLESS[operator]
        values = [self.read(each) for each in arguments]
        try:
            given = entry.values(values, {name: self.read(each) for name, each in named.items()})
            made = entry.rule(Call(given, self.pin))
        except ValueError:
            if self.draw.often(0.97):
                return False
            made = None
        name = f"v{len(self.lines)}"
        text = ", ".join(
            [*map(written, arguments), *(f"{k}={written(v)}" for k, v in named.items())]
        )
        if self.draw.often(0.03):
            text = damaged(text, self.draw)
        self.lines.append(f"{name} = {operator}({text})")
        if isinstance(made, Array):
            self.values[name] = (
                made if made.number != getattr(values[0], "number", -1) else Array(made.shape)
            )
        return True

    def read(self, value):
        if isinstance(value, str) and value in self.values:
            return self.values[value]
        if isinstance(value, str) and value.startswith("'"):
            return value[1:-1]
        if isinstance(value, list):
            return [self.read(each) for each in value]
        return value

    @staticmethod
    def pin(size, known):
        if size != known:
            raise ValueError

    def blob(self):
        returned = next((name for name in reversed(self.values) if name.startswith("v")), None)
        if returned is None:
            returned = next(iter(self.inputs))
        used = "".join(self.lines)
        weights = {name: array for name, array in self.weights.items() if name in used}
        pickles = {}
        for number, (name, array) in enumerate(weights.items()):
            if self.draw.often(0.1) and array.ndim:
                strides = [
                    self.draw.choice((0, 1, step // array.itemsize)) for step in array.strides
                ]
                pickles[name] = pickled_tensor(str(number), array, strides)
        return archive_of(
            [*self.lines, f"return {returned}"],
            weights,
            self.inputs,
            pickles,
            self.draw.choice((3, 5, 10, 10, 10)),
        )

    def feeds(self):
        draw, feeds = self.draw, []
        for shape in self.inputs.values():
            sizes = [draw.choice(ODD_SIZES) if draw.often(0.25) else size for size in shape]
            if draw.often(0.1):
                sizes = sizes[1:] if draw.often(0.5) else [draw.choice(ODD_SIZES), *sizes]
            if draw.often(0.03):
                sizes = list(draw.shape(0, 9))
            while prod(sizes) > MOST_ELEMENTS:
                sizes[sizes.index(max(sizes))] //= 2
            dtype = draw.choice(DTYPES) if draw.often(0.4) else np.float32
            feeds.append(draw.array(sizes, dtype))
        return feeds


def written(value):
    """Returns an argument as it stands in source."""
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str):
        return value.replace("'", '"')
    return repr(value)


def damaged(text, draw):
    """Exchanges a number in some source."""
    parts = text.split(", ")
    at = draw.randrange(len(parts))
    if parts[at].strip("[]-.0123456789"):
        return text
    parts[at] = repr(draw.choice((*WHOLE, *REAL)))
    return ", ".join(parts)


# --------------------------------------------------------------------------- plausible calls
def plain(maker, operator):
    entry = HARMLESS[operator]
    arguments = [maker.first()]
    if operator == "torch.gelu":
        return arguments, {"approximate": maker.draw.choice(("'none'", "'tanh'"))}
    for name in entry.names[1:]:
        if name == "memory_format":
            break
        if name in {"train", "training"}:
            arguments.append(False)
        elif name in {"min", "max"}:
            arguments.append(maker.draw.choice((None, real(maker.draw), maker.draw.whole(0, 1, 2))))
        elif entry.defaults and maker.draw.often(0.3):
            break
        else:
            arguments.append(maker.draw.choice((real(maker.draw), maker.draw.whole(0, 1, 2, -1))))
    return arguments, {}


def binary(maker, operator):
    draw = maker.draw
    first = maker.first()
    shape = list(maker.shape(first))
    kind = draw.random()
    if kind < 0.3:
        other = draw.choice((real(draw), draw.whole(0, 1, 2, -1), True))
    elif kind < 0.5:
        same = [name for name, value in maker.values.items() if value.shape == tuple(shape)]
        other = draw.choice(same)
    elif kind < 0.9:
        shape = [size if draw.often(0.6) else 1 for size in shape]
        other = maker.weight(*shape[draw.randint(0, len(shape)) :])
    else:
        other = maker.first()
    named = {}
    if "alpha" in HARMLESS[operator].names and draw.often(0.4):
        named["alpha"] = draw.choice((real(draw), draw.whole(0, 1, 2, -1)))
    return [first, other], named


def power(maker, _):
    return [
        maker.first(),
        maker.draw.choice((real(maker.draw), maker.draw.whole(0, 1, 2, 3, -1))),
    ], {}


def along_axis(maker, operator):
    draw = maker.draw
    first = maker.first()
    rank = max(len(maker.shape(first)), 1)
    arguments = [first, draw.randint(-rank, rank - 1)]
    if "keepdim" in HARMLESS[operator].names and draw.often(0.5):
        arguments.append(draw.often(0.5))
    elif draw.often(0.2):
        arguments.append(draw.choice((None, 6, 7)))
    return arguments, {}


def reduce(maker, _):
    draw = maker.draw
    first = maker.first()
    rank = len(maker.shape(first))
    axes = draw.sample(range(rank), draw.randint(0, rank))
    arguments = [first, [axis - rank if draw.often(0.3) else axis for axis in axes]]
    return arguments + [draw.often(0.5)] * draw.randint(0, 1), {}


def to(maker, _):
    return [maker.first(), maker.draw.choice((6, 7)), False, maker.draw.often(0.5)], {}


def linear(maker, _):
    first = maker.first(1)
    outs = maker.draw.choice(SIZES)
    arguments = [first, maker.weight(outs, maker.shape(first)[-1])]
    return arguments + ([maker.weight(outs)] if maker.draw.often(0.7) else []), {}


def addmm(maker, _):
    first = maker.first(2, 2)
    outs = maker.draw.choice(SIZES)
    arguments = [maker.weight(outs), first, maker.weight(maker.shape(first)[1], outs)]
    named = {name: real(maker.draw) for name in ("beta", "alpha") if maker.draw.often(0.2)}
    return arguments, named


def matmul(maker, _):
    draw = maker.draw
    first = maker.first(1)
    shape = maker.shape(first)
    other = [shape[-1], *draw.shape(0, 1)]
    if len(shape) > 2 and draw.often(0.4):
        other = [*(size if draw.often(0.6) else 1 for size in shape[:-2]), *other]
    return [first, maker.weight(*other)], {}


def windows(draw, kernel):
    """Draws strides, paddings and dilations of windows that move over space."""
    strides = [draw.whole(1, 1, 2, 3, 7, 1024) for _ in kernel]
    dilations = [draw.whole(1, 1, 1, 2, 3, 9) for _ in kernel]
    reach = [(size - 1) * step for size, step in zip(kernel, dilations, strict=True)]
    pads = [draw.randint(0, min(max(each, 0), 1024)) for each in reach]
    return strides, pads, dilations


def conv(maker, operator):
    draw = maker.draw
    axes = draw.randint(1, 3) if operator == "torch._convolution" else int(operator[-2])
    first = maker.first(axes + 1, axes + 2)
    *_, channels = maker.shape(first)[:-axes]
    space = maker.shape(first)[-axes:]
    groups = draw.choice([each for each in (1, 1, 2, 3, 4, channels) if channels % each == 0])
    outs = groups * draw.choice((1, 1, 2, 3, 8))
    kernel = [draw.choice((1, 1, 2, 3, 3, 5, min(size, 33))) for size in space]
    arguments = [first, maker.weight(outs, channels // groups, *kernel)]
    arguments.append(maker.weight(outs) if draw.often(0.6) else None)
    strides, pads, dilations = windows(draw, kernel)
    if operator == "torch._convolution":
        flags = [draw.often(0.5) for _ in range(4)]
        return [*arguments, strides, pads, dilations, False, [0] * axes, groups, *flags], {}
    more = [strides, pads, dilations, groups]
    return arguments + more[: 4 if groups > 1 else draw.randint(0, 4)], {}


def pool(maker, operator):
    draw = maker.draw
    axes = int(operator[-2])
    first = maker.first(axes + 1, axes + 2)
    kernel = [draw.choice((1, 2, 2, 3, 5, size)) for size in maker.shape(first)[-axes:]]
    strides, pads, dilations = windows(draw, kernel)
    if draw.often(0.8):
        pads = [min(pad, size // 2) for pad, size in zip(pads, kernel, strict=True)]
    if draw.often(0.3):
        strides = []
    if operator.startswith("torch.max"):
        more = [strides, pads, dilations, draw.often(0.5)]
    else:
        more = [strides, pads, draw.often(0.5), draw.often(0.5)]
    return [first, kernel, *more[: draw.randint(0, 4)]], {}


def adaptive(maker, operator):
    axes = int(operator[-2])
    return [
        maker.first(axes + 1, axes + 2),
        [maker.draw.whole(1, 1, 2, 7, 64) for _ in range(axes)],
    ], {}


def batch_norm(maker, _):
    draw = maker.draw
    first = maker.first(2)
    channels = maker.shape(first)[1]
    pair = [maker.weight(channels) if draw.often(0.8) else None for _ in range(2)]
    running = [maker.weight(channels) for _ in range(2)]
    return [first, *pair, *running, False, real(draw), real(draw), draw.often(0.5)], {}


def layer_norm(maker, _):
    draw = maker.draw
    first = maker.first(1)
    shape = maker.shape(first)
    wanted = list(shape[draw.randint(0, len(shape) - 1) :])
    pair = [maker.weight(*wanted) if draw.often(0.8) else None for _ in range(2)]
    return [first, wanted, *pair, real(draw), draw.often(0.5)], {}


def flatten(maker, _):
    first = maker.first()
    rank = max(len(maker.shape(first)), 1)
    axes = sorted(maker.draw.randint(0, rank - 1) for _ in range(2))
    return [first, *axes[: maker.draw.randint(0, 2)]], {}


def reshape(maker, _):
    draw = maker.draw
    first = maker.first()
    shape = list(maker.shape(first))
    kind = draw.random()
    if kind < 0.4:
        wanted = [*shape[: draw.randint(0, len(shape))], -1]
    elif kind < 0.7:
        wanted = draw.sample(shape, len(shape))
    else:
        wanted = [1, *shape, 1] if draw.often(0.5) else [-1]
    return [first, wanted], {}


def permute(maker, operator):
    draw = maker.draw
    first = maker.first(0, 2 if operator == "torch.t" else 5)
    rank = len(maker.shape(first))
    if operator == "torch.t":
        return [first], {}
    if operator == "torch.permute":
        return [first, draw.sample(range(rank), rank)], {}
    if operator == "torch.unsqueeze":
        return [first, draw.randint(-rank - 1, rank)], {}
    return [first, *(draw.randint(-max(rank, 1), max(rank, 1) - 1) for _ in range(2))], {}


def cat(maker, _):
    draw = maker.draw
    first = maker.first(1)
    shape = maker.shape(first)
    axis = draw.randint(-len(shape), len(shape) - 1)
    parts = [first]
    for _ in range(draw.randint(0, 4)):
        other = list(shape)
        other[axis] = draw.choice(SIZES)
        parts.append(draw.choice((first, maker.weight(*other))))
    return [draw.sample(parts, len(parts)), axis], {}


BINARY = (
    *("add", "sub", "rsub", "mul", "div", "maximum", "minimum", "add_", "sub_", "mul_", "div_"),
    *("eq", "ne", "lt", "le", "gt", "ge"),
)
RECIPES = {
    "to": to,
    "pow": power,
    "linear": linear,
    "addmm": addmm,
    "matmul": matmul,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "flatten": flatten,
    "cat": cat,
    **dict.fromkeys(("softmax", "log_softmax", "argmax"), along_axis),
    **dict.fromkeys(("mean", "sum"), reduce),
    **dict.fromkeys(("view", "reshape"), reshape),
    **dict.fromkeys(("permute", "transpose", "t", "unsqueeze"), permute),
    **dict.fromkeys(("_convolution", "conv1d", "conv2d", "conv3d"), conv),
    **{f"{kind}_pool{axes}d": pool for kind in ("max", "avg") for axes in (1, 2, 3)},
    **{f"adaptive_avg_pool{axes}d": adaptive for axes in (1, 2, 3)},
    **dict.fromkeys(BINARY, binary),
}
# What works on plain values only; it is used in what torch writes of its own modules.
VALUES = frozenset(("size", "dim", "len", "__is__", "__isnot__", "__not__", "warn", "format"))
OPERATORS = [name for name in sorted(HARMLESS) if name.removeprefix("torch.") not in VALUES]
PATTERNS = (
    "conv2d batch_norm relu_",
    "conv2d batch_norm add_ relu",
    "conv2d relu max_pool2d",
    "linear relu_ linear softmax",
    "adaptive_avg_pool2d flatten linear",
    "layer_norm linear gelu linear add",
    "conv1d batch_norm silu",
    "linear sigmoid mul",
    "conv2d cat conv2d",
    "view transpose reshape",
    "mean sub pow mean add sqrt div",
    "unsqueeze mul sum",
    "t matmul",
    "permute contiguous view",
)


def use_of(maker, operator):
    arguments, named = RECIPES.get(operator.removeprefix("torch."), plain)(maker, operator)
    return maker.add(operator, arguments, **named)


def module(operator, draw):
    maker = Maker(draw)
    if operator != "composed":
        if draw.often(0.3):
            add_any(maker, draw.randint(1, 3))
        for _ in range(20):
            if use_of(maker, operator):
                break
        if draw.often(0.3):
            add_any(maker, draw.randint(1, 3))
        return maker
    for _ in range(draw.randint(2, 14)):
        if draw.often(0.5):
            add_any(maker, 1)
        else:
            for name in draw.choice(PATTERNS).split():
                use_of(maker, f"torch.{name}")
    return maker


def add_any(maker, count):
    for _ in range(count):
        use_of(maker, maker.draw.choice(OPERATORS))


class Damaged:
    """A network of which something was changed, and that is still called harmless."""

    def __init__(self, name, draw):
        self.draw = draw
        self.whole, self.shape = network(name)

    def blob(self):
        if self.draw.often(0.05):
            return damaged_bytes(self.whole, self.draw)
        return damaged_archive(self.whole, self.draw, damaged_member)

    def feeds(self):
        sizes = [
            self.draw.choice(ODD_SIZES) if self.draw.often(0.2) or not axis else size
            for axis, size in enumerate(self.shape)
        ]
        while prod(sizes) > MOST_ELEMENTS:
            sizes[sizes.index(max(sizes))] //= 2
        return [self.draw.array(sizes, np.float32)]


def damaged_member(name, content, draw):
    if name.endswith(".py"):
        return damaged_text(content.decode(), draw).encode()
    return damaged_bytes(content, draw)


@cache
def network(name):
    """Returns an archive, and the shape of its input."""
    if name == "digits":
        path = Path(__file__).parents[3] / "examples" / "digits" / "digits.pt"
        return path.read_bytes(), (1, 1, 8, 8)
    import damaging  # noqa: PLC0415 - it needs torch

    made = damaging.Network().eval()
    example = (damaging.torch.ones(1, 1, 4, 4),) if name == "traced" else None
    return Archives.saved(made, example), (1, 1, 4, 4)


def make(operator, draw):
    return Damaged(operator, draw) if operator in DAMAGED else module(operator, draw)


DAMAGED = ["digits", "scripted", "traced"]


def plugin():
    from tensorkeep_torch import plugin  # noqa: PLC0415 - takes seconds, for those that run models

    return plugin


if __name__ == "__main__":
    operators = {"listed": OPERATORS, "composed": ["composed"], "damaged": DAMAGED}
    attack(Target("TORCH", plugin, why_isolated, operators, make))
