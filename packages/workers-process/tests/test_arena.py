"""Where in an arena there is room: taken around and around, freed in the order of taking."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep_workers_process.arena import place


@pytest.mark.parametrize(
    ("taken", "wanted", "found"),
    [
        ([], 10, 0),
        ([], 11, None),
        ([(0, 4)], 6, 4),
        ([(0, 4)], 7, None),
        ([(4, 8)], 4, 0),
        ([(4, 8)], 5, None),
        ([(4, 8), (0, 2)], 2, 2),
        ([(4, 8), (0, 2)], 3, None),
        ([(0, 5), (5, 10)], 1, None),
        ([(5, 10), (0, 5)], 1, None),
    ],
)
def test_room_is_found_behind_the_newest_or_at_the_beginning(taken, wanted, found):
    assert place(taken, wanted, 10) == found


@given(st.lists(st.integers(0, 12), max_size=200))
def test_what_is_taken_never_overlaps_and_room_that_is_free_is_used_again(steps):
    taken = deque()
    for wanted in steps:
        if not wanted:
            if taken:
                taken.popleft()
            continue
        found = place(taken, wanted, 30)
        if found is None:
            assert taken
            continue
        assert found + wanted <= 30
        assert all(found + wanted <= first or end <= found for first, end in taken)
        taken.append((found, found + wanted))
