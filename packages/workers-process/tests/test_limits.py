"""Workers are confined and have limits, whatever the plugin does."""

import re
import socket
import threading
import time

import pytest

from tensorkeep.device import CPU
from tensorkeep.errors import WorkerDied, WorkerTookTooLong
from tensorkeep.hookspecs import RunContext
from tensorkeep_workers_process.channel import Channel
from tensorkeep_workers_process.confinement import available
from tensorkeep_workers_process.failures import PluginError
from tensorkeep_workers_process.memory_limit import default_limit
from tensorkeep_workers_process.testing import DENIED

LIMIT = 200_000_000
BEYOND = "it needed more memory than --worker-memory allows: 200 MB"


# --------------------------------------------------------------------------- memory
def test_a_run_that_takes_more_memory_than_it_may_is_an_error_that_names_the_limit(start_attack):
    attack = start_attack(memory=LIMIT)
    eating, good = attack.create(b"run eat"), attack.create(b"run pid")
    pids = attack.pids()

    with pytest.raises(PluginError, match=f"^MemoryError \\({BEYOND}\\)$"):
        attack.run(eating)

    attack.run(good)
    assert attack.pids().isdisjoint(pids)  # what has the memory may never let go of it
    assert attack.isolation.counts()["crashed"] == 0


def test_so_is_the_storing_of_a_model(start_attack):
    attack = start_attack(memory=LIMIT)
    with pytest.raises(PluginError, match=BEYOND):
        attack.create(b"create eat")


@pytest.mark.parametrize("when", ["run", "create"])
def test_a_process_that_ends_for_want_of_memory_names_the_limit(start_attack, when):
    attack = start_attack(memory=LIMIT)

    with pytest.raises(WorkerDied) as caught:
        attack.run(attack.create(f"{when} eat_and_abort".encode()))

    assert caught.value.cause == BEYOND


def test_files_in_memory_count_as_well(start_attack):
    attack = start_attack(memory=LIMIT)

    with pytest.raises(WorkerDied) as caught:
        attack.run(attack.create(b"run hoard"))

    assert caught.value.cause == BEYOND


def test_no_end_of_threads_is_started(start_attack):
    attack = start_attack(memory=1_000_000_000)
    with pytest.raises(WorkerDied, match="it started more than 4096 threads"):
        attack.run(attack.create(b"run start_threads"))


def test_what_died_with_its_memory_nearly_full_says_so(start_attack):
    attack = start_attack(memory=LIMIT)
    text = r"^signal 11 \(SIGSEGV\); it had taken 17\d(\.\d)? of the 200 MB that --worker-memory"
    with pytest.raises(WorkerDied) as caught:
        attack.run(attack.create(b"run fill_and_crash"))
    assert re.match(text, caught.value.cause)


def test_so_does_what_was_ended_for_time(start_attack):
    attack = start_attack(memory=LIMIT)
    model, context = attack.create(b"run fill_and_hang"), RunContext(CPU, 40.0)
    # It is looked at four times a second.
    timer = threading.Timer(1.5, lambda: context.cancel("it took longer than 4 s"))
    timer.start()
    text = r"^it took longer than 4 s; it had taken 17\d(\.\d)? of the 200 MB that --worker-memory"
    with pytest.raises(WorkerTookTooLong) as caught:
        attack.run(model, context=context)
    assert re.match(text, caught.value.reason)


# --------------------------------------------------------------------------- the sandbox
@pytest.mark.parametrize("what", ["open_file", "open_socket"])
def test_what_reaches_out_fails_at_the_operating_system(start_attack, what):
    if not (available().landlock and available().system_calls):
        pytest.skip("not all layers are here")
    attack = start_attack()
    with pytest.raises(PluginError, match=DENIED):
        attack.run(attack.create(f"run {what}".encode()))
    assert attack.isolation.sandbox() == str(available())


@pytest.mark.parametrize("what", ["open_file", "open_socket"])
def test_unless_that_is_switched_off(start_attack, what):
    attack = start_attack(sandbox=False)
    attack.run(attack.create(f"run {what}".encode()))
    assert attack.isolation.sandbox() == ""


def test_before_there_is_a_worker_it_is_said_what_is_available(start_workers):
    assert start_workers().sandbox() == str(available())


@pytest.mark.skipif(not available().system_calls, reason="no seccomp here")
def test_no_memory_of_the_machine_is_declared_broken(start_attack):
    attack = start_attack()
    with pytest.raises(PluginError, match=r"\[Errno 1\] refused"):
        attack.run(attack.create(b"run poison"))


def test_nothing_of_the_server_is_open_but_the_connection(start_attack):
    attack = start_attack()
    with pytest.raises(PluginError) as caught:
        attack.run(attack.create(b"run list_files"))
    others = {each for each in str(caught.value).split() if not each.startswith("/proc/")}
    assert others == {"/dev/null", "pipe:[]", "socket:[]"}


def test_no_end_of_files_is_opened(start_attack):
    attack = start_attack()
    with pytest.raises(PluginError, match=r"^(9[5-9]\d|10[01]\d) files: \[Errno 24\]"):
        attack.run(attack.create(b"run open_files"))


# --------------------------------------------------------------------------- what it sends
def test_a_reply_with_too_much_in_it_is_refused_before_it_is_decoded(start_attack):
    attack = start_attack()
    model = attack.create(b"run many_outputs")
    with pytest.raises(WorkerDied, match=r"it sent what is no message: .*length <= 16384"):
        attack.run(model)


def test_the_beginning_of_a_long_error_is_told(start_attack):
    attack = start_attack(memory=500_000_000)
    with pytest.raises(PluginError) as caught:
        attack.run(attack.create(b"run lengthy"))
    assert str(caught.value) == "x" * 64 * 1024


def test_a_worker_that_speaks_unasked_is_ended_and_the_next_call_has_another(start_attack):
    attack = start_attack()
    speaking, good = attack.create(b"run speak_later"), attack.create(b"run pid")
    (before,) = attack.run(good)[0].values()
    attack.run(speaking)
    deadline = time.monotonic() + 20
    while attack.isolation.counts()["crashed"] < 1 and time.monotonic() < deadline:
        time.sleep(0.05)

    (after,) = attack.run(good)[0].values()

    assert after != before
    assert attack.isolation.counts()["crashed"] == 1


def test_whether_somebody_speaks_is_seen_without_taking_it():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        channel = Channel(ours)
        assert not channel.speaks()
        theirs.send(b"\x90")
        assert channel.speaks()
        assert channel.speaks()
        assert bytes(channel.receive()[0]) == b"\x90"
        theirs.close()
        with pytest.raises(EOFError):
            channel.speaks()


# --------------------------------------------------------------------------- the default
@pytest.mark.parametrize(
    ("memory", "limit"), [(None, default_limit()), (0, -1), (2_000_000_000, 2_000_000_000)]
)
def test_a_worker_may_take_what_was_set_or_else_the_default(start_attack, memory, limit):
    attack = start_attack(memory=memory)
    outputs = attack.run(attack.create(b"run may_take"))
    assert outputs[0].values() == [pytest.approx(limit, rel=0.01)]
