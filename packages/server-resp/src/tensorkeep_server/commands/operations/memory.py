"""MEMORY: what keys, and the server as a whole, take of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import SYNTAX
from tensorkeep.commands.command import (
    NEITHER,
    READONLY,
    Command,
    Difference,
    command,
    container,
    nothing,
    only_subcommands,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import OK, Map, Verbatim
from tensorkeep_server.freed_memory import give_back
from tensorkeep_server.memory_look import look
from tensorkeep_server.process import this_process

if TYPE_CHECKING:
    from tensorkeep.commands.args import Args
    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.state import Client

_CHANGING: Final = "nondeterministic_output"
_NODES: Final = "request_policy:all_shards"
_EACH: Final = (_CHANGING, _NODES, "response_policy:special")

_ADVICE: Final = (
    "Nothing is diagnosed: this server has no allocator of its own to look into. INFO memory says"
    " what is used (used_memory) and what the process takes of the system (used_memory_rss), MEMORY"
    " STATS of what it consists, MEMORY USAGE what a key takes with its value, and INFO ai what"
    " backends take.\n"
)
_NO_STATISTICS: Final = b"Stats not supported for the current allocator"  # Redis' own words


def parse_usage(args: Args) -> bytes:
    """Parses key [SAMPLES count], of which only the key matters."""
    key = args.take()
    while len(args):
        if not args.optional(b"SAMPLES") or not len(args) or args.take_integer() < 0:
            raise CommandError(SYNTAX)
    return key


def usage(client: Client, key: bytes) -> Reply:
    """Returns about how many bytes a key takes, with its value's data.

    RedisAI told Redis nothing of what its values held, so the original answers the key's overhead
    alone, some 32 bytes for a tensor of any size. Whoever asks wants to know what the data takes:
    here it counts. A model counts as the blob that it was stored as.
    """
    value = client.keys.get(key, touch=False)
    return None if value is None else client.server.local_store.memory_of(key, value)


def statistics(client: Client, _: None) -> Reply:
    """Returns what is taken, by Redis' names for it; what has none here is left out."""
    server = client.server
    look(server)
    memory, process = server.memory, this_process()
    used, overhead, startup = memory.used, memory.overhead, memory.startup
    peak = max(memory.peak, used)
    keys = sum(map(len, server.databases))
    return Map(
        (
            (b"peak.allocated", peak),
            (b"total.allocated", used),
            (b"startup.allocated", startup),
            (b"clients.normal", server.clients_memory.total),
            (b"models", memory.models),
            *(
                (b"db.%d" % number, Map(((b"overhead.hashtable.main", keys_of.structures),)))
                for number, keys_of in enumerate(server.databases)
                if len(keys_of)
            ),
            (b"overhead.total", overhead),
            (b"keys.count", keys),
            (b"keys.bytes-per-key", (used - startup) // max(keys, 1)),
            (b"dataset.bytes", used - overhead),
            (b"dataset.percentage", 100 * (used - overhead) / max(used - startup, 1)),
            (b"peak.percentage", 100 * used / max(peak, 1)),
            (b"fragmentation", process.memory / max(used, 1)),
            (b"fragmentation.bytes", process.memory - used),
        )
    )


def advise(_client: Client, _request: None) -> Reply:
    """Says where to look instead."""
    return Verbatim(_ADVICE)


def no_statistics(_client: Client, _request: None) -> Reply:
    """Returns as Redis does where it cannot ask its allocator."""
    return _NO_STATISTICS


def purge(_client: Client, _request: None) -> Reply:
    """Gives memory that was freed back to the system."""
    give_back()
    return OK


_LESS: Final = (
    Difference(
        "Knows what the allocator does with memory, and judges it.",
        "Tells what is counted: the process at its start, keys and values, models and clients.",
        "Python and the frameworks have no common allocator that could be asked.",
    ),
)
_MEMORY: Final = (
    command(
        "doctor",
        nothing,
        advise,
        summary="Says where to look for what takes memory.",
        differences=_LESS,
        group="server",
        arity=2,
        since="4.0.0",
        tips=_EACH,
    ),
    command(
        "malloc-stats",
        nothing,
        no_statistics,
        summary="Says that there are no statistics of the allocator.",
        group="server",
        arity=2,
        since="4.0.0",
        tips=_EACH,
    ),
    command(
        "purge",
        nothing,
        purge,
        summary="Gives memory that was freed back to the system.",
        group="server",
        arity=2,
        since="4.0.0",
        tips=(_NODES, "response_policy:all_succeeded"),
    ),
    command(
        "stats",
        nothing,
        statistics,
        summary="Returns how many bytes are used, and of what they consist.",
        differences=_LESS,
        group="server",
        arity=2,
        since="4.0.0",
        tips=_EACH,
    ),
    command(
        "usage",
        parse_usage,
        usage,
        summary="Returns about how many bytes a key and its value take.",
        differences=(
            Difference(
                "Some 32 bytes for tensors, models and scripts of any size.",
                "What they hold counts.",
                "Whoever asks wants to know it.",
            ),
        ),
        group="server",
        arity=-3,
        flags=(READONLY,),
        keys=(2, 2, 1),
        access=NEITHER,
        syntax="key [SAMPLES count]",
        since="4.0.0",
    ),
)
COMMANDS: Final[tuple[Command, ...]] = (
    container(
        only_subcommands("memory", summary="Tells about memory.", group="server", since="4.0.0"),
        _MEMORY,
        help_since="4.0.0",
    ),
)
