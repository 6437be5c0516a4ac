"""A script to call, and what stands for the server while it is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tensorkeep.errors import CommandFailed
from tensorkeep.testing.checks import check_same

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.hookspecs import CommandReply
    from tensorkeep.tensor import Tensor

REFUSAL: Final = "WRONGTYPE of the suite"


@dataclass(frozen=True, slots=True)
class ScriptExample:
    """A script, a call of one of its functions, and what that asks for and returns.

    Attributes:
        source: The script.
        function: The function to call.
        tensors: Its input tensors.
        outputs: What it must return.
        entry_points: Names for `ScriptSpec.entry_points`.
        tolerance: Relative difference that is allowed in floating outputs.
        keys: The keys that it is given.
        arguments: The arguments that it is given.
        command: The one command that it must ask for, with its arguments; empty for none.
        reply: What the command is answered.
        model: The key of the one model that it must ask for, on its tensors; empty for none. The
            model returns its inputs.
    """

    source: bytes
    function: str
    tensors: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    entry_points: tuple[str, ...] = ()
    tolerance: float = 1e-5
    keys: tuple[bytes, ...] = ()
    arguments: tuple[bytes, ...] = ()
    command: tuple[bytes, ...] = ()
    reply: CommandReply = None
    model: str = ""


class Requests:
    """Stands for the keyspace and models of an example, and records what is asked of them.

    Attributes:
        commands: The commands that were asked for, with their arguments.
        models: Keys of the models that were asked for.

    Args:
        example: The example.
        refuse: Whether to refuse everything.
    """

    def __init__(self, example: ScriptExample, *, refuse: bool = False) -> None:
        self.commands: list[tuple[bytes, ...]] = []
        self.models: list[str] = []
        self._example = example
        self._refuse = refuse

    def execute(self, command: str, arguments: Sequence[bytes]) -> CommandReply:
        """Answers a command."""
        if not self._example.command:
            raise NotImplementedError(f"the suite has no keyspace: {command} {arguments!r}")
        self.commands.append((command.encode(), *arguments))
        if self._refuse:
            raise CommandFailed(REFUSAL)
        return self._example.reply

    def model_execute(self, key: str, inputs: Sequence[Tensor], outputs: int) -> Sequence[Tensor]:
        """Returns the inputs of a model."""
        example = self._example
        if not example.model:
            raise NotImplementedError(f"the suite has no models: {key} {inputs!r} {outputs}")
        self.models.append(key)
        if self._refuse:
            raise CommandFailed(REFUSAL)
        check_same(inputs, example.tensors, example.tolerance)
        if outputs != len(inputs):
            raise CommandFailed(f"{key} has {len(inputs)} outputs, not {outputs}")
        return inputs
