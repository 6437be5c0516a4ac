"""A cursor over the arguments of one request.

Every parser of a command reads through it, so that integers, keywords and counts mean the same
everywhere. It knows no command but by name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeAlias

from tensorkeep.commands.errors import CommandError

Argument: TypeAlias = bytes | memoryview
"""`bytes`; a large one is a read-only view of memory that nobody else holds.

`bytes(argument)` gives bytes of either, and copies only a view. A view cannot be looked up in a
dictionary; the first argument of a request is always `bytes`.
"""

Request: TypeAlias = Sequence[Argument]
"""The arguments of one request, at least one, the command's name first."""

_INTEGER: Final = re.compile(rb"-?[1-9][0-9]{0,18}|0")
_INT64: Final = range(-(2**63), 2**63)
# Sizes, counts and the like, nearly all integers there are: a look-up saves their parsing.
_SMALL: Final[dict[Argument, int]] = {b"%d" % value: value for value in range(4097)}
NOT_AN_INTEGER: Final = "ERR value is not an integer or out of range"
SYNTAX: Final = "ERR syntax error"


def parse_integer(text: Argument) -> int | None:
    """Reads an integer as Redis' strict parser does; None when it is not one.

    An optional `-` and decimal digits without leading zeros, in the range of int64.
    """
    small = _SMALL.get(text) if type(text) is bytes else None  # a view cannot be looked up
    if small is not None:
        return small
    if not _INTEGER.fullmatch(text):
        return None
    value = int(bytes(text))
    return value if value in _INT64 else None


def keyword(text: Argument) -> bytes:
    """Returns a word as keywords are compared: upper case, up to the first NUL byte."""
    return bytes(text).partition(b"\0")[0].upper()


def text(argument: Argument) -> str:
    """Returns an argument as text; bytes that are not UTF-8 survive the way back."""
    return str(argument, "utf-8", "surrogateescape")


class Args:
    """The arguments of a request, read from left to right.

    Args:
        request: The whole request, the command's name first.
        at: Index of the first argument to read.

    Attributes:
        items: The whole request.
        at: Index of the next argument.
    """

    __slots__ = ("at", "items")

    def __init__(self, request: Sequence[Argument], at: int = 1) -> None:
        self.items = request
        self.at = at

    def __len__(self) -> int:
        """Returns the number of arguments that are left."""
        return len(self.items) - self.at

    @property
    def name(self) -> str:
        """The command's name as it was typed."""
        return text(self.items[0])

    def wrong_arity(self) -> CommandError:
        """Returns the error for a wrong number of arguments, with the name as it was typed."""
        return CommandError(f"ERR wrong number of arguments for '{self.name}' command")

    def wrong_subcommand(self) -> CommandError:
        """Returns the error for a subcommand with too many arguments, its name as it was typed."""
        parent, word = (text(item) for item in self.items[:2])
        return CommandError(
            f"ERR unknown subcommand or wrong number of arguments for '{word}'."
            f" Try {parent.upper()} HELP."
        )

    def take(self) -> bytes:
        """Takes the next argument.

        Raises:
            CommandError: There is none.
        """
        if self.at >= len(self.items):
            raise self.wrong_arity()
        argument = self.items[self.at]
        self.at += 1
        return argument if type(argument) is bytes else bytes(argument)

    def take_blob(self) -> Argument:
        """Takes the next argument as it lies, without copying a large one.

        Raises:
            CommandError: There is none.
        """
        if self.at >= len(self.items):
            raise self.wrong_arity()
        self.at += 1
        return self.items[self.at - 1]

    def take_rest(self) -> list[bytes]:
        """Takes all arguments that are left."""
        rest = self.items[self.at :]
        self.at = len(self.items)
        return [item if type(item) is bytes else bytes(item) for item in rest]

    def take_integer(self, error: str = NOT_AN_INTEGER) -> int:
        """Takes the next argument as an integer.

        Raises:
            CommandError: With `error`, when it is not one.
        """
        value = parse_integer(self.take())
        if value is None:
            raise CommandError(error)
        return value

    def take_keyword(self) -> bytes:
        """Takes the next argument as a keyword, in upper case."""
        return keyword(self.take())

    def peek(self) -> bytes | None:
        """Returns the next argument as a keyword without taking it, None at the end."""
        return keyword(self.items[self.at]) if self.at < len(self.items) else None

    def optional(self, word: bytes) -> bool:
        """Takes the next argument if it is this keyword; returns whether it was."""
        if self.peek() != word:
            return False
        self.at += 1
        return True

    def end(self) -> None:
        """Makes sure that nothing is left.

        Raises:
            CommandError: Something is.
        """
        if self.at < len(self.items):
            raise CommandError(SYNTAX)
