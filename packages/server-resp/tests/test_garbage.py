"""What Python's garbage collector looks at, and when."""

import asyncio
import gc
import weakref
from types import SimpleNamespace

import pytest

from tensorkeep_server import garbage
from tensorkeep_server.garbage import is_due

MINUTE, HOUR = 60, 3600


class Circle:
    """An object that only the collector can free."""

    def __init__(self):
        self.itself = self


@pytest.fixture
def aside():
    """A process that sets aside what was looked at; put back for other tests."""
    garbage.set_aside()
    yield
    gc.callbacks.remove(garbage._after)
    gc.unfreeze()


@pytest.mark.parametrize(
    ("since_last", "since_request", "due"),
    [
        (9 * MINUTE, HOUR, False),
        (11 * MINUTE, 2, True),
        (11 * MINUTE, 0.1, False),
        (5 * HOUR, 0.1, False),
        (7 * HOUR, 0.1, True),
    ],
)
def test_everything_is_looked_at_in_a_quiet_moment_or_when_it_was_long_ago(
    since_last, since_request, due
):
    assert is_due(since_last, since_request) is due


def test_what_a_full_collection_has_looked_at_is_set_aside(aside):
    kept = [[] for _ in range(10_000)]
    before = gc.get_freeze_count()

    gc.collect(0)
    # Not equal: what was set aside and nobody needs any more leaves by itself.
    assert gc.get_freeze_count() <= before

    gc.collect()
    assert gc.get_freeze_count() >= before + len(kept) // 2


def test_the_collector_waits_while_a_framework_is_imported_and_what_it_made_is_set_aside(aside):
    looked = []
    gc.callbacks.append(lambda phase, info: looked.append(phase))
    before = gc.get_freeze_count()
    try:
        with garbage.collector_waits():
            kept = [[] for _ in range(100_000)]
    finally:
        gc.callbacks.pop()

    assert not looked
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(kept) // 2


def test_the_collector_goes_on_after_an_import_that_failed(aside):
    with pytest.raises(ImportError), garbage.collector_waits():
        raise ImportError

    assert gc.isenabled()


def test_garbage_among_what_was_set_aside_is_found_in_a_quiet_moment(aside, monkeypatch):
    monkeypatch.setattr(garbage, "_LOOK", 0.001)
    monkeypatch.setattr(garbage, "_EARLIEST", 0.0)
    circle = Circle()
    there = weakref.ref(circle)
    gc.collect()
    del circle
    gc.collect()
    assert there() is not None

    async def until_it_is_gone():
        task = asyncio.create_task(garbage.collect_now_and_then(SimpleNamespace(clients={})))
        while there() is not None:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(asyncio.wait_for(until_it_is_gone(), 30))


def test_nothing_is_looked_at_while_clients_ask(aside, monkeypatch):
    monkeypatch.setattr(garbage, "_LOOK", 0.001)
    monkeypatch.setattr(garbage, "_EARLIEST", 0.0)
    collections = []
    monkeypatch.setattr(garbage.gc, "collect", lambda: collections.append(1))
    busy = SimpleNamespace(clients={1: SimpleNamespace(active_at=float("inf"))})

    async def some_looks():
        task = asyncio.create_task(garbage.collect_now_and_then(busy))
        await asyncio.sleep(0.05)
        task.cancel()

    asyncio.run(some_looks())

    assert not collections
