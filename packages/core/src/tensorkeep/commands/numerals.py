"""Numbers as Redis reads them: what C's `strtod` takes, less what Redis refuses.

Python's own `float` takes more (blanks, `1_0`, digits of other scripts, NaN) and less (hexadecimal
numbers), so what it is given is looked at first. Integers are read in `args`.

Where Redis counts in C's `long double` (INCRBYFLOAT and HINCRBYFLOAT), NumPy's is used: the same
type of the same machine, so that the same sums come out.
"""

from __future__ import annotations

import re
import warnings
from math import inf, isfinite
from typing import TYPE_CHECKING, Final

import numpy as np

from tensorkeep.commands.args import parse_integer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.commands.args import Argument

_TOO_LARGE: Final = 2**63
# No possessive quantifier in any of these: before 3.11.5 Python's `re` matches too much with them.
# None of them needs one, as a long word that does not fit is given up in linear time.
_OF_DECIMALS: Final = b"0123456789+-.eE"
_BLANKS: Final = b" \t\n\v\f\r"
_INFINITE: Final = re.compile(rb"[+-]?inf(?:inity)?", re.IGNORECASE)
_HEXADECIMAL: Final = re.compile(
    rb"[+-]?0x(?:[0-9a-f]+(?:\.[0-9a-f]*)?|\.[0-9a-f]+)(?:p[+-]?[0-9]+)?", re.IGNORECASE
)
# Zeros that are meant to be zeros; any other zero is a number too small for a double.
_ZERO: Final = re.compile(rb"[+-]?(?:0x[0.]+(?:p.+)?|[0.]+(?:e.+)?)", re.IGNORECASE)
_INTEGER: Final = re.compile(rb"-?[1-9][0-9]{0,19}|0")
_LONG_WORD: Final = 5 * 1024  # a number of so many bytes is none for Redis' `long double`
_PLACES: Final = 17  # behind the point, which Redis prints of a `long double`


def parse_doubles(words: Sequence[Argument]) -> list[float] | None:
    """Reads numbers; None when one of them is not one.

    Decimal and hexadecimal numbers and `inf` in its spellings; neither NaN, nor blanks, nor what
    is too large for a double, or too small not to become zero.
    """
    if len(words) == 1 and (whole := parse_integer(words[0])) is not None:
        return [float(whole)]  # a score, say: looked up, not parsed
    numbers = _parse_decimals(words)
    if numbers is None:
        numbers = [number for word in words if (number := _parse_unusual(word)) is not None]
        return numbers if len(numbers) == len(words) else None
    if inf in numbers or -inf in numbers:
        return None
    if 0.0 in numbers:
        for number, word in zip(numbers, words, strict=True):
            if number == 0 and not _ZERO.fullmatch(word):
                return None
    return numbers


def parse_double(word: Argument) -> float | None:
    """Reads one number, see `parse_doubles`."""
    numbers = parse_doubles((word,))
    return None if numbers is None else numbers[0]


def parse_bound(word: Argument) -> float | None:
    """Reads one number as the bound of a range, in which Redis takes what `strtod` takes.

    Beyond what `parse_double` takes that is blanks before it, what is too large or too small for a
    double, and nothing at all, which is 0. All ends at a NUL byte. NaN is none.
    """
    text = bytes(word).partition(b"\0")[0]
    if not text:
        return 0.0
    text = text.lstrip(_BLANKS)
    if _INFINITE.fullmatch(text):
        return float(text)
    decimal = _parse_decimals((text,))
    if decimal is not None:
        return decimal[0]
    if not _HEXADECIMAL.fullmatch(text):
        return None
    try:
        return float.fromhex(text.decode())
    except OverflowError:
        return -inf if text.startswith(b"-") else inf


def parse_integers(words: Sequence[Argument]) -> list[int] | None:
    """Reads integers of at most 20 digits, spelled as in `args`; None when one is not one."""
    if not all(map(_INTEGER.fullmatch, words)):
        return None
    return [*map(int, words)]


def parse_count(word: Argument) -> int | None:
    """Reads a count: an integer in any spelling of a number, such as `2.0` or `1e2`, from 0 on."""
    count = parse_integer(word)
    if count is None:
        number = parse_double(word)
        if number is None or not number.is_integer():
            return None
        count = int(number)
    return count if 0 <= count < _TOO_LARGE else None


def parse_long_double(word: Argument) -> np.longdouble | None:
    """Reads one number as C's `long double`; None when it is not one.

    What counts as a number is as in `parse_doubles`, but of the larger range, and it must be
    shorter than 5 KiB.
    """
    if not 0 < len(word) < _LONG_WORD:
        return None
    word = bytes(word)
    decimal = _parse_decimals((word,))
    if decimal is not None:
        (near,) = decimal
        if isfinite(near) and near != 0:
            return np.longdouble(word)
    elif _INFINITE.fullmatch(word):
        return np.longdouble(word)
    elif not _HEXADECIMAL.fullmatch(word):
        return None
    with warnings.catch_warnings():  # NumPy warns of what is looked at here
        warnings.simplefilter("ignore")
        number = np.longdouble(word)
    if not np.isfinite(number) or (number == 0 and not _ZERO.fullmatch(word)):
        return None
    return number


def add_long_doubles(number: np.longdouble, increment: np.longdouble) -> bytes | None:
    """Returns a sum as Redis prints it; None when it is infinite or not a number.

    At most 17 places behind the point, without zeros at the end, and never with an exponent.
    """
    with np.errstate(all="ignore"):
        total = number + increment
    if not np.isfinite(total):
        return None
    text = np.format_float_positional(total, precision=_PLACES, unique=False, trim="-")
    return b"0" if text == "-0" else text.encode()


def _parse_decimals(words: Sequence[Argument]) -> list[float] | None:
    """Reads decimal numbers, also those beyond a double; None when a word is not one.

    Of these bytes alone, what Python takes for a number is what C takes for one.
    """
    if b"".join(words).translate(None, _OF_DECIMALS):
        return None
    try:
        return [*map(float, words)]
    except ValueError:
        return None


def _parse_unusual(word: Argument) -> float | None:
    """Reads one number of a list in which not all are decimal."""
    word = bytes(word)
    decimal = _parse_decimals((word,))
    if decimal is not None:
        (number,) = decimal
    elif _INFINITE.fullmatch(word):
        return float(word)
    elif _HEXADECIMAL.fullmatch(word):
        try:
            number = float.fromhex(word.decode())
        except OverflowError:
            return None
    else:
        return None
    if number in {inf, -inf} or (number == 0 and not _ZERO.fullmatch(word)):
        return None
    return number
