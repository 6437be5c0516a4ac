"""The values of one command: what was read of the engine for it, and what it changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, final

from tensorkeep.errors import KeyMissing, NotStored, WrongType
from tensorkeep.model import Model, Script
from tensorkeep.store import Record
from tensorkeep.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorkeep.commands.set_options import Lifetime
    from tensorkeep.store import Wanted

_T = TypeVar("_T")

DROPPED: Final = object()
"""Stands for the value of a key that is removed."""

OTHER: Final = object()
"""Stands for a value of another kind than was wanted."""

_KEPT: Final = (Tensor, Model, Script)


@dataclass(slots=True)
class Change:
    """What becomes of a key.

    Attributes:
        expected: What it may hold now, unless it is free; None for anything. One that is dropped
            must hold it.
        value: What it is to hold, or `DROPPED`; None if it stays as it is.
        lifetime: Until when it stays, None for ever.
        present: Whether the key must be taken or free; None if it may be either.
    """

    expected: type | None = None
    value: object | None = None
    lifetime: Lifetime | None = None
    present: bool | None = None


@final
class StoredValues:
    """See `tensorkeep.store.Values`.

    Args:
        read: What was found of what was wanted: a value, None for nothing, or an error.

    Attributes:
        changes: What is changed, by key; for each key there is one.
    """

    __slots__ = ("_read", "changes")

    def __init__(self, read: Mapping[Wanted, object | None] | None = None) -> None:
        self._read: Mapping[Any, object | None] = {} if read is None else read
        self.changes: dict[bytes, Change] = {}

    def itself(self) -> StoredValues:
        """Returns these values: their own `Result`."""
        return self

    def get(self, key: bytes) -> object | None:
        """Returns the value under a key, None when there is none or nobody has looked."""
        change = self.changes.get(key) if self.changes else None
        if change is not None and change.value is not None:
            return None if change.value is DROPPED else change.value
        found = None
        for kind in (Tensor, Model, Script, Record):
            value = self._read.get((key, kind))
            if isinstance(value, WrongType):
                found = OTHER
            elif isinstance(value, Exception):
                raise value.with_traceback(None)
            elif value is not None:
                return value
        return found

    def typed(self, key: bytes, kind: type[_T]) -> _T:
        """Returns the value under a key, which must be of one kind.

        Raises:
            KeyMissing: There is no such key.
            WrongType: The value is of another kind.
            StoreError: It cannot be read; or another error, that it cannot be built.
            LookupError: It was not wanted, so nobody has looked.
        """
        if self.changes and (change := self.changes.get(key)) and change.value is not None:
            value: object | None = None if change.value is DROPPED else change.value
        else:
            try:
                value = self._read[key, kind]
            except KeyError:
                msg = f"{kind.__name__} {key!r} was not among what is wanted"
                raise LookupError(msg) from None
        if type(value) is kind:
            return value
        if value is None:
            raise KeyMissing(key, kind)
        raise value.with_traceback(None) if isinstance(value, Exception) else WrongType(key)

    def expect(self, key: bytes, kind: type, *, present: bool | None = None) -> None:
        """Makes sure, when it is written, that a key is free or holds a value of one kind.

        Raises:
            WrongType: It is set here to a value of another kind.
            NotStored: It is set or dropped here, and must be free or taken.
        """
        change = self.changes.get(key)
        if change is None:
            self.changes[key] = Change(kind, present=present)
            return
        if change.value is None:
            change.expected = change.expected or kind
            change.present = present if change.present is None else change.present
            return
        if change.value is DROPPED:
            change.expected = change.expected or kind
        elif type(change.value) is not kind:
            raise WrongType(key)
        if present not in {None, change.value is not DROPPED}:
            raise NotStored(key)

    def set(self, key: bytes, value: object, *, event: str | None = None) -> None:
        """Stores a tensor, model or script, when it is written; see `Values.set`."""
        self.set_for(key, value, None, event)

    def set_for(
        self, key: bytes, value: object, lifetime: Lifetime | None, event: str | None = None
    ) -> None:
        """Stores it and sets when it vanishes, when it is written; see `Values.set_for`."""
        del event  # the engine tells of its own
        if not isinstance(value, _KEPT):
            msg = f"a tensor, model or script can be stored, not {type(value).__name__}"
            raise TypeError(msg)
        change = self.changes.get(key)
        if change is None:
            self.changes[key] = Change(None, value, lifetime)
        else:
            change.value, change.lifetime = value, lifetime

    def drop(self, key: bytes, kind: type[_T]) -> _T | None:
        """Removes a key whose value must be of one kind, when it is written.

        Returns:
            None: only the engine has it.

        Raises:
            WrongType: It was set here to a value of another kind.
            KeyMissing: It was dropped here before.
        """
        change = self.changes.get(key)
        value: Any = None if change is None else change.value
        if change is not None and value is not None:
            if value is DROPPED:
                raise KeyMissing(key, kind)
            if type(value) is not kind:
                raise WrongType(key)
            self.changes[key] = Change(None, DROPPED)
            return value
        self.changes[key] = Change(kind, DROPPED)
        return None
