"""What workers print becomes lines of the log, whatever it is, and keeps nobody busy."""

import logging
import os

import msgspec
import pytest

from tensorkeep_workers_process.printed import Pace, Printed

SECOND = 1000


@pytest.fixture
def printed():
    """Returns a function that takes what was printed, and returns the pause after it."""
    reads, writes = os.pipe()
    lines = Printed(reads, "FAKE", lambda: 7)

    def take(data):
        os.write(writes, data)
        return lines.read()

    yield take
    os.close(writes)
    assert lines.read() is None
    os.close(reads)


def record(level, name, text):
    return b"\x1e" + msgspec.json.encode([level, name, text]) + b"\n"


def test_a_line_is_logged_with_the_process_that_printed_it(printed, caplog):
    caplog.set_level(logging.INFO)

    printed(b"one\ntw")
    printed(b"o\n\n")

    assert caplog.messages == ["one (worker 7 of FAKE)", "two (worker 7 of FAKE)"]


def test_what_cannot_be_printed_is_escaped(printed, caplog):
    caplog.set_level(logging.INFO)

    printed(b"\x1b[2J \xff\r\n")
    printed(record(logging.INFO, "x", "first\nERROR forged\x1b"))

    assert caplog.messages == [
        "\\x1b[2J \\xff\\r (worker 7 of FAKE)",
        "first\n    ERROR forged\\x1b (worker 7 of FAKE)",
    ]


@pytest.mark.parametrize(
    ("said", "logged"), [(30, 30), (31, 30), (-5, 10), (0, 10), (10**9, 50), (2**62, 50)]
)
def test_levels_are_those_that_there_are(printed, caplog, said, logged):
    caplog.set_level(logging.DEBUG)

    printed(record(said, "x", "text"))

    assert [each.levelno for each in caplog.records] == [logged]


def test_only_loggers_that_there_are_are_logged_to(printed, caplog):
    logging.getLogger("a known one")
    caplog.set_level(logging.INFO)

    printed(record(logging.INFO, "a known one", "text") + record(logging.INFO, "never", "text"))

    assert [each.name for each in caplog.records] == [
        "a known one",
        "tensorkeep_workers_process.printed",
    ]
    assert "never" not in logging.root.manager.loggerDict


def test_who_prints_without_end_is_read_at_a_pace(printed):
    pauses = [printed(b"x" * 60_000) for _ in range(40)]

    assert pauses[0] == 0
    assert pauses[-1] > 0.5  # 2.4 MB, of which 1 MB may come at once, and the next in a second


def test_a_pace_lets_a_second_s_worth_come_at_once_and_no_more():
    pace = Pace(SECOND)

    assert pace.pause(SECOND, now=10.0) == 0
    assert pace.pause(SECOND // 2, now=10.0) == pytest.approx(0.5)
    assert pace.pause(SECOND, now=11.5) == pytest.approx(0)
    assert pace.pause(SECOND // 10, now=100.0) == 0
