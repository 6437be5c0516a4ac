"""The system's limit on open files: raised where it may be, else fewer clients are let in."""

import logging
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tensorkeep_server import file_limit
from tensorkeep_server.file_limit import RESERVE, clients_possible, clients_within
from tensorkeep_server.testing import Wire

if sys.platform != "win32":
    import resource


class Limits:
    """Stands for the system's limits."""

    RLIMIT_NOFILE = 7
    RLIM_INFINITY = -1

    def __init__(self, soft, hard, *, refuses=False):
        self.soft, self.hard, self.refuses = soft, hard, refuses

    def getrlimit(self, _):
        return self.soft, self.hard

    def setrlimit(self, _, limits):
        if self.refuses:
            raise ValueError("not allowed to raise maximum limit")
        self.soft, self.hard = limits


@pytest.mark.parametrize(
    ("before", "wanted", "possible", "raised"),
    [
        ((1024, 20_000), 10_000, 10_000, 10_000 + RESERVE),
        ((1024, 4096), 10_000, 4096 - RESERVE, 4096),
        ((1024, 1024), 10_000, 1024 - RESERVE, 1024),
        ((1024, -1), 10_000, 10_000, 10_000 + RESERVE),
        ((-1, -1), 10_000, 10_000, -1),
        ((50_000, 50_000), 10_000, 10_000, 50_000),
        ((64, 64), 10_000, 32, 64),
        ((1, 1), 10_000, 1, 1),
        ((256, 1024), 100, 100, 256),
    ],
)
def test_the_limit_is_raised_as_far_as_needed_and_allowed(
    monkeypatch, before, wanted, possible, raised
):
    limits = Limits(*before)
    monkeypatch.setattr(file_limit, "resource", limits)
    assert clients_possible(wanted) == possible
    assert (limits.soft, limits.hard) == (raised, before[1])


def test_where_it_cannot_be_raised_fewer_clients_are_let_in(monkeypatch, caplog):
    monkeypatch.setattr(file_limit, "resource", Limits(1024, 20_000, refuses=True))
    with caplog.at_level(logging.WARNING):
        assert clients_possible(10_000) == 1024 - RESERVE
    assert "stays at 1024" in caplog.text


@pytest.mark.parametrize("limit", [1, 2, 100, 255, 256, 257, 1024])
def test_there_is_always_place_for_a_client_and_for_what_is_none(limit):
    clients = clients_within(limit)
    assert clients >= 1
    assert limit == 1 or limit - clients >= min(RESERVE, limit // 2)


# ------------------------------------------------------------------------- as a user meets it
@pytest.fixture
def served():
    """Starts `tensorkeep serve` with a limit on open files."""
    with ExitStack() as stack:

        def serve(soft, hard, *options):
            def limit():
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tensorkeep_server", "serve", "--port", "0", *options],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    preexec_fn=limit,  # noqa: PLW1509 - the parent has no threads that hold locks
                )
            )
            stack.callback(process.kill)
            ready = process.stdout.readline()
            return process, int(ready.partition(" is ready on ")[2].split()[0].rpartition(":")[2])

        yield serve


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_low_soft_limit_is_raised_and_many_clients_are_served(served):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("the hard limit is low here")
    process, port = served(256, hard)
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(port)) for _ in range(400)]
        assert {wire.ask("PING") for wire in wires} == {b"+PONG\r\n"}
    process.terminate()
    assert "max-clients is lowered" not in process.communicate(timeout=20)[1]


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_low_hard_limit_lowers_max_clients_and_nobody_is_locked_out_silently(served):
    process, port = served(300, 300)
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(port)) for _ in range(300 - RESERVE)]
        assert {wire.ask("PING") for wire in wires} == {b"+PONG\r\n"}
        assert wires[0].read("CONFIG", "GET", "maxclients") == [b"maxclients", b"172"]
        for _ in range(300):  # more than there are files
            with Wire(port) as late:
                assert late.reply() == b"-ERR max number of clients reached\r\n"
        refusal = wires[0].ask("CONFIG", "SET", "maxclients", 10_000)
        assert refusal.endswith(b"specified number of clients, try with 172\r\n")
        assert wires[0].ask("PING") == b"+PONG\r\n"
    process.terminate()
    log = process.communicate(timeout=20)[1]
    assert "max-clients is lowered from 10000 to 172" in log
    assert "clients are turned away" in log


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_when_files_run_out_all_the_same_connections_are_told_so(served):
    """Something else than clients has opened what was kept."""
    process, port = served(300, 300)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (60, 300))
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(port)) for _ in range(100)]
        for wire in wires:
            wire.send("PING")
        replies = [wire.reply() for wire in wires]
        assert set(replies) == {b"+PONG\r\n", b"-ERR max number of clients reached\r\n"}
        assert replies[0] == b"+PONG\r\n"
    process.terminate()
    assert "cannot take a connection: [Errno 24]" in process.communicate(timeout=20)[1]
