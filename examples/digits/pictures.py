"""Show small grey pictures in a terminal.

This file decides which characters and colours stand for which pixels, and prints nothing itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.text import Text

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console

WHITE = 16  # the largest grey value in a picture of the data set
UPPER_HALF = "▀"
# Without colours a half is either ink or not; the index is 2 x upper + lower.
HALVES = (" ", "▄", "▀", "█")
ASCII_RAMP = " .:oO@"


def picture(pixels: NDArray[np.uint8], console: Console) -> Text:
    """Draw `pixels` ([8, 8], 0 to 16) 16 characters wide and 8 lines high, as `console` allows.

    With colours each character shows two grey pixels, one above the other; without colours the
    same two halves are filled or left out; where only ASCII can be printed, a ramp stands in.
    """
    if console.options.ascii_only:
        return Text("\n".join(ascii_lines(pixels)), no_wrap=True)
    fine = enlarge(pixels)
    if console.color_system is None or console.no_color:
        return Text("\n".join(half_lines(fine)), no_wrap=True)
    return shade(fine)


def enlarge(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the picture at twice its size, 0 to 1, with values in between drawn evenly."""
    size = len(pixels)
    places = (np.arange(2 * size) - 0.5) / 2
    weights = np.array([np.interp(places, np.arange(size), row) for row in np.eye(size)]).T
    fine: NDArray[np.float64] = weights @ (pixels / WHITE) @ weights.T
    return fine


def shade(fine: NDArray[np.float64]) -> Text:
    """Draw with half blocks: foreground is the upper pixel's grey, background the lower one's."""
    text = Text(no_wrap=True)
    greys = (fine * 255).round().astype(int)
    for upper, lower in zip(greys[::2], greys[1::2], strict=True):
        for above, below in zip(upper, lower, strict=True):
            style = f"rgb({above},{above},{above}) on rgb({below},{below},{below})"
            text.append(UPPER_HALF, style)
        text.append("\n")
    text.right_crop(1)
    return text


def half_lines(fine: NDArray[np.float64]) -> list[str]:
    """Draw with filled halves: ink where a pixel is at least half as bright as can be."""
    ink = (fine >= 0.5).astype(int)
    codes = 2 * ink[::2] + ink[1::2]
    return ["".join(HALVES[code] for code in row) for row in codes]


def ascii_lines(pixels: NDArray[np.uint8]) -> list[str]:
    """Draw with ASCII characters, two for a pixel: a character is about twice as high as wide."""
    steps = (pixels / WHITE * (len(ASCII_RAMP) - 1)).round().astype(int)
    return ["".join(2 * ASCII_RAMP[step] for step in row) for row in steps]
