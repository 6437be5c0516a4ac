"""Threads for what takes long: their number, their jobs' times, and who takes whose place."""

import asyncio
from threading import Barrier, Event
from time import monotonic, sleep

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.loader import MOST_THREADS, Job, Loader, beyond_time, next_look, overtaken
from tensorkeep.loop import QueueLoop
from tensorkeep.worker import start_thread


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop])
def closed_loop(request):
    loop = request.param()
    loop.close()
    return loop


def test_the_loader_goes_on_when_the_loop_is_closed(closed_loop):
    """A model may be freed, or be ready, when the server has just ended."""
    loader, told, second = Loader(closed_loop, "l"), [], Event()
    loader.submit(lambda: "a result for nobody", lambda *outcome: told.append(outcome))
    loader.submit(second.set, lambda *outcome: told.append(outcome))
    assert second.wait(10)
    loader.stop()
    assert told == []


class Now:
    """A loop that does at once what it is told."""

    def call_soon_threadsafe(self, callback, *args):
        callback(*args)


def test_a_loader_does_as_many_jobs_at_the_same_time_as_it_may():
    loader, met, done = Loader(Now(), "l", 3), Barrier(3), []
    for _ in range(3):
        loader.submit(lambda: met.wait(10), lambda *outcome: done.append(outcome))
    last = Event()
    loader.submit(lambda: None, lambda *_: last.set())
    assert last.wait(10)
    loader.stop()


def test_a_loader_of_one_does_jobs_in_their_order():
    loader, seen, last = Loader(Now(), "l"), [], Event()
    for number in range(5):
        loader.submit(lambda number=number: number, lambda result, _: seen.append(result))
    loader.submit(lambda: None, lambda *_: last.set())
    assert last.wait(10)
    loader.stop()
    assert seen == [*range(5)]


# --------------------------------------------------------------------------- deciding
def job(began, **more):
    return Job(lambda: None, lambda *_: None, began=began, **more)


def test_a_job_is_beyond_its_time_once():
    running = [job(0, within=5), job(1, within=5), job(0), job(None, within=1)]
    assert beyond_time(running, 4.9) == []
    assert beyond_time(running, 5.5) == running[:1]
    running[0].told = True
    assert beyond_time(running, 6.0) == running[1:2]


def test_only_as_many_threads_are_replaced_for_keeping_others_waiting_as_wait():
    running = [job(0), job(1), job(2)]
    assert overtaken(running, 0, 9, 1) == []
    assert overtaken(running, 2, 9, 1) == running[:2]
    assert overtaken(running, 5, 2.5, 1) == running[:2]
    assert overtaken(running, 5, 9, None) == []
    running[0].replaced = True
    assert overtaken(running, 1, 9, 1) == running[1:2]


def test_the_thread_of_a_job_beyond_its_time_is_replaced_although_nobody_waits():
    running = [job(0, told=True), job(0)]
    assert overtaken(running, 0, 9, None) == running[:1]
    running[0].replaced = True
    assert overtaken(running, 0, 9, None) == []


def test_there_are_never_more_threads_than_the_most():
    running = [job(0, replaced=True) for _ in range(MOST_THREADS - 1)] + [job(0)]
    assert overtaken(running, 7, 9, 1) == []
    assert overtaken(running[1:], 7, 9, 1) == running[-1:]


times = st.integers(0, 20).map(lambda tenths: tenths / 10)
jobs = st.builds(job, times, within=times, told=st.booleans(), replaced=st.booleans()) | st.builds(
    job, st.none(), within=times
)


@given(
    st.lists(jobs, max_size=5),
    st.integers(0, 3),
    st.none() | times,
    times,
)
def test_nothing_is_to_be_done_before_the_next_look_and_something_then(
    running, waiting, patience, now
):
    when = next_look(running, waiting, patience)
    if when is None or now < when:
        assert beyond_time(running, now) == []
        assert overtaken(running, waiting, now, patience) == [
            each for each in running if each.told and not each.replaced
        ]
    if when is not None:
        assert (
            beyond_time(running, when)
            or overtaken(running, waiting, when, patience)
            or (all(each.replaced or each.told for each in running if each.began is not None))
            or waiting <= sum(each.told and not each.replaced for each in running)
        )


# --------------------------------------------------------------------------- with threads
@pytest.fixture
def loop():
    loop = QueueLoop()
    thread = start_thread("loop", loop.run)
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


def wait_for(condition):
    until = monotonic() + 20
    while not condition():
        assert monotonic() < until
        sleep(0.002)


def test_what_goes_on_beyond_its_time_is_told_and_others_are_done_meanwhile(loop):
    loader, go_on, told = Loader(loop, "l"), Event(), []
    loader.submit(
        go_on.wait, lambda *got: told.append(("done", got)), 0.05, lambda: told.append("beyond")
    )
    loader.submit(lambda: 2, lambda *got: told.append(got), 30, lambda: told.append("never"))
    wait_for(lambda: len(told) == 2)
    assert told == ["beyond", (2, None)]
    assert loader.stuck == 1
    go_on.set()
    wait_for(lambda: len(told) == 3)
    assert told[2] == ("done", (True, None))
    assert loader.stuck == 0
    loader.submit(lambda: 3, lambda *got: told.append(got))
    wait_for(lambda: len(told) == 4)
    loop.call_soon_threadsafe(loader.stop)


def test_jobs_that_keep_others_waiting_are_overtaken(loop):
    loader, go_on, done = Loader(loop, "l", 2, patience=0.05), Event(), []
    for _ in range(5):
        loader.submit(go_on.wait, lambda result, _: done.append(result))
    loader.submit(lambda: "short", lambda result, _: done.append(result))
    wait_for(lambda: done == ["short"])
    go_on.set()
    wait_for(lambda: len(done) == 6)
    loop.call_soon_threadsafe(loader.stop)


def test_a_job_in_time_is_never_told(loop):
    loader, told = Loader(loop, "l"), []
    for number in range(50):
        loader.submit(lambda number=number: number, lambda *got: told.append(got), 20, told.clear)
    wait_for(lambda: len(told) == 50)
    loop.call_soon_threadsafe(loader.stop)


def test_a_loader_that_is_stopped_tells_nobody_that_time_is_over(loop):
    loader, go_on, told = Loader(loop, "l"), Event(), []
    started = Event()

    def wait():
        started.set()
        go_on.wait()

    loader.submit(wait, lambda *_: told.append("done"), 0.2, lambda: told.append("beyond"))
    started.wait(10)
    loop.call_soon_threadsafe(loader.stop)
    sleep(0.3)
    go_on.set()
    wait_for(lambda: told)
    assert told == ["done"]
