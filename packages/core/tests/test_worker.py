"""Threads whose loop ends before they do."""

import asyncio
from time import monotonic

import pytest
import uvloop

from tensorkeep.device import CPU
from tensorkeep.hookspecs import RunContext
from tensorkeep.worker import Outbox, Watchdog


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop])
def closed_loop(request):
    loop = request.param()
    loop.close()
    return loop


def test_a_worker_may_finish_when_the_loop_is_closed(closed_loop):
    delivered = []
    outbox = Outbox(closed_loop, lambda *item: delivered.append(item))
    outbox.put([], None)
    outbox.put([], None)
    assert delivered == []


@pytest.fixture
def watched():
    """A watchdog of runs that have ten minutes, and the contexts that it watches."""
    contexts = []
    watchdog = Watchdog(lambda: contexts, 600.0, lambda _: "model m")
    yield watchdog, contexts
    watchdog.stop()


def context_of(*, ends_in):
    context = RunContext(CPU, 600.0)
    context.begin(monotonic() + ends_in - 600.0)
    return context


def test_the_watchdog_sleeps_until_the_first_deadline_and_ends_that_run_then(watched):
    watchdog, contexts = watched
    contexts += [context_of(ends_in=500), context_of(ends_in=2), RunContext(CPU, 600.0)]
    assert 1 < watchdog._look() <= 2
    assert not any(context.cancelled for context in contexts)
    contexts[1] = context_of(ends_in=-0.001)
    assert watchdog._look() == 600 / 20  # whether it has let itself be ended
    assert [context.cancelled for context in contexts] == [False, True, False]
    assert contexts[1].reason == "it took longer than 600 s, the MODEL_EXECUTION_TIMEOUT"


def test_the_watchdog_sleeps_for_the_whole_time_of_a_run_when_nothing_runs(watched):
    watchdog, _ = watched
    assert watchdog._look() == 600


def test_a_run_that_goes_on_beyond_its_time_is_reported_once(watched, caplog):
    watchdog, contexts = watched
    contexts.append(context_of(ends_in=-1))
    for _ in range(3):
        watchdog._look()
    assert [record.getMessage() for record in caplog.records] == [
        "a run of the model m on CPU goes on beyond its time and does not let itself be ended"
    ]
