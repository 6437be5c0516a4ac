"""What commands on hashes, sets and sorted sets share: scans, and elements at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.args import SYNTAX
from tensorkeep.commands.errors import CommandError
from tensorkeep_memory.scanning import matching, read_cursor, read_options

if TYPE_CHECKING:
    from tensorkeep.commands.args import Args
    from tensorkeep_memory.keyspace import Keyspace
    from tensorkeep_memory.values.containers import Container

_INT64_MAX: Final = 2**63 - 1
# Most elements that are drawn with repeats. Redis tries to answer any number, and runs out of
# memory; this is as many as a request may have arguments.
_MOST_DRAWN: Final = 1024 * 1024
_NOT_POSITIVE: Final = "ERR value is out of range, must be positive"
_MOST_WITH_VALUES: Final = _INT64_MAX // 2  # so that twice as many can be counted


class ElementScan(NamedTuple):
    """HSCAN, SSCAN or ZSCAN key cursor [MATCH pattern] [COUNT count].

    Options are read only after the key was looked at: a missing one wins over mistakes in them.

    Attributes:
        key: The key.
        cursor: Where to go on; 0 begins.
        options: Stands behind the cursor.
    """

    key: bytes
    cursor: int
    options: Args


class Draw(NamedTuple):
    """Elements at random: key [count].

    Attributes:
        key: The key.
        number: So many different ones; if negative, so many with repeats; None for one alone.
        with_values: Whether each comes with its value.
    """

    key: bytes
    number: int | None = None
    with_values: bool = False


def parse_scan(args: Args) -> ElementScan:
    """Parses key and cursor."""
    return ElementScan(args.take(), read_cursor(args.take()), args)


def scan(elements: Container, request: ElementScan) -> tuple[bytes, list[bytes]]:
    """Returns the cursor to go on with, and elements that match."""
    options = read_options(request.options, of_keys=False)
    cursor, found = elements.scan(request.cursor, options.limit)
    return b"%d" % cursor, matching(found, options.pattern)


def take_count(args: Args) -> int:
    """Takes how many elements are to be drawn.

    Raises:
        CommandError: It is no integer whose negative is one, too.
    """
    count = args.take_integer()
    if count < -_INT64_MAX:
        raise _out_of_range(_INT64_MAX)
    return count


def parse_pop(args: Args) -> Draw:
    """Parses key [count], how many elements are to be removed and answered."""
    key = args.take()
    if not len(args):
        return Draw(key)
    if len(args) > 1:
        raise CommandError(SYNTAX)
    count = args.take_integer(_NOT_POSITIVE)
    if count < 0:
        raise CommandError(_NOT_POSITIVE)
    return Draw(key, count)


def parse_draw(args: Args, *, values: bytes) -> Draw:
    """Parses key [count [values]].

    Args:
        args: Stands before the key.
        values: The word that asks for what belongs to each element.
    """
    key = args.take()
    if not len(args):
        return Draw(key)
    count = take_count(args)
    if not len(args):
        return Draw(key, count)
    if not args.optional(values) or len(args):
        raise CommandError(SYNTAX)
    if not -_MOST_WITH_VALUES <= count <= _MOST_WITH_VALUES:
        raise CommandError("ERR value is out of range")
    return Draw(key, count, with_values=True)


def draw(elements: Container, number: int) -> list[bytes]:
    """Returns elements at random: different ones, or for a negative number with repeats.

    Raises:
        CommandError: More are asked for than can be answered.
    """
    if number >= 0:
        return elements.sample(number)
    if number < -_MOST_DRAWN:
        raise _out_of_range(_MOST_DRAWN)
    return elements.draw(-number)


def _out_of_range(most: int) -> CommandError:
    return CommandError(
        f"ERR value is out of range, value must between {-most} and {_INT64_MAX}"  # sic
    )


def settle(keys: Keyspace, key: bytes, elements: Container, event: str) -> None:
    """Sees to it that a change is noticed, and that nothing empty stays under a key.

    Args:
        keys: Where the value is.
        key: Its key.
        elements: The value.
        event: What the change is called.
    """
    keys.changed(key, event)
    if not elements.content:
        keys.delete(key)
