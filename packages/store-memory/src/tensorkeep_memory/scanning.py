"""What SCAN and its like take, and what of the found names they leave out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.args import SYNTAX, Args
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.glob import compile_glob

if TYPE_CHECKING:
    from collections.abc import Iterable

_ALL: Final = b"*"
_LIMIT: Final = 10  # Redis' own
_CURSOR: Final = re.compile(rb"[+-]?0*([0-9]{1,20})")
_UINT64: Final = 2**64


class Options(NamedTuple):
    """[MATCH pattern] [COUNT count] [TYPE type].

    Attributes:
        pattern: What the names must look like.
        limit: Names to look at.
        type_name: Name of the type of the values under keys, in upper case; None for any.
    """

    pattern: bytes
    limit: int
    type_name: bytes | None


def read_cursor(argument: bytes) -> int:
    """Reads a cursor as Redis does, with C's strtoul: an empty one is 0, a negative one large.

    Raises:
        CommandError: It is none.
    """
    word = argument.partition(b"\0")[0] or b"0"
    read = _CURSOR.fullmatch(word)
    cursor = int(read[1]) if read else _UINT64
    if cursor >= _UINT64:
        raise CommandError("ERR invalid cursor")
    return -cursor % _UINT64 if word.startswith(b"-") else cursor


def read_options(args: Args, *, of_keys: bool) -> Options:
    """Reads options, which come in any order, the last of a kind counting.

    Args:
        args: Stands behind the cursor.
        of_keys: Whether keys are scanned, whose values have types.

    Raises:
        CommandError: The first thing that is wrong, from left to right.
    """
    pattern, limit, type_name = _ALL, _LIMIT, None
    while len(args):
        word = args.take_keyword()
        if not len(args):
            raise CommandError(SYNTAX)
        if word == b"MATCH":
            pattern = args.take()
        elif word == b"COUNT":
            limit = args.take_integer()
            if limit < 1:
                raise CommandError(SYNTAX)
        elif word == b"TYPE" and of_keys:
            type_name = args.take_keyword()
        else:
            raise CommandError(SYNTAX)
    return Options(pattern, limit, type_name)


def matching(names: Iterable[bytes], pattern: bytes) -> list[bytes]:
    """Returns the names that a pattern matches."""
    if pattern == _ALL:
        return [*names]
    matches = compile_glob(pattern).fullmatch
    return [name for name in names if matches(name)]
