"""The program that floods a server, in small; `nox -s floods` makes the attacks in full."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("it looks at memory as Linux tells it", allow_module_level=True)

import floods
from beside import Beside, Waits
from flood_campaign import MIB, Attack, Found, Scale, judge, table

SMALL = Scale(
    seconds=0.3,
    readers=4,
    value=8 * MIB,
    idle=200,
    slow=20,
    a_second=200,
    senders=2,
    announced=50 * MIB,
    sent=40 * MIB,
)


def made(*options):
    """Runs the program in small, and returns what it found."""
    scale = [f"--{name.replace('_', '-')}={getattr(SMALL, name)}" for name in SMALL.__slots__]
    program = Path(__file__).with_name("flood_campaign.py")
    done = subprocess.run(
        [sys.executable, str(program), "--json", *scale, *options],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=200,
    )
    return done.returncode, [Found(**each) for each in json.loads(done.stdout)]


@pytest.mark.parametrize("attack", ["tensors that", "idle", "abandoned"])
def test_a_flood_harms_nobody_and_memory_is_bounded(attack):
    status, [found] = made("--only", attack)
    assert attack in found.attack
    assert (found.wrong, found.lost, status) == ("", 0, 0)
    assert found.requests
    assert found.connections


@pytest.mark.skipif(find_spec("tensorkeep_valkey") is None, reason="it needs the store in Valkey")
def test_replies_of_an_engine_that_are_not_read_take_little_memory():
    status, found = made("--store", "valkey-9.1", "--only", "strings")
    assert [(each.wrong, each.lost) for each in found] == [("", 0)]
    assert status == 0


def judged(**changes):
    attack = Attack("any", lambda _port: None, most=100 * MIB)
    found = Found("any", memory_before=100, memory_peak=150, memory_after=100)
    for name, value in changes.items():
        setattr(found, name, value)
    quiet = Beside(Waits(count=10, p99_ms=1.0), Waits(count=10, p99_ms=2.0))
    return found, attack, [quiet] * 4


def test_what_others_felt_is_told():
    found, attack, phases = judged()
    phases[2] = Beside(Waits(count=5, p99_ms=3.0, worst_ms=9.0), Waits(count=5, wrong=1))
    judge(found, attack, phases, 0)
    assert (found.p99_without, found.p99_with, found.p99_around) == (2.0, 3.0, 2.0)
    assert (found.worst, found.requests, found.lost) == (9.0, 50, 1)
    assert found.wrong == "1 of 50 requests were lost"


@pytest.mark.parametrize(
    ("changes", "refused", "wrong"),
    [
        ({}, 0, ""),
        ({}, 3, "3 connections were refused"),
        ({"memory_peak": 201}, 0, "it took 101 MB, 100 are allowed"),
        ({"memory_after": 229}, 0, "it kept 129 MB"),
    ],
)
def test_memory_beyond_what_is_allowed_is_wrong(changes, refused, wrong):
    found, attack, phases = judged(**changes)
    judge(found, attack, phases, refused)
    assert found.wrong == wrong


def test_more_connections_than_the_system_allows_are_not_tried(monkeypatch):
    import resource  # noqa: PLC0415 - not on Windows

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    with pytest.raises(floods.NotPossibleError, match="the hard limit is 4096"):
        floods.raise_file_limit(10_000)


def test_the_table_tells_what_was_skipped():
    rows = table([Found("idle connections", skipped="no files"), Found("others", connections=7)])
    assert rows.row_count == 2
