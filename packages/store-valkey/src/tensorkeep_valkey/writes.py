"""What is sent to the engine to make the changes of a command, all of them or none.

A script looks at all keys and then changes them. What is large would be copied by it, which takes
the engine several times as long as without: it is first stored under a key beside its own, which
expires soon, and the script renames that. Models and scripts always are: they may be larger than
one command may be. For who has no right to such a key, the script is given all.
"""

from __future__ import annotations

import hashlib
import secrets
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from tensorkeep.errors import KeyMissing, NotStored, StoreError, WrongType
from tensorkeep.model import Model, Script
from tensorkeep.tensor import Tensor
from tensorkeep_valkey.engine_errors import plain
from tensorkeep_valkey.layout import encode_tensor, header_of
from tensorkeep_valkey.packing import Parts
from tensorkeep_valkey.record_layout import MARK, encode_fields, pieces_of
from tensorkeep_valkey.values import DROPPED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorkeep.model import Runnable
    from tensorkeep_valkey.packing import Word
    from tensorkeep_valkey.values import Change

SCRIPT: Final = files("tensorkeep_valkey").joinpath("write.lua").read_bytes()
"""The script; see there for its arguments."""

_SHA: Final = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest().encode()
_LARGE: Final = 16 * 1024
"""Bytes of a tensor from which on it is not given to the script."""

_WAITS: Final = b"60000"  # milliseconds that a value may wait to be renamed
_MOST: Final = 512 * 2**20  # bytes of a string of the engine, by its default
_MOST_AT_ONCE: Final = 256 * 2**20  # bytes; the engine takes 1 GiB, and copies them for its script
_PRESENCE: Final = {None: b"", True: b"XX", False: b"NX"}
_LETTERS: Final[dict[type, bytes]] = {Tensor: b"T", Model: b"M", Script: b"S"}


class Writing(NamedTuple):
    """What makes the changes of a command.

    Attributes:
        requests: What is sent, in one go; the last is the script.
        keys: The keys that are changed, with what was expected there.
        stored: The models and scripts that are stored, by key, with their ids.
        beside: Whether anything waits beside its key.
    """

    requests: list[Sequence[Word]]
    keys: list[tuple[bytes, type | None]]
    stored: Mapping[bytes, tuple[bytes, Runnable]]
    beside: bool

    @property
    def whole_script(self) -> list[Sequence[Word]]:
        """What is sent if the engine does not know the script yet."""
        return [[b"EVAL", SCRIPT, *self.requests[-1][2:]]]


def encode_writes(
    changes: Mapping[bytes, Change],
    *,
    whole_script: bool = False,
    beside: bool = True,
    large: int = _LARGE,
) -> Writing:
    """Returns what makes changes.

    Args:
        changes: At least one.
        whole_script: Whether the script itself is sent, not its name: in a transaction nobody can
            come back to an engine that does not know it.
        beside: Whether what is large may wait under keys of its own; otherwise the script is given
            it, if it is not more than the engine takes with one command.
        large: Bytes of a tensor from which on it waits under a key of its own.

    Raises:
        StoreError: A value is larger than the engine can take.
    """
    waiting: list[bytes] = []
    requests: list[Sequence[Word]] = []
    words: list[Word] = [b"%d" % len(changes)]
    stored: dict[bytes, tuple[bytes, Runnable]] = {}
    beside = beside or sum(_size(change) for change in changes.values()) > _MOST_AT_ONCE
    for key, change in changes.items():
        words += (
            b"*" if change.expected is None else _LETTERS[change.expected],
            _PRESENCE[change.present],
        )
        value = change.value
        if value is None or value is DROPPED:
            words += (b"DROP" if value is DROPPED else b"KEEP", b"", b"", b"0")
            continue
        expiry = (b"", b"")
        if change.lifetime is not None:
            expiry = change.lifetime.word, b"%d" % change.lifetime.milliseconds
        place = len(changes) + len(waiting) + 1
        if isinstance(value, Tensor):
            if value.nbytes < large or not beside:
                _check_size(value)
                words += (b"SET", *expiry, b"1", encode_tensor(value))
                continue
            _check_size(value)
            whole = Parts(header_of(value), value.blob)
            waiting.append(_beside(key))
            requests.append([b"SET", waiting[-1], whole, b"PX", _WAITS])
            words += (b"TAKE", *expiry, b"2", b"%d" % place, b"%d" % len(whole))
            continue
        runnable = cast("Runnable", value)
        identity = secrets.token_hex(16).encode()
        stored[key] = identity, runnable
        fields = encode_fields(runnable, identity)
        pieces = pieces_of(runnable.blob) if isinstance(runnable, Model) else ()
        if not beside:
            numbered = ((b"blob:%d" % number, piece) for number, piece in enumerate(pieces))
            filled = [word for pair in (*fields.items(), *numbered) for word in pair]
            words += (b"FILL", b"", b"", b"%d" % len(filled), *filled)
            continue
        waiting.append(_beside(key))
        mark = fields.pop(MARK)  # by which the hash is one of ours, is added at last
        requests.append([b"HSET", waiting[-1], *(word for pair in fields.items() for word in pair)])
        requests.append([b"PEXPIRE", waiting[-1], _WAITS])
        for number, piece in enumerate(pieces):
            requests.append([b"HSET", waiting[-1], b"blob:%d" % number, piece])
            requests.append([b"PEXPIRE", waiting[-1], _WAITS])
        count = b"%d" % (len(fields) + len(pieces))
        words += (b"TAKE", *expiry, b"4", b"%d" % place, count, MARK, mark)
    begin = (b"EVAL", SCRIPT) if whole_script else (b"EVALSHA", _SHA)
    key_count = b"%d" % (len(changes) + len(waiting))
    requests.append([*begin, key_count, *changes, *waiting, *words])
    keys = [(key, change.expected) for key, change in changes.items()]
    return Writing(requests, keys, stored, bool(waiting))


def is_refused(writing: Writing, replies: Sequence[Any]) -> bool:
    """Returns whether nothing was changed by who lacks a right that all but the script need."""
    errors = [reply for reply in replies if isinstance(reply, StoreError)]
    return writing.beside and bool(errors) and plain(errors[0]).line.startswith("NOPERM")


def knows_no_script(replies: Sequence[Any]) -> bool:
    """Returns whether nothing was changed because the engine does not know the script yet."""
    last = replies[-1]
    return isinstance(last, StoreError) and last.line.startswith("NOSCRIPT")


def decode_writes(keys: Sequence[tuple[bytes, type | None]], replies: Sequence[Any]) -> None:
    """Makes sure that changes were made.

    Args:
        keys: Those of `Writing`.
        replies: To all of its requests.

    Raises:
        KeyMissing: A key that was to be dropped is not there.
        WrongType: A key holds another kind of value than was expected.
        NotStored: A key is free that must be taken, or the other way round.
        StoreError: The engine refused it, or is not reached.
    """
    for reply in replies:
        if isinstance(reply, StoreError):
            raise plain(reply)
    last = replies[-1]
    if last == b"OK":
        return
    what, number = last.split(b" ")
    key, kind = keys[int(number) - 1]
    if what == b"WRONG":
        raise WrongType(key)
    if what == b"UNMET":
        raise NotStored(key)
    if what == b"MISSING":
        raise KeyMissing(key, kind)
    raise StoreError("ERR the engine has lost the value before it was in place: store it again")


def _check_size(tensor: Tensor) -> None:
    size = len(header_of(tensor)) + tensor.nbytes
    if size > _MOST:
        raise StoreError(
            f"ERR the tensor would be a string of {size} bytes, and the engine takes {_MOST}"
        )


def _size(change: Change) -> int:
    """Returns about how many bytes are stored."""
    value = change.value
    if isinstance(value, Tensor):
        return value.nbytes
    return len(value.blob) if isinstance(value, Model) else 0


def _beside(key: bytes) -> bytes:
    """Returns where a value waits: a key that nobody else has, for which the same rights hold."""
    return b"%b:tensorkeep:%b" % (key, secrets.token_hex(8).encode())
