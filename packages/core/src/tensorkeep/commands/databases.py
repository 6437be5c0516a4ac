"""Numbers of databases, as commands name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.errors import CommandError

if TYPE_CHECKING:
    from tensorkeep.commands.args import Args

DATABASES: Final = 16
"""Number of databases of a local store: Redis' default."""

_INT32: Final = range(-(2**31), 2**31)


def read_database(args: Args) -> int:
    """Reads the number of a database that there is.

    Raises:
        CommandError: It is no number, or there is no such database.
    """
    index = args.take_integer()
    if index not in _INT32:
        raise CommandError(
            "ERR value is out of range, value must between -2147483648 and 2147483647"
        )
    if not 0 <= index < DATABASES:
        raise CommandError("ERR DB index is out of range")
    return index
