"""Which devices the installed LiteRT can really use: the processor.

LiteRT's packages for Python bring XNNPACK for the processor, which every model gets. They bring
no delegate for a GPU that this interface could load: a model for one is refused.
"""

from __future__ import annotations

import platform
from base64 import b64decode
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tensorkeep.hookspecs import DeviceInfo
from tensorkeep.noise import logged
from tensorkeep_tflite.framework import VERSION, Interpreter
from tensorkeep_tflite.tensors import DTYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

# A model that adds its input, one float, to itself: `y = x + x`. A test compares it with what
# the format's own description makes of that.
TINY_MODEL: Final = b64decode(
    "GAAAAFRGTDMAAA4AFAAQAAwACAAAAAQADgAAABAAAAAYAAAA0AAAAAMAAAABAAAABAAAADj///8BAAAAEAAAAAwAFAAQ"
    "AAwACAAEAAwAAAAQAAAAQAAAAEQAAABIAAAAAQAAABAAAAAAAAoADAAAAAgABAAKAAAACAAAAAwAAAABAAAAAQAAAAIA"
    "AAAAAAAAAAAAAAEAAAABAAAAAQAAAAAAAAACAAAAMAAAAAQAAADk////CAAAAAwAAAABAAAAeQAAAAEAAAABAAAADAAM"
    "AAgAAAAAAAQADAAAAAgAAAAMAAAAAQAAAHgAAAABAAAAAQAAAAEAAAAIAAAABAAEAAQAAAA="
)


class OtherGraph:
    """A subgraph of an interpreter that is not its first, with the methods that the first has.

    LiteRT's public way to run one looks everything up by name and allocates anew for each run.

    Args:
        interpreter: The interpreter.
        number: Which of its subgraphs it is.
    """

    __slots__ = ("_interpreter", "_native", "_number")

    def __init__(self, interpreter: Any, number: int) -> None:  # noqa: ANN401 - LiteRT brings no types
        self._interpreter = interpreter
        self._native = interpreter._interpreter  # noqa: SLF001 - only there is a subgraph chosen
        self._number = number

    def resize_tensor_input(self, index: int, shape: Sequence[int]) -> None:
        """Sets the shape of an input."""
        strict = False  # also sizes that the model says may change
        self._native.ResizeInputTensor(index, np.array(shape, np.int32), strict, self._number)

    def allocate_tensors(self) -> None:
        """Allocates all tensors."""
        self._native.AllocateTensors(self._number)

    def set_tensor(self, index: int, array: NDArray[Any]) -> None:
        """Copies an array into an input."""
        self._native.SetTensor(index, array, self._number)

    def invoke(self) -> None:
        """Runs the subgraph."""
        self._native.Invoke(self._number)

    def get_tensor(self, index: int) -> NDArray[Any]:
        """Returns a copy of a tensor."""
        array: NDArray[Any] = self._native.GetTensor(index, self._number)
        return array

    def tensor(self, index: int) -> Callable[[], NDArray[Any]]:
        """Returns what returns a tensor as it lies in the interpreter's memory."""
        return lambda: self._native.tensor(self._native, index, self._number)

    def get_output_details(self) -> list[dict[str, Any]]:
        """Returns what LiteRT tells of each tensor: also of those that are no outputs."""
        details: list[dict[str, Any]] = self._interpreter.get_tensor_details(self._number)
        return details

    def reset_all_variables(self) -> None:
        """Lets all variables begin anew."""
        self._interpreter.reset_all_variables()


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
        with logged("LiteRT"):  # that XNNPACK is there: said once, with the first model
            interpreter = open_interpreter(TINY_MODEL, 1)
            interpreter.allocate_tensors()
            interpreter.set_tensor(0, given)
            interpreter.invoke()
            result = interpreter.get_tensor(1)
    except Exception as error:
        why = error.__cause__ or error  # what is raised from C++ only says that there was another
        raise RuntimeError(
            f"LiteRT {VERSION} can be imported but does not work beside "
            f"NumPy {np.__version__}: {why}"
        ) from error
    if result.tolist() != [3]:
        raise RuntimeError(f"LiteRT says that 1.5, doubled, is {result.tolist()}")
