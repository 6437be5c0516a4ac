"""The objects of a TorchScript archive: modules, their weights and settings, read without torch.

A pickle is read here an operation at a time, with the few operations that torch writes, and
nothing is imported or called. What refers to itself, lies outside the archive, or is a class of C++
raises `Unreadable`.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST: Final = 2**18  # bytes of a pickle
_DEEPEST: Final = 40  # of what lies in each other
_MOST_AXES: Final = 8

_STORAGES: Final = {
    "FloatStorage": ("float", 4),
    "DoubleStorage": ("double", 8),
    "HalfStorage": ("half", 2),
    "LongStorage": ("long", 8),
    "IntStorage": ("int", 4),
    "BoolStorage": ("bool", 1),
}
_LISTS: Final = frozenset(("build_intlist", "build_doublelist", "build_boollist"))


class Unreadable(ValueError):
    """The archive is not as torch writes it, or has what was not tested; the text says what."""


@dataclass(slots=True)
class Instance:
    """An object of a class whose source is in the archive.

    Attributes:
        kind: The full name of its class.
        state: Its attributes by name; None until it has them.
    """

    kind: str
    state: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Weights:
    """A tensor of the archive.

    Attributes:
        dtype: The name of the type of its elements.
        shape: Its sizes.
    """

    dtype: str
    shape: tuple[int, ...]


class _Global(NamedTuple):
    module: str
    name: str


class _Storage(NamedTuple):
    dtype: str
    elements: int


class _Mark:
    """Where the elements of what follows begin."""


@dataclass(slots=True)
class _Machine:
    """What a pickle builds.

    Attributes:
        sizes: Bytes of each storage, by its key.
    """

    sizes: Mapping[str, int]
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    depths: dict[int, int] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)  # so that no identity is used twice

    def marked(self) -> list[Any]:
        """Takes what lies above the last mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[place], _Mark):
                found = self.stack[place + 1 :]
                del self.stack[place:]
                return found
        raise Unreadable("the pickle has no mark")

    def push(self, value: Any, *parts: Any) -> None:  # noqa: ANN401 - whatever a pickle has
        """Puts a value on the stack, and notes how deep it is."""
        self.deepen(value, *parts)
        self.stack.append(value)

    def deepen(self, value: Any, *parts: Any) -> None:  # noqa: ANN401 - likewise
        depth = 1 + max((self.depths.get(id(each), 0) for each in parts), default=0)
        if depth > _DEEPEST:
            raise Unreadable("its objects lie too deep in each other")
        if isinstance(value, (list, tuple, dict, Instance)) and value != ():
            self.kept.append(value)
            self.depths[id(value)] = max(depth, self.depths.get(id(value), 0))


def read_state(pickled: bytes, sizes: Mapping[str, int]) -> Any:  # noqa: ANN401 - whatever it is
    """Returns what a pickle holds.

    Args:
        pickled: The pickle.
        sizes: The bytes of each storage beside it, by its key.

    Raises:
        Unreadable: It is none of torch, or holds what was not tested.
    """
    if len(pickled) > LONGEST:
        raise Unreadable("its objects take too much room")
    machine = _Machine(sizes)
    try:
        for operation, argument, place in pickletools.genops(pickled):
            if operation.name == "STOP":
                if place != len(pickled) - 1 or len(machine.stack) != 1:
                    break
                return machine.stack[0]
            _step(machine, operation.name, argument)
    except (IndexError, KeyError, TypeError) as error:
        raise Unreadable("its objects are not as torch writes them") from error
    except ValueError as error:
        raise Unreadable(str(error)) from error
    raise Unreadable("its objects are not as torch writes them")


_PLAIN: Final = frozenset(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"))
_WORDS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES: Final = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _step(machine: _Machine, name: str, argument: Any) -> None:  # noqa: ANN401, C901, PLR0912, PLR0915 - one for each
    stack = machine.stack
    if name in _PLAIN:
        if isinstance(argument, int) and not -(2**63) <= argument < 2**63:
            raise Unreadable("a number has more than 64 bits")
        stack.append(argument)
    elif name in _WORDS:
        stack.append(_WORDS[name])
    elif name in {"BINPUT", "LONG_BINPUT"}:
        if argument > LONGEST or isinstance(stack[-1], _Mark):
            raise Unreadable("it remembers something in a strange place")
        machine.memo[argument] = stack[-1]
    elif name in {"BINGET", "LONG_BINGET"}:
        found = machine.memo[argument]
        if isinstance(found, (Instance, list, dict)):
            raise Unreadable("an object lies in several places")
        stack.append(found)
    elif name == "GLOBAL":
        module, _, rest = argument.partition(" ")
        stack.append(_Global(module, rest))
    elif name in _TUPLES:
        count = _TUPLES[name]
        found = tuple(stack[len(stack) - count :])
        if len(found) != count or any(isinstance(each, _Mark) for each in found):
            raise Unreadable("a tuple has too few elements")
        del stack[len(stack) - count :]
        machine.push(found, *found)
    elif name == "TUPLE":
        found = tuple(machine.marked())
        machine.push(found, *found)
    elif name == "MARK":
        stack.append(_Mark())
    elif name == "EMPTY_LIST":
        machine.push([])
    elif name == "EMPTY_DICT":
        machine.push({})
    elif name == "APPENDS":
        parts = machine.marked()
        stack[-1].extend(parts)
        machine.deepen(stack[-1], *parts)
    elif name == "APPEND":
        part = stack.pop()
        stack[-1].append(part)
        machine.deepen(stack[-1], part)
    elif name in {"SETITEM", "SETITEMS"}:
        parts = machine.marked() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
        _set(machine, stack[-1], parts)
    elif name == "NEWOBJ":
        arguments, kind = stack.pop(), stack.pop()
        if (
            arguments != ()
            or not isinstance(kind, _Global)
            or not kind.module.startswith("__torch__")
        ):
            raise Unreadable("an object is of a class that is not the archive's own")
        if kind.module.startswith("__torch__.torch.classes"):
            raise Unreadable("an object is of a class of C++")
        machine.push(Instance(f"{kind.module}.{kind.name}"))
    elif name == "BUILD":
        state = stack.pop()
        built = stack[-1]
        if not isinstance(built, Instance) or built.state is not None or type(state) is not dict:
            raise Unreadable("an object is built in a way that torch does not use")
        built.state = state
        machine.deepen(built, state)
    elif name == "BINPERSID":
        stack.append(_storage(machine, stack.pop()))
    elif name == "REDUCE":
        arguments, called = stack.pop(), stack.pop()
        found = _called(called, arguments)
        machine.push(found, arguments)
    elif name != "PROTO":
        raise Unreadable(f"its objects are read with {name}, which torch does not use")


def _set(machine: _Machine, target: Any, parts: list[Any]) -> None:  # noqa: ANN401 - of a pickle
    if type(target) is not dict or len(parts) % 2:
        raise Unreadable("attributes are set in a way that torch does not use")
    for key, value in zip(parts[::2], parts[1::2], strict=True):
        if type(key) is not str or key in target:
            raise Unreadable("an attribute has no name, or is there twice")
        if isinstance(value, (Instance, _Mark)) and getattr(value, "state", None) is None:
            raise Unreadable("an object refers to itself")
        target[key] = value
    machine.deepen(target, *parts[1::2])


def _storage(machine: _Machine, told: Any) -> _Storage:  # noqa: ANN401 - of a pickle
    word, kind, key, device, count = told
    if word != "storage" or type(kind) is not _Global or kind.module != "torch" or device != "cpu":
        raise Unreadable("weights lie where torch does not put them")
    if type(key) is not str or type(count) is not int or kind.name not in _STORAGES:
        raise Unreadable("weights are of a type that was not tested")
    dtype, size = _STORAGES[kind.name]
    if count < 0 or machine.sizes[key] != count * size:
        raise Unreadable("weights have more or less data than they say")
    return _Storage(dtype, count)


def _called(called: Any, arguments: Any) -> Any:  # noqa: ANN401 - of a pickle
    if type(called) is not _Global or type(arguments) is not tuple:
        raise Unreadable("something is called that torch does not call")
    if called == ("collections", "OrderedDict") and arguments == ():
        return ()
    if called.module == "torch.jit._pickle" and called.name in _LISTS:
        (values,) = arguments
        if type(values) is not list or not all(type(each) in {int, float, bool} for each in values):
            raise Unreadable("a list has elements that were not tested")
        return values
    if called == ("torch._utils", "_rebuild_tensor_v2"):
        return _tensor(*arguments)
    raise Unreadable(f"{called.name[:50]} is called, which torch does not")


def _tensor(  # noqa: PLR0913, PLR0917 - as torch has it
    storage: Any,  # noqa: ANN401 - of a pickle
    offset: Any,  # noqa: ANN401 - likewise
    shape: Any,  # noqa: ANN401 - likewise
    strides: Any,  # noqa: ANN401 - likewise
    grad: Any,  # noqa: ANN401 - likewise
    hooks: Any,  # noqa: ANN401 - likewise
) -> Weights:
    if type(storage) is not _Storage or type(grad) is not bool or hooks != ():
        raise Unreadable("weights are built in a way that torch does not use")
    numbers = (offset, *shape, *strides)
    if not all(type(each) is int and each >= 0 for each in numbers) or len(shape) != len(strides):
        raise Unreadable("weights have sizes below 0")
    if len(shape) > _MOST_AXES or 0 in shape:
        raise Unreadable("weights have sizes that were not tested")
    last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    if last >= storage.elements or prod(shape) > storage.elements:
        raise Unreadable("weights reach beyond their data")
    return Weights(storage.dtype, tuple(shape))
