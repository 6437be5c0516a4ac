"""Errors as messages: which of Tensorkeep's may come from a worker, and their texts.

What a plugin raises besides is text alone. Nothing is made of the name of a class but what stands
here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep import errors
from tensorkeep.errors import TensorkeepError, text_of
from tensorkeep.hook_results import is_ours
from tensorkeep_workers_process.messages import Failure, NoMessage, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF_TEXT: Final[tuple[type[TensorkeepError], ...]] = (
    errors.ModelRejected,
    errors.InvalidModelFile,
    errors.RunFailed,
    errors.CommandFailed,
    errors.EngineClosed,
    errors.InvalidTensor,
    errors.UnknownDType,
    errors.InvalidShape,
    errors.BlobLengthMismatch,
    errors.InvalidBool,
    errors.StringCountMismatch,
    errors.NulInString,
    errors.ValueCountMismatch,
    errors.InvalidValue,
    errors.InvalidDevice,
)
_WITH_FIELDS: Final[Mapping[type[TensorkeepError], tuple[str, ...]]] = {
    errors.InternalError: (),
    errors.RunCutShort: (),
    errors.OutputIsNoTensor: ("output",),
    errors.BackendUnavailable: ("backend", "reason"),
    errors.BackendNotInstalled: ("backend", "reason"),
    errors.DeviceUnavailable: ("backend", "device"),
    errors.WorkerDied: ("cause",),
    errors.WorkerTookTooLong: ("reason",),
}
_LONGEST: Final = 64 * 1024  # characters of a text
_BY_NAME: Final = {each.__name__: each for each in (*_OF_TEXT, *_WITH_FIELDS)}


class PluginError(Exception):
    """What a plugin raised that is no error of Tensorkeep's: its text."""


def failure(number: int, error: BaseException, *, kept: bool = False) -> Failure:
    """Returns the message of an error.

    Args:
        number: Number of the call that failed.
        error: What was raised.
        kept: See `messages.Outputs.kept`.
    """
    text = _beginning(text_of(error))
    if is_ours(error):
        for each in type(error).__mro__:
            if each in _OF_TEXT:
                return Failure(number, each.__name__, text, {}, kept)
            if each in _WITH_FIELDS:
                names = _WITH_FIELDS[each]
                fields = {name: _beginning(str(getattr(error, name))) for name in names}
                return Failure(number, each.__name__, text, fields, kept)
    return Failure(number, "", text, {}, kept)


def _beginning(text: str) -> bytes:
    return packed(text[:_LONGEST])


def error_of(message: Failure) -> Exception:
    """Returns the error that a message tells of.

    Raises:
        NoMessage: It tells of an error that is not to come this way.
    """
    if not message.name:
        return PluginError(unpacked(message.text))
    found = _BY_NAME.get(message.name)
    if found is None:
        raise NoMessage(f"an error of class {message.name[:40]!r}")
    if found not in _WITH_FIELDS:
        return found(unpacked(message.text))
    names = _WITH_FIELDS[found]
    if message.fields.keys() != {*names}:
        raise NoMessage(f"a {message.name} with {len(message.fields)} attributes")
    return found(*(unpacked(message.fields[name]) for name in names))
