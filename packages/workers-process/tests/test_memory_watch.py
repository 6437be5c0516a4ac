"""What a worker takes, and what follows from it."""

import subprocess
import sys

import pytest

from tensorkeep_workers_process.memory_limit import beyond
from tensorkeep_workers_process.memory_watch import (
    MOST_THREADS,
    Usage,
    excess,
    grown,
    usage,
    with_memory,
)

NEW = Usage(asked=300, own=200, shared=0, threads=1)


def before_and_after(code):
    """Returns what a new process takes before and after it has done something."""
    program = "print(flush=True); input()\n" + code + "\nprint(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        before = usage(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        after = usage(process.pid)
        process.kill()
    return before, after


def test_what_a_process_takes_is_seen():
    before, now = before_and_after(
        """
import os
kept = bytearray(os.urandom(1000)) * 50_000
file = os.memfd_create("file")
os.write(file, bytes(20_000_000))
"""
    )

    assert now.asked - before.asked >= 49_000_000
    assert now.own - before.own >= 49_000_000
    assert now.shared - before.shared >= 19_000_000
    assert now.threads == 1


def test_files_in_memory_count_when_they_are_mapped_and_closed():
    before, now = before_and_after(
        """
import mmap
shared = mmap.mmap(-1, 30_000_000)
shared.write(bytes(30_000_000))
"""
    )

    assert now.shared - before.shared >= 29_000_000


def test_a_process_that_is_gone_takes_nothing():
    assert usage(2**30) is None


@pytest.mark.parametrize(
    ("now", "cause"),
    [
        (Usage(asked=1300, own=1200, shared=0, threads=4), ""),
        (Usage(asked=1300, own=1200, shared=250, threads=4), ""),
        (Usage(asked=1300, own=1200, shared=251, threads=4), beyond(1000)),
        (Usage(asked=300, own=100, shared=1351, threads=4), beyond(1000)),
        (
            Usage(asked=300, own=200, shared=0, threads=MOST_THREADS + 1),
            "it started more than 4096 threads",
        ),
    ],
)
def test_what_it_touched_and_what_it_shares_is_limited_together(now, cause):
    assert excess(NEW, now, 1000) == cause


def test_growth_is_what_was_asked_for_and_what_is_shared():
    assert grown(NEW, Usage(asked=500, own=400, shared=50, threads=1)) == 250
    assert grown(NEW, Usage(asked=100, own=100, shared=50, threads=1)) == 50


@pytest.mark.parametrize(
    ("cause", "peak", "limit", "text"),
    [
        (
            "signal 11",
            400_000_000,
            500_000_000,
            "signal 11; it had taken 400 of the 500 MB that --worker-memory allows",
        ),
        (
            "signal 11",
            600_000_000,
            500_000_000,
            "signal 11; it had taken 500 of the 500 MB that --worker-memory allows",
        ),
        ("signal 11", 300_000_000, 500_000_000, "signal 11"),
        ("signal 11", 300_000_000, 0, "signal 11"),
        (beyond(500_000_000), 500_000_000, 500_000_000, beyond(500_000_000)),
    ],
)
def test_memory_is_told_of_when_it_may_be_the_reason(cause, peak, limit, text):
    assert with_memory(cause, peak, limit) == text
