"""Which devices the installed LiteRT can really use: the processor.

LiteRT's packages for Python bring XNNPACK for the processor, which every model gets. They bring
no delegate for a GPU that this interface could load: a model for one is refused.
"""

from __future__ import annotations

import platform
from base64 import b64decode
from typing import Any, Final

import numpy as np

from tensorkeep.hookspecs import DeviceInfo
from tensorkeep.noise import logged
from tensorkeep_tflite.framework import FRAMEWORK, VERSION, Interpreter
from tensorkeep_tflite.tensors import DTYPES

# A model that adds its input, one float, to itself: `y = x + x`. A test compares it with what
# the format's own description makes of that.
TINY_MODEL: Final = b64decode(
    "GAAAAFRGTDMAAA4AFAAQAAwACAAAAAQADgAAABAAAAAYAAAA0AAAAAMAAAABAAAABAAAADj///8BAAAAEAAAAAwAFAAQ"
    "AAwACAAEAAwAAAAQAAAAQAAAAEQAAABIAAAAAQAAABAAAAAAAAoADAAAAAgABAAKAAAACAAAAAwAAAABAAAAAQAAAAIA"
    "AAAAAAAAAAAAAAEAAAABAAAAAQAAAAAAAAACAAAAMAAAAAQAAADk////CAAAAAwAAAABAAAAeQAAAAEAAAABAAAADAAM"
    "AAgAAAAAAAQADAAAAAgAAAAMAAAAAQAAAHgAAAABAAAAAQAAAAEAAAAIAAAABAAEAAQAAAA="
)


def open_interpreter(blob: bytes, threads: int) -> Any:  # noqa: ANN401 - LiteRT brings no types
    """Opens an interpreter on the processor; its tensors are yet to be allocated.

    Args:
        blob: A serialized model. The interpreter reads weights where they lie, and keeps it.
        threads: Threads inside one operator; 0 leaves it to LiteRT, which takes one.

    Raises:
        Exception: LiteRT's own.
    """
    return Interpreter(model_content=blob, num_threads=threads or None)


def usable_devices() -> list[DeviceInfo]:
    """Returns the CPU."""
    return [
        DeviceInfo("CPU", None, platform.processor() or platform.machine(), None, DTYPES),
    ]


def run_tiny_model() -> None:
    """Runs something tiny.

    Raises:
        RuntimeError: It did not work.
    """
    given = np.array([1.5], np.float32)
    try:
        with logged(FRAMEWORK):  # that XNNPACK is there: said once, with the first model
            interpreter = open_interpreter(TINY_MODEL, 1)
            interpreter.allocate_tensors()
            interpreter.set_tensor(0, given)
            interpreter.invoke()
            result = interpreter.get_tensor(1)
    except Exception as error:
        why = error.__cause__ or error  # what is raised from C++ only says that there was another
        raise RuntimeError(
            f"{FRAMEWORK} {VERSION} can be imported but does not work beside "
            f"NumPy {np.__version__}: {why}"
        ) from error
    if result.tolist() != [3]:
        raise RuntimeError(f"{FRAMEWORK} says that 1.5, doubled, is {result.tolist()}")
