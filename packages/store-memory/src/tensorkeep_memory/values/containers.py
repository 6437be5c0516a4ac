"""Hashes and sets: values that hold many, and that change in place.

This module decides what a hash and a set are and what they find next in a scan. It knows no key, no
command and no reply.
"""

from __future__ import annotations

import sys
from random import sample
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tensorkeep.commands.args import parse_integer
from tensorkeep.headroom import HEADROOM
from tensorkeep.leftovers import leave
from tensorkeep_memory.scan_index import ScanIndex
from tensorkeep_memory.values.words import all_bytes, word_bytes

if TYPE_CHECKING:
    from typing import Self

# Redis' own defaults.
_SMALL_SIZE: Final = 512  # fields of a small hash, members of a small set
_SMALL_WORD: Final = 64  # bytes of each field and each value of a small hash

_OBJECT: Final = 64 + 16  # bytes of a container itself, and of its content's header


class Container:
    """What hashes, sets and sorted sets have in common.

    It changes in place: who takes a reference to it has no snapshot. `copy` makes one, on the
    thread that owns the keyspace, in about 30 ms for a million elements; `Keyspace.changed` is
    where to learn that a copy has become old.

    A large one is freed bit by bit, see `leftovers`.

    Attributes:
        content: The elements. Only to be looked at; the methods change it.
        small: Whether it has always been so small that a scan returns all of it at once. Redis
            keeps such a one in a single piece of memory, and tells so by OBJECT ENCODING.
    """

    # Bytes of all elements, kept as they come and go: nobody could walk over them each time.
    __slots__ = ("_held", "_index", "content", "small")

    content: dict[bytes, Any] | set[bytes]
    _drawn_in_order: ClassVar = True  # whether a part of a small one is drawn in its order

    def __init__(self, content: dict[bytes, Any] | set[bytes]) -> None:
        self.content = content
        self.small = True
        self._held = 0
        # Made when it is first asked for: most hashes and sets are never scanned in pieces.
        self._index: ScanIndex | None = None

    def __len__(self) -> int:
        return len(self.content)

    def check_growth(self) -> None:
        """Makes sure that elements can be added: tables are enlarged in the midst of it.

        Raises:
            MemoryError: There is no room for tables of twice the size.
        """
        if HEADROOM.limited and not HEADROOM.has(2 * sys.getsizeof(self.content)):
            raise MemoryError

    def __del__(self) -> None:
        leave(self.content)
        if self._index is not None:
            leave(self._index.release())

    def copy(self) -> Self:
        """Returns a copy that shares nothing that changes."""
        made = type(self).__new__(type(self))
        made.content = self.content.copy()
        made.small = self.small
        made._held = self._held  # noqa: SLF001 - of the same class
        made._index = None  # noqa: SLF001 - of the same class
        return made

    # ------------------------------------------------------------------ walking
    def in_order(self) -> list[bytes]:
        """Returns all elements, those of a small one in the order in which Redis keeps them."""
        return [*self.content]

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Returns some elements and the cursor to go on with; 0 begins a scan and ends it.

        An element that is there from the beginning of a scan to its end is returned, and a scan
        ends whatever comes and goes. Of a small one all elements are returned at once.

        Args:
            cursor: 0, or what the last call returned.
            count: Elements to look at.
        """
        if self.small:
            return 0, self.in_order()
        return self._indexed().scan(cursor, count)

    def pick(self) -> bytes | None:
        """Returns any element, each as likely as any other; None when there is none."""
        return self._indexed().pick()

    def sample(self, count: int) -> list[bytes]:
        """Returns that many different elements at random, or all if there are not so many."""
        elements = self.content
        if count >= len(elements):
            return self.in_order()
        if self.small and self._drawn_in_order:
            ordered = self.in_order()
            return [ordered[place] for place in sorted(sample(range(len(ordered)), count))]
        if 2 * count > len(elements):
            return sample([*elements], count)
        picked: dict[bytes, None] = {}
        while len(picked) < count:
            element = self.pick()
            assert element is not None  # noqa: S101 - for the type checker
            picked[element] = None
        return [*picked]

    def draw(self, count: int) -> list[bytes]:
        """Returns elements at random, which may repeat; none of an empty one."""
        drawn = [self.pick() for _ in range(count)]
        return [element for element in drawn if element is not None]

    def _indexed(self) -> ScanIndex:
        if self._index is None:
            self._index = ScanIndex(self.content)
        return self._index

    # ------------------------------------------------------------------ memory
    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it takes, by what was counted: that takes no time."""
        index = self._index
        size = _OBJECT + sys.getsizeof(self.content) + self._held
        return size if index is None else size + index.nbytes

    def _bytes_of_elements(self) -> int:
        """Returns what the elements take, after a look at each; for what is made at once."""
        return all_bytes(self.content)

    def validate(self) -> None:
        """Checks what must always hold; for tests.

        Raises:
            AssertionError: Something does not hold.
        """
        if self._index is not None:
            self._index.validate(self.content)
        assert not self.small or len(self) <= _SMALL_SIZE  # noqa: S101 - for tests
        assert self._held == self._bytes_of_elements()  # noqa: S101 - for tests


class Hash(Container):
    """Values by field, in the order in which the fields came."""

    __slots__ = ()
    content: dict[bytes, bytes]

    def __init__(self) -> None:
        super().__init__({})

    def put(self, field: bytes, value: bytes) -> bool:
        """Sets a field; returns whether it is a new one."""
        fields = self.content
        old = fields.get(field)
        fields[field] = value
        if self.small and (len(field) > _SMALL_WORD or len(value) > _SMALL_WORD):
            self.small = False
        if old is not None:
            self._held += word_bytes(value) - word_bytes(old)
            return False
        self._held += word_bytes(field) + word_bytes(value)
        if self._index is not None:
            self._index.add(field)
        if len(fields) > _SMALL_SIZE:
            self.small = False
        return True

    def remove(self, field: bytes) -> bool:
        """Removes a field; returns whether it was there."""
        value = self.content.pop(field, None)
        if value is None:
            return False
        self._held -= word_bytes(field) + word_bytes(value)
        if self._index is not None:
            self._index.remove(field)
        return True

    def _bytes_of_elements(self) -> int:
        return all_bytes(self.content) + all_bytes(self.content.values())

    def __repr__(self) -> str:
        return f"Hash({len(self)} fields, small={self.small})"


class Set(Container):
    """Different members: in the order of the numbers in a small one, otherwise in no order.

    Args:
        members: The first members; the set becomes their owner.
    """

    __slots__ = ()
    content: set[bytes]
    _drawn_in_order = False

    def __init__(self, members: set[bytes] | None = None) -> None:
        super().__init__(set() if members is None else members)
        self._held = self._bytes_of_elements()
        # Only a set of integers counts as small.
        if len(self.content) > _SMALL_SIZE or any(parse_integer(m) is None for m in self.content):
            self.small = False

    def add(self, member: bytes) -> bool:
        """Adds a member; returns whether it is a new one."""
        members = self.content
        if member in members:
            return False
        members.add(member)
        self._held += word_bytes(member)
        if self._index is not None:
            self._index.add(member)
        if self.small and (len(members) > _SMALL_SIZE or parse_integer(member) is None):
            self.small = False
        return True

    def remove(self, member: bytes) -> bool:
        """Removes a member; returns whether it was there."""
        members = self.content
        if member not in members:
            return False
        members.remove(member)
        self._held -= word_bytes(member)
        if self._index is not None:
            self._index.remove(member)
        return True

    def in_order(self) -> list[bytes]:
        """See `Container.in_order`."""
        return sorted(self.content, key=int) if self.small else [*self.content]

    def __repr__(self) -> str:
        return f"Set({len(self)} members, small={self.small})"
