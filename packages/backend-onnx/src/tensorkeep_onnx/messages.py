"""What users read when something fails: ONNX Runtime's texts, made fit to be read.

The runtime wraps its texts in codes, and its words change between versions; clients look for
some of them. This module only words texts. It never decides whether something failed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tensorkeep.errors import InvalidTensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.tensor import DType, Tensor

EXTERNAL_DATA: Final = (
    "Initializer tensors with external data is not allowed. Put them into the model,"
    ' onnx.save(onnx.load("model.onnx"), "one.onnx"), or let `tensorkeep store-model` take the'
    " files along"
)
NO_CUDA: Final = "GPU requested but ONNX couldn't find CUDA"
NO_GRAPH: Final = "No graph was found in the protobuf."
NO_PROTOBUF: Final = "Failed to load model because protobuf parsing failed."
_OUT_OF_MEMORY: Final = "Onnxruntime memory limit exceeded, memory allocation failed."
TOO_MANY_WEIGHTS: Final = f"Exception during initialization: {_OUT_OF_MEMORY}"

_ARENA_FULL: Final = re.compile(r"\S*bfc_arena\.cc:\d+ .*?(?=Available memory of )", re.DOTALL)
_REPLACEMENTS: Final = (
    # The code in front of every text, and in front of texts within texts.
    (re.compile(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : "), ""),
    # Large models are read through a file of which users know nothing.
    (re.compile(r"Load model from /proc/self/fd/\d+ failed: ?"), ""),
    # The place in the runtime's source where the arena found itself full.
    (_ARENA_FULL, f"{_OUT_OF_MEMORY} "),
    # What clients look for has no "/outputs".
    (re.compile(r"(?<=Please fix either the inputs)/outputs(?= or the model\.)"), ""),
)


def readable(error: Exception) -> str:
    """Returns the text of an error of ONNX Runtime without what only its authors need."""
    text = str(error)
    for pattern, replacement in _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    return text.strip()


def is_out_of_memory(error: Exception) -> bool:
    """Returns whether an error says that the memory limit was reached."""
    return _ARENA_FULL.search(str(error)) is not None


def failed_run(
    error: Exception, names: Sequence[str], dtypes: Sequence[DType], inputs: Sequence[Tensor]
) -> str:
    """Returns why a run failed.

    Args:
        error: What was raised.
        names: The model's inputs.
        dtypes: The type that each of them takes.
        inputs: What the run was given.
    """
    # The runtime says which type it expected, but not of which input, and it cannot even name
    # a type that NumPy lacks.
    for name, expected, tensor in zip(names, dtypes, inputs, strict=True):
        if tensor.dtype is not expected:
            return f"Input {name} must be {expected.name}, not {tensor.dtype.name}"
    if isinstance(error, UnicodeDecodeError):
        return (
            "An output holds a string that is not UTF-8; "
            "ONNX Runtime's interface for Python returns no other"
        )
    if isinstance(error, InvalidTensor):
        return f"An output cannot be kept as a tensor: {error}"
    return readable(error)
