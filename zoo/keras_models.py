"""Applications of Keras, and layers that they lack: recurrent ones, attention, words."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
from keras import layers
from keras_forms import Network, entries_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entry import Entry, Size

# By name of keras.applications: the sides of pictures, as small as it takes them, and options.
APPLICATIONS: Final[dict[str, tuple[int, dict[str, Any]]]] = {
    "MobileNet": (64, {}),
    "MobileNetV2": (64, {}),
    "MobileNetV3Small": (64, {}),
    "EfficientNetB0": (64, {}),
    "ResNet50": (64, {}),
    "DenseNet121": (64, {}),
    "InceptionV3": (75, {}),
    "ConvNeXtTiny": (64, {}),
}
WORDS: Final = ["the", "server", "replies", "to", "every", "client"]
LITE: Final = tuple(f"TFLITE, {kind}" for kind in ("float", "float16", "dynamic range", "int8"))


def entries() -> Iterator[Entry]:
    """Gives all entries."""
    for name, (side, options) in APPLICATIONS.items():
        made = partial(application, name, side, options)
        yield from entries_of(name, made)
    yield from entries_of("LSTM tagger", partial(tagger, layers.LSTM), without=LITE[3:])
    yield from entries_of("GRU tagger", partial(tagger, layers.GRU), without=LITE[3:])
    yield from entries_of("Attention", attention, without=LITE[3:])
    yield from entries_of("Two inputs and two outputs", two_ends, short=True)
    yield from entries_of("Words looked up", words, without=("frozen graph", *LITE))


def application(name: str, side: int, options: dict[str, Any], _: Size) -> Network:
    """Makes a classifier of pictures, of ten kinds."""
    model = getattr(keras.applications, name)(
        weights=None, include_top=False, pooling="avg", input_shape=(side, side, 3), **options
    )
    model = keras.Sequential([model, layers.Dense(10, activation="softmax")])
    draw = np.random.default_rng(0)
    samples = [{"x": draw.random((count, side, side, 3), np.float32)} for count in (1, 3)]
    model.build((None, side, side, 3))
    return Network(model, samples)


def tagger(layer: Any, _: Size) -> Network:
    """Makes a tagger of sequences of twelve words, in both directions."""
    model = keras.Sequential(
        [
            keras.Input((12,), dtype="int32"),
            layers.Embedding(50, 16),
            layers.Bidirectional(layer(8, return_sequences=True)),
            layers.Dense(5, activation="softmax"),
        ]
    )
    draw = np.random.default_rng(0)
    return Network(model, [{"x": draw.integers(0, 50, (1, 12), np.int32)} for _ in range(2)], 1)


def attention(_: Size) -> Network:
    """Makes a block of a transformer."""
    x = keras.Input((10, 32))
    y = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 8)(x, x))
    y = layers.LayerNormalization()(y + layers.Dense(32)(layers.Dense(64, activation="gelu")(y)))
    draw = np.random.default_rng(0)
    samples = [{"x": draw.random((count, 10, 32), np.float32)} for count in (1, 3)]
    return Network(keras.Model(x, y), samples)


def two_ends(_: Size) -> Network:
    """Makes a network that takes two tensors and returns two."""
    a, b = keras.Input((4,), name="a"), keras.Input((6,), name="b")
    y = layers.Dense(8, activation="relu")(layers.Concatenate()([a, b]))
    model = keras.Model([a, b], [layers.Dense(3)(y), layers.Dense(2, activation="softmax")(y)])
    draw = np.random.default_rng(0)
    samples = [
        {"a": draw.random((n, 4), np.float32), "b": draw.random((n, 6), np.float32)} for n in (1, 3)
    ]
    return Network(model, samples)


def words(_: Size) -> Network:
    """Makes a network that takes texts of one word and looks them up."""
    x = keras.Input((1,), dtype="string")
    y = layers.StringLookup(vocabulary=WORDS)(x)
    y = layers.Dense(3)(layers.Flatten()(layers.Embedding(len(WORDS) + 1, 4)(y)))
    given = [np.array([["server"]], object), np.array([["client"], ["none"], ["the"]], object)]
    return Network(keras.Model(x, y), [{"x": each} for each in given])
