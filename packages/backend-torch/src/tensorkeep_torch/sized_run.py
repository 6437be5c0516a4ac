"""A run of a TorchScript module in which only the sizes of tensors are known.

It follows the module's own source, from `forward`, for inputs of given numbers of axes, and finds
out what is called with which arguments, and how much memory that takes. Choices must not depend on
anything but the module's own settings and the numbers of axes.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tensorkeep.size_bounds import AtMost, Product, Shape, Size, Symbol, Unfitting, any_size, times
from tensorkeep_torch.harmless_operators import (
    HARMLESS,
    UNKNOWN,
    Array,
    Call,
    Unlisted,
)
from tensorkeep_torch.module_source import constant_of, path_of
from tensorkeep_torch.module_state import Instance, Weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tensorkeep_torch.module_source import Source

MOST_STEPS: Final = 50_000
_DEEPEST: Final = 40  # calls in each other


class Returned(Exception):
    """A function has returned."""

    def __init__(self, value: Any) -> None:  # noqa: ANN401 - whatever it is
        super().__init__()
        self.value = value


class _Method(NamedTuple):
    owner: Instance
    name: str


class _Function(NamedTuple):
    name: str


_BUILT_IN: Final = frozenset(
    ("annotate", "unchecked_cast", "uninitialized", "ops.prim.RaiseException")
)


def _calls_in(body: Sequence[ast.stmt]) -> Iterator[ast.Call]:
    return (each for one in body for each in ast.walk(one) if isinstance(each, ast.Call))


@dataclass(slots=True)
class SizedRun:
    """A run.

    Attributes:
        source: The module's source.
        arrays: All tensors that were made, in order; those before the inputs are not here.
        last: For each of them, after how many of them it was last used.
        pinned: The sizes of axes of inputs without which the run fails.
        steps: What was called.
    """

    source: Source
    arrays: list[Array] = field(default_factory=list)
    last: dict[int, int] = field(default_factory=dict)
    pinned: dict[Symbol, int] = field(default_factory=dict)
    steps: int = 0

    def of(self, module: Instance, ranks: Sequence[int]) -> bool:
        """Follows a run of inputs with so many axes each.

        Returns:
            Whether it comes to its end; otherwise it ends with an error.

        Raises:
            Unlisted: It does something that is not known to be harmless.
            Unbounded: A size grows faster than the inputs.
        """
        inputs = []
        for number, rank in enumerate(ranks):
            inputs.append(Array(tuple(any_size(number, axis) for axis in range(rank))))
            self._made(inputs[-1])
        try:
            result = self._method(module, "forward", inputs, {}, 0)
        except Unfitting:
            return False
        if not isinstance(result, Array):
            raise Unlisted("it returns what was not tested")
        self._use(result)
        return True

    # ----------------------------------------------------------------------- memory
    def _made(self, array: Array) -> None:
        self.last[array.number] = len(self.arrays)
        self.arrays.append(array)

    def _use(self, value: Any) -> None:  # noqa: ANN401 - whatever it is
        if isinstance(value, Array) and value.number in self.last:
            self.last[value.number] = len(self.arrays)
        elif isinstance(value, (list, tuple)):
            for each in value:
                self._use(each)

    def _pin(self, size: Size, known: int) -> None:
        if isinstance(size, int):
            if size != known:
                raise Unfitting("sizes do not fit")
        elif size.factor == 1 and len(size.products) == 1:
            (symbols,) = size.products
            if len(symbols) == 1:
                self.pinned[next(iter(symbols))] = known

    # ----------------------------------------------------------------------- calls
    def _method(
        self,
        owner: Instance,
        name: str,
        given: Sequence[Any],
        named: Mapping[str, Any],
        depth: int,
    ) -> Any:  # noqa: ANN401 - whatever it returns
        kind = self.source.classes.get(owner.kind)
        if kind is None or name not in kind.methods:
            raise Unlisted(f"the method {name[:50]} is not there")
        return self._called(kind.methods[name], [owner, *given], named, depth)

    def _called(
        self, function: ast.FunctionDef, given: Sequence[Any], named: Mapping[str, Any], depth: int
    ) -> Any:  # noqa: ANN401 - whatever it returns
        if depth > _DEEPEST:
            raise Unlisted("its functions call each other too deep")
        names = [each.arg for each in function.args.args]
        defaults = function.args.defaults
        if len(given) > len(names):
            raise Unlisted("a function is given too many arguments")
        values = {
            name: constant_of(default)
            for name, default in zip(names[len(names) - len(defaults) :], defaults, strict=True)
        }
        values |= {**dict(zip(names, given, strict=False)), **named}
        if values.keys() != {*names}:
            raise Unlisted("a function is given other arguments than it takes")
        try:
            self._body(function.body, values, depth)
        except Returned as end:
            return end.value
        return None

    def _body(self, body: Iterable[ast.stmt], names: dict[str, Any], depth: int) -> None:
        for one in body:
            match one:
                case ast.Assign(targets=[ast.Tuple(elts=targets)], value=value):
                    found = self._value(value, names, depth)
                    if not isinstance(found, (list, tuple)) or len(found) != len(targets):
                        raise Unlisted("it assigns what was not tested")
                    names |= zip((path_of(each) for each in targets), found, strict=True)
                case (
                    ast.Assign(targets=[target], value=value)
                    | ast.AnnAssign(target=target, value=ast.expr() as value)
                ):
                    names[path_of(target)] = self._value(value, names, depth)
                case ast.Return(value=value):
                    raise Returned(None if value is None else self._value(value, names, depth))
                case ast.Expr(value=value):
                    self._value(value, names, depth)
                case ast.If(test=test, body=first, orelse=other):
                    choice = self._value(test, names, depth)
                    if not isinstance(choice, bool):
                        raise Unlisted("a choice depends on values")
                    self._left_out(other if choice else first, names)
                    self._body(first if choice else other, names, depth)
                case ast.Pass():
                    pass
                case _:
                    raise Unlisted(f"a {type(one).__name__} statement was not tested")

    def _left_out(self, body: Sequence[ast.stmt], names: Mapping[str, Any]) -> None:
        """Raises unless what is not run is short once its functions are put in place.

        torch puts them in place, and computes with constants, whether they are run or not.
        """
        for call in _calls_in(body):
            path = path_of(call.func)
            if path in HARMLESS or path in _BUILT_IN:
                continue
            name = names[path].name if isinstance(names.get(path), _Function) else path
            function = self.source.functions.get(name)
            inner = {path_of(each.func) for each in _calls_in(function.body)} if function else {""}
            if not inner <= HARMLESS.keys() | _BUILT_IN:
                raise Unlisted(f"{path[:50]} is called in a branch that is not run")

    # ----------------------------------------------------------------------- expressions
    def _value(self, value: ast.expr, names: Mapping[str, Any], depth: int) -> Any:  # noqa: ANN401 - one for each
        match value:
            case ast.Constant() | ast.UnaryOp():
                return constant_of(value)
            case ast.List(elts=parts):
                return [self._value(part, names, depth) for part in parts]
            case ast.Tuple(elts=parts):
                return tuple(self._value(part, names, depth) for part in parts)
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=int(place))):
                found = names.get(name)
                if not isinstance(found, (list, tuple)) or not 0 <= place < len(found):
                    raise Unlisted("a part of something was not tested")
                return found[place]
            case ast.Name() | ast.Attribute():
                return self._named(path_of(value), names)
            case ast.Call(func=called, args=arguments, keywords=keywords):
                return self._call(path_of(called), arguments, keywords, names, depth)
        raise Unlisted(f"a {type(value).__name__} expression was not tested")

    def _named(self, path: str, names: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever it is
        first, *rest = path.split(".")
        if first == "__torch__":
            return _Function(path)
        if first not in names:
            raise Unlisted(f"{path[:50]} is not known")
        found = names[first]
        for name in rest:
            if not isinstance(found, Instance):
                raise Unlisted(f"{path[:50]} is not known")
            found = self._attribute(found, name)
        return found

    def _attribute(self, owner: Instance, name: str) -> Any:  # noqa: ANN401 - whatever it is
        kind = self.source.classes.get(owner.kind)
        if kind is None:
            raise Unlisted("a class is not there")
        if name in kind.methods:
            return _Method(owner, name)
        if name in kind.constants:
            return constant_of(kind.constants[name])
        if owner.state is None or name not in owner.state or name not in kind.attributes:
            raise Unlisted(f"the attribute {name[:50]} is not there")
        found = owner.state[name]
        return Array(found.shape, fixed=True) if isinstance(found, Weights) else found

    def _call(
        self,
        path: str,
        arguments: Sequence[ast.expr],
        keywords: Sequence[ast.keyword],
        names: Mapping[str, Any],
        depth: int,
    ) -> Any:  # noqa: ANN401 - whatever it returns
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Unlisted("a run takes more steps than were tested")
        if path in {"annotate", "unchecked_cast"}:
            return self._value(arguments[-1], names, depth)
        if path == "getattr":
            owner, name = (self._value(each, names, depth) for each in arguments)
            if not isinstance(owner, Instance) or not isinstance(name, str):
                raise Unlisted("an attribute is not known")
            return self._attribute(owner, name)
        if path == "uninitialized":
            return UNKNOWN
        if path == "ops.prim.RaiseException":
            raise Unfitting("it raises an error")
        given = [self._value(each, names, depth) for each in arguments]
        named = {each.arg: self._value(each.value, names, depth) for each in keywords if each.arg}
        if path in HARMLESS:
            return self._operator(path, given, named)
        found = self._named(path, names)
        if isinstance(found, _Method):
            return self._method(found.owner, found.name, given, named, depth + 1)
        if isinstance(found, _Function) and found.name in self.source.functions:
            return self._called(self.source.functions[found.name], given, named, depth + 1)
        raise Unlisted(f"{path[:50]} is not known")

    def _operator(self, path: str, given: list[Any], named: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever it returns
        entry = HARMLESS[path]
        try:
            values = entry.values(given, named)
            made = entry.rule(Call(values, self._pin))
        except Unlisted as error:
            raise Unlisted(f"{path}: {error}") from error
        self._use([*values.values()])
        if isinstance(made, Array):
            times(made.shape)  # raises where it grows faster than the inputs
            self._made(made) if made.number not in self.last else self._use(made)
        return made

    # ----------------------------------------------------------------------- what it takes
    def most_elements(self) -> tuple[float, float]:
        """Returns how much is held at once.

        Returns:
            The elements that are held at most where each axis that may be of any size has the size
            1, and the same for each element that a client sends.
        """
        ends: dict[int, list[int]] = {}
        for place, array in enumerate(self.arrays):
            ends.setdefault(self.last[array.number], []).append(place)
        counts = [self._count(array.shape) for array in self.arrays]
        held = most = rate = most_rate = 0.0
        for place, (count, share) in enumerate(counts):
            held, rate = held + count, rate + share
            most, most_rate = max(most, held), max(most_rate, rate)
            for gone in ends.get(place, ()):
                held, rate = held - counts[gone][0], rate - counts[gone][1]
        return most, most_rate

    def _count(self, shape: Shape) -> tuple[float, float]:
        size = times(shape)
        if not isinstance(size, AtMost):
            return float(size), 0.0
        return (
            max(size.factor * self._known(each) for each in size.products),
            max(size.factor / self._missing(each) for each in size.products),
        )

    def _known(self, symbols: Product) -> float:
        found = 1.0
        for symbol in symbols:
            found *= self.pinned.get(symbol, 1)
        return found

    def _missing(self, symbols: Product) -> float:
        """Returns how many elements the inputs have at least for each element of a product."""
        found = 1.0
        inputs = {symbol.input for symbol in symbols}
        for symbol, size in self.pinned.items():
            if symbol.input in inputs and symbol not in symbols:
                found *= size
        return found
