"""The program that kills servers and engines, in small; `nox -s crashes` kills 210 times."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

if not sys.platform.startswith("linux") or find_spec("tensorkeep_valkey") is None:
    pytest.skip("it needs Linux and the store in Valkey", allow_module_level=True)

from crash_campaign import Found, table
from crash_history import MAY_MISS, History, Wrong
from crash_values import NotDone, Unsure, ask
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep_server.testing import WireError


def written(*sent):
    """The history of a key whose versions 1, 2, ... were sent at these times, and acknowledged."""
    history = History()
    for version, at in enumerate(sent, 1):
        history.acknowledge(version, at)
    return history


def test_the_newest_version_may_be_found():
    assert written(1.0, 2.0).settle(2, [3.0], 0.0) == 0.0


def test_a_version_whose_reply_never_came_may_be_found_or_not():
    for found in (2, 3):
        history = written(1.0, 2.0)
        history.unsure = 3
        assert history.settle(found, [3.0], 0.0) == 0.0
        assert history.newest == found


def test_what_was_acknowledged_must_be_there():
    with pytest.raises(Wrong, match="version 1 was found, 2 was acknowledged"):
        written(1.0, 2.0).settle(1, [3.0], MAY_MISS["always"])


def test_what_is_missing_is_as_old_as_its_oldest_change():
    assert written(1.0, 2.5, 2.75).settle(1, [3.0], 1.0) == 0.5
    with pytest.raises(Wrong):
        written(1.0, 1.5, 2.75).settle(1, [3.0], 1.0)


def test_a_later_crash_does_not_make_what_is_missing_older():
    assert written(1.0, 2.5).settle(1, [3.0, 9.0], 1.0) == 0.5


def test_nothing_may_be_missing_without_a_crash():
    with pytest.raises(Wrong, match="without a crash"):
        written(1.0, 2.0).settle(1, [1.5], MAY_MISS["no"])


def test_a_version_that_was_never_written_is_wrong_with_every_policy():
    for may_miss in MAY_MISS.values():
        with pytest.raises(Wrong, match="none of"):
            written(1.0, 2.0).settle(3, [3.0], may_miss)


def test_what_was_missing_once_does_not_come_back():
    history = written(1.0, 2.0)
    history.settle(1, [3.0], MAY_MISS["no"])
    with pytest.raises(Wrong):
        history.settle(2, [3.0, 4.0], MAY_MISS["no"])


@given(st.lists(st.floats(0, 100), max_size=8).map(sorted), st.integers(0, 10))
def test_whatever_is_found_is_one_that_was_written(sent, found):
    try:
        missing = written(*sent).settle(found, [100.0], MAY_MISS["no"])
    except Wrong:
        assert found > len(sent)
    else:
        assert (missing > 0) <= (found < len(sent))


class Replying:
    """A connection on which one reply comes."""

    def __init__(self, reply):
        self._reply = reply

    def read(self, *_):
        return self._reply


@pytest.mark.parametrize(
    ("line", "raised"),
    [
        ("LOADING the engine at x cannot be reached, nothing was done: y", NotDone),
        ("ERR the connection was lost; the command may have been done: y", Unsure),
        ("ERR something else", Wrong),
    ],
)
def test_an_error_says_whether_anything_was_done(line, raised):
    with pytest.raises(raised):
        ask(Replying(WireError(line)), "GET", "k")


@pytest.mark.parametrize(
    "line", ["ERR model key is empty", "ERR tensor key is empty or in a different shard"]
)
def test_a_key_that_is_missing_is_no_fault_by_itself(line):
    assert ask(Replying(WireError(line)), "AI.TENSORGET", "k") is None


def test_what_is_wrong_or_idle_is_unsound():
    found = Found("always", acknowledged=5, checks=5)
    assert found.sound
    assert table([found]).row_count
    assert not Found("always", acknowledged=5).sound
    found.wrong.append("half a value")
    assert not found.sound


@pytest.mark.timeout(300)
def test_killing_the_engine_the_server_and_both_loses_nothing_that_was_acknowledged():
    program = Path(__file__).with_name("crash_campaign.py")
    options = ("--fsync", "always", "--crashes", "3", "--victims", "engine", "server", "both")
    done = subprocess.run(
        [sys.executable, program, *options, "--seed", "1", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    (found,) = json.loads(done.stdout)
    assert found["crashes"] == {"engine": 1, "server": 1, "both": 1}
    assert found["acknowledged"] > 50
    assert found["missing"] == 0
