"""Of what a worker died, in words."""

import os
import signal
import subprocess

import pytest

from tensorkeep_workers_process.endings import cause_of, is_running
from tensorkeep_workers_process.printed import Printed

ABORTED = int(signal.SIGABRT)
BAD_ALLOC = (
    "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc"
)


@pytest.mark.parametrize(
    ("status", "printed", "limit", "cause"),
    [
        (int(signal.SIGSEGV), "", 500_000_000, "signal 11 (SIGSEGV)"),
        (int(signal.SIGSEGV), "hello", 0, "signal 11 (SIGSEGV)"),
        (3 << 8, "", 0, "it exited with code 3"),
        (0, BAD_ALLOC, 0, "it exited with code 0"),
        (
            ABORTED,
            BAD_ALLOC,
            500_000_000,
            "it needed more memory than --worker-memory allows: 500 MB",
        ),
        (ABORTED, BAD_ALLOC, 0, "signal 6 (SIGABRT): there was no memory left"),
        (
            1 << 8,
            "MemoryError",
            9_000_000,
            "it needed more memory than --worker-memory allows: 9 MB",
        ),
        (
            int(signal.SIGKILL),
            "",
            500_000_000,
            "signal 9 (SIGKILL), as the system sends it when no memory is left",
        ),
        (40, "", 0, "signal 40"),
    ],
)
def test_the_cause_is_told_by_the_status_and_by_what_was_printed(status, printed, limit, cause):
    assert cause_of(status, printed, limit) == cause


def test_the_last_words_are_the_last_lines_also_those_that_nobody_has_read_yet():
    reads, writes = os.pipe()
    printed = Printed(reads, "FAKE", lambda: 1)
    os.write(writes, b"".join(b"line %d\n" % number for number in range(20)))
    printed.read()
    os.write(writes, b"std::bad_alloc\nunfinished")
    os.close(writes)

    words = printed.last_words()

    assert words.splitlines()[-3:] == ["line 19", "std::bad_alloc", "unfinished"]
    assert "line 1\n" not in words
    assert printed.last_words() == words
    os.close(reads)


def test_a_process_runs_until_it_has_ended():
    with subprocess.Popen(["sleep", "60"]) as program:
        assert is_running(program.pid)
        program.kill()
        os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
        assert not is_running(program.pid)
    assert not is_running(program.pid)
    assert not is_running(0)
