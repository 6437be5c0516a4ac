"""What users read when something fails: torch's texts, made fit to be read.

Many texts are those of RedisAI, slips included: clients look for them. This module only words
texts. It never decides whether something failed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

NO_CUDA: Final = "GPU requested but Torch couldn't find CUDA"
INTER_OP: Final = "Cannot set number of inter-op threads after parallel work has started"
TOO_MANY_WEIGHTS: Final = "The weights of all models together exceed the backend's memory limit"
STRINGS: Final = "Unsupported code 7"  # of a STRING tensor
REDIS_ERROR: Final = "Redis command returned an error: "
HIDDEN: Final = "tensorkeep_"  # how the functions begin that stand between a script and Python
_LONGEST: Final = 1000  # characters

# The names that torch's C++ has for types that DLPack or Tensorkeep lacks, where Python's differ.
_CPP_NAMES: Final = {
    "qint8": "QInt8",
    "quint8": "QUInt8",
    "qint32": "QInt32",
    "complex32": "ComplexHalf",
    "complex64": "ComplexFloat",
    "complex128": "ComplexDouble",
}
# What C++ knows of where it was: for torch's authors.
_CPP_STACK: Final = re.compile(
    r"\n+(?:Exception raised from |C\+\+ CapturedTraceback:).*", re.DOTALL
)
# Where in Python an exception was raised that passed through C++.
_PYTHON_STACK: Final = re.compile(r"\n\nAt:\n(?:  \S[^\n]*\n)+")
# The functions that stand between a script and Python, with the source around them.
_HIDDEN_FRAME: Final = re.compile(
    rf'  File "<string>", line \d+, in {HIDDEN}\w+\n(?:(?!  File "|RuntimeError: ).*\n)*'
)
_HERE: Final = "<--- HERE\n"
_LAST_LINE: Final = re.compile(r"^(?:RuntimeError|builtins\.\w+|[\w.]*Error): ?", re.MULTILINE)


def of_end(reason: str) -> str:
    """Returns that a run was ended, and why."""
    return f"The run was ended: {reason or 'it was cancelled'}"


def of_load(error: Exception) -> str:
    """Returns why a model could not be loaded."""
    return shortened(_CPP_STACK.sub("", _text(error)).strip())


def of_run(error: Exception) -> str:
    """Returns why a model failed: what was wrong, without the way through its source."""
    text = _PYTHON_STACK.sub("", _CPP_STACK.sub("", _text(error)))
    _, here, rest = text.rpartition(_HERE)
    if here:
        found = _LAST_LINE.search(rest)
        text = rest[found.end() :] if found else rest
    return shortened(text.strip()) or type(error).__name__


def of_compiler(error: Exception) -> str:
    """Returns why a script does not compile, in the compiler's own words."""
    return _PYTHON_STACK.sub("", _CPP_STACK.sub("", _text(error)))


def of_script(error: Exception) -> str:
    """Returns why a script failed, with the way through its source but not through ours."""
    text = _PYTHON_STACK.sub("\n", _CPP_STACK.sub("", _text(error)))
    return _HIDDEN_FRAME.sub("", text).replace("RuntimeError: ScriptError: ", "RuntimeError: ")


def of_output(dtype: torch.dtype) -> str:
    """Returns that outputs of some type cannot be returned."""
    name = str(dtype).removeprefix("torch.")
    return f"{_CPP_NAMES.get(name, name)} is not supported by dlpack"


def speakable(text: str) -> str:
    r"""Returns a text that C++ takes whole: what it cannot carry is written as `\xff`."""
    carried = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return carried.replace("\0", "\\x00")


def _text(error: Exception) -> str:
    """Returns the text of an exception; one that is not UTF-8 comes from C++ as another."""
    if isinstance(error, UnicodeDecodeError):
        return bytes(error.object).decode("utf-8", "surrogateescape")
    return str(error)


def shortened(text: str) -> str:
    """Returns a text, cut where it is too long to be read."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
