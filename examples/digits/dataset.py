"""The pictures that the digits network is trained with, and those that are held out.

This file decides which picture is which, and how a picture becomes the network's input. It needs
scikit-learn, which brings the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 20240
HELD_OUT = 360
WHITE = 16  # the largest grey value in the data set


@dataclass(frozen=True, slots=True)
class Images:
    """Pictures as in the data set (uint8, 0 to 16, [N, 8, 8]) and the digit that each one shows."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def as_input(self) -> NDArray[np.float32]:
        """Return the pictures as the network takes them: float32, 0 to 1, [N, 1, 8, 8]."""
        return (self.pixels[:, None] / WHITE).astype(np.float32)

    def accuracy(self, probabilities: NDArray[np.float32]) -> float:
        """Return the share of pictures whose most probable digit is the true one."""
        return float((probabilities.argmax(axis=1) == self.labels).mean())


def split_images() -> tuple[Images, Images]:
    """Load the data set; return training and held-out pictures, each digit in proportion."""
    digits = load_digits()
    split = train_test_split(
        digits.images.astype(np.uint8),
        digits.target.astype(np.uint8),
        test_size=HELD_OUT,
        stratify=digits.target,
        random_state=SEED,
    )
    train_pixels, held_pixels, train_labels, held_labels = split
    return Images(train_pixels, train_labels), Images(held_pixels, held_labels)
