"""An engine of our own, as a real process: started, watched, started again, ended."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.errors import StoreError
from tensorkeep_valkey.data_directory import DataDirectory
from tensorkeep_valkey.engine_program import arguments, find_program, read_line
from tensorkeep_valkey.own_engine import OwnEngine

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the system tells an engine of its server's end"
)

OF_A_SERVER = """
import asyncio, sys
from tensorkeep_valkey.data_directory import DataDirectory
from tensorkeep_valkey.engine_program import find_program
from tensorkeep_valkey.own_engine import OwnEngine

async def main():
    directory = DataDirectory(sys.argv[1])
    directory.take()
    engine = OwnEngine(directory, find_program(""), "always")
    await engine.start()
    print(engine._process.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


class Engine:
    """An engine in a folder, for the time of a `with` statement."""

    def __init__(self, path, program="", fsync="everysec"):
        self.directory = DataDirectory(str(path))
        self.directory.take()
        self.engine = OwnEngine(self.directory, find_program(program), fsync)

    async def __aenter__(self):
        await self.engine.start()
        return self

    async def __aexit__(self, *_):
        await self.engine.close()
        self.directory.release()

    @property
    def process(self):
        return self.engine._process.pid

    def ask(self, *words):
        """Asks on a connection of its own, in a thread's time: the loop stands still meanwhile."""
        with redis.Redis(unix_socket_path=self.directory.socket, protocol=2) as client:
            return client.execute_command(*words)


async def until(condition, seconds=20):
    """Waits until something holds that returns or raises nothing else before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition():
                return
        except redis.RedisError:
            pass
        await asyncio.sleep(0.02)
    raise AssertionError("it never came")


async def test_what_was_written_is_there_after_a_restart(tmp_path):
    async with Engine(tmp_path / "data") as first:
        first.ask("SET", "k", "v")
    async with Engine(tmp_path / "data") as second:
        assert second.ask("GET", "k") == b"v"


async def test_nobody_else_may_read_the_data(tmp_path):
    async with Engine(tmp_path / "data") as engine:
        engine.ask("SET", "k", "v")
        for path in [tmp_path / "data", *(tmp_path / "data").rglob("*")]:
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


async def test_an_engine_that_dies_is_started_again_with_its_data(tmp_path):
    async with Engine(tmp_path / "data", fsync="always") as engine:
        engine.ask("SET", "k", "v")
        first = engine.process
        os.kill(first, signal.SIGKILL)
        await until(lambda: engine.process != first and engine.ask("GET", "k") == b"v")
        assert engine.engine.restarts == 1


async def test_an_engine_that_is_killed_as_it_starts_is_started_again(tmp_path, monkeypatch):
    engine = Engine(tmp_path / "data")
    spawn, killed = engine.engine._spawn, []

    async def spawn_and_kill():
        process = await spawn()
        if len(killed) < 3:
            killed.append(process.pid)
            process.kill()
        return process

    monkeypatch.setattr(engine.engine, "_spawn", spawn_and_kill)
    async with engine:
        assert engine.ask("ECHO", "here") == b"here"
        assert engine.process not in killed
    assert len(killed) == 3


async def test_an_engine_that_is_killed_whenever_it_starts_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("tensorkeep_valkey.own_engine._STARTS", 2)
    engine = Engine(tmp_path / "data")
    spawn, killed = engine.engine._spawn, []

    async def spawn_and_kill():
        process = await spawn()
        killed.append(process.pid)
        process.kill()
        return process

    monkeypatch.setattr(engine.engine, "_spawn", spawn_and_kill)
    with pytest.raises(StoreError, match="ended at once"):
        await engine.engine.start()
    assert len(killed) == 3
    engine.directory.release()


async def test_a_second_server_is_refused_the_directory(tmp_path):
    async with Engine(tmp_path / "data"):
        with pytest.raises(StoreError, match="is used by another server"):
            DataDirectory(str(tmp_path / "data")).take()


async def test_a_path_that_is_too_long_for_a_socket_does(tmp_path):
    path = tmp_path / ("long" * 30) / "data"
    async with Engine(path) as engine:
        assert engine.ask("ECHO", "here") == b"here"


def test_what_is_no_directory_is_told_by_its_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        DataDirectory(str(tmp_path / "file")).take()


async def test_a_program_that_is_no_engine_is_told(tmp_path):
    engine = Engine(tmp_path / "data", program="false")
    with pytest.raises(StoreError, match="ended at once"):
        await engine.engine.start()
    engine.directory.release()


async def test_data_that_is_damaged_is_told_with_the_engines_words(tmp_path):
    async with Engine(tmp_path / "data") as engine:
        for number in range(100):
            engine.ask("SET", f"key {number}", "value")
    file = next((tmp_path / "data" / "appendonlydir").glob("*.incr.aof"))
    whole = bytearray(file.read_bytes())
    whole[200:260] = b"x" * 60
    file.write_bytes(whole)

    engine = Engine(tmp_path / "data")
    with pytest.raises(StoreError, match=r"(?i)append only file"):
        await engine.engine.start()
    engine.directory.release()


async def test_what_a_crash_cut_off_at_the_end_is_left_out(tmp_path):
    async with Engine(tmp_path / "data") as engine:
        engine.ask("SET", "first", "1")
        engine.ask("SET", "second", "2")
    file = next((tmp_path / "data" / "appendonlydir").glob("*.incr.aof"))
    file.write_bytes(file.read_bytes()[:-3])
    async with Engine(tmp_path / "data") as engine:
        assert (engine.ask("GET", "first"), engine.ask("GET", "second")) == (b"1", None)


def gone(number):
    """Whether a process has ended; whoever should have waited for it may not have yet."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_an_engine_whose_server_was_killed_ends_and_the_next_one_finds_the_data(tmp_path):
    data = tmp_path / "data"
    with subprocess.Popen(
        [sys.executable, "-c", OF_A_SERVER, str(data)], stdout=subprocess.PIPE
    ) as server:
        number = int(server.stdout.readline())
        with redis.Redis(unix_socket_path=str(data / "engine.sock")) as client:
            client.set("k", "v")
        server.kill()

    async def begin_again():
        async with Engine(data) as engine:
            assert engine.ask("GET", "k") == b"v"
            assert engine.process != number

    asyncio.run(begin_again())
    assert gone(number)


async def test_no_process_is_left(tmp_path):
    async with Engine(tmp_path / "data") as engine:
        number = engine.process
    assert gone(number)


def test_a_program_that_is_not_there_is_named():
    with pytest.raises(StoreError, match="no-such-engine"):
        find_program("no-such-engine")


@pytest.mark.parametrize("fsync", ["always", "everysec", "no"])
def test_the_policy_is_the_engines(fsync):
    words = arguments("program", fsync)
    assert words[words.index("--appendfsync") + 1] == fsync


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("71:M 01 Dec 2026 01:00:00.000 * Ready to accept", ("info", "Ready to accept")),
        ("71:M 01 Dec 2026 01:00:00.000 # WARNING", ("warning", "WARNING")),
        ("71:C 01 Dec 2026 01:00:00.000 - child", ("debug", "child")),
        ("=== STACK TRACE", ("info", "=== STACK TRACE")),
    ],
)
def test_lines_of_its_log_keep_their_level(line, read):
    assert read_line(line) == read


@given(st.text())
def test_any_line_can_be_read(line):
    level, _ = read_line(line)
    assert level in {"debug", "info", "warning"}
