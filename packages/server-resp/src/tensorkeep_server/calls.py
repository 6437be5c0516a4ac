"""Doing a command for a client, whoever asks for it: a connection, a transaction or a script.

Here it is that others see what is done: MONITOR, and the log of what took long. As long as nobody
looks that costs one look, and the clock is read twice.
"""

from __future__ import annotations

import time
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, cast

from tensorkeep.commands.command import ADMIN, SKIP_SLOWLOG, Command
from tensorkeep.headroom import HEADROOM
from tensorkeep_server.audit import noting
from tensorkeep_server.errors import error_reply
from tensorkeep_server.later import Later
from tensorkeep_server.monitor_line import monitor_line
from tensorkeep_server.room import check_room
from tensorkeep_server.secret_words import without_secrets
from tensorkeep_server.slow_log import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.commands.args import Args, Argument
    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.state import Client


def call(client: Client, command: Command, args: Args) -> Reply | Later:
    """Does a command.

    Args:
        client: For whom.
        command: The command.
        args: Stands at its first argument.

    Raises:
        Exception: The command cannot be done; `error_reply` makes the reply.
    """
    server = client.server
    began = perf_counter()
    if HEADROOM.limited:
        check_room(command, args)
    try:
        if server.observed:
            reply = _call_observed(client, command, args)
        else:
            reply = command.handle(client, command.parse(args))
    except Exception:
        _note_time(client, command, partial(_shown, command, args), began)
        raise
    if type(reply) is Later:
        shown = partial(_shown, command, args)
        if not reply.resolved:
            # Whoever does the work has what is large of the request, and frees it.
            arguments = shown()
            shown = partial(tuple, arguments)
        note = reply.ended  # of the audit log
        reply.ended = partial(_ended, client, command, shown, began, note)
        return reply
    server.ended_at = ended_at = perf_counter()
    if ended_at - began >= server.slow_log.limit:
        _note_time(client, command, partial(_shown, command, args), began)
    return reply


def _shown(command: Command, args: Args) -> tuple[bytes, ...]:
    """Returns what the log of commands that took long shows of a request."""
    return shortened(without_secrets(command, args.items))


def _note_time(
    client: Client, command: Command, shown: Callable[[], tuple[bytes, ...]], began: float
) -> None:
    """Notes a command that has ended, if it took long."""
    log = client.server.slow_log
    client.server.ended_at = ended_at = perf_counter()
    took = ended_at - began
    if took >= log.limit and SKIP_SLOWLOG not in command.flags:
        log.add(
            shown(),
            took,
            ended_at=time.time(),
            address=client.address,
            name=client.name,
        )


def _ended(  # noqa: PLR0913, PLR0917 - what is known when it begins
    client: Client,
    command: Command,
    shown: Callable[[], tuple[bytes, ...]],
    began: float,
    note: Callable[[Reply], object] | None,
    reply: Reply,
) -> None:
    """Notes a command whose reply has come later."""
    _note_time(client, command, shown, began)
    if note is not None:
        note(reply)


def _call_observed(client: Client, command: Command, args: Args) -> Reply | Later:
    note = noting(client, command, args.items)
    if note is None:
        return _call_watched(client, command, args)
    try:
        reply = _call_watched(client, command, args)
    except Exception as error:
        note(error_reply(error))
        raise
    if type(reply) is Later:
        reply.ended = note
    else:
        note(cast("Reply", reply))
    return reply


def _call_watched(client: Client, command: Command, args: Args) -> Reply | Later:
    server = client.server
    reply: Reply | Later
    outer, server.doing = server.doing, command
    try:
        reply = command.handle(client, command.parse(args))
    finally:
        server.doing = outer
        # EXEC shows itself behind what it does, unless it does nothing.
        shows_itself = command.name == "exec" and client.transaction is not None
        if ADMIN not in command.flags and not shows_itself:
            show_monitors(client, without_secrets(command, args.items))
    return reply


def show_monitors(client: Client, request: Sequence[Argument]) -> None:
    """Shows a request to all who said MONITOR."""
    server = client.server
    if not server.monitors:
        return
    address = client.address
    if address == f"{server.settings.unix_socket}:0":
        address = f"unix:{server.settings.unix_socket}"
    line = monitor_line(request, at=time.time(), database=client.database, address=address)
    for monitor in tuple(server.monitors):
        monitor.push((line,), len(line))
