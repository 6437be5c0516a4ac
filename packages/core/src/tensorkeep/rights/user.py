"""A user's rights as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tensorkeep.rights.selector import CHANNEL, COMMAND, KEY, Selector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorkeep.commands.args import Argument, Request
    from tensorkeep.commands.command import Command, CommandTable
    from tensorkeep.rights.selector import Denial

_RANKS: Final = {COMMAND: 0, KEY: 1, CHANNEL: 2}
_NOTHING: Final = Selector()


@dataclass(frozen=True, slots=True)
class Rights:
    """What a user needs to be let in, and may do then.

    Attributes:
        on: Whether the user may be let in.
        any_password: Whether any password does.
        passwords: Hashes of those that do otherwise.
        sanitizing: `sanitize-payload` or `skip-sanitize-payload`, if one was said; it is kept, and
            has no meaning here.
        root: What the user may do.
        selectors: What else, each for itself.
    """

    on: bool = False
    any_password: bool = False
    passwords: tuple[str, ...] = ()
    sanitizing: bytes = b""
    root: Selector = _NOTHING
    selectors: tuple[Selector, ...] = ()

    @property
    def unrestricted(self) -> bool:
        """Whether everything is allowed."""
        return self.root.unrestricted

    # ------------------------------------------------------------------ deciding
    def denial(self, table: CommandTable, command: Command, request: Request) -> Denial | None:
        """Returns why a request is not allowed, None if it is; see `Selector.denial`."""
        furthest = None
        for selector in (self.root, *self.selectors):
            found = selector.denial(table, command, request)
            if found is None:
                return None
            if furthest is None or _rank(found) > _rank(furthest):
                furthest = found
        return furthest

    def may_use(self, key: Argument, access: int) -> bool:
        """Returns whether some selector allows a key; see `Selector.may_use`."""
        return any(each.may_use(key, access) for each in (self.root, *self.selectors))

    def may_hear(self, channel: Argument, *, pattern: bool = False) -> bool:
        """Returns whether some selector allows a channel; see `Selector.may_hear`."""
        return any(each.may_hear(channel, pattern=pattern) for each in (self.root, *self.selectors))

    # ------------------------------------------------------------------ describing
    def flags(self) -> Iterator[bytes]:
        """Returns what ACL GETUSER shows as flags."""
        yield b"on" if self.on else b"off"
        if self.any_password:
            yield b"nopass"
        if self.sanitizing:
            yield self.sanitizing

    def words(self) -> Iterator[bytes]:
        """Returns the words, some of them joined, that make a new user's rights like these."""
        yield from self.flags()
        for each in self.passwords:
            yield b"#" + each.encode()
        yield from self.root.words()
        for selector in self.selectors:
            yield b"(%b)" % b" ".join(selector.words())


EVERYTHING: Final = Rights(
    on=True, any_password=True, root=Selector(all_commands=True, all_keys=True, all_channels=True)
)
"""The rights of the default user of a server that was not told of any."""


def _rank(denial: Denial) -> tuple[int, int]:
    return _RANKS[denial.reason], denial.place
