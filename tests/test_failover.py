"""A primary that dies is followed by its replica, as Sentinels decide, and the server follows."""

import subprocess
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from tensorkeep.backends import Backends
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of, running_server
from tensorkeep_valkey.testing import PRESENT, RunningEngine, free_port, running_engine

LIMIT = 45.0  # seconds that a failover may take on a busy machine; it takes about 3
ERRORS = (b"-LOADING the engine at ", b"-ERR the connection to the engine at ", b"-READONLY ")
SENTINEL = """
port {port}
dir {folder}
sentinel monitor main 127.0.0.1 {primary} 1
sentinel down-after-milliseconds main 500
sentinel failover-timeout main 3000
"""


@contextmanager
def running_sentinel(engine: RunningEngine):
    """Runs a Sentinel that watches an engine as `main`; yields its port."""
    port, file = free_port(), engine.folder / "sentinel.conf"
    file.write_text(SENTINEL.format(port=port, folder=engine.folder, primary=engine.port))
    process = subprocess.Popen([engine.program, file, "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def until(condition):
    deadline = time.monotonic() + LIMIT
    while True:
        with suppress(OSError, EOFError):
            if condition():
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def asked(port, *words):
    with Wire(port) as wire:
        return wire.read(*words)


class Writer(threading.Thread):
    """Pushes numbers of its own, one after the other, and notes what became of each."""

    def __init__(self, port, name, ended):
        super().__init__()
        self.port, self.key, self.ended = port, f"pushed:{name}", ended
        self.done, self.failed = [], {}

    def run(self):
        number = 0
        while not self.ended.is_set():
            with suppress(OSError, EOFError), Wire(self.port) as wire:
                while not self.ended.is_set():
                    number += 1
                    reply = wire.ask("RPUSH", self.key, number)
                    if reply.startswith(b":"):
                        self.done.append(number)
                    else:
                        self.failed[number] = reply
                        time.sleep(0.01)


@pytest.mark.parametrize("name", [each for each in ("redis", "valkey-9.1") if each in PRESENT])
def test_a_primary_that_dies_is_followed_by_its_replica(name):
    backends = Backends(installed=lambda: ())
    backends.add("ONNX", FakeBackend())
    with running_engine(name) as primary, running_sentinel(primary) as sentinel:
        replica_of = ("--replicaof", f"127.0.0.1 {primary.port}")
        with (
            running_engine(name, *replica_of) as replica,
            running_server(
                Settings(store=f"valkey+sentinel://127.0.0.1:{sentinel}/main"), backends
            ) as server,
            Wire(port_of(server)) as wire,
        ):
            until(lambda: asked(sentinel, "SENTINEL", "REPLICAS", "main"))
            until(lambda: b"master_link_status:up" in asked(replica.port, "INFO", "replication"))
            wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", '{"op": "multiply", "by": 2}')
            wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 3)
            run = ("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
            assert wire.ask(*run) == b"+OK\r\n"
            until(lambda: asked(replica.port, "EXISTS", "m", "x", "y") == 3)
            built = server.engine.catalog[b"m"]

            ended = threading.Event()
            writers = [Writer(port_of(server), number, ended) for number in range(4)]
            for each in writers:
                each.start()
            try:
                until(lambda: all(each.done for each in writers))
                before = [len(each.done) for each in writers]
                primary.kill()
                replies = set()
                until(lambda: replies.add(reply := wire.ask(*run)) or reply == b"+OK\r\n")
                until(
                    lambda: all(len(x.done) > n + 3 for x, n in zip(writers, before, strict=True))
                )
            finally:
                ended.set()
                for each in writers:
                    each.join()

            assert wire.read("AI.TENSORGET", "y", "VALUES")[-1] == b"6"
            assert server.engine.catalog[b"m"] is built
            assert all(reply.startswith(ERRORS) for reply in replies - {b"+OK\r\n"})
            assert b"role:master" in asked(replica.port, "INFO", "replication")
            for each, count in zip(writers, before, strict=True):
                found = [int(number) for number in wire.read("LRANGE", each.key, 0, -1)]
                assert len(found) == len(set(found)), "done twice"
                assert set(each.done[count + 1 :]) <= set(found)
                assert all(reply.startswith(ERRORS) for reply in each.failed.values())
                refused = {n for n, reply in each.failed.items() if reply.startswith(ERRORS[0])}
                assert not refused & set(found), "done though it was said that it was not"
