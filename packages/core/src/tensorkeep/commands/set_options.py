"""The options of SET, which other commands take as well: until when a key stays, and on what terms.

`EX`, `PX`, `EXAT`, `PXAT` and `KEEPTTL` say when what is stored vanishes, `NX` and `XX` whether the
key must be free or taken. They are read here for SET, GETEX and for the commands on tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.args import NOT_AN_INTEGER, SYNTAX, keyword, parse_integer
from tensorkeep.commands.errors import CommandError

if TYPE_CHECKING:
    from tensorkeep.commands.args import Args, Argument

_INT64_MAX: Final = 2**63 - 1
_SECOND_MS: Final = 1000
# A time from now on must have room behind any now up to the year 2109: so no clock is asked.
_LONGEST_MS: Final = _INT64_MAX - 2**42

# The words for a time: the milliseconds that it counts in, and the word that counts in one.
_TIMES: Final = {
    b"EX": (_SECOND_MS, b"PX"),
    b"PX": (1, b"PX"),
    b"EXAT": (_SECOND_MS, b"PXAT"),
    b"PXAT": (1, b"PXAT"),
}
_CONDITIONS: Final = frozenset({b"NX", b"XX"})
OF_STORING: Final = frozenset({*_CONDITIONS, b"KEEPTTL"})
"""The words besides those for a time that say how something is stored."""

SYNTAX_OF_STORING: Final = (
    "[NX | XX] [EX seconds | PX milliseconds | EXAT unix-time-seconds"
    " | PXAT unix-time-milliseconds | KEEPTTL]"
)
"""The options as people write them."""


class Lifetime(NamedTuple):
    """Until when a key stays.

    Attributes:
        word: `PX` from now on, `PXAT` up to a Unix time, `KEEPTTL` as long as it would have.
        milliseconds: How long, or until when; 0 with `KEEPTTL`.
    """

    word: bytes
    milliseconds: int

    @property
    def kept(self) -> bool:
        """Whether the key's own expiry stays, if it has one."""
        return self.word == b"KEEPTTL"

    def ends_at(self, now: float) -> float:
        """Returns the Unix time in seconds when the key vanishes; not of one that is kept.

        Args:
            now: The Unix time in seconds.
        """
        begins = int(now * _SECOND_MS) if self.word == b"PX" else 0
        return (begins + self.milliseconds) / _SECOND_MS


class Storing(NamedTuple):
    """On what terms something is stored.

    Attributes:
        present: Whether its key must be taken (`XX`) or free (`NX`); None if it may be either.
        lifetime: Until when it stays; None for ever.
    """

    present: bool | None
    lifetime: Lifetime | None


ALWAYS: Final = Storing(None, None)
"""Whatever is under the key, and for ever: what a command without options does."""


class Options(NamedTuple):
    """Options as they were written; what follows a word for a time was not looked at yet.

    Attributes:
        condition: `NX`, `XX` or nothing.
        answers: Whether SET is to return the old value (`GET`).
        expiry: One of the words for a time, `KEEPTTL`, `PERSIST` or nothing.
        time: What follows a word for a time.
    """

    condition: bytes
    answers: bool
    expiry: bytes
    time: bytes

    def lifetime(self, name: str) -> Lifetime | None:
        """Returns until when the key stays; None if nothing is said of it, or PERSIST.

        Args:
            name: The command's, for the error.

        Raises:
            CommandError: The time is no integer, or not above zero, or cannot be kept.
        """
        if self.expiry in _TIMES:
            return read_lifetime(self.time, self.expiry, name)
        return Lifetime(b"KEEPTTL", 0) if self.expiry == b"KEEPTTL" else None

    def storing(self, name: str) -> Storing:
        """Returns on what terms something is stored; see `lifetime`."""
        present = self.condition == b"XX" if self.condition else None
        return Storing(present, self.lifetime(name))


def is_option(argument: Argument, words: frozenset[bytes] = OF_STORING) -> bool:
    """Returns whether an argument is the first of an option."""
    word = keyword(argument)
    return word in _TIMES or word in words


def read_options(args: Args, words: frozenset[bytes] = OF_STORING) -> Options:
    """Reads options in any order, up to what is none; any may be repeated, the last time counts.

    Args:
        args: Stands at the first.
        words: Those besides the ones for a time that the command takes.

    Raises:
        CommandError: Two options contradict each other, or the time is missing.
    """
    condition = expiry = time = b""
    answers = False
    while (word := args.peek()) is not None:
        if word not in _TIMES and word not in words:
            break
        args.at += 1
        if word == b"GET":
            answers = True
        elif word in _CONDITIONS:
            if condition not in {b"", word}:
                raise CommandError(SYNTAX)
            condition = word
        elif expiry not in {b"", word}:
            raise CommandError(SYNTAX)
        else:
            expiry = word
            if word in _TIMES:
                if not len(args):
                    raise CommandError(SYNTAX)
                time = args.take()
    return Options(condition, answers, expiry, time)


def read_lifetime(time: Argument, word: bytes, name: str) -> Lifetime:
    """Reads a time that stands behind its word.

    Args:
        time: A number above zero.
        word: `EX`, `PX`, `EXAT` or `PXAT`.
        name: The command's, for the error.

    Raises:
        CommandError: It is no integer, or not above zero, or cannot be kept.
    """
    unit_ms, word = _TIMES[word]
    number = parse_integer(time)
    if number is None:
        raise CommandError(NOT_AN_INTEGER)
    if not 0 < number * unit_ms <= (_LONGEST_MS if word == b"PX" else _INT64_MAX):
        raise CommandError(f"ERR invalid expire time in '{name}' command")
    return Lifetime(word, number * unit_ms)
