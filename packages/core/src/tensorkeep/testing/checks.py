"""What the conformance suite asks of values: plain functions that raise `AssertionError`."""

from __future__ import annotations

import gc
import mmap
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final
from unittest import SkipTest

import numpy as np

from tensorkeep.tensor import DType, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_LONGEST_TEXT: Final = 2000  # characters of an error; users read it on one line
_FLOATS: Final = {DType.FLOAT16, DType.BFLOAT16, DType.FLOAT, DType.DOUBLE}


class Attempt(Thread):
    """Calls something on a thread of its own and keeps what it raised.

    Attributes:
        error: What it raised, None when nothing so far.

    Args:
        action: What to call.
    """

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__(daemon=True)  # a run that never ends must not keep the process
        self._action = action
        self.error: Exception | None = None

    def run(self) -> None:
        """Calls it."""
        try:
            self._action()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test reports it
            self.error = error


def check(holds: object, text: str) -> None:
    """Raises an `AssertionError` with a text when something does not hold."""
    if not holds:
        raise AssertionError(text)


def check_raises(what: str, action: Callable[[], object], part: str = "") -> None:
    """Checks that an action raises an error that people can read, with some part in its text."""
    try:
        action()
    except AssertionError:
        raise
    except Exception as error:  # noqa: BLE001 - a backend may raise whatever it likes
        text = str(error)
        check(text.strip(), f"{what} raised {type(error).__name__} without a text")
        check(
            len(text) <= _LONGEST_TEXT,
            f"{what} raised a text of {len(text)} characters; {_LONGEST_TEXT} are plenty",
        )
        check(part in text, f"{what} raised {text!r} without {part!r}")
    else:
        raise AssertionError(f"{what} must raise")


def check_same(
    found: Sequence[Tensor | None], wanted: Sequence[Tensor | None], tolerance: float
) -> None:
    """Checks that outputs are those that are wanted, floats within a relative tolerance."""
    check(len(found) == len(wanted), f"there are {len(found)} outputs, not {len(wanted)}")
    for index, (one, other) in enumerate(zip(found, wanted, strict=True)):
        if one is None or other is None:
            check(one is other, f"output {index} is {one}, not {other}")
            continue
        alike = one.dtype is other.dtype and one.shape == other.shape
        check(alike, f"output {index} is {one}, not {other}")
        if one.dtype in _FLOATS:
            with np.errstate(invalid="ignore"):  # of a signalling NaN
                near = np.allclose(
                    one.numpy().astype(np.float64),
                    other.numpy().astype(np.float64),
                    rtol=tolerance,
                    atol=1e-7,
                    equal_nan=True,
                )
        else:
            near = one == other
        check(near, f"output {index} has the values {_shown(one)}, not {_shown(other)}")


def check_rows(outputs: Sequence[Tensor | None], count: int) -> None:
    """Checks that outputs have as many rows as their batch."""
    for index, output in enumerate(outputs):
        check(
            output is None or output.shape[:1] == (count,),
            f"output {index} of a batch of {count} rows is {output}",
        )


def memory_of(tensor: Tensor) -> NDArray[Any]:
    """Returns a copy of the elements as they lie in memory now, not as some cached blob says."""
    array = tensor.numpy()
    return array.copy() if tensor.dtype is DType.STRING else array.reshape(-1).view(np.uint8).copy()


def from_memory(tensor: Tensor) -> Tensor:
    """Returns a tensor in an array of its own that nothing but its flag protects from writing."""
    return Tensor.from_numpy(tensor.numpy().copy())


def from_bytes(tensor: Tensor) -> Tensor:
    """Returns a tensor as a server makes it from what it received."""
    return Tensor.from_blob(tensor.dtype, tensor.shape, bytes(tensor.blob))


def backwards(tensor: Tensor) -> Tensor:
    """Returns a tensor of the same shape with the same values in the opposite order."""
    array = tensor.numpy()
    return Tensor.from_numpy(array.reshape(-1)[::-1].reshape(array.shape))


def sample(dtype: DType, rank: int) -> Tensor:
    """Returns a tensor with the values of a type that are easily got wrong.

    Args:
        dtype: The type.
        rank: 2, or 0 for a scalar.
    """
    values: list[Any]
    if dtype is DType.STRING:
        values = ["two words", "", "a", "Ünïcödé", "x" * 100, "\n"]
    elif dtype is DType.BOOL:
        values = [1, 0, 0, 1, 1, 0]
    elif dtype in _FLOATS:
        values = [-1.5, 0.0, -0.0, 2.0, float("inf"), float("nan")]
    else:
        limits = np.iinfo(dtype.numpy)
        values = [limits.max, limits.min, 0, 1, 2, 3]
    return Tensor.from_values(dtype, (2, 3) if rank else (), values if rank else values[:1])


def resident_bytes() -> int:
    """Returns how much memory this process has in use.

    Raises:
        SkipTest: The system does not tell.
    """
    gc.collect()
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    except OSError as error:
        raise SkipTest("this system does not tell how much memory a process has") from error
    return int(pages) * mmap.PAGESIZE


def _shown(tensor: Tensor) -> str:
    return f"{tensor.values()[:10]}"[:200]
