"""Which arguments of a request are keys, and what the command does with each."""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING

from tensorkeep.commands.command import NO_KEYS, PUBSUB, READONLY, TO_CHANGE, TO_READ, WRITE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorkeep.commands.args import Argument, Request
    from tensorkeep.commands.command import Command


def keys_of(command: Command, request: Request) -> list[Argument]:
    """Returns the keys of a request.

    Args:
        command: The command, or the subcommand.
        request: The whole request.
    """
    if not isinstance(command.keys, tuple):
        return command.keys(request)
    first, last, step = command.keys
    stop = last + 1 if last > 0 else len(request) + last + 1
    return list(request[first:stop:step]) if stop <= len(request) else []


def access_of(command: Command, request: Request) -> Iterable[tuple[Argument, int]]:
    """Returns the keys of a request, each with what is done with it.

    Args:
        command: The command, or the subcommand.
        request: The whole request, whose number of arguments is right.

    Returns:
        Keys, and of each `TO_READ`, `TO_CHANGE`, both added, or 0 for neither.
    """
    if callable(command.access):
        return command.access(request)
    if command.keys == NO_KEYS or PUBSUB in command.flags:  # those are channels
        return ()
    keys = keys_of(command, request)
    kinds = command.access or (_by_flags(command),)
    return zip(keys, chain(kinds, repeat(kinds[-1])), strict=False)


def _by_flags(command: Command) -> int:
    if READONLY in command.flags:
        return TO_READ
    return TO_CHANGE if WRITE in command.flags else 0
