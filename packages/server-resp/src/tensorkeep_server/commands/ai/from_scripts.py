"""What scripts ask of the server: commands in the name of the client that called them, and models.

A script's commands are done at once, between those of other clients. It cannot wait for what runs
models or scripts in turn: its own worker may be the one that would have to.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from tensorkeep.commands.command import NOSCRIPT
from tensorkeep.commands.errors import CommandError, Refused
from tensorkeep.commands.reply import RESP2
from tensorkeep.errors import CommandFailed, TensorkeepError
from tensorkeep.watch import Watch
from tensorkeep_server.calls import call
from tensorkeep_server.commands.ai.execute import wrong_count
from tensorkeep_server.commands.ai.models import stored_model
from tensorkeep_server.encoding import plain
from tensorkeep_server.errors import error_reply
from tensorkeep_server.later import Later

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.hookspecs import CommandReply
    from tensorkeep.model import Model
    from tensorkeep_server.state import Client

_NOT_FROM_SCRIPT: Final = "ERR This Redis command is not allowed from script"


class ClientAccess:
    """`script_access.Access` with the rights, and in the database, of a client.

    Args:
        client: The client. What its script says of the connection, such as SELECT, is not said of
            the client's own.
    """

    def __init__(self, client: Client) -> None:
        self._client = replace(
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
        try:
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

    def model(self, key: bytes, inputs: int, outputs: int) -> Model:
        """See `script_access.Access.model`."""
        try:
            model = stored_model(self._client, key)
            if not model.loaded.takes(inputs):
                raise wrong_count("INPUTS")
            if outputs != len(model.loaded.outputs):
                raise wrong_count("OUTPUTS")
        except (CommandError, TensorkeepError) as error:
            raise CommandFailed(error_reply(error).line) from error
        return model


def _nothing(_: str) -> None:
    """A script cannot close its client's connection."""
