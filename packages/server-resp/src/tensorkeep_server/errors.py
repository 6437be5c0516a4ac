"""What an error looks like on the wire: one table from exceptions to RESP error lines.

Texts that belong to one command stand with that command, as `CommandError`. Here stand the texts
of errors that come from below, whatever command met them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from tensorkeep import errors as core
from tensorkeep.commands.errors import WRONG_TYPE, CommandError
from tensorkeep.commands.reply import Error
from tensorkeep.headroom import HEADROOM
from tensorkeep.model import Model, Script
from tensorkeep.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

NOT_LOADED: Final = "Could not load backend"
INTERNAL: Final = "ERR internal error, see the server's log"
NO_MEMORY: Final = "OOM not enough memory for this command"

# What the original's backends said when CUDA was asked for and not there; sic, without `ERR` where
# they had none. Any other backend gets the general text.
_NO_GPU: Final = {
    "ONNX": "ERR GPU requested but ONNX couldn't find CUDA",
    "TORCH": "GPU requested but Torch couldn't find CUDA",
    "TF": "ERR GPU requested but TF couldn't find CUDA",
    "TFLITE": "Failed to set GPU delegate",
}


# What is said of a key that is not there, by what was looked for under it.
_MISSING: Final[dict[type | None, str]] = {
    Tensor: "ERR tensor key is empty or in a different shard",
    Model: "ERR model key is empty",
    Script: "ERR script key is empty",
}


def _device_unavailable(error: core.DeviceUnavailable) -> str:
    if error.device.upper().startswith("GPU"):
        return _NO_GPU.get(
            error.backend, f"ERR GPU requested but {error.backend} couldn't find CUDA"
        )
    return "ERR unsupported device"


# First match wins, so a subclass stands before its base.
_LINES: Final[tuple[tuple[type[Exception], Callable[[Any], str]], ...]] = (
    (CommandError, lambda error: error.line),
    (core.StoreError, lambda error: error.line),
    (core.WrongType, lambda _: WRONG_TYPE),
    (core.KeyMissing, lambda error: _MISSING.get(error.kind, "ERR no such key")),
    (core.UnknownDType, lambda _: "ERR invalid data type"),
    (core.InvalidShape, lambda _: "ERR invalid or negative value found in tensor shape"),
    (core.BlobLengthMismatch, lambda _: "ERR data length does not match tensor shape and type"),
    (core.InvalidBool, lambda _: "ERR BOOL tensor elements must be 0 or 1"),
    (
        core.StringCountMismatch,
        lambda _: "ERR Number of string elements in data blob does not match tensor length",
    ),
    (core.NulInString, lambda _: "ERR C-string value contains null character"),
    (core.InvalidTensor, lambda _: "ERR invalid value"),
    (core.InvalidDevice, lambda _: "ERR unsupported device"),
    (core.DeviceUnavailable, _device_unavailable),
    (core.BackendUnavailable, lambda _: f"ERR {NOT_LOADED}"),
    (core.OutputIsNoTensor, lambda error: f"ERR {error}: nothing of the run is stored"),
    (core.RunCrashed, lambda error: f"ERR {error}"),
    (core.RunRefused, lambda error: f"ERR {error}"),
    (core.BuildCrashed, lambda error: f"ERR {error}"),
    (core.BuildTookTooLong, lambda error: f"ERR {error}"),
    (core.TooManyBuilds, lambda error: f"ERR {error}"),
    (core.TooManyModels, lambda error: f"ERR {error}"),
    (core.QueueFull, lambda error: f"ERR {error}"),
    (core.TooManyDevices, lambda error: f"ERR {error}"),
    (core.EngineClosed, lambda _: "ERR the server is shutting down"),
    (core.InternalError, lambda _: INTERNAL),
    (MemoryError, lambda _: NO_MEMORY),
    (core.OutOfMemory, lambda _: NO_MEMORY),
    # The words of the framework, or of a command that a script asked for, as they are.
    (core.ModelRejected, str),
    (core.RunFailed, str),
    (core.CommandFailed, str),
)


def how_to_install(backend: str) -> str:
    """Returns the command that installs a backend; empty for one that no extra brings."""
    if backend not in _NO_GPU:
        return ""
    return f'pip install "tensorkeep[server,{backend.lower()}]"'


def error_reply(error: Exception) -> Error:
    """Returns the reply for an exception that a command ended with.

    What is not in the table is a bug: it is logged with its traceback, and the client learns
    nothing about our insides.
    """
    if isinstance(error, MemoryError):
        HEADROOM.relieve()
    for kind, line in _LINES:
        if isinstance(error, kind):
            # Whoever raised it may keep it, and with it the frames that it came through.
            return Error(line(error.with_traceback(None)))
    _log.error("a command failed unexpectedly", exc_info=error)
    return Error(INTERNAL)
