"""Runs with loops: nothing is put into them, and what was cancelled before it began never begins.

A run that goes on is ended with the process that it is in: `test_isolated.py` shows that.
"""

import pytest

from tensorkeep.device import CPU
from tensorkeep.errors import RunFailed
from tensorkeep.hookspecs import RunContext


@pytest.fixture
def cancelled():
    context = RunContext(CPU)
    context.cancel("nobody waits for it")
    return context


def test_a_run_that_was_cancelled_before_it_began_never_begins(doubling, load, run, cancelled):
    with pytest.raises(RunFailed, match=r"^The run was ended: nobody waits for it$"):
        run(load(doubling), [1], context=cancelled)


def test_a_script_that_was_cancelled_before_it_began_never_begins(compile_script, call, cancelled):
    source = "def f(x):\n    while True:\n        x = x + 1\n    return x\n"

    with pytest.raises(RunFailed, match=r"^The run was ended: nobody waits for it$"):
        call(compile_script(source), "f", [1], context=cancelled)


def test_a_failure_in_a_loop_of_a_model_is_told_as_without_it(archives, load, run):
    source = "def forward(self, x):\n    for i in range(3):\n        x = x.view(7)\n    return x\n"

    with pytest.raises(RunFailed, match=r"^shape '\[7\]' is invalid for input of size 1$"):
        run(load(archives.scripted(source)), [1])


def test_a_script_shows_where_its_loop_failed(compile_script, call):
    source = "def f(x):\n    for i in range(3):\n        x = x.view(7)\n    return x\n"

    with pytest.raises(RunFailed, match='File "<string>", line 3, in f'):
        call(compile_script(source), "f", [1])
