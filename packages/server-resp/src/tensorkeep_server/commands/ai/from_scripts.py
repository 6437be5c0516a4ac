"""What scripts ask of the server: commands in the name of the client that called them, and models.

A script's commands are done at once, between those of other clients. It cannot wait for what runs
models or scripts in turn: its own worker may be the one that would have to.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, cast

from tensorkeep.commands.args import keyword
from tensorkeep.commands.command import MODULE, NOSCRIPT, TO_READ
from tensorkeep.commands.errors import CommandError, Refused
from tensorkeep.commands.reply import RESP2
from tensorkeep.errors import CommandFailed, StoreError, TensorkeepError
from tensorkeep.model import Model
from tensorkeep.rights.selector import KEY, Denial
from tensorkeep.store import Wanted
from tensorkeep.watch import Watch
from tensorkeep_server.allowed import (
    IN_SCRIPT,
    check_over_engine,
    denied,
    note_denial,
    refusal,
    rights_over_engine,
)
from tensorkeep_server.calls import call
from tensorkeep_server.commands.ai.execute import wrong_count
from tensorkeep_server.commands.ai.models import stored_model
from tensorkeep_server.encoding import plain
from tensorkeep_server.errors import error_reply
from tensorkeep_server.later import Later
from tensorkeep_server.memory_room import check_memory
from tensorkeep_server.remote_calls import call_remotely, session_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.hookspecs import CommandReply
    from tensorkeep.script_access import Access
    from tensorkeep.store import LocalKeys, Result, Values
    from tensorkeep_server.state import Client

# What a script may not say to a remote store: it would be said of its client's connection.
_OF_CONNECTIONS: Final = frozenset(
    {
        *(b"auth", b"client", b"hello", b"monitor", b"quit", b"reset", b"select", b"wait"),
        *(b"multi", b"exec", b"discard", b"watch", b"unwatch", b"psync", b"sync", b"shutdown"),
        *(b"subscribe", b"psubscribe", b"ssubscribe"),
        *(b"unsubscribe", b"punsubscribe", b"sunsubscribe"),
        *(b"blpop", b"brpop", b"blmove", b"blmpop", b"brpoplpush", b"bzpopmin", b"bzpopmax"),
        *(b"waitaof", b"readonly", b"readwrite", b"asking"),
        *(b"bzmpop", b"eval", b"evalsha", b"eval_ro", b"evalsha_ro", b"fcall", b"fcall_ro"),
    }
)
_OF_STREAMS: Final = frozenset({b"xread", b"xreadgroup"})
_UNCALLABLE: Final = (  # how engines begin what they say of a command that cannot be called at all
    "ERR unknown command",
    "ERR unknown subcommand",
    "ERR wrong number of arguments for",
)
_NOT_FROM_SCRIPT: Final = "ERR This Redis command is not allowed from script"


class ClientAccess:
    """`script_access.Access` with the rights, and in the database, of a client.

    Args:
        client: The client. What its script says of the connection, such as SELECT, is not said of
            the client's own.
    """

    def __init__(self, client: Client) -> None:
        self._client = _for_script(client)

    def execute(
        self, request: Sequence[bytes], done: Callable[[Callable[[], CommandReply]], None]
    ) -> None:
        """See `script_access.Access.execute`."""
        server = self._client.server
        try:
            command, args = server.commands.find(request)
        except Refused as error:
            # The original knew no more than the C library's word for it; clients look for that.
            raise CommandFailed(f"Invalid argument ({error.line})") from error
        if command.runs or NOSCRIPT in command.flags:
            raise CommandFailed(_NOT_FROM_SCRIPT)
        if not self._client.user.unrestricted:
            denial = denied(self._client, command, request, IN_SCRIPT)
            if denial is not None:
                raise CommandFailed(refusal(denial))
        try:
            if server.memory.limit:
                check_memory(self._client, command, request)
            reply = call(self._client, command, args)
        except Exception as error:  # noqa: BLE001 - the table names it, or logs it
            reply = error_reply(error)
        if not isinstance(reply, Later):
            done(partial(plain, reply))
        elif reply.resolved:
            done(partial(plain, reply.finish()))
        else:
            later = reply
            later.then(lambda: done(partial(plain, later.finish())))

    def model(
        self, key: bytes, inputs: int, outputs: int, done: Callable[[Model | Exception], None]
    ) -> None:
        """See `script_access.Access.model`."""
        if not self._client.user.rights.may_use(key, TO_READ):
            denial = Denial(KEY, key)
            note_denial(self._client, self._client.last_command, denial, IN_SCRIPT)
            done(CommandFailed(refusal(denial)))
            return
        done(_fitting_model(self._client, key, inputs, outputs))


class RemoteAccess:
    """`script_access.Access` to a remote store, with the rights and in the database of a client.

    Args:
        client: The client, which waits for its script: its connection to the engine is free.
    """

    def __init__(self, client: Client) -> None:
        self._client = _for_script(client)

    def execute(
        self, request: Sequence[bytes], done: Callable[[Callable[[], CommandReply]], None]
    ) -> None:
        """See `script_access.Access.execute`."""
        name = bytes(request[0]).lower()
        command = self._client.server.commands.get(request[0])
        if (
            name in _OF_CONNECTIONS
            or (command is not None and command.runs)
            or (name in _OF_STREAMS and _waits(request))
        ):
            raise CommandFailed(_NOT_FROM_SCRIPT)
        if command is None or MODULE not in command.flags:
            session_of(self._client).ask(request, lambda reply: done(partial(_plain, reply)))
            return
        try:
            command, args = self._client.server.commands.find(request)
        except Refused as error:
            raise CommandFailed(f"Invalid argument ({error.line})") from error
        try:
            check_over_engine(self._client, command, request)
        except Refused as error:
            raise CommandFailed(error.line) from error
        later = call_remotely(self._client, command, args)
        if later.resolved:
            done(partial(plain, later.finish()))
        else:
            later.then(lambda: done(partial(plain, later.finish())))

    def model(
        self, key: bytes, inputs: int, outputs: int, done: Callable[[Model | Exception], None]
    ) -> None:
        """See `script_access.Access.model`."""
        rights = rights_over_engine(self._client)
        if rights is not None and not rights.may_use(key, TO_READ):
            done(CommandFailed(refusal(Denial(KEY, key))))
            return

        def found(read: Result[Values]) -> None:
            try:
                self._client.keys = cast("LocalKeys", read())
            except Exception as error:  # noqa: BLE001 - the table names it, or logs it
                done(CommandFailed(error_reply(error).line))
            else:
                done(_fitting_model(self._client, key, inputs, outputs))

        session_of(self._client).read((Wanted(key, Model),), found)


def _waits(request: Sequence[bytes]) -> bool:
    """Returns whether a command that reads streams is to wait if there is nothing to be read."""
    options = takewhile(lambda word: word != b"STREAMS", map(keyword, request[1:]))
    return b"BLOCK" in options


def access_of(client: Client) -> Access:
    """Returns what the scripts of a client may reach."""
    return ClientAccess(client) if client.session is None else RemoteAccess(client)


def _for_script(client: Client) -> Client:
    """Returns the client as its script is shown to commands.

    What the script says of the connection, such as SELECT, is not said of the client's own.
    """
    return replace(
        client,
        close=_nothing,
        drop=_nothing,
        address="lua",  # what tools know as the sign of a script
        subscribed=False,
        version=RESP2,
        muted=False,
        skips=0,
        transaction=None,
        watch=Watch(),
    )


def _fitting_model(client: Client, key: bytes, inputs: int, outputs: int) -> Model | CommandFailed:
    """Returns a stored model, or why it cannot be run with so many inputs and outputs."""
    try:
        model = stored_model(client, key)
        if not model.loaded.takes(inputs):
            raise wrong_count("INPUTS")
        if outputs != len(model.loaded.outputs):
            raise wrong_count("OUTPUTS")
    except (CommandError, TensorkeepError) as error:
        return CommandFailed(error_reply(error).line)
    return model


def _plain(reply: Result[Any]) -> CommandReply:
    """Returns the engine's reply as a script sees it, as a client that speaks RESP2 would."""
    try:
        value = reply()
    except StoreError as error:
        line = error.line
        if line.startswith(_UNCALLABLE):
            line = f"Invalid argument ({line})"  # as in `ClientAccess`
        raise CommandFailed(line) from error
    return _plain_value(value)


def _plain_value(value: object) -> CommandReply:
    match value:
        case dict():
            return [_plain_value(item) for pair in value.items() for item in pair]
        case list() | tuple() | set() | frozenset():
            return [*map(_plain_value, value)]
        case str():
            return value.encode("utf-8", "surrogateescape")
        case None | bytes():
            return value
        case bool() | int():
            return int(value)
        case _:
            return repr(value).encode()


def _nothing(_: str) -> None:
    """A script cannot close its client's connection."""
