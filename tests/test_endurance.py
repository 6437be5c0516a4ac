"""What the endurance program takes for growth; `nox -s endurance` runs it for half an hour."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from endurance import Level, grown

EVEN = Level(0.0, 80_000_000, 50, 12, 8, 2_000_000_000, 14)


def test_what_stays_level_has_not_grown():
    levels = [replace(EVEN, server_bytes=80_000_000 + at % 3 * 1_000_000) for at in range(40)]

    assert grown(levels) == {}


def test_what_is_taken_at_the_beginning_is_no_growth():
    begun = [replace(EVEN, server_bytes=at * 8_000_000, workers=at) for at in range(8)]

    assert grown([*begun, *[EVEN] * 32]) == {}


@pytest.mark.parametrize(
    ("name", "each"), [("server_bytes", 5_000_000), ("server_files", 1), ("workers", 1)]
)
def test_what_grows_on_and_on_is_told(name, each):
    levels = [replace(EVEN, **{name: getattr(EVEN, name) + at * each}) for at in range(40)]

    assert [*grown(levels)] == [name]


@pytest.mark.skipif(find_spec("tensorkeep_workers_process") is None, reason="there are no workers")
@pytest.mark.skipif(find_spec("torch") is None, reason="torch is tested on Python 3.11 only")
def test_for_a_few_seconds_every_good_answer_is_right():
    program = Path(__file__).with_name("endurance.py")
    options = ("--minutes", "0.1", "--seed", "1", "--json")
    done = subprocess.run(
        [sys.executable, program, *options], capture_output=True, text=True, check=False
    )
    figures = json.loads(done.stdout)
    assert not figures["failure"] + str(figures["wrong"] or "")
    assert figures["counts"]["good answers"]
    assert figures["levels"][-1]["workers"] > 1
