"""Which worker does what."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from tensorkeep_workers_process.placement import chosen, dropped, surplus


class Idle(NamedTuple):
    number: int
    holds: dict
    since: float


HOLDS = st.dictionaries(st.integers(1, 6), st.integers(0, 100), max_size=4)
IDLE = st.lists(st.builds(Idle, st.integers(1, 50), HOLDS, st.floats(0, 100)), max_size=5)


def test_without_an_idle_worker_another_one_is_started():
    assert chosen([], 1) is None


def test_a_worker_that_holds_the_model_is_chosen():
    idle = [Idle(1, {5: 10}, 2.0), Idle(2, {7: 10}, 1.0), Idle(3, {}, 3.0)]

    assert chosen(idle, 7) == 2


def test_of_those_that_hold_the_model_the_one_that_worked_last_is_chosen():
    idle = [Idle(1, {7: 10}, 2.0), Idle(2, {7: 10, 5: 1}, 3.0), Idle(3, {7: 10}, 1.0)]

    assert chosen(idle, 7) == 2


def test_something_is_built_where_least_is_held():
    idle = [Idle(1, {5: 10}, 2.0), Idle(2, {7: 5}, 1.0), Idle(3, {8: 4, 9: 4}, 3.0)]

    assert chosen(idle, None) == chosen(idle, 4) == 2


@given(IDLE, st.integers(1, 6))
def test_a_worker_that_holds_the_model_is_never_passed_over(idle, runnable):
    number = chosen(idle, runnable)

    holders = {each.number for each in idle if runnable in each.holds}
    assert number in (holders or {each.number for each in idle} or {None})


def test_what_was_used_longest_ago_is_dropped():
    assert dropped({3: 40, 1: 30, 2: 30}, 20, 100) == [3]


def test_nothing_is_dropped_while_there_is_room():
    assert dropped({3: 40, 1: 40}, 20, 100) == []


@given(HOLDS, st.integers(0, 200), st.integers(0, 200))
def test_what_stays_has_room_or_nothing_stays(holds, adding, limit):
    gone = dropped(holds, adding, limit)

    staying = {each: size for each, size in holds.items() if each not in gone}
    assert not staying or sum(staying.values()) + adding <= limit


def test_workers_end_that_have_waited_for_long_beyond_those_that_are_kept():
    idle = [Idle(1, {}, 1.0), Idle(2, {}, 2.0), Idle(3, {}, 9.0)]

    assert surplus(idle, [], keep=1, before=5.0) == [1, 2]
    assert surplus(idle, [], keep=2, before=5.0) == [1]
    assert surplus(idle, [{}], keep=2, before=5.0) == [1, 2]
    assert surplus(idle, [], keep=1, before=0.5) == []


def test_the_only_worker_that_holds_a_model_stays():
    idle = [Idle(1, {7: 1}, 1.0), Idle(2, {8: 1}, 2.0), Idle(3, {8: 1}, 3.0)]

    assert surplus(idle, [], keep=1, before=5.0) == [2]


@given(IDLE, st.lists(HOLDS, max_size=3), st.integers(0, 5), st.floats(0, 100))
def test_no_model_is_lost_to_a_surplus(idle, others, keep, before):
    idle = list({each.number: each for each in idle}.values())

    ended = surplus(idle, others, keep, before)

    staying = [each.holds for each in idle if each.number not in ended]
    held = set().union(*(each.holds for each in idle), *others)
    assert set().union(*staying, *others) == held
    assert len(staying) + len(others) >= min(keep, len(idle) + len(others))
