"""`hookspecs.Commands` in a worker: what a script asks for is asked of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tensorkeep_workers_process import messages
from tensorkeep_workers_process.channel import close_all
from tensorkeep_workers_process.failures import error_of
from tensorkeep_workers_process.messages import encode, packed
from tensorkeep_workers_process.tensor_cells import from_server, in_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.hookspecs import CommandReply
    from tensorkeep.tensor import Tensor
    from tensorkeep_workers_process.channel import Channel


class ScriptCommands:
    """What one call of a script may ask for.

    Attributes:
        to_drop: Models and scripts that the server wanted freed meanwhile.

    Args:
        number: Number of the call.
        channel: The connection to the server.
    """

    def __init__(self, number: int, channel: Channel) -> None:
        self.to_drop: list[int] = []
        self._number = number
        self._channel = channel

    def execute(self, command: str, arguments: Sequence[bytes]) -> CommandReply:
        """See `hookspecs.Commands.execute`."""
        asked = messages.Command(self._number, packed(command), [*map(bytes, arguments)])
        self._channel.send(encode(asked))
        reply, files = self._receive()
        close_all(files)
        assert isinstance(reply, messages.Reply)  # noqa: S101 - the server keeps to it
        return cast("CommandReply", reply.reply)

    def model_execute(self, key: str, inputs: Sequence[Tensor], outputs: int) -> Sequence[Tensor]:
        """See `hookspecs.Commands.model_execute`."""
        cells, files = in_files(inputs)
        try:
            given = cast("list[messages.Cell]", cells)
            asked = messages.ModelExecute(self._number, packed(key), given, outputs)
            self._channel.send(encode(asked), files)
        finally:
            close_all(files)
        reply, files = self._receive()
        try:
            assert isinstance(reply, messages.ModelOutputs)  # noqa: S101 - the server keeps to it
            return from_server(reply.outputs, files)
        finally:
            close_all(files)

    def _receive(self) -> tuple[messages.ToWorker, list[int]]:
        while True:
            packet, files = self._channel.receive()
            message = messages.decode_to_worker(packet)
            if isinstance(message, messages.Failure):
                raise error_of(message)
            if not isinstance(message, messages.Drop):
                return message, files
            self.to_drop += message.runnables
