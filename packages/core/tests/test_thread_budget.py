"""Threads that a process's models may keep for themselves."""

import os
from threading import Barrier, Thread

from tensorkeep.thread_budget import OF_POOLS, ThreadBudget


def test_threads_are_taken_all_or_none_and_given_back():
    budget = ThreadBudget(5)
    assert budget.take(3)
    assert not budget.take(3)
    assert budget.take(2)
    assert not budget.take(1)
    assert budget.take(0)
    budget.give_back(3)
    assert budget.take(3)


def test_no_thread_is_taken_twice():
    budget, barrier, taken = ThreadBudget(100), Barrier(8), []

    def take():
        barrier.wait()
        taken.extend(budget.take(1) for _ in range(50))

    threads = [Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 100


def test_there_are_several_for_each_core():
    assert ThreadBudget(4 * os.cpu_count()).take(4 * os.cpu_count())
    assert OF_POOLS.take(0)
