"""MONITOR, SLOWLOG and LATENCY: what an operator can see of the commands of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import Args
from tensorkeep.commands.command import (
    ADMIN,
    LOADING,
    NOSCRIPT,
    STALE,
    Command,
    Difference,
    command,
    container,
    nothing,
    only_subcommands,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import OK, Verbatim

if TYPE_CHECKING:
    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.state import Client

_LOOKING: Final = (ADMIN, LOADING, STALE)
_WATCHING: Final = (ADMIN, NOSCRIPT, LOADING, STALE)
_NODES: Final = "request_policy:all_nodes"
_ALL_SUCCEED: Final = "response_policy:all_succeeded"
_CHANGING: Final = "nondeterministic_output"
_LATENCY_TIPS: Final = (_CHANGING, _NODES, "response_policy:special")

_USUAL_COUNT: Final = 10  # Redis' own
_BAD_COUNT: Final = "ERR count should be greater than or equal to -1"
_ADVICE: Final = (
    "Latency events are not recorded. Commands that took long are in SLOWLOG GET, what waits for a"
    " device in INFO devices, and what models take in AI.INFO.\n"
)


# --------------------------------------------------------------------------- MONITOR
def monitor(client: Client, _: None) -> Reply:
    """Shows the client every command that is done from now on, but for those of operators."""
    if client.transaction is not None:
        raise CommandError("ERR MONITOR isn't allowed for DENY BLOCKING client")
    client.server.monitors[client] = None
    client.server.observe()
    return OK


# --------------------------------------------------------------------------- SLOWLOG
def parse_get(args: Args) -> int | None:
    """Parses SLOWLOG GET [count]; None is all."""
    if len(args) > 1:
        raise args.wrong_subcommand()
    count = args.take_integer(_BAD_COUNT) if len(args) else _USUAL_COUNT
    if count < -1:
        raise CommandError(_BAD_COUNT)
    return None if count == -1 else count


def slow_commands(client: Client, count: int | None) -> Reply:
    """Returns the last commands that took long, the newest first."""
    return tuple(
        (
            *(entry.id, entry.ended_at, entry.microseconds, entry.arguments),
            *(entry.address.encode(), entry.name.encode()),
        )
        for entry in client.server.slow_log.latest(count)
    )


def count_slow_commands(client: Client, _: None) -> Reply:
    """Returns how many commands are kept."""
    return len(client.server.slow_log)


def forget_slow_commands(client: Client, _: None) -> Reply:
    """Forgets all commands that took long."""
    client.server.slow_log.clear()
    return OK


# --------------------------------------------------------------------------- LATENCY
def no_events(_client: Client, _request: object) -> Reply:
    """Says that there are none, as Redis does where they are not recorded."""
    return ()


def no_resets(_client: Client, _request: object) -> Reply:
    """Says that nothing was reset."""
    return 0


def advise(_client: Client, _request: None) -> Reply:
    """Says where to look instead."""
    return Verbatim(_ADVICE)


_SLOWLOG: Final = (
    command(
        "get",
        parse_get,
        slow_commands,
        summary="Returns the last commands that took long: number, time, microseconds, arguments,"
        " address and name of the client.",
        group="server",
        arity=-2,
        flags=_LOOKING,
        syntax="[count]",
        since="2.2.12",
        tips=(_NODES, _CHANGING),
    ),
    command(
        "len",
        nothing,
        count_slow_commands,
        summary="Returns how many commands that took long are kept.",
        group="server",
        arity=2,
        flags=_LOOKING,
        since="2.2.12",
        tips=(_NODES, "response_policy:agg_sum", _CHANGING),
    ),
    command(
        "reset",
        nothing,
        forget_slow_commands,
        summary="Forgets the commands that took long.",
        group="server",
        arity=2,
        flags=_LOOKING,
        since="2.2.12",
        tips=(_NODES, _ALL_SUCCEED),
    ),
)
_NOT_RECORDED: Final = (
    Difference(
        "Once `latency-monitor-threshold` is set, records what took long inside the server.",
        "It cannot be set, and nothing is recorded.",
        "What takes long here are runs and loads of models: SLOWLOG, AI.INFO and INFO show them.",
    ),
)
_LATENCY: Final = (
    command(
        "doctor",
        nothing,
        advise,
        summary="Says where to look for what takes long.",
        group="server",
        arity=2,
        flags=_WATCHING,
        since="2.8.13",
        tips=_LATENCY_TIPS,
        differences=_NOT_RECORDED,
    ),
    command(
        "history",
        Args.take,
        no_events,
        summary="Returns nothing: latency events are not recorded.",
        group="server",
        arity=3,
        flags=_WATCHING,
        syntax="event",
        since="2.8.13",
        tips=_LATENCY_TIPS,
        differences=_NOT_RECORDED,
    ),
    command(
        "latest",
        nothing,
        no_events,
        summary="Returns nothing: latency events are not recorded.",
        group="server",
        arity=2,
        flags=_WATCHING,
        since="2.8.13",
        tips=_LATENCY_TIPS,
        differences=_NOT_RECORDED,
    ),
    command(
        "reset",
        Args.take_rest,
        no_resets,
        summary="Returns 0: latency events are not recorded.",
        group="server",
        arity=-2,
        flags=_WATCHING,
        syntax="[event ...]",
        since="2.8.13",
        tips=(_NODES, _ALL_SUCCEED),
        differences=_NOT_RECORDED,
    ),
)
COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "monitor",
        nothing,
        monitor,
        summary="Shows the connection every command that is done, but for those of operators.",
        differences=(
            Difference(
                "Shows arguments whole.",
                "Cuts each after 1 KB, and all after 64 KB.",
                "They are tensors and models here: one client that looks would slow every other.",
            ),
        ),
        group="server",
        arity=1,
        flags=_WATCHING,
    ),
    container(
        only_subcommands(
            "slowlog",
            summary="Tells about commands that took long.",
            group="server",
            since="2.2.12",
        ),
        _SLOWLOG,
        help_since="6.2.0",
    ),
    container(
        only_subcommands(
            "latency", summary="Tells about latency events.", group="server", since="2.8.13"
        ),
        _LATENCY,
        help_since="2.8.13",
    ),
)
