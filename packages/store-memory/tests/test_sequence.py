"""A list's elements, beside those of Python's own list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep_memory.values.sequence import List

ELEMENTS = st.lists(st.sampled_from([b"", b"a", b"b"]), max_size=12)
INDICES = st.one_of(st.integers(-15, 15), st.sampled_from([-(2**63), 2**63 - 1]))


def numbered(size):
    return List(b"%d" % number for number in range(size))


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (0, -1, (0, 5)),
        (1, 2, (1, 3)),
        (-2, 9, (3, 5)),
        (-9, 0, (0, 1)),
        (2, 1, (0, 0)),
        (5, 9, (0, 0)),
        (0, -6, (0, 0)),
        (-9, -7, (0, 0)),
        (2**63 - 1, -1, (0, 0)),
        (-(2**63), 2**63 - 1, (0, 5)),
    ],
)
def test_indices_of_redis_mean_a_part(first, last, expected):
    assert numbered(5).bounds(first, last) == expected


@given(ELEMENTS, INDICES, INDICES)
def test_a_part_lies_within_the_list(items, first, last):
    start, stop = List(items).bounds(first, last)
    assert 0 <= start <= stop <= len(items)


@given(st.integers(0, 2000), st.data())
def test_a_part_is_that_of_a_list(size, data):
    stop = data.draw(st.integers(0, size))
    start = data.draw(st.integers(0, stop))
    items = numbered(size)
    assert items.part(start, stop) == [*items][start:stop]


@given(ELEMENTS, st.data())
def test_only_what_is_kept_stays(items, data):
    stop = data.draw(st.integers(0, len(items)))
    start = data.draw(st.integers(0, stop))
    kept = List(items)
    kept.keep(start, stop)
    assert [*kept] == items[start:stop]


@given(ELEMENTS, st.sampled_from([b"a", b"none"]), st.booleans(), st.none() | st.integers(1, 13))
def test_elements_are_found_from_either_end(items, wanted, backwards, limit):
    looked_at = [*enumerate(items)][:: -1 if backwards else 1][:limit]
    found = List(items).positions(wanted, backwards=backwards, limit=limit)
    assert [*found] == [at for at, item in looked_at if item == wanted]


@given(
    st.lists(st.sampled_from([b"a", b"b"]), max_size=100),
    st.one_of(st.integers(-50, 50), st.sampled_from([-(2**63), 2**63 - 1])),
)
def test_equal_elements_are_dropped_from_either_end(items, number):
    places = [at for at, item in enumerate(items) if item == b"a"]
    gone = places[number:] if number < 0 else places[: number or None]
    left = List(items)
    assert left.drop(b"a", number) == len(gone)
    assert [*left] == [item for at, item in enumerate(items) if at not in gone]


def test_a_large_element_is_found_by_what_it_holds():
    items = List([b"a", memoryview(b"large")])
    assert [*items.positions(b"large")] == [1]
    assert items.drop(memoryview(b"a"), 0) == 1


def test_a_copy_changes_no_more_with_the_list():
    items = numbered(3)
    copy = items.copy()
    items.append(b"3")
    assert type(copy) is List
    assert [*copy] == [b"0", b"1", b"2"]


def test_its_size_is_that_of_all_elements_whatever_is_done_with_it():
    assert 500 < List().nbytes < 1000
    assert 140_000 < List([b"x" * 100] * 1000).nbytes < 160_000
    items = numbered(400)
    before = items.nbytes
    items.extend([b"y" * 50_000, b"z"])
    items.extendleft([b"w" * 50_000])
    items.append(b"v" * 50_000)
    assert before + 150_000 < items.nbytes < before + 160_000
    items[200] = b"x" * 1000
    items.insert(7, b"y" * 1000)
    items.pop()
    items.popleft()
    items.drop(b"y" * 1000, 0)
    items.validate()
    items.drop(b"23", -1)
    copy = items.copy()
    copy.keep(100, 300)
    copy.validate()
    items.keep(1, 400)
    items.validate()
    assert items.nbytes < before + 60_000
