"""Pauses between attempts grow, up to a limit, and are never the same for all."""

from hypothesis import given
from hypothesis import strategies as st

from tensorkeep_valkey.backoff import FIRST_PAUSE, LONGEST_PAUSE, pause_after


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_pause_lies_between_half_the_first_and_the_longest(failures, draw):
    assert FIRST_PAUSE / 2 <= pause_after(failures, draw) <= LONGEST_PAUSE


@given(st.integers(1, 60), st.floats(0, 1))
def test_pauses_grow(failures, draw):
    assert pause_after(failures, draw) <= pause_after(failures + 1, draw)


def test_chance_moves_a_pause_by_half_of_it():
    assert pause_after(1, 0.0) * 2 == pause_after(1, 1.0) == FIRST_PAUSE
