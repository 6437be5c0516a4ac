"""Threads whose loop ends before they do."""

import asyncio
from threading import Event

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
    loader, told, second = Loader(closed_loop), [], Event()
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
