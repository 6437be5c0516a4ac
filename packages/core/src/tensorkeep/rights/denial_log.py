"""What was not allowed lately, for ACL LOG: equal denials are counted together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOGETHER: Final = 60.0  # seconds within which an equal denial is counted with the one before
DEFAULT_MOST: Final = 128


@dataclass(slots=True)
class Entry:
    """A denial, or several that are equal.

    Attributes:
        reason: `command`, `key`, `channel` or `auth`.
        context: `toplevel`, `multi` or `lua`.
        what: The command, key, channel, or the command that was to let in.
        user: The user's name.
        client: The last client, as CLIENT LIST describes it.
        at: When it was denied last; Unix time in seconds.
        count: How often.
    """

    reason: str
    context: str
    what: bytes
    user: bytes
    client: bytes
    at: float
    count: int = 1


class DenialLog:
    """The newest denials.

    Attributes:
        most: How many entries are kept.
    """

    def __init__(self) -> None:
        self.most = DEFAULT_MOST
        self._entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Notes a denial, as the newest."""
        for at, known in enumerate(self._entries):
            same = (known.reason, known.context, known.what, known.user)
            if (
                same == (entry.reason, entry.context, entry.what, entry.user)
                and entry.at - known.at <= _TOGETHER
            ):
                entry.count += known.count
                del self._entries[at]
                break
        self._entries.insert(0, entry)
        del self._entries[self.most :]

    def clear(self) -> None:
        """Forgets all."""
        self._entries.clear()

    def newest(self, count: int) -> Iterator[Entry]:
        """Returns the newest entries, the newest first."""
        return iter(self._entries[:count])
