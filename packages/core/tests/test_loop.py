"""The small loops: the one that runs in a thread, and the one that tests turn by hand."""

from threading import Thread

import pytest

from tensorkeep.loop import QueueLoop
from tensorkeep.testing.manual_loop import ManualLoop


def test_a_queue_loop_calls_back_in_order_and_timers_when_they_are_due():
    loop, seen = QueueLoop(), []
    loop.call_at(loop.time() + 0.02, seen.append, "late")
    loop.call_at(loop.time() + 0.03, loop.stop)
    loop.call_soon(seen.append, "soon")
    loop.call_at(loop.time(), seen.append, "off").cancel()
    loop.run()
    assert seen == ["soon", "late"]


def test_a_queue_loop_can_be_called_from_another_thread():
    loop, seen = QueueLoop(), []
    thread = Thread(target=loop.run)
    thread.start()
    loop.call_soon_threadsafe(seen.append, 1)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    assert seen == [1]


def test_manual_time_passes_only_when_the_test_says_so():
    loop, seen = ManualLoop(), []
    loop.call_at(2.0, lambda: seen.append(loop.now))
    loop.call_at(1.0, lambda: loop.call_at(1.5, lambda: seen.append(loop.now)))
    loop.call_soon(seen.append, "soon").cancel()
    loop.turn()
    assert seen == []
    loop.advance(3.0)
    assert seen == [1.5, 2.0]
    assert loop.now == 3.0


def test_waiting_in_vain_ends(monkeypatch):
    monkeypatch.setattr("tensorkeep.testing.manual_loop._PATIENCE", 0.01)
    with pytest.raises(TimeoutError):
        ManualLoop().run_until(lambda: False)
