"""OBJECT: what can be told of a key besides its value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import Args
from tensorkeep.commands.command import (
    NEITHER,
    READONLY,
    Command,
    Difference,
    command,
    container,
    only_subcommands,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep_memory.frequency import frequency as counted
from tensorkeep_memory.values.kinds import type_of

if TYPE_CHECKING:
    from tensorkeep.commands.reply import Reply
    from tensorkeep_memory.client import Client

_NO_FREQUENCY: Final = (
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that"
    " when switching between policies at runtime LRU and LFU data will take some time to adjust."
)
_NO_IDLE_TIME: Final = (
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when"
    " switching between policies at runtime LRU and LFU data will take some time to adjust."
)


def encoding(client: Client, key: bytes) -> Reply:
    """Returns how a value is kept."""
    value = client.keys.get(key, touch=False)
    return None if value is None else type_of(value).encoding(value)


def reference_count(client: Client, key: bytes) -> Reply:
    """Returns 1: what else refers to a value is nobody's business."""
    return 1 if key in client.keys else None


def idle_time(client: Client, key: bytes) -> Reply:
    """Returns the seconds since a key was last used.

    Raises:
        CommandError: The key is there, and it is counted how often it is used instead.
    """
    keys = client.keys
    entry = keys.entry(key)
    if entry is None:
        return None
    if keys.counts_uses:
        raise CommandError(_NO_IDLE_TIME)
    return max(int(keys.time() - entry.touched), 0)


def frequency(client: Client, key: bytes) -> Reply:
    """Returns how often a key is used, as a counter that grows slowly and falls with time.

    Raises:
        CommandError: The key is there, and it is not counted.
    """
    keys = client.keys
    entry = keys.entry(key)
    if entry is None:
        return None
    if not keys.counts_uses:
        raise CommandError(_NO_FREQUENCY)
    return counted(entry.touched, keys.time())


_OBJECT: Final = (
    command(
        "encoding",
        Args.take,
        encoding,
        summary="Returns how the value under a key is kept.",
        group="generic",
        arity=3,
        flags=(READONLY,),
        keys=(2, 2, 1),
        access=NEITHER,
        syntax="key",
        since="2.2.3",
        tips=("nondeterministic_output",),
    ),
    command(
        "freq",
        Args.take,
        frequency,
        summary="Returns how often a key is used, where an LFU policy counts it.",
        group="generic",
        arity=3,
        flags=(READONLY,),
        keys=(2, 2, 1),
        access=NEITHER,
        syntax="key",
        since="4.0.0",
        tips=("nondeterministic_output",),
    ),
    command(
        "idletime",
        Args.take,
        idle_time,
        summary="Returns the seconds since a key was last used.",
        group="generic",
        arity=3,
        flags=(READONLY,),
        keys=(2, 2, 1),
        access=NEITHER,
        syntax="key",
        since="2.2.3",
        tips=("nondeterministic_output",),
    ),
    command(
        "refcount",
        Args.take,
        reference_count,
        summary="Returns 1 for every key.",
        differences=(
            Difference(
                "2147483647 for small integers, which are one object wherever they stand.",
                "1 for every key.",
                "Nothing is shared so.",
            ),
        ),
        group="generic",
        arity=3,
        flags=(READONLY,),
        keys=(2, 2, 1),
        access=NEITHER,
        syntax="key",
        since="2.2.3",
        tips=("nondeterministic_output",),
    ),
)
COMMANDS: Final[tuple[Command, ...]] = (
    container(
        only_subcommands("object", summary="Tells about keys.", group="generic", since="2.2.3"),
        _OBJECT,
        help_since="6.2.0",
    ),
)
