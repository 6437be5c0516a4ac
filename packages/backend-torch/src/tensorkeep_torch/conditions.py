"""What an exported program demands of its inputs, and whether inputs are like that.

A program is exported for shapes: some sizes are fixed, some are free within bounds, some go
together.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from tensorkeep.errors import RunFailed
from tensorkeep_torch.formulas import formula_of, holds
from tensorkeep_torch.tensors import DTYPES
from tensorkeep_torch.translation import SCALAR_TYPES, Unsupported, only

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorkeep.tensor import DType, Tensor
    from tensorkeep_torch.formulas import Formula, Path
    from tensorkeep_torch.translation import Json


_SYMBOL: Final = re.compile(r"Symbol\('(\w+)'.*\)")
_SPECIALIZED: Final = 2  # a lower bound that torch sets by itself, and does not hold to


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the inputs of a program must be like.

    Attributes:
        names: Names of the inputs.
        dtypes: Their types.
        sizes: Their sizes: numbers where fixed, symbols where equal ones must be equal, None where
            any will do.
        ranges: For symbols, the smallest and the largest number.
        guards: What else must hold, with its text.
    """

    names: tuple[str, ...]
    dtypes: tuple[DType, ...]
    sizes: tuple[tuple[int | str | None, ...], ...]
    ranges: tuple[tuple[str, float, float], ...]
    guards: tuple[tuple[str, Formula], ...]

    @classmethod
    def of(cls, program: Json, inputs: Sequence[str]) -> Conditions:
        """Reads the conditions of a program.

        Args:
            program: The program.
            inputs: Names of its inputs.

        Raises:
            Unsupported: It demands something that is not understood.
            Exception: It makes no sense.
        """
        described = [program["graph_module"]["graph"]["tensor_values"][name] for name in inputs]
        sizes = tuple(tuple(_size(each) for each in tensor["sizes"]) for tensor in described)
        used = {each for shape in sizes for each in shape if isinstance(each, str)}
        ranges = [
            (
                symbol,
                _lower(known["min_val"]),
                math.inf if known["max_val"] is None else known["max_val"],
            )
            for symbol, known in program["range_constraints"].items()
            if symbol in used
        ]
        numbers = {path: inputs.index(name) for path, name in _paths(program) if name in inputs}
        guards = [(text, formula_of(text, numbers)) for text in program.get("guards_code") or ()]
        return cls(
            tuple(inputs),
            tuple(_dtype(tensor["dtype"]) for tensor in described),
            sizes,
            tuple(each for each in ranges if each[1:] != (0, math.inf)),
            tuple(guards),
        )

    def check(self, inputs: Sequence[Tensor]) -> None:
        """Checks as many inputs as there are names.

        Raises:
            RunFailed: An input is not as it must be.
        """
        symbols: dict[str, int] = {}
        for index, tensor in enumerate(inputs):
            if tensor.dtype is not self.dtypes[index] or not self._fits(index, tensor, symbols):
                raise self._refusal(index, tensor)
        for symbol, low, high in self.ranges:
            if not low <= symbols[symbol] <= high:
                raise RunFailed(f"The size {symbol} must be {low} to {high}, not {symbols[symbol]}")
        if self.guards:
            shapes = [tensor.shape for tensor in inputs]
            for text, formula in self.guards:
                if not holds(formula, shapes):
                    raise RunFailed(f"The inputs do not fit the exported program: {text}")

    def _fits(self, index: int, tensor: Tensor, symbols: dict[str, int]) -> bool:
        """Returns whether sizes are as they must be; adds what symbols stand for."""
        sizes, shape = self.sizes[index], tensor.shape
        if shape == sizes:
            return True
        if len(shape) != len(sizes):
            return False
        for found, wanted in zip(shape, sizes, strict=True):
            expected = symbols.setdefault(wanted, found) if isinstance(wanted, str) else wanted
            if expected is not None and found != expected:
                return False
        return True

    def _refusal(self, index: int, tensor: Tensor) -> RunFailed:
        wanted = ", ".join("*" if each is None else str(each) for each in self.sizes[index])
        return RunFailed(
            f"Input {self.names[index]} must be {self.dtypes[index].name}[{wanted}], "
            f"not {tensor.dtype.name}{list(tensor.shape)}"
        )


def _dtype(number: int) -> DType:
    name = SCALAR_TYPES[number]
    dtype = DTYPES.get(getattr(torch, name))
    if dtype is None:
        raise Unsupported(f"an input of type {name}")
    return dtype


def _size(size: Json) -> int | str | None:
    kind, value = only(size)
    if kind == "as_int":
        number: int = value
        return number
    symbol = _SYMBOL.fullmatch(value["expr_str"])
    return symbol[1] if symbol else None  # of others, such as twice another size, guards tell


def _lower(bound: int | None) -> int:
    return bound if bound is not None and bound > _SPECIALIZED else 0


# --------------------------------------------------------------------------- names of inputs
def _paths(program: Json) -> Iterator[tuple[Path, str | None]]:
    """Gives, for every input, how guards name it, with its name in the graph."""
    module = program["graph_module"]
    specs = [only(spec) for spec in module["signature"]["input_specs"]]
    names = [
        what["arg"].get("as_tensor", {}).get("name") if kind == "user_input" else None
        for kind, what in specs
        if kind in {"user_input", "constant_input"}
    ]
    signature = module["module_call_graph"][0]["signature"]
    _, (positional, by_name) = _children(json.loads(signature["in_spec"])[1])
    arguments = signature.get("forward_arg_names") or ()
    paths = [
        path
        for index, each in enumerate(_children(positional)[1])
        for path in _leaves(each, (arguments[index] if index < len(arguments) else index,))
    ]
    paths += _leaves(by_name, ())
    yield from zip(paths, names, strict=True)


def _leaves(tree: Json, path: Path) -> Iterator[Path]:
    if tree["type"] is None:
        yield path
        return
    keys, children = _children(tree)
    for key, child in zip(keys, children, strict=True):
        yield from _leaves(child, (*path, key))


def _children(tree: Json) -> tuple[Sequence[str | int], Sequence[Json]]:
    children: list[Json] = tree["children_spec"]
    if tree["type"] in {"builtins.dict", "collections.OrderedDict"}:
        return json.loads(tree["context"]), children
    return range(len(children)), children
