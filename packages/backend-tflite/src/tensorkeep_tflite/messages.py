"""What users read when something fails: the original's texts, and LiteRT's reasons behind them."""

from __future__ import annotations

import re
from typing import Final

NO_GPU: Final = "Failed to set GPU delegate"
NO_MODEL: Final = "Failed to load model from buffer"
NO_INTERPRETER: Final = "Failed to construct interpreter"
NO_RESIZE: Final = "Failed to resize input tensors"
NO_MEMORY: Final = "Failed to allocate tensors"
NO_INVOKE: Final = "Failed to invoke TfLite"
INPUT_COUNT: Final = "Inconsistent number of inputs"
INPUT_TYPE: Final = "Input tensor type doesn't match the type expected by the model definition"
INPUT_UNSUPPORTED: Final = "Unsupported input data type"
OUTPUT_UNSUPPORTED: Final = "Unsupported output data type"
CANCELLED: Final = "The run was cancelled before it began"

# Between the reasons of LiteRT's parts there is nothing at all.
_NEXT_REASON: Final = re.compile(r"(?<=\S)(?=Node number \d+ \()")
# A place in LiteRT's source: tflite/kernels/pad.cc:177
_PLACE: Final = re.compile(r"\.?/?(?:[\w.]+/)+\w+\.(?:cc|h)(?::\d+)? ")

# What is left to be said when an operator gave no reason.
_NO_REASON: Final = re.compile(r"(?:Node number \d+ \(\w+\) failed to invoke\.)?")
_AS_WITHOUT_MEMORY: Final = "LiteRT gives no reason, as when there is not enough memory"


def no_signature(name: str, known: str) -> str:
    """Returns what is said of a signature that the model does not have."""
    return f'The model has no signature "{name}" (signatures: {known})'


def because(text: str, reason: object) -> str:
    """Returns a text with the reason behind it, made fit to be read."""
    words = _NEXT_REASON.sub(" ", _PLACE.sub("", str(reason))).strip()
    if isinstance(reason, Exception) and _NO_REASON.fullmatch(words):
        words = f"{words} {_AS_WITHOUT_MEMORY}".lstrip()
    return f"{text}: {words}" if words else text
