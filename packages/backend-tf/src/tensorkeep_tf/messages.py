"""What users read when something fails: TensorFlow's texts, made fit to be read.

Texts that begin with ERR are those that clients of RedisAI look for; there, this backend wrote the
code word itself. This module only words texts. It never decides whether something failed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tensorkeep.errors import InvalidTensor
from tensorkeep_tf.framework import tf

if TYPE_CHECKING:
    from collections.abc import Iterable

INVALID_GRAPH: Final = "Invalid GraphDef"
INVALID_ARCHIVE: Final = f"{INVALID_GRAPH}, and no SavedModel"  # clients look for the first words
NO_NAMES: Final = "A GraphDef needs the names of its inputs and outputs"
NO_SIGNATURES: Final = "A GraphDef has no signatures: leave SIGNATURE out"
CANCELLED: Final = "The run was cancelled"
TOO_MANY_WEIGHTS: Final = "The weights of all models together exceed the backend's memory limit"

_NO_FILE: Final = "A file that the graph reads is not in the archive"
_LONGEST: Final = 1000  # characters of a text; some of TensorFlow's list all that there is
_NOISE: Final = (
    # The machine's name.
    (re.compile(r" in binary running on \S+\.(?: Make sure .*)?", re.DOTALL), ""),
    (re.compile(r"^Graph execution error:\s+"), ""),
    # Where in TensorFlow's own functions a node lies.
    (re.compile(r"\{\{function_node \S+?\}\} ?"), ""),
)


def cancelled(reason: str) -> str:
    """Returns that a run was cancelled, and why."""
    return f"{CANCELLED}: {reason}" if reason else CANCELLED


def input_not_found(name: str) -> str:
    """Returns what is said of an input that is no placeholder of the graph."""
    return f'ERR Input node named "{name}" not found in TF graph.'


def output_not_found(name: str) -> str:
    """Returns what is said of an output that is no node of the graph."""
    return f'ERR Output node named "{name}" not found in TF graph'


def not_in_signature(kind: str, name: str, signature: str, known: Iterable[str]) -> str:
    """Returns what is said of a name that is no tensor of a SavedModel's signature or graph."""
    there = ", ".join(sorted(known))
    return f'{kind} "{name}" is no tensor of the signature "{signature}" (there: {there})'


def not_frozen(name: str) -> str:
    """Returns what is said of a GraphDef with variables, whose values it cannot hold."""
    return (
        f'Variable "{name}" was not frozen: a GraphDef holds no values of variables. '
        "Turn them into constants, or store a SavedModel"
    )


def readable(error: Exception) -> str:
    """Returns the text of an error of TensorFlow without what only its authors need."""
    text = error.message if isinstance(error, tf.errors.OpError) else str(error)
    for pattern, replacement in _NOISE:
        text = pattern.sub(replacement, text)
    text = text.strip()
    if isinstance(error, tf.errors.NotFoundError) and (not text or text.startswith("[[")):
        text = f"{_NO_FILE} {text}"  # its file system in memory leaves that to the reader
    return text.strip()[:_LONGEST] or type(error).__name__


def failed_run(error: Exception) -> str:
    """Returns why a run failed."""
    if isinstance(error, InvalidTensor):
        return f"An output cannot be kept as a tensor: {error}"
    return readable(error)
