"""The memory that a worker may take, what is read out of errors, and the default."""

from pathlib import Path

import pytest

from tensorkeep_workers_process import memory_limit
from tensorkeep_workers_process.memory_limit import (
    beyond,
    default_limit,
    lacks_memory,
    with_limit,
)
from tensorkeep_workers_process.testing import confined

MEGABYTE = 1_000_000


# --------------------------------------------------------------------------- the kernel's limit
def test_what_is_asked_for_beyond_the_limit_is_refused():
    found = confined(
        """
        attempt("less", lambda: len(bytes(80_000_000)))
        attempt("more", lambda: len(bytes(120_000_000)))
        attempt("again", lambda: len(bytes(80_000_000)))
        attempt("many", lambda: len([bytes(1_000_000) for _ in range(200)]))
        """,
        limit=100 * MEGABYTE,
    )
    assert found == {
        "less": "80000000",
        "more": "MemoryError: ",
        "again": "80000000",
        "many": "MemoryError: ",
    }


def test_what_was_there_before_does_not_count():
    found = confined(
        'attempt("more", lambda: len(bytes(80_000_000)))',
        before="kept = bytes(300_000_000)",
        limit=100 * MEGABYTE,
    )
    assert found == {"more": "80000000"}


def test_a_file_in_memory_is_no_larger_than_the_limit():
    found = confined(
        """
        file = os.memfd_create("output")
        attempt("less", lambda: os.ftruncate(file, 100_000_000))
        attempt("more", lambda: os.ftruncate(file, 100_000_001))
        """,
        limit=100 * MEGABYTE,
    )
    assert found == {"less": "None", "more": "OSError: [Errno 27] File too large"}


def test_without_a_limit_there_is_none_and_a_crash_is_not_written_to_a_disk():
    found = confined("""
        import resource
        attempt("memory", lambda: len(bytes(300_000_000)))
        attempt("crash", lambda: resource.getrlimit(resource.RLIMIT_CORE))
    """)
    assert found == {"memory": "300000000", "crash": "(1, 1)"}


def test_the_machine_ends_workers_before_the_server():
    found = confined(
        'attempt("score", lambda: open("/proc/self/oom_score_adj").read())',
        before="from tensorkeep_workers_process.memory_limit import offer_to_be_killed\n"
        "offer_to_be_killed()",
    )
    assert found == {"score": r"'1000\n'"}


# --------------------------------------------------------------------------- what went wrong
@pytest.mark.parametrize(
    "text",
    [
        "RuntimeError: std::bad_alloc",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "[enforce fail at alloc_cpu.cpp:127] data. DefaultCPUAllocator: can't allocate memory",
        "OOM when allocating tensor with shape[2000000000] and type float on /job:localhost/CPU:0",
        "Failed to allocate memory for requested buffer of size 8000000000",
        "MemoryError: ",
        "Unable to allocate 7.45 GiB for an array with shape (1000000000,) and data type float64",
        "bad allocation",
        "OpenBLAS error: Memory allocation still failed after 10 retries, giving up.",
        "LiteRT gives no reason, as when there is not enough memory",
        "[Errno 27] File too large",
        "can't start new thread",
    ],
)
def test_errors_that_speak_of_no_memory_are_known(text):
    assert lacks_memory(text)
    assert with_limit(text, 500 * MEGABYTE).endswith(
        " (it needed more memory than --worker-memory allows: 500 MB)"
    )
    assert with_limit(text, 0) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Expected 2 inputs but got 1",
        "signal 11 (SIGSEGV)",
        "Failed to allocate tensors: Node number 0 (CONV_2D) failed to prepare.",
        "The tensor is not in memory that is contiguous",
        "a memory format of channels_last is not supported",
    ],
)
def test_other_errors_stay_as_they_are(text):
    assert not lacks_memory(text)
    assert with_limit(text, 500 * MEGABYTE) == text


def test_the_limit_is_said_once():
    once = with_limit("std::bad_alloc.", 1_500_000)
    assert once == f"std::bad_alloc ({beyond(1_500_000)})"
    assert with_limit(once, 1_500_000) == once
    assert "1.5 MB" in once


# --------------------------------------------------------------------------- the default
def test_the_default_is_half_of_the_memory_that_there_is(monkeypatch):
    monkeypatch.setattr(memory_limit, "cgroup_folders", lambda *_: ())
    machine = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert default_limit() == pytest.approx(machine / 2, rel=0.01)


@pytest.mark.parametrize(
    ("name", "text", "limit"),
    [
        ("memory.max", "4000000\n", 2_000_000),
        ("memory.limit_in_bytes", "6000000\n", 3_000_000),
        ("memory.max", "max\n", None),
        ("memory.limit_in_bytes", f"{2**63 - 4096}\n", None),
        ("memory.peak", "5000000\n", None),
    ],
)
def test_or_of_what_the_cgroup_may_take(tmp_path, monkeypatch, name, text, limit):
    monkeypatch.setattr(memory_limit, "cgroup_folders", lambda *_: [tmp_path / "gone", tmp_path])
    none = default_limit()
    (tmp_path / name).write_text(text)
    (tmp_path / "memory.stat").write_text("")
    assert default_limit() == (none if limit is None else limit)
