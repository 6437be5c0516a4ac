"""Lines that clients cause at will do not fill the log."""

import logging

import pytest

from tensorkeep.bounded_log import BoundedLog, shown

LOG = logging.getLogger("tensorkeep.test")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lines(clock):
    return BoundedLog(3, 60.0, clock)


def test_so_many_lines_are_written_and_then_how_many_were_not(lines, clock, caplog):
    caplog.set_level(logging.INFO)
    assert [lines.allows(LOG, logging.INFO) for _ in range(8)] == [True] * 3 + [False] * 5
    clock.now = 59.9
    assert not lines.allows(LOG, logging.INFO)
    assert not caplog.records
    clock.now = 60
    assert lines.allows(LOG, logging.INFO)
    assert caplog.messages == ["6 more such lines were left out"]
    clock.now = 120
    assert lines.allows(LOG, logging.INFO)
    assert len(caplog.records) == 1


def test_each_level_has_its_own(lines, caplog):
    caplog.set_level(logging.INFO)
    assert [lines.allows(LOG, logging.INFO) for _ in range(4)][-1] is False
    assert lines.allows(LOG, logging.WARNING)


def test_what_is_not_logged_does_not_count(lines, caplog):
    caplog.set_level(logging.WARNING)
    assert not any(lines.allows(LOG, logging.INFO) for _ in range(10))
    caplog.set_level(logging.INFO)
    assert lines.allows(LOG, logging.INFO)


def test_what_clients_send_is_shown_on_one_line_and_not_for_ever():
    assert shown(b"m") == "m"
    assert shown("größe") == "größe"
    assert shown(b"a\nb\x1b[31m\xff") == "a\\nb\\x1b[31m\\xff"
    assert len(shown(b"x" * 10_000)) == 200
    assert shown("\ud800") == "\\ud800"
