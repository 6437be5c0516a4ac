"""Keys and their values: what is stored, what has expired, and who watches it.

One thread owns a keyspace. The clock is given, so that nothing here waits or asks for the time.
Times are Unix times in seconds.

Whoever changes a key says what that is called, and a listener is told. Some things only the
keyspace knows: `new` is a key that was not there, `expired` one whose time has come, `rename_from`
and `rename_to` are the two ends of a renaming, and `keymiss` is a key that was looked for in vain.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from random import choices
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tensorkeep.errors import KeyMissing, NotStored, WrongType
from tensorkeep.eviction import Usage
from tensorkeep.store import NEW
from tensorkeep_memory.frequency import another_use, first_use
from tensorkeep_memory.large_values import LARGE, LargeValues
from tensorkeep_memory.scan_index import ScanIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tensorkeep.commands.set_options import Lifetime
    from tensorkeep.watch import Watch

_T = TypeVar("_T")

KEY_BYTES: Final = 178
"""Bytes that a key takes with a string as its value, besides their own bytes and its place.

Measured on CPython 3.11: an `Entry` and a time are 96, and each of two `bytes` is 33 and up to 15
that are left over.
"""

_EXPIRY_BYTES: Final = 112  # of a time at which a key expires, and of its place among them

_FEW = 64  # below this many stale expiry times, tidying up costs more than it saves

# What a keyspace holds, and two of them can exchange; not who watches it.
_CONTENT: Final = ("_entries", "_index", "_expiring", "_volatile")


class _Unmeasured(dict[type, "Callable[[Any], int]"]):
    """Sizes of values of any type, of which none is known."""

    def __missing__(self, _: type) -> Callable[[Any], int]:
        return lambda _: 0


@dataclass(slots=True)
class Entry:
    """What is known of one key.

    Attributes:
        value: The stored value; the keyspace does not care what it is.
        touched: When it was last read or written; where uses are counted, see `frequency`.
        expires_at: When it vanishes, None for never.
        size: Bytes of the value, as they were counted last.
    """

    value: object
    touched: float
    expires_at: float | None = None
    size: int = 0


class Keyspace:
    """The keys of one database.

    Args:
        clock: Returns the Unix time in seconds.
        sizes: How many bytes a value takes besides `KEY_BYTES`, by its exact type; asked when it
            is stored or has changed, and so in no more time for a large one.
        usage: What the keys of all databases take; counted here.
        large: Large values of all databases; noted here.

    Attributes:
        clock: Returns the Unix time in seconds. Whoever wants time to stand still puts another one
            here for that moment.
        counts_uses: Whether it is counted how often a key is used, in place of noting when it was.
        watches: Who watches which key. Each `Watch` enters and leaves by itself; there are nearly
            never any, and then a change costs no more than a look at this.
        listener: Is told what has happened to which key, once it has. There is nearly never one,
            and then that costs no more than a look at this, too.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        sizes: Mapping[type, Callable[[Any], int]] | None = None,
        usage: Usage | None = None,
        large: LargeValues | None = None,
    ) -> None:
        self.clock = clock
        self.counts_uses = False
        self._sizes = _Unmeasured() if sizes is None else sizes
        self._usage = Usage() if usage is None else usage
        self._large = LargeValues() if large is None else large
        self._entries: dict[bytes, Entry] = {}
        self._index = ScanIndex()
        # Expiry times, with stale ones among them: (expires_at, key).
        self._expiring: list[tuple[float, bytes]] = []
        self._volatile = 0
        self.watches: dict[bytes, set[Watch]] = {}
        self.listener: Callable[[str, bytes], None] | None = None

    # ------------------------------------------------------------------ reading
    def time(self) -> float:
        """Returns the Unix time in seconds by which keys expire."""
        return self.clock()

    def get(self, key: bytes, *, touch: bool = True) -> object | None:
        """Returns the value under a key, None when there is none."""
        entry = self._entries.get(key)
        if entry is None:
            if self.listener is not None:
                self.listener("keymiss", key)
            return None
        now = self.clock()
        if entry.expires_at is not None and entry.expires_at <= now:
            self.delete(key)
            if self.listener is not None:
                self.listener("keymiss", key)
            return None
        if touch:
            entry.touched = another_use(entry.touched, now) if self.counts_uses else now
        return entry.value

    def get_many(self, keys: Iterable[bytes], *, touch: bool = True) -> list[object | None]:
        """Returns the value under each of several keys, None where there is none.

        That is what `get` does for one after the other, sooner, and at one moment.
        """
        found: list[object | None] = []
        entries, now = self._entries, self.clock()
        for key in keys:
            entry = entries.get(key)
            if entry is None:
                if self.listener is not None:
                    self.listener("keymiss", key)
                found.append(None)
            elif entry.expires_at is not None and entry.expires_at <= now:
                found.append(self.get(key))  # which removes it
            else:
                if touch:
                    entry.touched = another_use(entry.touched, now) if self.counts_uses else now
                found.append(entry.value)
        return found

    def has_any(self, keys: Iterable[bytes]) -> bool:
        """Returns whether one of several keys is there; looks no further than that one."""
        entries = self._entries
        return any(key in self for key in keys if key in entries)

    def typed(self, key: bytes, kind: type[_T]) -> _T:
        """Returns the value under a key, which must be of one type.

        Raises:
            KeyMissing: There is no such key.
            WrongType: The value is of another type.
        """
        value = self.get(key)
        if isinstance(value, kind):
            return value
        raise KeyMissing(key, kind) if value is None else WrongType(key)

    def find(self, key: bytes, kind: type[_T]) -> _T | None:
        """Returns the value under a key, which is of one type or missing.

        Raises:
            WrongType: The value is of another type.
        """
        value = self.get(key)
        if value is None or isinstance(value, kind):
            return value
        raise WrongType(key)

    def expect(self, key: bytes, kind: type, *, present: bool | None = None) -> None:
        """Makes sure that a key is free or holds a value of one type.

        Args:
            key: The key.
            kind: The type.
            present: Whether it must be taken or free; None if it may be either.

        Raises:
            WrongType: The value is of another type.
            NotStored: It is free and must be taken, or the other way round.
        """
        value = self.get(key)
        if value is not None and not isinstance(value, kind):
            raise WrongType(key)
        if present not in {None, value is not None}:
            raise NotStored(key)

    def drop(self, key: bytes, kind: type[_T]) -> _T:
        """Removes a key whose value must be of one type, without an event, and returns it.

        Raises:
            KeyMissing: There is no such key.
            WrongType: The value is of another type.
        """
        value = self.typed(key, kind)
        self.delete(key, event=None)
        return value

    def entry(self, key: bytes) -> Entry | None:
        """Returns what is known of a key, without touching it."""
        return None if self.get(key, touch=False) is None else self._entries[key]

    def peek(self, key: bytes) -> object | None:
        """Returns what is kept under a key, expired or not; nobody is told."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def __contains__(self, key: bytes) -> bool:
        return self.get(key, touch=False) is not None

    def __len__(self) -> int:
        """Returns the number of keys, with those that expired and were not yet removed."""
        return len(self._entries)

    def __iter__(self) -> Iterator[bytes]:
        """Iterates over a snapshot of the keys that have not expired."""
        now = self.clock()
        live = [
            key
            for key, entry in self._entries.items()
            if entry.expires_at is None or entry.expires_at > now
        ]
        return iter(live)

    @property
    def volatile(self) -> int:
        """The number of keys that will expire."""
        return self._volatile

    # ------------------------------------------------------------------ writing
    def set(  # noqa: C901 - spelled out: for each SET
        self,
        key: bytes,
        value: object,
        expires_at: float | None = None,
        event: str | None = None,
    ) -> None:
        """Stores a value, replacing any other value and its expiry.

        Args:
            key: The key.
            value: Its value.
            expires_at: When it vanishes, None for never.
            event: What this is called; None if it is only a part of what is going on.
        """
        entry = self._entries.get(key)
        fresh = entry is None
        now = self.clock()
        size = self._sizes[type(value)](value)
        if entry is None:
            touched = first_use(now) if self.counts_uses else now
            self._index.add(key)
            try:
                self._entries[key] = Entry(value, touched, None, size)
            except MemoryError:  # the table was to be enlarged
                self._index.remove(key)
                raise
            self._usage.values += size + len(key) + KEY_BYTES
            if size > LARGE:
                self._large.exchange(None, value)
        else:
            if size > LARGE or entry.size > LARGE:
                self._large.exchange(entry.value, value)
            self._usage.values += size - entry.size
            entry.size = size
            entry.value = value
            entry.touched = another_use(entry.touched, now) if self.counts_uses else now
            if entry.expires_at is not None:
                fresh = entry.expires_at <= now
                if fresh and self.listener is not None:
                    self.listener("expired", key)
                entry.expires_at = None
                self._volatile -= 1
                self._tidy_expiring()
        if self.watches:
            self._tell_watches(key)
        if expires_at is not None:
            self.expire(key, expires_at)
        if self.listener is not None:
            if fresh and event != NEW:
                self.listener(NEW, key)
            if event is not None:
                self.listener(event, key)

    def set_for(
        self, key: bytes, value: object, lifetime: Lifetime | None, event: str | None = None
    ) -> None:
        """Stores a value, replacing any other value, and sets when it vanishes.

        Those are two things that happen to its key.

        Args:
            key: The key.
            value: Its value.
            lifetime: Until when it stays, None for ever.
            event: What storing it is called; None if it is only a part of what is going on.
        """
        if lifetime is not None and lifetime.kept:
            self.replace(key, value, event)
            return
        self.set(key, value, None, event)
        if lifetime is not None:
            self.expire(key, lifetime.ends_at(self.clock()), "expire")

    def set_many(self, values: Iterable[tuple[bytes, object]], event: str | None = None) -> None:
        """Stores values under several keys.

        That is what `set` does for one after the other, sooner, and at one moment.

        Args:
            values: Each key with its value; of one that is named again, the last one stays.
            event: What this is called; None if it is only a part of what is going on.
        """
        if self.watches or self.listener is not None or self.counts_uses:
            for key, value in values:
                self.set(key, value, None, event)
            return
        entries, now, sizes = self._entries, self.clock(), self._sizes
        fresh: dict[bytes, Entry] = {}
        others = []
        added = 0
        for key, value in values:
            entry = entries.get(key)
            if entry is not None:
                others.append((key, entry, value))
            else:
                fresh[key] = Entry(value, now, None, sizes[type(value)](value))
        self._add_many(fresh)  # first: from here on nothing needs much memory
        for key, entry in fresh.items():
            added += entry.size + len(key) + KEY_BYTES
            if entry.size > LARGE:
                self._large.exchange(None, entry.value)
        for key, entry, value in others:
            if entry.expires_at is not None:
                self.set(key, value, None, event)
                continue
            size = sizes[type(value)](value)
            if size > LARGE or entry.size > LARGE:
                self._large.exchange(entry.value, value)
            added += size - entry.size
            entry.value, entry.touched, entry.size = value, now, size
        self._usage.values += added

    def _add_many(self, fresh: dict[bytes, Entry]) -> None:
        """Adds entries under keys that are not there: all of them, or none.

        Raises:
            MemoryError: There is no memory for one of the tables, which are enlarged as a whole.
        """
        self._index.add_many([*fresh])
        try:
            self._entries.update(fresh)
        except MemoryError:
            for key in fresh:
                self._entries.pop(key, None)
            self._index.remove_many([*fresh])
            raise

    def replace(self, key: bytes, value: object, event: str | None = None) -> None:
        """Stores a value that came of the one under a key, or the first one; the expiry stays.

        Whoever looked at the key just before need not fear that it expires in between: then what
        is stored here has expired, too.

        Args:
            key: The key.
            value: Its value.
            event: What this is called; None if it is only a part of what is going on.
        """
        entry = self._entries.get(key)
        if entry is None:
            self.set(key, value, event=event)
            return
        now = self.clock()
        if entry.size > LARGE or self._sizes[type(value)](value) > LARGE:
            self._large.exchange(entry.value, value)
        entry.value = value
        entry.touched = another_use(entry.touched, now) if self.counts_uses else now
        self.changed(key, event)

    def changed(self, key: bytes, event: str | None = None) -> None:
        """Takes note that the value under a key was changed in place.

        Args:
            key: The key.
            event: What this is called; None if it is only a part of what is going on.
        """
        entry = self._entries.get(key)
        if entry is not None:
            value = entry.value
            size = self._sizes[type(value)](value)
            self._usage.values += size - entry.size
            entry.size = size
        if self.watches:
            self._tell_watches(key)
        if event is not None and self.listener is not None:
            self.listener(event, key)

    def delete(self, key: bytes, event: str | None = "del") -> bool:
        """Removes a key.

        Args:
            key: The key.
            event: What this is called, None if it is only a part of what is going on. A key that
                has expired by now has expired, and was not deleted.

        Returns:
            Whether it was there and had not expired.
        """
        entry = self._entries.get(key)
        if entry is None:
            return False
        self._index.remove(key)  # first: it may lack memory, and nothing else here does
        del self._entries[key]
        self._usage.values -= entry.size + len(key) + KEY_BYTES
        if entry.size > LARGE:
            self._large.exchange(entry.value, None)
        if self.watches:
            self._tell_watches(key)
        there = True
        if entry.expires_at is not None:
            self._volatile -= 1
            self._tidy_expiring()
            there = entry.expires_at > self.clock()
        if self.listener is not None and (event is not None or not there):
            self.listener(event if there and event is not None else "expired", key)
        return there

    def delete_many(self, keys: Iterable[bytes]) -> int:
        """Removes several keys, as `delete` does one after the other, but sooner.

        Returns:
            How many were there and had not expired.
        """
        if self.watches or self.listener is not None or self._volatile:
            return sum(map(self.delete, keys))
        entries = self._entries
        gone = [key for key in dict.fromkeys(keys) if key in entries]
        self._index.remove_many(gone)  # first: it may lack memory, and nothing behind it does
        for key in gone:
            entry = entries.pop(key)
            self._usage.values -= entry.size + len(key) + KEY_BYTES
            if entry.size > LARGE:
                self._large.exchange(entry.value, None)
        return len(gone)

    def rename(self, source: bytes, target: bytes) -> None:
        """Moves a value and its expiry to another key, replacing what is there.

        Raises:
            KeyMissing: There is no such source.
        """
        entry = self.entry(source)
        if entry is None:
            raise KeyMissing(source)
        if source != target:
            self.set(target, entry.value, entry.expires_at, NEW)
            self.delete(source, "rename_from")
            self.changed(target, "rename_to")

    def clear(self) -> int:
        """Removes every key; returns how many there were."""
        return len(self.release()[0])

    def release(self) -> tuple[dict[bytes, Entry], list[bytes], list[tuple[float, bytes]]]:
        """Removes every key, and hands out what they took, for who frees many bit by bit."""
        for key in tuple(self.watches):
            if key in self:
                self._tell_watches(key)
        taken = (self._entries, self._index.release(), self._expiring)
        self._usage.values -= sum(
            [entry.size + len(key) + KEY_BYTES for key, entry in self._entries.items()]
        )
        for entry in self._entries.values():
            if entry.size > LARGE:
                self._large.exchange(entry.value, None)
        self._entries, self._expiring, self._volatile = {}, [], 0
        return taken

    def swap(self, other: Keyspace) -> None:
        """Exchanges all keys with another keyspace. Who watches a key goes on watching it here."""
        if other is self:
            return
        for key in (*self.watches, *other.watches):
            if key in self or key in other:
                for keys in (self, other):
                    keys._tell_watches(key)  # noqa: SLF001 - of the same class
        mine, others = vars(self), vars(other)
        for name in _CONTENT:
            mine[name], others[name] = others[name], mine[name]

    # ------------------------------------------------------------------ expiry
    def expire(self, key: bytes, expires_at: float | None, event: str | None = None) -> None:
        """Sets when a key vanishes.

        Args:
            key: The key.
            expires_at: When it vanishes, None for never.
            event: What this is called; None if it is only a part of what is going on.

        Raises:
            KeyMissing: There is no such key.
        """
        entry = self.entry(key)
        if entry is None:
            raise KeyMissing(key)
        self._volatile += (expires_at is not None) - (entry.expires_at is not None)
        entry.expires_at = expires_at
        if expires_at is not None:
            heappush(self._expiring, (expires_at, key))
        self._tidy_expiring()
        self.changed(key, event)

    def next_expiry(self) -> float | None:
        """Returns when a key may expire next, None when none will."""
        return self._expiring[0][0] if self._expiring else None

    def remove_expired(self, limit: int) -> list[bytes]:
        """Removes keys whose time has come.

        Args:
            limit: Most keys to remove at once, so that other work gets its turn.

        Returns:
            The removed keys.
        """
        removed: list[bytes] = []
        now = self.clock()
        while self._expiring and self._expiring[0][0] <= now and len(removed) < limit:
            expires_at, key = heappop(self._expiring)
            entry = self._entries.get(key)
            if entry is not None and entry.expires_at == expires_at:
                self.delete(key)
                removed.append(key)
        return removed

    # ------------------------------------------------------------------ walking
    def scan(
        self,
        cursor: int,
        count: int,
        wanted: Callable[[list[bytes]], list[bytes]] | None = None,
    ) -> tuple[int, list[bytes]]:
        """Returns some keys and the cursor to go on with; 0 begins a scan and ends it.

        A key that is there from the beginning of a scan to its end is returned exactly once. Keys
        that are new meanwhile are not looked at, so that a scan ends whatever is done with them.
        What is found to have expired is removed.

        Args:
            cursor: 0, or what the last call returned.
            count: Keys to look at.
            wanted: Returns those of some keys that are to be returned, None for all.
        """
        cursor, found = self._index.scan(cursor, count)
        if wanted is not None:
            found = wanted(found)
        now = self.clock()
        keys = []
        for key in found:
            expires_at = self._entries[key].expires_at
            if expires_at is None or expires_at > now:
                keys.append(key)
            else:
                self.delete(key)
        return cursor, keys

    def random_key(self) -> bytes | None:
        """Returns any key that has not expired, None when there is none."""
        while (key := self._index.pick()) is not None:
            if key in self:
                return key
        return None

    def sample(self, count: int, *, volatile: bool) -> list[tuple[bytes, Entry]]:
        """Returns some keys at random; all that there are, if there are not many more.

        Args:
            count: How many are wanted. A key may come twice, and fewer may be found.
            volatile: Whether only keys are wanted that will expire.
        """
        found: list[tuple[bytes, Entry]] = []
        entries = self._entries
        if volatile:
            listed = self._expiring
            few = len(listed) <= 2 * count
            # Some of them are stale.
            chosen = listed if few else choices(listed, k=2 * count)  # noqa: S311 - no secret
            for at, key in chosen:
                entry = entries.get(key)
                if entry is not None and entry.expires_at == at:
                    found.append((key, entry))
            return found
        if len(entries) <= 2 * count:
            return [*entries.items()]
        picked = [self._index.pick() for _ in range(count)]
        return [(key, entries[key]) for key in picked if key is not None]

    def entries(self) -> Iterator[tuple[bytes, Entry]]:
        """Iterates over all keys, expired or not; nothing may change meanwhile."""
        return iter(self._entries.items())

    # ------------------------------------------------------------------ memory
    @property
    def structures(self) -> int:
        """Bytes that finding keys takes, besides what is counted for each of them."""
        return (
            sys.getsizeof(self._entries)
            + self._index.nbytes
            + sys.getsizeof(self._expiring)
            + _EXPIRY_BYTES * len(self._expiring)
        )

    # ------------------------------------------------------------------ watching
    def _tell_watches(self, key: bytes) -> None:
        for watch in tuple(self.watches.get(key, ())):
            watch.notice()

    # ------------------------------------------------------------------ tidiness
    def _tidy_expiring(self) -> None:
        if len(self._expiring) <= 2 * self._volatile + _FEW:
            return
        # Only what is listed is looked at: most keys of a large keyspace may never expire.
        kept = {
            (expires_at, key)
            for expires_at, key in self._expiring
            if key in self._entries and self._entries[key].expires_at == expires_at
        }
        self._expiring = list(kept)
        heapify(self._expiring)

    def validate(self) -> None:
        """Checks what must always hold; for tests.

        Raises:
            AssertionError: Something does not hold.
        """
        self._index.validate(self._entries)
        sizes = {key: self._sizes[type(e.value)](e.value) for key, e in self._entries.items()}
        assert {key: e.size for key, e in self._entries.items()} == sizes  # noqa: S101
        volatile = {k: e.expires_at for k, e in self._entries.items() if e.expires_at is not None}
        assert self._volatile == len(volatile)  # noqa: S101
        assert {(at, key) for key, at in volatile.items()} <= set(self._expiring)  # noqa: S101
        assert len(self._expiring) <= 2 * len(volatile) + _FEW  # noqa: S101
        assert all(self.watches.values())  # noqa: S101

    def __repr__(self) -> str:
        return f"Keyspace({len(self._entries)} keys, {self._volatile} volatile)"
