"""Dense layers in an `.npz` file. This is the framework; it knows nothing of Tensorkeep."""

import io
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def relu(x: Floats) -> Floats:
    """Returns x, and zero where it is negative."""
    return np.maximum(x, np.float32(0))


def softmax(x: Floats) -> Floats:
    """Returns probabilities: each row is positive and sums to one."""
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    result: Floats = powers / powers.sum(axis=1, keepdims=True)
    return result


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {"relu": relu, "softmax": softmax}


@dataclass(frozen=True, slots=True)
class Dense:
    """A layer that computes `activation(x @ weights + bias)` of rows x."""

    weights: Floats
    bias: Floats
    activation: str

    def __post_init__(self) -> None:
        fits = self.weights.ndim == 2 and self.bias.shape == self.weights.shape[1:]
        if not fits or {self.weights.dtype, self.bias.dtype} != {np.dtype(np.float32)}:
            raise ValueError("a layer needs float32 weights [inputs, outputs] and bias [outputs]")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {[*ACTIVATIONS]}, not {self.activation!r}")

    def __call__(self, x: Floats) -> Floats:
        """Computes the layer for one row or more."""
        return ACTIVATIONS[self.activation](x @ self.weights + self.bias)


def save(layers: Sequence[Dense]) -> bytes:
    """Returns a model as the bytes of an `.npz` file."""
    arrays: dict[str, Any] = {}
    for number, layer in enumerate(layers):
        arrays[f"{number}.weights"] = layer.weights
        arrays[f"{number}.bias"] = layer.bias
        arrays[f"{number}.activation"] = np.array(layer.activation)
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def load(blob: bytes) -> list[Dense]:
    """Returns the layers of a model.

    Raises:
        ValueError: The bytes are no model; the text says why.
    """
    try:
        # without pickles: a model is data, and never runs code of its own
        with np.load(io.BytesIO(blob), allow_pickle=False) as arrays:
            layers = [
                Dense(
                    arrays[f"{number}.weights"],
                    arrays[f"{number}.bias"],
                    str(arrays[f"{number}.activation"]),
                )
                for number in range(len(arrays.files) // 3)
            ]
    except (AttributeError, EOFError, KeyError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"not an .npz file of dense layers: {error}") from error
    if not layers:
        raise ValueError("the model has no layers")
    for before, after in pairwise(layers):
        if before.weights.shape[1] != after.weights.shape[0]:
            raise ValueError("a layer must have as many inputs as the one before has outputs")
    return layers
