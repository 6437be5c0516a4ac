"""Which collections of entries the zoo has, and which of them can be made here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entry import Entry


@dataclass(frozen=True, slots=True)
class Collection:
    """Entries that need the same packages; each has a section of the page and a session of nox.

    Attributes:
        name: Its name on the command line, and of its results.
        title: What the page calls it.
        module: The module of this folder with `entries()`.
        needs: What must be importable to make the models.
        writers: Packages whose versions the page tells beside those of the entries.
    """

    name: str
    title: str
    module: str
    needs: tuple[str, ...]
    writers: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """Returns what is needed and not installed."""
        return [each for each in self.needs if find_spec(each) is None]

    def entries(self, only: str = "") -> list[Entry]:
        """Returns the entries whose titles match a pattern."""
        found: list[Entry] = list(import_module(self.module).entries())
        return [each for each in found if re.search(only, each.title, re.IGNORECASE)]


COLLECTIONS = (
    Collection(
        "torch",
        "PyTorch and transformers",
        "torch_models",
        ("torch", "transformers"),
        ("onnx", "onnxscript", "torch"),
    ),
    Collection(
        "torchvision",
        "torchvision",
        "torchvision_models",
        ("onnxscript", "torchvision"),
        ("onnx", "onnxscript", "torch"),
    ),
    Collection(
        "sklearn",
        "scikit-learn, LightGBM and XGBoost",
        "sklearn_models",
        ("lightgbm", "onnxmltools", "skl2onnx", "sklearn", "xgboost"),
        ("onnxmltools", "skl2onnx"),
    ),
    Collection(
        "keras",
        "Keras",
        "keras_models",
        ("keras", "tensorflow"),
        ("keras", "tensorflow_cpu"),
    ),
)
