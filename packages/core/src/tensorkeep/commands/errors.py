"""Why a command is not done, as the client reads it."""

from __future__ import annotations

from typing import Final

WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"


class CommandError(Exception):
    """A command cannot be done; the client gets the line as it is.

    Attributes:
        line: The whole error line, with its code word such as `ERR` if it has one.
    """

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.line = line


class Refused(CommandError):
    """A command is not even tried: there is no such command, or it cannot be given like this."""
