"""Commands on elements within lists: LRANGE, LINSERT, LREM and the like."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.args import NOT_AN_INTEGER, SYNTAX, Args, parse_integer
from tensorkeep.commands.command import DENYOOM, READONLY, WRITE, Command, command
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import OK
from tensorkeep_memory.commands.lists import shrunk, take_natural
from tensorkeep_memory.values.sequence import List

if TYPE_CHECKING:
    from tensorkeep.commands.args import Argument
    from tensorkeep.commands.reply import Reply
    from tensorkeep_memory.client import Client

_NO_INDEX: Final = "ERR index out of range"
_NO_RANK: Final = (
    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ..."
    " or use negative to start from the end of the list"
)


# --------------------------------------------------------------------------- arguments
class Range(NamedTuple):
    """A key and the indices of the first element and the last; negative ones from the end."""

    key: bytes
    first: int
    last: int


class At(NamedTuple):
    """A key and the index of an element; it is looked at only after the key.

    Attributes:
        key: The key.
        word: The index, not read yet.
        element: What LSET puts there.
    """

    key: bytes
    word: Argument
    element: Argument = b""


class Insert(NamedTuple):
    """LINSERT key BEFORE | AFTER pivot element.

    Attributes:
        key: The key.
        behind: 1 to insert behind the pivot, 0 before it.
        pivot: Beside what to insert.
        element: What to insert.
    """

    key: bytes
    behind: int
    pivot: Argument
    element: Argument


class Remove(NamedTuple):
    """LREM key count element.

    Attributes:
        key: The key.
        most: How many elements to remove; a negative number begins at the end, 0 is all.
        element: What to remove.
    """

    key: bytes
    most: int
    element: Argument


class Position(NamedTuple):
    """LPOS key element [RANK rank] [COUNT count] [MAXLEN limit].

    Attributes:
        key: The key.
        element: What to find.
        rank: Which match is the first that counts; a negative one begins at the end.
        most: How many to find, 0 for all; None for one, not in an array.
        limit: Most elements to look at, 0 for all.
    """

    key: bytes
    element: Argument
    rank: int
    most: int | None
    limit: int


def parse_range(args: Args) -> Range:
    """Parses LRANGE and LTRIM."""
    return Range(args.take(), args.take_integer(), args.take_integer())


def parse_index(args: Args) -> At:
    """Parses LINDEX."""
    return At(args.take(), args.take_blob())


def parse_set(args: Args) -> At:
    """Parses LSET."""
    return At(args.take(), args.take_blob(), args.take_blob())


def parse_insert(args: Args) -> Insert:
    """Parses LINSERT."""
    key, word = args.take(), args.take_keyword()
    if word not in {b"BEFORE", b"AFTER"}:
        raise CommandError(SYNTAX)
    return Insert(key, int(word == b"AFTER"), args.take_blob(), args.take_blob())


def parse_remove(args: Args) -> Remove:
    """Parses LREM."""
    return Remove(args.take(), args.take_integer(), args.take_blob())


def parse_position(args: Args) -> Position:
    """Parses LPOS, whose options come in any order, the last of a kind counting."""
    key, element = args.take(), args.take_blob()
    rank, most, limit = 1, None, 0
    while len(args):
        word = args.take_keyword()
        if not len(args):
            raise CommandError(SYNTAX)
        match word:
            case b"RANK":
                rank = args.take_integer()
                if not rank:
                    raise CommandError(_NO_RANK)
            case b"COUNT":
                most = take_natural(args, "ERR COUNT can't be negative")
            case b"MAXLEN":
                limit = take_natural(args, "ERR MAXLEN can't be negative")
            case _:
                raise CommandError(SYNTAX)
    return Position(key, element, rank, most, limit)


# --------------------------------------------------------------------------- reading
def get_range(client: Client, request: Range) -> Reply:
    """Returns elements from one index to another."""
    key, first, last = request
    elements = client.keys.find(key, List)
    if elements is None:
        return ()
    return elements.part(*elements.bounds(first, last))


def get_element(client: Client, request: At) -> Reply:
    """Returns the element at an index, nothing when there is none."""
    elements = client.keys.find(request.key, List)
    if elements is None:
        return None
    index = _index(request)
    return elements[index] if -len(elements) <= index < len(elements) else None


def _index(request: At) -> int:
    index = parse_integer(request.word)
    if index is None:
        raise CommandError(NOT_AN_INTEGER)
    return index


def position(client: Client, request: Position) -> Reply:
    """Returns where an element is found: one index or nothing, or as many as are asked for."""
    key, element, rank, most, limit = request
    elements = client.keys.find(key, List)
    if elements is None:
        return None if most is None else ()
    matches = elements.positions(element, backwards=rank < 0, limit=limit or None)
    found = islice(matches, abs(rank) - 1, None)
    return next(found, None) if most is None else [*islice(found, most or None)]


# --------------------------------------------------------------------------- changing
def set_element(client: Client, request: At) -> Reply:
    """Puts an element in the place of another.

    Raises:
        KeyMissing: There is no list.
        CommandError: There is no such element.
    """
    elements = client.keys.typed(request.key, List)
    try:
        elements[_index(request)] = request.element
    except IndexError:
        raise CommandError(_NO_INDEX) from None
    client.keys.changed(request.key, "lset")
    return OK


def insert(client: Client, request: Insert) -> Reply:
    """Inserts an element beside the pivot; returns the list's length, -1 without a pivot."""
    key, behind, pivot, element = request
    elements = client.keys.find(key, List)
    if elements is None:
        return 0
    at = next(elements.positions(pivot), None)
    if at is None:
        return -1
    elements.insert(at + behind, element)
    client.keys.changed(key, "linsert")
    return len(elements)


def remove(client: Client, request: Remove) -> Reply:
    """Removes elements that are equal to one; returns how many."""
    key, most, element = request
    elements = client.keys.find(key, List)
    removed = 0 if elements is None else elements.drop(element, most)
    if removed and elements is not None:
        shrunk(client.keys, key, elements, "lrem")
    return removed


def trim(client: Client, request: Range) -> Reply:
    """Removes all elements but those from one index to another."""
    key, first, last = request
    elements = client.keys.find(key, List)
    if elements is not None:
        elements.keep(*elements.bounds(first, last))
        shrunk(client.keys, key, elements, "ltrim")
    return OK


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "lrange",
        parse_range,
        get_range,
        summary="Returns some elements of a list.",
        group="list",
        arity=4,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key start stop",
    ),
    command(
        "lindex",
        parse_index,
        get_element,
        summary="Returns one element of a list.",
        group="list",
        arity=3,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key index",
    ),
    command(
        "lset",
        parse_set,
        set_element,
        summary="Puts an element in the place of another.",
        group="list",
        arity=4,
        flags=(WRITE, DENYOOM),
        keys=(1, 1, 1),
        syntax="key index element",
    ),
    command(
        "linsert",
        parse_insert,
        insert,
        summary="Puts an element before or behind the first that is equal to the pivot.",
        group="list",
        arity=5,
        flags=(WRITE, DENYOOM),
        keys=(1, 1, 1),
        syntax="key (BEFORE | AFTER) pivot element",
        since="2.2.0",
    ),
    command(
        "lrem",
        parse_remove,
        remove,
        summary="Removes elements that are equal to one: all, or some from either end.",
        group="list",
        arity=4,
        flags=(WRITE,),
        keys=(1, 1, 1),
        syntax="key count element",
    ),
    command(
        "ltrim",
        parse_range,
        trim,
        summary="Removes all elements but some in a row.",
        group="list",
        arity=4,
        flags=(WRITE,),
        keys=(1, 1, 1),
        syntax="key start stop",
    ),
    command(
        "lpos",
        parse_position,
        position,
        summary="Returns where an element is found in a list.",
        group="list",
        arity=-3,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
        since="6.0.6",
    ),
)
