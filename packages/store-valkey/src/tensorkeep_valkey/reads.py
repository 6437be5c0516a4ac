"""What is sent to the engine to read the values of a command, and what its replies mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tensorkeep.errors import StoreError, TensorkeepError, WrongType
from tensorkeep.store import Record
from tensorkeep.tensor import Tensor
from tensorkeep_valkey.engine_errors import is_wrong_type, plain
from tensorkeep_valkey.layout import decode_tensor
from tensorkeep_valkey.record_layout import (
    CONTENT,
    FIELDS,
    ID,
    MARK,
    StoredRecord,
    check_kind,
    decode_record,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tensorkeep.model import Runnable
    from tensorkeep.store import Wanted
    from tensorkeep_valkey.packing import Argument

_WHOLE: Final = (*FIELDS, *CONTENT)


class Storing(NamedTuple):
    """Which storing of a model or script a key holds.

    Attributes:
        id: Its id.
        kind: `Model` or `Script`.
    """

    id: bytes
    kind: type[Runnable]


def encode_reads(
    wanted: Iterable[Wanted], *, whole: bool = False
) -> tuple[list[Wanted], list[Sequence[Argument]]]:
    """Returns what is read, each once, and the requests for it.

    Args:
        wanted: What is wanted.
        whole: Whether the content of records is read too.
    """
    distinct = list(dict.fromkeys(wanted))
    requests: list[Sequence[Argument]] = []
    for key, kind in distinct:
        if kind is Tensor:
            requests.append((b"GET", key))
            continue
        if kind is Record:
            fields: tuple[bytes, ...] = _WHOLE if whole else FIELDS
        else:
            fields = (MARK, ID)
        # A hash without these fields and a key that is not there look the same.
        requests += ((b"HMGET", key, *fields), (b"EXISTS", key))
    return distinct, requests


def decode_reads(distinct: Iterable[Wanted], replies: Iterable[Any]) -> dict[Wanted, object | None]:
    """Returns what was found for each of what was wanted.

    It is None for nothing, a `Tensor`, a `Storing` of a model or script, a `StoredRecord`, or an
    error: `WrongType`, or `StoreError` with the engine's line.

    Args:
        distinct: From `encode_reads`.
        replies: To its requests.
    """
    found: dict[Wanted, object | None] = {}
    rest = iter(replies)
    for wanted in distinct:
        try:
            found[wanted] = _decoded(wanted, rest)
        except TensorkeepError as error:
            found[wanted] = error.with_traceback(None)
    return found


def encode_whole(key: bytes) -> list[Sequence[Argument]]:
    """Returns the requests for all that is stored of a model or script."""
    return [(b"HMGET", key, *_WHOLE), (b"EXISTS", key)]


def decode_whole(key: bytes, replies: Iterable[Any]) -> StoredRecord | None:
    """Returns all that is stored of a model or script; None if nothing is.

    Raises:
        WrongType: The key holds something else.
        StoreError: It cannot be read.
    """
    hmget, exists = replies
    return _record(key, hmget, exists)


def _decoded(wanted: Wanted, rest: Iterator[Any]) -> object | None:
    key, kind = wanted
    reply = next(rest)
    if kind is Tensor:
        if reply is None:
            return None
        return decode_tensor(key, _checked(key, reply))
    exists = next(rest)
    if kind is Record:
        return _record(key, reply, exists)
    mark, identity = _checked(key, reply)
    if mark is None and not exists:
        return None
    check_kind(key, mark, kind)
    return Storing(identity, kind)


def _record(key: bytes, reply: Any, exists: Any) -> StoredRecord | None:  # noqa: ANN401 - replies
    values = _checked(key, reply)
    if values[0] is None and not exists:
        return None
    names = _WHOLE if len(values) > len(FIELDS) else FIELDS
    return decode_record(key, dict(zip(names, values, strict=True)))


def _checked(key: bytes, reply: Any) -> Any:  # noqa: ANN401 - a reply is of many kinds
    """Returns a reply that is no error."""
    if isinstance(reply, StoreError):
        raise WrongType(key) if is_wrong_type(reply) else plain(reply)
    return reply
