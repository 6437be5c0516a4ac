"""The categories of commands, by which rights are given to many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.command import ADMIN, FAST, MODULE, PUBSUB, READONLY, WRITE

if TYPE_CHECKING:
    from tensorkeep.commands.command import Command

OF_AI_COMMANDS: Final = ("tensor", "model", "script", "run")
"""The categories of the AI commands alone."""

CATEGORIES: Final = (
    *("keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap"),
    *("hyperloglog", "geo", "stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous"),
    *("connection", "transaction", "scripting"),
    *OF_AI_COMMANDS,
)
"""Redis' own in the order in which it shows them, then those of the AI commands."""

_OF_GROUP: Final = {
    "generic": "keyspace",
    "sorted-set": "sortedset",
    "transactions": "transaction",
    "pubsub": "",  # follows from the flag
    MODULE: "",  # the table names them
}
_OF_FLAG: Final = {
    READONLY: ("read",),
    WRITE: ("write",),
    ADMIN: ("admin", "dangerous"),
    FAST: ("fast",),
    PUBSUB: ("pubsub",),
}


def categories_of(command: Command) -> list[str]:
    """Returns a command's categories: as in Redis, most follow from its flags and group.

    The AI commands are neither slow nor fast: how long they take hangs on the model.
    """
    chosen = set(command.categories)
    for flag in command.flags:
        chosen.update(_OF_FLAG.get(flag, ()))
    if FAST not in command.flags and MODULE not in command.flags:
        chosen.add("slow")
    if not command.subcommands:
        chosen.add(_OF_GROUP.get(command.group, command.group))
    return [category for category in CATEGORIES if category in chosen]
