"""Entries in order: what ranks and ranges find, whatever comes and goes."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tensorkeep_memory.values import ranking
from tensorkeep_memory.values.ranking import Ranking


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    """Chunks are so short that few entries need several."""
    monkeypatch.setattr(ranking, "_MOST", 16)
    monkeypatch.setattr(ranking, "_FEW", 2)


@pytest.mark.parametrize("size", [0, 1, 8, 9, 16, 17, 100])
def test_every_part_is_found(size):
    entries = [*range(0, 2 * size, 2)]
    made = Ranking(entries)
    made.validate()
    for start in range(size + 1):
        for stop in range(size + 1):
            assert made.part(start, stop) == entries[start:stop]
    assert [made.rank(number) for number in range(-1, 2 * size + 1)] == [
        sum(entry < number for entry in entries) for number in range(-1, 2 * size + 1)
    ]


@pytest.mark.parametrize("size", [1, 17, 60])
def test_every_part_can_be_cut_out(size):
    entries = [*range(size)]
    for start in range(size + 1):
        for stop in range(start, size + 1):
            made = Ranking(entries)
            assert made.cut(start, stop) == entries[start:stop]
            assert made.part(0, size - stop + start) == entries[:start] + entries[stop:]
            made.validate()


@pytest.mark.parametrize("order", [sorted, reversed, lambda numbers: numbers])
def test_entries_come_and_go_in_any_order(order):
    numbers = random.Random(1).sample(range(1000), 500)
    made = Ranking([])
    for number in order(numbers):
        made.add(number)
        made.validate()
    assert made.part(0, 500) == sorted(numbers)
    for number in order(numbers[:-1]):
        made.remove(number)
        made.validate()
    assert made.part(0, 1) == numbers[-1:]
    made.remove(numbers[-1])
    made.validate()
    made.add(7)
    assert made.part(0, 1) == [7]


def test_a_copy_shares_nothing():
    first = Ranking([*range(100)])
    second = first.copy()
    second.cut(10, 90)
    second.add(500)
    assert first.part(0, 100) == [*range(100)]
    assert second.part(0, 21) == [*range(10), *range(90, 100), 500]
    first.validate()
    second.validate()


def test_chunks_are_handed_out_once():
    made = Ranking([*range(100)])
    assert [entry for chunk in made.release() for entry in chunk] == [*range(100)]
    assert made.release() == []
    made.add(1)
    assert made.part(0, 1) == [1]


def test_a_ranking_can_be_shown_in_a_log():
    assert repr(Ranking([*range(20)])) == "Ranking(20 entries in 3 chunks)"


class RankingMachine(RuleBasedStateMachine):
    """A ranking is a sorted list."""

    numbers = st.integers(0, 200)

    def __init__(self):
        super().__init__()
        self.made = Ranking([])
        self.model = []

    @rule(number=numbers)
    def add_or_remove(self, number):
        if number in self.model:
            self.made.remove(number)
            self.model.remove(number)
        else:
            self.made.add(number)
            self.model = sorted([*self.model, number])

    @rule(start=numbers, size=st.integers(1, 60), step=st.integers(1, 3))
    def add_many(self, start, size, step):
        for number in {*range(start, start + size, step)} - {*self.model}:
            self.made.add(number)
            self.model = sorted([*self.model, number])

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def cut(self, data):
        start, stop = sorted(data.draw(st.integers(0, len(self.model))) for _ in range(2))
        assert self.made.cut(start, stop) == self.model[start:stop]
        del self.model[start:stop]

    @rule(number=numbers)
    def rank(self, number):
        assert self.made.rank(number) == sum(each < number for each in self.model)

    @rule()
    def copy(self):
        self.made = self.made.copy()

    @invariant()
    def agrees(self):
        self.made.validate()
        assert self.made.part(0, len(self.model)) == self.model


TestRankingMachine = RankingMachine.TestCase
TestRankingMachine.settings = settings(max_examples=60, deadline=None)
