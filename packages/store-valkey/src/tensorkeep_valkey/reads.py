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
    from collections.abc import Iterable, Sequence

    from tensorkeep.model import Runnable
    from tensorkeep.store import Wanted
    from tensorkeep_valkey.packing import Word

_WHOLE: Final = (*FIELDS, *CONTENT)


UNCLEAR: Final = object()
"""Stands for a hash without our fields, or a key that is not there: both look the same."""


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
) -> tuple[list[Wanted], list[Sequence[Word]]]:
    """Returns what is read, each once, and the requests for it.

    Args:
        wanted: What is wanted.
        whole: Whether all is read that may be needed, for nobody can ask again: the content of
            records, and whether there is a key where nothing of ours was found.
    """
    distinct = list(dict.fromkeys(wanted))
    requests: list[Sequence[Word]] = []
    for key, kind in distinct:
        if kind is Tensor:
            requests.append((b"GET", key))
            continue
        if kind is not Record:
            requests.append((b"HMGET", key, MARK, ID))
        else:
            requests.append((b"HMGET", key, *(_WHOLE if whole else FIELDS)))
        if whole:
            requests.append((b"EXISTS", key))
    return distinct, requests


def decode_reads(
    distinct: Iterable[Wanted], replies: Iterable[Any], *, whole: bool = False
) -> dict[Wanted, object | None]:
    """Returns what was found for each of what was wanted.

    It is None for nothing, a `Tensor`, a `Storing` of a model or script, a `StoredRecord`, or an
    error: `WrongType`, or `StoreError` with the engine's line. It is `UNCLEAR` if it is nothing or
    a `WrongType`, which only reading it again as a whole can tell: the key may be another by then.

    Args:
        distinct: From `encode_reads`.
        replies: To its requests.
        whole: As it was said there.
    """
    found: dict[Wanted, object | None] = {}
    rest = iter(replies)
    for wanted in distinct:
        key, kind = wanted
        reply = next(rest)
        exists = next(rest) if whole and kind is not Tensor else None
        try:
            found[wanted] = _decoded(key, kind, reply, exists)
        except TensorkeepError as error:
            found[wanted] = error.with_traceback(None)
    return found


def encode_whole(key: bytes) -> list[Sequence[Word]]:
    """Returns the requests for all that is stored of a model or script."""
    return [(b"HMGET", key, *_WHOLE), (b"EXISTS", key)]


def decode_whole(key: bytes, replies: Iterable[Any]) -> StoredRecord | None:
    """Returns all that is stored of a model or script; None if nothing is.

    Raises:
        WrongType: The key holds something else.
        StoreError: It cannot be read.
    """
    hmget, exists = replies
    record: Any = _decoded(key, Record, hmget, exists)
    found: StoredRecord | None = record
    return found


def _decoded(
    key: bytes,
    kind: type,
    reply: Any,  # noqa: ANN401 - a reply is of many kinds
    exists: Any,  # noqa: ANN401
) -> object | None:
    """Returns what a reply means; `exists` is None if nobody has asked."""
    if kind is Tensor:
        return None if reply is None else decode_tensor(key, _checked(key, reply))
    values = _checked(key, reply)
    if values[0] is None:
        if exists is None:
            return UNCLEAR
        if _checked(key, exists):
            raise WrongType(key)
        return None
    if kind is not Record:
        check_kind(key, values[0], kind)
        return Storing(values[1], kind)
    names = _WHOLE if len(values) > len(FIELDS) else FIELDS
    return decode_record(key, dict(zip(names, values, strict=True)))


def _checked(key: bytes, reply: Any) -> Any:  # noqa: ANN401 - a reply is of many kinds
    """Returns a reply that is no error."""
    if type(reply) is not bytes and isinstance(reply, StoreError):
        raise WrongType(key) if is_wrong_type(reply) else plain(reply)
    return reply
