"""Which commands that took long are kept, and how much of each."""

import pytest

from tensorkeep_server.slow_log import SlowLog, shortened


def add(log, *request, seconds=1.0):
    log.add(shortened([*request]), seconds, ended_at=1700000000.9, address="1.2.3.4:5", name="me")


def test_a_command_is_kept_as_it_was_sent():
    log = SlowLog()
    add(log, b"GeT", memoryview(b"a"), seconds=0.0123456)
    assert log.latest(None) == [(0, 1700000000, 12345, (b"GeT", b"a"), "1.2.3.4:5", "me")]


def test_the_newest_come_first_and_the_oldest_make_room():
    log = SlowLog()
    log.most = 3
    for number in range(5):
        add(log, b"%d" % number)
    assert [entry.id for entry in log.latest(None)] == [4, 3, 2]
    assert [entry.id for entry in log.latest(2)] == [4, 3]
    assert len(log) == 3


def test_numbers_go_on_when_all_is_forgotten():
    log = SlowLog()
    add(log, b"a")
    log.clear()
    add(log, b"b")
    assert [entry.id for entry in log.latest(None)] == [1]


def test_a_log_without_room_keeps_nothing():
    log = SlowLog()
    log.most = 0
    add(log, b"a")
    assert len(log) == 0


@pytest.mark.parametrize(("threshold", "limit"), [(-1, float("inf")), (0, 0.0), (2500, 0.0025)])
def test_a_threshold_is_a_number_of_microseconds_and_minus_one_is_none(threshold, limit):
    log = SlowLog()
    log.threshold = threshold
    assert log.limit == pytest.approx(limit)
    assert log.threshold == threshold


def test_many_arguments_and_long_ones_are_cut():
    log = SlowLog()
    add(log, *[b"x"] * 32)
    add(log, *[b"x"] * 33)
    add(log, b"x" * 128, memoryview(b"y" * 129))
    long, many, fits = (entry.arguments for entry in log.latest(None))
    assert fits == (b"x",) * 32
    assert many == (*[b"x"] * 31, b"... (2 more arguments)")
    assert long == (b"x" * 128, b"y" * 128 + b"... (1 more bytes)")
