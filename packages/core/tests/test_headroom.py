"""Memory that stays free: what is refused before the system's limit is reached."""

import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from tensorkeep import headroom as headroom_module
from tensorkeep import system_limits
from tensorkeep.headroom import READING, WRITING, Headroom, kept_free
from tensorkeep.system_limits import Limit, cgroup_folders, heap, limits, limits_of_folders

MB = 2**20


class System:
    """A limit, and what is taken below it."""

    def __init__(self, most, taken=0, *, touched_only=False):
        self.taken = taken
        self.limit = Limit("a limit", most, lambda: self.taken, touched_only)


@pytest.fixture(autouse=True)
def nothing_is_free_inside(monkeypatch):
    monkeypatch.setattr(Headroom, "_free_inside", lambda _: 0)


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    """What the system was told that the process may have more."""
    told = []
    monkeypatch.setattr(headroom_module, "allow_more_data", told.append)
    return told


def test_what_a_cgroup_would_end_the_process_for_is_refused_at_each_look(allowed):
    system = System(1600 * MB, touched_only=True)
    headroom = begun(system)  # four times 32 MB stay free
    system.taken, headroom.promised = 900 * MB, 100 * MB
    headroom.look()
    system.taken = 1590 * MB
    headroom.look()
    assert allowed == [(600 - 64) * MB, 32 * MB]
    assert not headroom.has(0)


def test_limits_that_refuse_by_themselves_are_left_to(allowed):
    begun(System(1600 * MB)).look()
    assert allowed == []


def begun(*systems):
    headroom = Headroom()
    headroom.begin([system.limit for system in systems])
    return headroom


@pytest.mark.parametrize(("room", "kept"), [(0, 8), (160, 10), (10_000, 32)])
def test_a_part_of_what_there_is_stays_free(room, kept):
    assert kept_free(room * MB) == kept * MB


def test_without_a_limit_everything_is_granted():
    headroom = begun()
    assert not headroom.limited
    assert headroom.has(10**18)


def test_what_is_stored_is_refused_before_what_is_only_read():
    system = System(1600 * MB)
    headroom = begun(system)  # 32 MB stay free
    system.taken = 1577 * MB
    headroom.look()
    assert not headroom.has(0, WRITING)
    assert headroom.has(6 * MB, READING)
    assert not headroom.has(8 * MB, READING)


def test_what_was_granted_counts_until_the_next_look():
    system = System(1600 * MB)
    headroom = begun(system)
    system.taken = 1000 * MB
    headroom.look()
    for _ in range(5):
        assert headroom.has(100 * MB)
    system.taken = 1550 * MB  # it was used, and more
    assert not headroom.has(100 * MB)
    system.taken = 100 * MB  # it was freed
    assert headroom.has(1000 * MB)


def test_the_tightest_limit_counts():
    wide, tight = System(10_000 * MB), System(1000 * MB)
    headroom = begun(wide, tight)
    wide.taken, tight.taken = 100 * MB, 990 * MB
    headroom.look()
    assert not headroom.has(0)


def test_promised_memory_counts_where_only_what_is_touched_does():
    asked, touched = (begun(System(1600 * MB, touched_only=each)) for each in (False, True))
    for headroom in (asked, touched):
        headroom.promised = 1590 * MB
        headroom.look()
    assert asked.has(0)
    assert not touched.has(0)


def test_the_block_is_given_up_once_and_kept_again_where_there_is_room():
    system = System(1600 * MB)
    headroom = begun(system)
    assert len(headroom._reserve) == 8 * MB
    headroom.relieve()
    headroom.relieve()
    assert headroom._reserve is None
    system.taken = 1599 * MB
    headroom.look()
    assert headroom._reserve is None
    system.taken = 0
    headroom.look()
    assert isinstance(headroom._reserve, mmap.mmap)


def test_a_limit_that_cannot_be_read_any_more_refuses_nothing():
    def gone():
        raise OSError

    headroom = Headroom()
    headroom.begin([Limit("first", 1000 * MB, lambda: 0)])
    headroom._limits = [Limit("gone", 10, gone)]
    headroom.look()
    assert headroom.has(MB)


# --------------------------------------------------------------------------- what there is
@pytest.mark.parametrize(
    ("files", "most", "taken"),
    [
        (("memory.max", "memory.current", "inactive_file"), "5000\n", 600),
        (("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"), "5000\n", 600),
        (("memory.max", "memory.current", "inactive_file"), "max\n", None),
        (("memory.limit_in_bytes", "memory.usage_in_bytes", "x"), f"{2**63 - 4096}\n", None),
    ],
)
def test_cgroups_tell_what_they_may_take_and_what_of_it_is_taken(tmp_path, files, most, taken):
    most_file, taken_file, cache = files
    (tmp_path / most_file).write_text(most)
    (tmp_path / taken_file).write_text("1000\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\n{cache} 400\n")
    found = [*limits_of_folders([tmp_path / "gone", tmp_path], 10**9)]
    if taken is None:
        assert found == []
    else:
        assert [(each.most, each.taken(), each.touched_only) for each in found] == [
            (5000, taken, True)
        ]


def test_cgroups_of_both_versions_and_those_around_them_are_looked_at():
    lines = ["4:memory:/a/b", "3:cpuset:/c", "2:cpu,memory:/d", "0::/e\n"]
    assert [*map(str, cgroup_folders(lines, Path("/cg")))] == [
        *("/cg/memory/a/b", "/cg/memory/a", "/cg/memory"),
        *("/cg/memory/d", "/cg/memory"),
        *("/cg/e", "/cg"),
    ]


def test_limits_of_the_process_tell_what_is_taken(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10**15, 10**15))
    monkeypatch.setattr(system_limits, "_of_cgroups", lambda: ())
    (addresses, data) = limits()
    assert (addresses.name, data.name) == ("ulimit -v", "ulimit -d")
    before = addresses.taken(), data.taken()
    block = bytes(50 * MB)
    assert 49 * MB < addresses.taken() - before[0] < 60 * MB
    assert 49 * MB < data.taken() - before[1] < 60 * MB
    del block


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of Linux")
def test_the_system_refuses_what_is_beyond_what_was_allowed():
    program = """
from tensorkeep.system_limits import allow_more_data
allow_more_data(50_000_000)
kept = bytes(40_000_000)
try:
    bytes(40_000_000)
except MemoryError:
    allow_more_data(50_000_000)
    bytes(40_000_000)
    print("refused, then allowed")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"refused, then allowed\n"


def test_the_heap_tells_what_is_free_in_it():
    if not heap().taken:
        pytest.skip("this system's library does not tell")
    blocks = [bytes(20_000) for _ in range(500)]
    before = heap()
    del blocks[::2]
    assert heap().free - before.free > 4_000_000
