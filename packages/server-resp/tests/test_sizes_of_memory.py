"""Sizes of memory are read as Redis reads them."""

from __future__ import annotations

import pytest

from tensorkeep_server.sizes_of_memory import read_size


@pytest.mark.parametrize(
    ("word", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("512b", 512),
        ("4k", 4000),
        ("4kb", 4096),
        ("100mb", 100 * 2**20),
        ("100M", 100 * 10**6),
        ("1G", 10**9),
        ("1Gb", 2**30),
        ("007", 7),
    ],
)
def test_a_size_is_a_number_with_a_unit_of_redis(word: str, size: int) -> None:
    assert read_size(word) == size


@pytest.mark.parametrize(
    "word",
    ["", "mb", "-1", "+1", "1.5gb", "1 mb", " 1", "1tb", "x", "9" * 19, "\u0663", "20000000000gb"],
)
def test_what_is_no_size_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="argument must be a memory value"):
        read_size(word)
