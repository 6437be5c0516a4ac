"""What an author gives the conformance suite to test with: models and scripts, and what they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorkeep.tensor import DType

if TYPE_CHECKING:
    from tensorkeep.hookspecs import CommandReply
    from tensorkeep.tensor import Tensor


@dataclass(frozen=True, slots=True)
class ModelExample:
    """A model, inputs for it, and what it returns for them.

    Attributes:
        blob: The serialized model.
        inputs: One tensor per input. Best not symmetrical: some tests turn them around.
        outputs: What it must return for them; None for an output that is no tensor.
        input_names: Names for `ModelSpec.inputs`, for a backend that needs them.
        output_names: Names for `ModelSpec.outputs`, for a backend that needs them.
        batches: Whether axis 0 of all inputs and outputs is a batch of independent rows.
        refuses: A type that its first input does not take; None when it takes every type.
        tolerance: Relative difference that is allowed in floating outputs.
    """

    blob: bytes
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor | None, ...] = ()
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    batches: bool = False
    refuses: DType | None = DType.STRING
    tolerance: float = 1e-5


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
