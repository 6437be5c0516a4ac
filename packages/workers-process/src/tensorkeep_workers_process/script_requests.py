"""What a script in a worker asks the server for: done on the thread that called the script."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tensorkeep_workers_process import messages
from tensorkeep_workers_process.failures import failure
from tensorkeep_workers_process.messages import NoMessage, unpacked
from tensorkeep_workers_process.tensor_cells import from_worker, in_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.hookspecs import Commands


def done(
    message: messages.FromWorker, files: Sequence[int], commands: Commands, limit: int
) -> tuple[messages.ToWorker, list[int]]:
    """Does what a script asks for.

    Args:
        message: What the worker sent.
        files: Descriptors that came with it; they may be closed afterwards.
        commands: What the script may do.
        limit: Bytes that each of the files may have; 0 for any number.

    Returns:
        What is to be sent back, and the descriptors that go with it, which the caller closes.

    Raises:
        NoMessage: The worker asks for nothing that a script may ask for.
    """
    match message:
        case messages.Command():
            command = unpacked(message.command)
            try:
                return messages.Reply(commands.execute(command, message.arguments)), []
            except Exception as error:  # noqa: BLE001 - for the script, which may catch it
                return failure(message.number, error), []
        case messages.ModelExecute():
            key = unpacked(message.key)
            inputs = [
                tensor for tensor in from_worker(message.inputs, files, limit) if tensor is not None
            ]
            try:
                outputs = commands.model_execute(key, inputs, message.outputs)
                cells, written = in_files(outputs)
            except Exception as error:  # noqa: BLE001 - for the script, which may catch it
                return failure(message.number, error), []
            return messages.ModelOutputs(cast("list[messages.Cell]", cells)), written
        case _:
            raise NoMessage(f"{type(message).__name__} while a script was called")
