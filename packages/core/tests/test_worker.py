"""Threads whose loop ends before they do."""

import asyncio
from threading import Barrier, Event

import pytest
import uvloop

from tensorkeep.worker import Loader, Outbox


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


def test_a_worker_may_finish_when_the_loop_is_closed(closed_loop):
    delivered = []
    outbox = Outbox(closed_loop, lambda *item: delivered.append(item))
    outbox.put([], None)
    outbox.put([], None)
    assert delivered == []


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
