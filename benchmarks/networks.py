"""Make the networks by which kinds of workers are compared, for each framework that learns here.

The same arithmetic with the same weights: `picture` takes 602 KB and does next to nothing with
them, `cnn` is small, `transformer` has some 13 million weights. `digits` is that of
examples/digits. A framework is imported by whoever asks for its networks.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Array = NDArray[np.float32]

DIGITS: Final = Path(__file__).resolve().parents[1] / "examples/digits"
_FILES: Final = {"TORCH": "digits.pt", "TF": "digits.pb", "TFLITE": "digits.tflite"}
_DIGITS_NAMES: Final = ("INPUTS", 1, "images", "OUTPUTS", 1, "probabilities")
_NAMES: Final = ("INPUTS", 1, "x", "OUTPUTS", 1, "y")

_LAYERS, _WIDTH, _HEADS, _LENGTH = 4, 512, 8, 32


@dataclass(frozen=True, slots=True)
class Network:
    """A network in the form that one framework reads.

    Attributes:
        name: Its name in the tables.
        blob: The model.
        words: What AI.MODELSTORE is told before BLOB.
        x: An input of one row.
    """

    name: str
    blob: bytes
    words: tuple[str | int, ...]
    x: Array


NAMES: Final = ("digits", "cnn", "picture", "transformer")


def network(backend: str, name: str) -> Network:
    """Return a network for a backend: TORCH, TF or TFLITE."""
    if name == "digits":
        return _digits(backend)
    make, shape = _NETWORKS[name]
    x = np.random.default_rng(1).standard_normal(shape, np.float32)
    return Network(name, _MAKERS[backend](make, x), _NAMES if backend == "TF" else (), x)


def _digits(backend: str) -> Network:
    words = _DIGITS_NAMES if backend == "TF" else ()
    with np.load(DIGITS / "heldout.npz") as heldout:
        x = heldout["images"][:1].reshape(1, 1, 8, 8).astype(np.float32)
    return Network("digits", (DIGITS / _FILES[backend]).read_bytes(), words, x)


class _Weights:
    """Draws the weights of a network, the same ones each time."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def __call__(self, *shape: int) -> Array:
        fan_in = int(np.prod(shape[:-1]))
        return self._rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(fan_in))


# ---------------------------------------------------------------- the networks, for any framework
def _picture(ops: Any, x: Any, weights: _Weights) -> Any:  # noqa: ANN401 - a framework's own types
    pooled = ops.mean(ops.patches(x, weights(16, 16, 3, 8), 16), (1, 2))
    return ops.matmul(pooled, weights(8, 10))


def _cnn(ops: Any, x: Any, weights: _Weights) -> Any:  # noqa: ANN401 - a framework's own
    h = ops.relu(ops.patches(x, weights(4, 4, 1, 16), 2))
    h = ops.relu(ops.patches(h, weights(3, 3, 16, 32), 2))
    return ops.matmul(ops.mean(h, (1, 2)), weights(32, 10))


def _transformer(ops: Any, x: Any, weights: _Weights) -> Any:  # noqa: ANN401 - a framework's own
    def heads(h: Any) -> Any:  # noqa: ANN401 - a framework's own
        return ops.transpose(ops.reshape(h, (-1, _LENGTH, _HEADS, _WIDTH // _HEADS)), (0, 2, 1, 3))

    for _ in range(_LAYERS):
        q, k, v = (heads(ops.matmul(x, weights(_WIDTH, _WIDTH))) for _ in "qkv")
        scores = ops.softmax(ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) * 0.125)
        mixed = ops.transpose(ops.matmul(scores, v), (0, 2, 1, 3))
        x = x + ops.matmul(ops.reshape(mixed, (-1, _LENGTH, _WIDTH)), weights(_WIDTH, _WIDTH))
        hidden = ops.relu(ops.matmul(x, weights(_WIDTH, 4 * _WIDTH)))
        x = x + ops.matmul(hidden, weights(4 * _WIDTH, _WIDTH))
    return ops.mean(x, (1,))


_NETWORKS: Final[dict[str, tuple[Callable[[Any, Any, _Weights], Any], tuple[int, ...]]]] = {
    "cnn": (_cnn, (1, 28, 28, 1)),
    "picture": (_picture, (1, 224, 224, 3)),
    "transformer": (_transformer, (1, _LENGTH, _WIDTH)),
}


# ---------------------------------------------------------------- the frameworks
def _torch(make: Callable[[Any, Any, _Weights], Any], x: Array) -> bytes:
    import torch  # noqa: PLC0415 - only if asked for

    class Ops:
        relu = staticmethod(torch.relu)

        @staticmethod
        def matmul(a: Any, b: Any) -> Any:  # noqa: ANN401 - torch brings no types here
            return torch.matmul(a, torch.from_numpy(b) if isinstance(b, np.ndarray) else b)

        @staticmethod
        def softmax(a: Any) -> Any:  # noqa: ANN401 - a framework's own
            return torch.softmax(a, -1)

        @staticmethod
        def mean(a: Any, axes: tuple[int, ...]) -> Any:  # noqa: ANN401 - a framework's own
            return a.mean(axes)

        @staticmethod
        def reshape(a: Any, shape: tuple[int, ...]) -> Any:  # noqa: ANN401 - a framework's own
            return a.reshape(shape)

        @staticmethod
        def transpose(a: Any, axes: tuple[int, ...]) -> Any:  # noqa: ANN401 - a framework's own
            return a.permute(axes)

        @staticmethod
        def patches(a: Any, kernel: Array, stride: int) -> Any:  # noqa: ANN401 - a framework's own
            weight = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
            out = torch.nn.functional.conv2d(a.permute(0, 3, 1, 2), weight, stride=stride)
            return out.permute(0, 2, 3, 1)

    file = io.BytesIO()
    with torch.no_grad():
        traced = torch.jit.trace(lambda t: make(Ops, t, _Weights()), torch.from_numpy(x))
    torch.jit.save(traced, file)
    return file.getvalue()


def _tf_graph(make: Callable[[Any, Any, _Weights], Any], x: Array) -> Any:  # noqa: ANN401 - a framework's own
    import tensorflow as tf  # noqa: PLC0415 - only if asked for

    class Ops:
        matmul = staticmethod(tf.matmul)
        relu = staticmethod(tf.nn.relu)
        softmax = staticmethod(tf.nn.softmax)
        mean = staticmethod(tf.reduce_mean)
        reshape = staticmethod(tf.reshape)

        @staticmethod
        def transpose(a: Any, axes: tuple[int, ...]) -> Any:  # noqa: ANN401 - untyped
            return tf.transpose(a, axes)

        @staticmethod
        def patches(a: Any, kernel: Array, stride: int) -> Any:  # noqa: ANN401 - a framework's own
            return tf.nn.conv2d(a, kernel, stride, "VALID")

    with tf.Graph().as_default() as graph:
        given = tf.compat.v1.placeholder(tf.float32, [None, *x.shape[1:]], "x")
        returned = tf.identity(make(Ops, given, _Weights()), "y")
    return graph, given, returned


def _tf(make: Callable[[Any, Any, _Weights], Any], x: Array) -> bytes:
    graph, *_ = _tf_graph(make, x)
    blob: bytes = graph.as_graph_def().SerializeToString()
    return blob


def _tflite(make: Callable[[Any, Any, _Weights], Any], x: Array) -> bytes:
    import tensorflow as tf  # noqa: PLC0415 - only if asked for

    graph, given, returned = _tf_graph(make, x)
    with tf.compat.v1.Session(graph=graph) as session:
        converter = tf.compat.v1.lite.TFLiteConverter.from_session(session, [given], [returned])
        blob: bytes = converter.convert()
    return blob


_MAKERS: Final[Mapping[str, Callable[[Callable[[Any, Any, _Weights], Any], Array], bytes]]] = {
    "TORCH": _torch,
    "TF": _tf,
    "TFLITE": _tflite,
}
