"""Commands on the ends of lists: LPUSH, LPOP, LMOVE and the like.

The last element takes its key with it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.args import SYNTAX, Args
from tensorkeep.commands.command import (
    DENYOOM,
    FAST,
    NEITHER,
    READONLY,
    TO_CHANGE,
    TO_READ,
    WRITE,
    Command,
    command,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import NULL_ARRAY
from tensorkeep_memory.values.sequence import List

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.commands.args import Argument
    from tensorkeep.commands.reply import Reply
    from tensorkeep_memory.client import Client
    from tensorkeep_memory.keyspace import Keyspace


_NOT_POSITIVE: Final = "ERR value is out of range, must be positive"
_POPPED: Final = ("lpop", "rpop")  # by whether it was the last element


# --------------------------------------------------------------------------- arguments
class Push(NamedTuple):
    """A key, and elements in the order in which they are added to its list."""

    key: bytes
    elements: Sequence[Argument]


class Pop(NamedTuple):
    """LPOP and RPOP key [count].

    Attributes:
        key: The key.
        most: How many elements to take; None for one, not in an array.
    """

    key: bytes
    most: int | None


class Move(NamedTuple):
    """LMOVE source destination LEFT | RIGHT LEFT | RIGHT.

    Attributes:
        source: The list to take from.
        target: The list to add to.
        from_last: Whether the last element is taken.
        to_last: Whether it is added behind the last.
    """

    source: bytes
    target: bytes
    from_last: bool
    to_last: bool


def parse_push(args: Args) -> Push:
    """Parses a key and elements."""
    return Push(args.take(), args.items[args.at :])


def parse_pop(args: Args, *, name: str) -> Pop:
    """Parses LPOP and RPOP."""
    if len(args) > 2:  # noqa: PLR2004 - key and count
        raise CommandError(f"ERR wrong number of arguments for '{name}' command")
    return Pop(args.take(), take_natural(args, _NOT_POSITIVE) if len(args) else None)


def take_natural(args: Args, error: str) -> int:
    """Takes an integer that is not negative."""
    number = args.take_integer(error)
    if number < 0:
        raise CommandError(error)
    return number


def parse_move(args: Args) -> Move:
    """Parses LMOVE."""
    return Move(args.take(), args.take(), _take_last(args), _take_last(args))


def _take_last(args: Args) -> bool:
    """Takes LEFT or RIGHT; returns whether it is RIGHT, which is the last element."""
    word = args.take_keyword()
    if word not in {b"LEFT", b"RIGHT"}:
        raise CommandError(SYNTAX)
    return word == b"RIGHT"


def parse_pop_and_push(args: Args) -> Move:
    """Parses RPOPLPUSH."""
    return Move(args.take(), args.take(), from_last=True, to_last=False)


# --------------------------------------------------------------------------- at the ends
def push(client: Client, request: Push, *, last: bool) -> Reply:
    """Adds elements at an end of a list, or makes one; returns its length."""
    key, added = request
    keys = client.keys
    elements = keys.find(key, List)
    if elements is None:
        elements = List()
        keys.set(key, elements)
    if last:
        elements.extend(added)
        keys.changed(key, "rpush")
    else:
        elements.extendleft(added)
        keys.changed(key, "lpush")
    return len(elements)


def push_if_there(client: Client, request: Push, *, last: bool) -> Reply:
    """Adds elements at an end of a list; returns its length, 0 when there is none."""
    return 0 if client.keys.find(request.key, List) is None else push(client, request, last=last)


def pop(client: Client, request: Pop, *, last: bool) -> Reply:
    """Takes elements from an end of a list; returns them, nothing when there is no list."""
    key, most = request
    elements = client.keys.find(key, List)
    if elements is None:
        return None if most is None else NULL_ARRAY
    take = elements.pop if last else elements.popleft
    event = _POPPED[last]
    if most is None:
        element = take()
        shrunk(client.keys, key, elements, event)
        return element
    if not most:
        return ()
    taken = tuple([take() for _ in range(min(most, len(elements)))])
    shrunk(client.keys, key, elements, event)
    return taken


def move(client: Client, request: Move) -> Reply:
    """Takes an element from a list and adds it to another, or to the same; returns it."""
    source, target, from_last, to_last = request
    keys = client.keys
    elements = keys.find(source, List)
    if elements is None:
        return None
    keys.find(target, List)
    element = elements.pop() if from_last else elements.popleft()
    push(client, Push(target, (element,)), last=to_last)
    shrunk(keys, source, elements, _POPPED[from_last])
    return element


def shrunk(keys: Keyspace, key: bytes, elements: List, event: str) -> None:
    """Takes note that elements were taken out; without any, there is no list.

    Args:
        keys: Where the list is.
        key: Its key.
        elements: The list.
        event: What the taking is called.
    """
    keys.changed(key, event)
    if not elements:
        keys.delete(key)


def length(client: Client, key: bytes) -> Reply:
    """Returns how many elements a list has; 0 when there is none."""
    return len(client.keys.find(key, List) or ())


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "lpush",
        parse_push,
        partial(push, last=False),
        summary="Adds elements before the first of a list, and returns its length.",
        group="list",
        arity=-3,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        syntax="key element [element ...]",
    ),
    command(
        "rpush",
        parse_push,
        partial(push, last=True),
        summary="Adds elements behind the last of a list, and returns its length.",
        group="list",
        arity=-3,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        syntax="key element [element ...]",
    ),
    command(
        "lpushx",
        parse_push,
        partial(push_if_there, last=False),
        summary="Adds elements before the first of a list, if there is one.",
        group="list",
        arity=-3,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        syntax="key element [element ...]",
        since="2.2.0",
    ),
    command(
        "rpushx",
        parse_push,
        partial(push_if_there, last=True),
        summary="Adds elements behind the last of a list, if there is one.",
        group="list",
        arity=-3,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        syntax="key element [element ...]",
        since="2.2.0",
    ),
    command(
        "lpop",
        partial(parse_pop, name="lpop"),
        partial(pop, last=False),
        summary="Takes the first element or elements of a list.",
        group="list",
        arity=-2,
        flags=(WRITE, FAST),
        keys=(1, 1, 1),
        access=(TO_READ | TO_CHANGE,),
        syntax="key [count]",
    ),
    command(
        "rpop",
        partial(parse_pop, name="rpop"),
        partial(pop, last=True),
        summary="Takes the last element or elements of a list, the last one first.",
        group="list",
        arity=-2,
        flags=(WRITE, FAST),
        keys=(1, 1, 1),
        access=(TO_READ | TO_CHANGE,),
        syntax="key [count]",
    ),
    command(
        "llen",
        Args.take,
        length,
        summary="Returns how many elements a list has.",
        group="list",
        arity=2,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        access=NEITHER,
        syntax="key",
    ),
    command(
        "lmove",
        parse_move,
        move,
        summary="Takes an element from an end of a list and adds it at an end of another.",
        group="list",
        arity=5,
        flags=(WRITE, DENYOOM),
        keys=(1, 2, 1),
        access=(TO_READ | TO_CHANGE, TO_CHANGE),
        syntax="source destination (LEFT | RIGHT) (LEFT | RIGHT)",
        since="6.2.0",
    ),
    command(
        "rpoplpush",
        parse_pop_and_push,
        move,
        summary="Takes the last element of a list and adds it before the first of another.",
        group="list",
        arity=3,
        flags=(WRITE, DENYOOM),
        keys=(1, 2, 1),
        access=(TO_READ | TO_CHANGE, TO_CHANGE),
        syntax="source destination",
        since="1.2.0",
    ),
)
