"""What backends give back: results of the wrong kind, and whatever they raise, made into errors.

A plugin's hook may return anything. Each result is checked once, where the hook is called; behind
that the engine relies on it. Nothing here calls a hook, and no code of a plugin runs here but for
the methods of the values that it returned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import isasyncgen, isawaitable, isgenerator
from types import NoneType
from typing import Any, Final

from tensorkeep.batch_axis import AxisKind, BatchAxis
from tensorkeep.errors import RunFailed, TensorkeepError, text_of
from tensorkeep.hookspecs import BackendInfo, DeviceInfo
from tensorkeep.model import LoadedModel
from tensorkeep.tensor import DType, Tensor

_OURS: Final = TensorkeepError.__module__
_KINDS: Final = frozenset(("CPU", "GPU"))


class WrongResult(Exception):
    """A hook returned something of another kind than it must; the text says what, and of which."""


def is_ours(error: BaseException) -> bool:
    """Returns whether what a plugin raised is an error of this tree, and can be relied on.

    A class of the plugin's may do anything when it is asked for its text.
    """
    return (
        isinstance(error, TensorkeepError)
        and type(error).__module__ == _OURS
        and all(type(each) is str for each in error.args)
    )


def tensors(hook: str, returned: object, *, or_none: bool) -> Sequence[Any]:
    """Returns the outputs of a run.

    Args:
        hook: The hook that returned them.
        returned: What it returned.
        or_none: Whether an output may be None.

    Raises:
        WrongResult: It is no sequence of tensors.
    """
    expected = "a sequence of tensors"
    if not isinstance(returned, Sequence) or isinstance(returned, str | bytes | bytearray):
        raise _wrong(hook, returned, expected)
    found = tuple(returned)  # a class of the plugin's may tell its length otherwise each time
    for index, each in enumerate(found):
        if type(each) is not Tensor and not (or_none and each is None):
            raise WrongResult(f"{hook} returned {_kind(each)} as output {index}, not a tensor")
    return found


def nothing(hook: str, returned: object) -> None:
    """Checks that a hook returned None, as one does that only acts.

    Raises:
        WrongResult: It returned something: perhaps what has still to be awaited.
    """
    if returned is not None:
        raise _wrong(hook, returned, "None")


def done(hook: str, returned: object) -> None:
    """Checks that a hook whose result is ignored has done its work.

    Raises:
        WrongResult: It returned what has still to be awaited or iterated over.
    """
    if isawaitable(returned) or isgenerator(returned) or isasyncgen(returned):
        raise _wrong(hook, returned, "a result")


def loaded_model(returned: object) -> LoadedModel:
    """Returns what `model_create` made, with names in tuples.

    Raises:
        WrongResult: It is no `LoadedModel`, or one with names that are no strings.
    """
    hook = "model_create"
    if type(returned) is not LoadedModel:
        raise _wrong(hook, returned, "a LoadedModel")
    for what in ("inputs", "outputs"):
        names = getattr(returned, what)
        if type(names) not in {tuple, list} or not all(type(each) is str for each in names):
            raise WrongResult(f"{hook} returned {what} that are no tuple of strings")
    kinds = {
        "steady": bool,
        "fewer_inputs": frozenset,
        "batch_axis": BatchAxis,
        "optional_outputs": tuple,
    }
    _check_fields(hook, returned, kinds)
    axis = returned.batch_axis
    if type(axis.kind) is not AxisKind or type(axis.reason) is not str:
        raise WrongResult(f"{hook} returned a batch_axis without a kind and a reason")
    if (axis.kind is AxisKind.NONE) != bool(axis.reason):
        raise WrongResult(
            f"{hook} returned a batch_axis of kind {axis.kind.name} and the reason {axis.reason!r}"
        )
    positions = range(len(returned.outputs))
    if not all(type(each) is int and each in positions for each in returned.optional_outputs):
        raise WrongResult(f"{hook} returned as optional_outputs what are no positions of outputs")
    if not all(type(each) is int for each in returned.fewer_inputs):
        raise WrongResult(f"{hook} returned fewer_inputs that are no numbers")
    if type(returned.inputs) is type(returned.outputs) is tuple:
        return returned
    return replace(returned, inputs=tuple(returned.inputs), outputs=tuple(returned.outputs))


def script(returned: object) -> object:
    """Returns what `script_create` made, which may be of any kind but what is to be awaited.

    Raises:
        WrongResult: There is no script.
    """
    if returned is None:
        raise _wrong("script_create", returned, "a script")
    done("script_create", returned)
    return returned


def info(returned: object) -> BackendInfo:
    """Returns what a backend says of itself.

    Raises:
        WrongResult: It is no `BackendInfo`, or has fields of other types.
    """
    if type(returned) is not BackendInfo:
        raise _wrong("backend_info", returned, "a BackendInfo")
    fields = {
        "api_version": int,
        "framework": str,
        "framework_version": str,
        "scripts": bool,
        "needs_names": bool,
        "signatures": bool,
        "limits_runs": bool,
    }
    _check_fields("backend_info", returned, fields)
    return returned


def devices(returned: object) -> tuple[DeviceInfo, ...]:
    """Returns the devices that a backend can use.

    Raises:
        WrongResult: There is none, or something else is among them.
    """
    hook = "devices"
    if not isinstance(returned, Sequence) or isinstance(returned, str | bytes | bytearray):
        raise _wrong(hook, returned, "a sequence of DeviceInfo")
    found = tuple(returned)
    if not found:
        raise WrongResult(f"{hook} returned no device")
    for each in found:
        if type(each) is not DeviceInfo:
            raise WrongResult(f"{hook} returned {_kind(each)} among the devices, not a DeviceInfo")
        _check_fields(hook, each, {"kind": str, "description": str})
        if each.kind not in _KINDS:
            raise WrongResult(f"{hook} returned a device of kind {each.kind!r}, not CPU or GPU")
        if not all(type(number) in {int, NoneType} for number in (each.index, each.memory)):
            raise WrongResult(f"{hook} returned a device whose index or memory is no number")
        if type(each.dtypes) not in {frozenset, set} or not all(
            type(dtype) is DType for dtype in each.dtypes
        ):
            raise WrongResult(f"{hook} returned a device whose dtypes are no set of DType")
    return found


def blob(returned: object) -> bytes:
    """Returns a serialized model.

    Raises:
        WrongResult: It is no bytes.
    """
    if isinstance(returned, bytes | bytearray | memoryview):
        return bytes(returned)
    raise _wrong("serialize", returned, "bytes")


def stats(returned: object) -> Mapping[str, int]:
    """Returns a backend's figures; none when it has none.

    Raises:
        WrongResult: They are no numbers by name.
    """
    hook = "backend_stats"
    if returned is None:
        return {}
    if not isinstance(returned, Mapping):
        raise _wrong(hook, returned, "a mapping")
    found = dict(returned)
    for name, value in found.items():
        if type(name) is not str or not isinstance(value, int):
            raise WrongResult(
                f"{hook} returned {_kind(value)} by {_kind(name)}, not an int by a str"
            )
    return found


def broken(backend: str, error: BaseException) -> RunFailed:
    """Returns the error for a result of the wrong kind where a model or script is run."""
    return RunFailed(f"backend {backend} broke its contract: {text_of(error)}")


def _check_fields(hook: str, value: object, fields: Mapping[str, type]) -> None:
    for name, kind in fields.items():
        found = getattr(value, name)
        if type(found) is not kind:
            raise WrongResult(f"{hook} returned {_kind(found)} as {name}, not {_a(kind.__name__)}")


def _wrong(hook: str, returned: object, expected: str) -> WrongResult:
    close = getattr(returned, "close", None) if isawaitable(returned) else None
    if close is not None:  # otherwise the interpreter warns that it was never awaited
        close()
    return WrongResult(f"{hook} returned {_kind(returned)}, not {expected}")


def _kind(value: object) -> str:
    """Returns what a value is, in words: `None`, `a dict`, `an ndarray`."""
    return "None" if value is None else _a(type(value).__name__)


def _a(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
