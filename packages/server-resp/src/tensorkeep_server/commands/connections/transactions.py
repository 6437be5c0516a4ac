"""MULTI, EXEC, DISCARD, WATCH and UNWATCH: several commands in one go, if nothing changed.

The connection queues what comes between MULTI and EXEC. Here EXEC does it: what takes long, such
as building a model, is prepared first, while other clients are served. Then the watched keys are
looked at and all commands are done, in one turn of the loop, so that nobody comes in between.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import Args
from tensorkeep.commands.command import (
    ALLOW_BUSY,
    FAST,
    LOADING,
    NOSCRIPT,
    SKIP_SLOWLOG,
    STALE,
    Command,
    command,
    nothing,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import NULL_ARRAY, OK, Error, InVersion
from tensorkeep.rights.selector import CHANNEL, COMMAND, KEY
from tensorkeep.watch import Watch
from tensorkeep_server.allowed import IN_MULTI, denied
from tensorkeep_server.audit import noting
from tensorkeep_server.calls import call, show_monitors
from tensorkeep_server.errors import error_reply
from tensorkeep_server.later import Later
from tensorkeep_server.state import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tensorkeep.commands.reply import Reply
    from tensorkeep.rights.user import Rights
    from tensorkeep_server.state import Client

_ANY_TIME: Final = (NOSCRIPT, LOADING, STALE, FAST, ALLOW_BUSY)

_FAILED: Final = "EXECABORT Transaction discarded because of previous errors."
_FORBIDDEN_MEANWHILE: Final = (
    "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC"
    " call. This command is no longer allowed for the following reason: "
)
_WHY_FORBIDDEN: Final = {
    COMMAND: "no permission to execute the command or subcommand",
    KEY: "no permission to touch the specified keys",
    CHANNEL: "no permission to access one of the channels used as argument to the command",
}
_CANNOT_RUN: Final = Error("ERR Cannot run RedisAI command within a transaction or a LUA script")


# --------------------------------------------------------------------------- MULTI, DISCARD
def multi(client: Client, _: None) -> Reply:
    """Begins a transaction."""
    if client.transaction is not None:
        raise CommandError("ERR MULTI calls can not be nested")
    client.transaction = Transaction()
    return OK


def discard(client: Client, _: None) -> Reply:
    """Drops a transaction, and the watched keys."""
    if client.transaction is None:
        raise CommandError("ERR DISCARD without MULTI")
    client.discard()
    return OK


# --------------------------------------------------------------------------- WATCH, UNWATCH
def watch(client: Client, keys: list[bytes]) -> Reply:
    """Watches keys of the selected database, whether they are there or not."""
    if client.transaction is not None:
        raise CommandError("ERR WATCH inside MULTI is not allowed")
    for key in keys:
        client.watch.add(client.keys, key)
    return OK


def unwatch(client: Client, _: None) -> Reply:
    """Watches no key any more."""
    client.unwatch()
    return OK


# --------------------------------------------------------------------------- EXEC
def execute(client: Client, _: None) -> Later:
    """Does all commands of a transaction, or none when a watched key changed.

    As with a single command that takes long, it is done although the client went away meanwhile.
    """
    transaction = client.transaction
    if transaction is None:
        raise CommandError("ERR EXEC without MULTI")
    if transaction.failed:
        client.discard()
        raise CommandError(_FAILED)
    # It outlives the client here, whose own is new: what is watched ends with EXEC, come what may.
    watched, client.watch = client.watch, Watch()
    watched.look()
    done = Later()
    _prepare(client, watched, iter(transaction.queue), [], done)
    return done


def _prepare(
    client: Client,
    watched: Watch,
    todo: Iterator[tuple[Command, Args]],
    steps: list[Callable[[], Reply]],
    done: Later,
) -> None:
    """Begins what takes long of commands, one after another, and comes back when it is done.

    Args:
        client: Whose commands they are.
        watched: When a key of these has changed, nothing more needs to be prepared.
        todo: The commands that were not looked at yet.
        steps: What is to be done in one go; grows by one for each command.
        done: Resolved when nothing is to be waited for any more.
    """
    while not watched.changed:
        found = next(todo, None)
        if found is None:
            break
        prepared, rights = _begin(client, *found)
        if prepared is None:
            steps.append(partial(_do, client, *found))
            continue
        steps.append(partial(_finish, client, *found, prepared, rights))
        if not prepared.resolved:
            prepared.then(partial(_prepare, client, watched, todo, steps, done))
            return
    done.resolve(partial(_do_all, client, watched, steps))


def _begin(client: Client, command: Command, args: Args) -> tuple[Later | None, Rights | None]:
    """Begins what takes long of a command, if anything does; a mistake becomes its reply.

    Returns:
        What was begun, None for nothing; and the rights with which it was, None if it may not be.
    """
    if command.prepare is None:
        return None, None
    rights: Rights | None = None
    note: Callable[[Reply], None] | None = None
    try:
        _check_again(client, command, args)
        rights = client.user.rights
        note = noting(client, command, args.items)
        later: Later | None = command.prepare(client, command.parse(Args(args.items, args.at)))
    except Exception as error:  # noqa: BLE001 - the table names it, or logs it
        refusal = error_reply(error)
        later = Later()
        later.resolve(lambda: refusal)
    if later is not None:
        later.ended = note
    return later, rights


def _check_again(client: Client, command: Command, args: Args) -> None:
    """Refuses what the client might do when it asked for it, and may not any more."""
    if not client.user.unrestricted:
        denial = denied(client, command, args.items, IN_MULTI)
        if denial is not None:
            raise CommandError(_FORBIDDEN_MEANWHILE + _WHY_FORBIDDEN[denial.reason])


def _finish(
    client: Client, command: Command, args: Args, prepared: Later, rights: Rights | None
) -> Reply:
    """Ends what was prepared; as with other commands, that is when it is done.

    Args:
        client: Whose command it is.
        command: The command.
        args: Its arguments.
        prepared: What was prepared.
        rights: What the client might do when that began, None if not this. It may be another user
            by now.
    """
    if rights is not None and client.user.rights is not rights:
        try:
            _check_again(client, command, args)
        except CommandError as error:
            return error_reply(error)
    reply = prepared.finish()
    show_monitors(client, args.items)
    return reply


def _do_all(client: Client, watched: Watch, steps: list[Callable[[], Reply]]) -> Reply:
    """Does everything in one go, unless a watched key has changed."""
    replies: list[Reply] = []
    with client.server.one_moment():
        changed = watched.look()
        watched.end()
        for step in () if changed else steps:
            spoken = client.version
            reply = step()
            if type(reply) is Error:
                client.server.count_error(reply)
            if client.version != spoken:
                replies = [InVersion(spoken, earlier) for earlier in replies]
            replies.append(reply)
    client.transaction = None
    show_monitors(client, (b"EXEC",))
    return NULL_ARRAY if changed else replies


def _do(client: Client, command: Command, args: Args) -> Reply:
    """Does one command; whatever goes wrong is its reply, and the others are done all the same."""
    if command.runs:
        note = noting(client, command, args.items)
        if note is not None:
            note(_CANNOT_RUN)
        return _CANNOT_RUN
    try:
        _check_again(client, command, args)
        reply = call(client, command, args)
    except Exception as error:  # noqa: BLE001 - the table names it, or logs it
        return error_reply(error)
    # Nothing is waited for here: what may take long has `prepare`, or cannot be queued.
    return reply.finish() if isinstance(reply, Later) else reply


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "multi",
        nothing,
        multi,
        summary="Begins a transaction: the commands that follow are done at EXEC, in one go.",
        group="transactions",
        arity=1,
        flags=_ANY_TIME,
        since="1.2.0",
    ),
    command(
        "exec",
        nothing,
        execute,
        summary="Does the commands since MULTI, or none if a watched key has changed.",
        group="transactions",
        arity=1,
        flags=(NOSCRIPT, LOADING, STALE, SKIP_SLOWLOG),
        since="1.2.0",
    ),
    command(
        "discard",
        nothing,
        discard,
        summary="Drops the commands since MULTI.",
        group="transactions",
        arity=1,
        flags=_ANY_TIME,
        since="2.0.0",
    ),
    command(
        "watch",
        Args.take_rest,
        watch,
        summary="Lets EXEC do nothing if one of the keys changes before it.",
        group="transactions",
        arity=-2,
        flags=_ANY_TIME,
        keys=(1, -1, 1),
        syntax="key [key ...]",
        since="2.2.0",
    ),
    command(
        "unwatch",
        nothing,
        unwatch,
        summary="Watches no key any more.",
        group="transactions",
        arity=1,
        flags=_ANY_TIME,
        since="2.2.0",
    ),
)
