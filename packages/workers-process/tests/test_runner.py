"""Runs for an event loop: nothing waits for them, their order holds, and a death loses none."""

import asyncio
from functools import partial

import numpy as np
import pytest
import uvloop

from tensorkeep.device import CPU
from tensorkeep.errors import RunFailed, WorkerDied, WorkerTookTooLong
from tensorkeep.hookspecs import RunContext
from tensorkeep.isolation import NotBegun
from tensorkeep.loop import QueueLoop
from tensorkeep.tensor import Tensor
from tensorkeep_workers_process.testing import open_files

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def floats(count, of=1.0):
    return Tensor.from_numpy(np.full(count, of, np.float32))


class Client:
    """Starts runs from a loop, and notes what becomes of each, in order."""

    def __init__(self, subject, loop):
        self.runner = subject.isolation.runner(subject.name, loop)
        self.ends = []

    def start(self, model, *inputs, name=None, context=None):
        context = context or RunContext(CPU, 4.0)
        return self.runner.start(model, inputs, context, partial(self._end, name))

    def _end(self, name, result):
        if isinstance(result, Exception):
            self.ends.append((name, result))
        else:
            self.ends.append((name, [each.numpy().tolist() for each in result]))

    async def until(self, count):
        async with asyncio.timeout(20):
            while len(self.ends) < count:  # noqa: ASYNC110 - what is tested has no event
                await asyncio.sleep(0.001)
        return self.ends


@pytest.fixture
def fake(start_fake):
    """The fake backend, of which there are no workers yet: the models of a test share one."""
    return start_fake()


@pytest.fixture
def attack(alone):
    """As `fake`."""
    return alone


@pytest.fixture(params=LOOPS)
def run(request):
    """Returns a function that runs a coroutine on an event loop."""

    def run_it(coroutine):
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(coroutine)

    return run_it


def test_runs_end_in_the_order_in_which_they_were_started(fake, run):
    model = fake.create(b'{"op": "multiply", "by": 2}')

    async def main():
        client = Client(fake, asyncio.get_running_loop())
        assert all(client.start(model, floats(3, n), name=n) for n in range(5))
        return await client.until(5)

    assert run(main()) == [(n, [[2.0 * n] * 3]) for n in range(5)]


@pytest.mark.parametrize("count", [20_000, 100_000, 400_000])
def test_large_tensors_come_back_as_they_went_also_behind_small_ones(fake, run, count):
    model = fake.create(b'{"op": "identity"}')

    async def main():
        client = Client(fake, asyncio.get_running_loop())
        for turn in range(4):
            started = [client.start(model, floats(size, turn), name=size) for size in (count, 2)]
            assert started == [True, True]
            await client.until(2 * turn + 2)
        return client.ends

    ends = run(main())
    for turn in range(4):
        large, small = ends[2 * turn : 2 * turn + 2]
        assert large == (count, [[float(turn)] * count])
        assert small == (2, [[float(turn)] * 2])


def test_several_large_inputs_are_on_their_way_at_once_and_none_is_overwritten(fake, run):
    model = fake.create(b'{"op": "multiply", "by": 2}')

    async def main():
        client = Client(fake, asyncio.get_running_loop())
        started, ahead = 0, 0
        while len(client.ends) < 60:
            count = (20_000, 50_000, 100_000)[started % 3]
            if started < 60 and client.start(model, floats(count, started), name=started):
                started += 1
                ahead = max(ahead, started - len(client.ends))
            else:
                await client.until(len(client.ends) + 1)
        return client.ends, ahead

    ends, ahead = run(main())
    for number, (name, (values,)) in enumerate(ends):
        assert name == number
        assert set(values) == {2.0 * number}
    assert ahead > 2


def test_inputs_that_a_framework_keeps_are_not_overwritten_by_those_behind(attack, run):
    model = attack.create(b"run keep")

    async def main():
        client = Client(attack, asyncio.get_running_loop())
        for _ in range(3):
            started = [client.start(model, floats(100_000, number)) for number in range(3)]
            assert started[0]
            await client.until(sum(started) + len(client.ends))
        return client.ends

    assert all(not isinstance(end, Exception) for _, end in run(main()))


def test_what_takes_long_to_hand_over_is_refused(fake, run):
    model = fake.create(b'{"op": "identity"}')

    async def main():
        return Client(fake, asyncio.get_running_loop()).start(model, floats(1_000_000))

    assert run(main()) is False


def test_a_model_that_no_idle_worker_has_built_is_refused(fake, run):
    model, other = fake.create(b'{"op": "identity"}'), fake.create(b'{"op": "identity"}')
    fake.plugin.model_free(other)

    async def main():
        client = Client(fake, asyncio.get_running_loop())
        refused = client.start(other, floats(2))
        assert client.start(model, floats(2))
        await client.until(1)
        return refused

    assert run(main()) is False


def test_a_loop_that_cannot_read_files_has_no_runner(fake):
    assert fake.isolation.runner("FAKE", QueueLoop()) is None


def test_threads_may_use_the_worker_between_runs_of_the_loop(fake, run):
    model = fake.create(b'{"op": "multiply", "by": 2}')

    async def main():
        client = Client(fake, asyncio.get_running_loop())
        for turn in range(1, 4):
            assert client.start(model, floats(2))
            await client.until(turn)
            await asyncio.to_thread(fake.run, model, floats(2))

    run(main())
    assert len(fake.pids()) == 1


def test_an_error_is_that_of_its_run_alone(fake, run):
    model, failing = (
        fake.create(b'{"op": "identity"}'),
        fake.create(b'{"op": "fail", "text": "no luck"}'),
    )

    async def main():
        client = Client(fake, asyncio.get_running_loop())
        assert client.start(failing, floats(1), name="failing")
        assert client.start(model, floats(1), name="good")
        return await client.until(2)

    (_, error), good = run(main())
    assert str(error) == "no luck"
    assert not isinstance(error, RunFailed | WorkerDied)  # the caller makes of it what it is
    assert good == ("good", [[1.0]])


def test_a_death_is_that_of_the_first_and_the_others_were_not_begun(attack, run):
    crashing, good = attack.create(b"run segv"), attack.create(b"run pid")

    async def main():
        client = Client(attack, asyncio.get_running_loop())
        assert client.start(crashing, floats(1), name="crashing")
        assert client.start(good, floats(1), name="behind")
        await client.until(2)
        (_, death), (_, behind) = client.ends
        assert isinstance(death, WorkerDied)
        assert death.cause == "signal 11 (SIGSEGV)"
        assert isinstance(behind, NotBegun)
        assert not client.start(good, floats(1))  # nobody has built it now
        pid = await asyncio.to_thread(attack.run, good, floats(1))
        assert client.start(good, floats(1), name="again")
        await client.until(3)
        return pid

    run(main())


@pytest.mark.parametrize("what", ["garbage", "silence", "exit_3"])
def test_a_worker_that_sends_what_it_may_not_has_died(attack, run, what):
    model = attack.create(f"run {what}".encode())

    async def main():
        client = Client(attack, asyncio.get_running_loop())
        assert client.start(model, floats(1))
        return await client.until(1)

    ((_, error),) = run(main())
    assert isinstance(error, WorkerDied)


@pytest.mark.parametrize("what", ["spin", "hang", "hold"])
def test_a_run_that_is_cancelled_ends_within_a_moment(attack, run, what):
    model, good = attack.create(f"run {what}".encode()), attack.create(b"run pid")

    async def main():
        client = Client(attack, asyncio.get_running_loop())
        context = RunContext(CPU, 4.0)
        assert client.start(model, floats(1), context=context)
        assert client.start(good, floats(1))
        await asyncio.sleep(0.1)
        context.cancel("nobody waits")
        return await client.until(2)

    (_, error), (_, behind) = run(main())
    assert isinstance(error, WorkerTookTooLong)
    assert error.reason == "nobody waits"
    assert isinstance(behind, NotBegun)


def test_time_begins_when_a_run_is_the_first(fake, run):
    model = fake.create(b'{"op": "sleep", "seconds": 0.7}')

    async def main():
        client = Client(fake, asyncio.get_running_loop())
        first, second = RunContext(CPU, 1.3), RunContext(CPU, 1.3)
        assert client.start(model, floats(1), context=first)
        assert client.start(model, floats(1), context=second)
        assert second.deadline is None
        await client.until(1)
        assert second.deadline > first.deadline + 0.5
        return await client.until(2)

    assert [result for _, result in run(main())] == [[[1.0]], [[1.0]]]


def test_a_short_run_can_be_waited_for_and_a_long_one_no_longer_than_said(fake, run):
    model, long = (
        fake.create(b'{"op": "identity"}'),
        fake.create(b'{"op": "sleep", "seconds": 0.5}'),
    )

    async def main():
        client = Client(fake, asyncio.get_running_loop())
        assert client.start(model, floats(1), name="short")
        client.runner.wait(5.0)
        assert [name for name, _ in client.ends] == ["short"]
        assert client.start(long, floats(1), name="long")
        client.runner.wait(0.01)
        assert len(client.ends) == 1
        return await client.until(2)

    assert [name for name, _ in run(main())] == ["short", "long"]


def test_what_was_withdrawn_is_not_told(fake, run):
    model = fake.create(b'{"op": "identity"}')

    async def main():
        client = Client(fake, asyncio.get_running_loop())
        for name in "abc":
            assert client.start(model, floats(1), name=name)
        assert client.runner.withdraw() == 2
        assert client.runner.withdraw() == 0
        assert client.start(model, floats(1), name="d")
        return await client.until(2)

    assert [name for name, _ in run(main())] == ["a", "d"]


def test_a_worker_is_replaced_after_so_many_runs_also_under_constant_load(start_fake, run):
    fake = start_fake(recycle_after=10)
    model = fake.create(b'{"op": "identity"}')

    async def main():
        client = Client(fake, asyncio.get_running_loop())
        started = 0
        while client.start(model, floats(1)):
            started += 1
            if started % 3 == 0:
                await client.until(started - 2)
        await client.until(started)
        return started

    assert run(main()) <= 15
    assert fake.isolation.counts()["recycled"] == 1


def test_descriptors_and_memory_stay_the_same_over_many_runs(fake, run):
    model = fake.create(b'{"op": "identity"}')

    async def main():
        client = Client(fake, asyncio.get_running_loop())
        levels = []
        for _ in range(3):
            for _ in range(100):
                assert client.start(model, floats(100_000))
                assert client.start(model, floats(10))
                await client.until(2)
                client.ends.clear()
            levels.append(len(open_files()))
        return levels

    levels = run(main())
    assert levels[-1] <= levels[0]
