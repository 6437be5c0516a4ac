"""A run ends when it is told to, at the next turn of a loop, and only then."""

import threading
import time

import numpy as np
import pytest
import torch

from tensorkeep.device import CPU
from tensorkeep.errors import RunFailed
from tensorkeep.hookspecs import RunContext
from tensorkeep_torch.changes import changed_for_runs
from tensorkeep_torch.internals import compile_source
from tensorkeep_torch.loops import new_flag, set_flag
from tensorkeep_torch.survey import survey

ENDED = "^The run was ended: "
NESTED = (
    "    for i in [1, 2]:\n"
    "        for j in range(4611686018427387904):\n"
    "            for k in range(4611686018427387904):\n"
    "                x = x + 1\n"
    "    return x\n"
)
COUNTS = "    n = 0\n    while n >= 0:\n        n = (n + 1) % 1000\n    return x + n\n"


@pytest.fixture
def endless(archives, load):
    return load(archives.scripted(f"def forward(self, x):\n{COUNTS}"))


@pytest.fixture
def start():
    """Starts something on another thread: gives its context and what returns its error."""

    def start(action):
        context = RunContext(CPU)
        errors = []

        def attempt():
            try:
                action(context)
            except RunFailed as error:
                errors.append(error)

        thread = threading.Thread(target=attempt, daemon=True)
        thread.start()

        def end():
            thread.join(10)
            assert not thread.is_alive()
            return str(errors[0]) if errors else None

        return context, end, thread

    return start


def test_an_endless_run_ends_when_it_is_cancelled(endless, run, start):
    context, end, thread = start(lambda context: run(endless, [1], context=context))
    thread.join(0.1)

    assert thread.is_alive()
    context.cancel()

    assert end().startswith("The run was ended")


def test_a_run_that_was_cancelled_before_it_began_ends_at_once(endless, run):
    context = RunContext(CPU)
    context.cancel()

    with pytest.raises(RunFailed, match=ENDED):
        run(endless, [1], context=context)


@pytest.mark.parametrize(
    "body",
    [
        COUNTS,
        "    return torch.jit.wait(torch.jit.fork(inner, x))\n",
        "    while True:\n        x = x + 1\n    return x\n",
        "    for i in range(9223372036854775807):\n        x = x + 1\n    return x\n",
        "    for i in range(10):\n        while True:\n            x = x * 2\n    return x\n",
        "    while True:\n        if bool(x[0] > 0):\n            continue\n        x = x + 1\n",
        "    if bool(x[0] > 0):\n        return inner(x)\n    return x\n",
        "    y = [each for each in range(4611686018427387904)]\n    return x + len(y)\n",
        NESTED,
    ],
)
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_loops_of_every_kind_end(compile_script, call, start, body):
    inner = "def inner(x):\n    while bool(x[0] > 0):\n        x = x * 1\n    return x\n"
    script = compile_script(f"{inner}def f(x):\n{body}")
    context, end, thread = start(lambda context: call(script, "f", [1], context=context))
    thread.join(0.05)

    assert thread.is_alive()
    context.cancel()

    assert end().startswith("The run was ended")


def test_only_the_run_that_was_cancelled_ends(endless, run, start, doubling, load):
    first, first_end, _ = start(lambda context: run(endless, [1], context=context))
    second, second_end, second_thread = start(lambda context: run(endless, [1], context=context))

    first.cancel()
    assert first_end()
    assert run(load(doubling), [1])[0].values() == [2]
    assert second_thread.is_alive()

    second.cancel()
    assert second_end()


def test_the_model_and_the_thread_work_on_after_a_cancelled_run(archives, load, run):
    source = "def forward(self, x):\n    while bool(x[0] > 0):\n        x = x * 1\n    return x\n"
    model = load(archives.scripted(source))
    cancelled = RunContext(CPU)
    cancelled.cancel()
    with pytest.raises(RunFailed, match=ENDED):
        run(model, [1], context=cancelled)

    assert run(model, [-1])[0].values() == [-1]


def test_nothing_is_left_to_cancel_after_a_run(archives, load, run):
    source = "def forward(self, x):\n    for i in range(3):\n        x = x.view(2)\n    return x\n"
    model = load(archives.scripted(source))
    good, bad = RunContext(CPU), RunContext(CPU)

    run(model, [1, 2], context=good)
    with pytest.raises(RunFailed, match="shape"):
        run(model, [1], context=bad)

    assert good._on_cancel is bad._on_cancel is None
    good.cancel()
    assert run(model, [1, 2])[0].values() == [1, 2]


def test_a_failure_in_a_loop_is_told_as_without_it(archives, load, run):
    source = "def forward(self, x):\n    for i in range(3):\n        x = x.view(7)\n    return x\n"

    with pytest.raises(RunFailed, match=r"^shape '\[7\]' is invalid for input of size 1$"):
        run(load(archives.scripted(source)), [1])


def test_a_script_shows_where_its_loop_failed(compile_script, call):
    source = "def f(x):\n    for i in range(3):\n        x = x.view(7)\n    return x\n"

    with pytest.raises(RunFailed, match='File "<string>", line 3, in f') as caught:
        call(compile_script(source), "f", [1])

    assert "flag" not in str(caught.value)


def interruptible(function):
    return changed_for_runs(function, survey(function))


def test_loops_return_what_they_returned():
    source = """
def f(x, n: int):
    total = x
    for i in range(n):
        if i % 2 == 0:
            continue
        j = 0
        while j < i:
            total = total + j
            j += 1
        if i > 7:
            break
    return total, [k * k for k in range(n)]
"""
    plain = compile_source(source, {"torch": torch}.get).find_function("f")
    guarded = interruptible(plain)
    for n in (0, 1, 5, 20):
        expected, answer = plain(torch.zeros(2), n), guarded(torch.zeros(2), n, new_flag())
        assert answer[1] == expected[1]
        assert torch.equal(answer[0], expected[0])


def test_a_flag_that_is_set_ends_the_next_loop():
    function = interruptible(
        compile_source(
            "def f(n: int):\n    t = 0\n    for i in range(n):\n        t += i\n    return t\n"
        ).find_function("f")
    )
    flag = new_flag()
    set_flag(flag)

    assert function(0, flag) == 0
    with pytest.raises(Exception, match="the run was ended"):
        function(1, flag)


def test_other_threads_go_on_while_a_loop_runs(endless, run, start):
    context, end, thread = start(lambda context: run(endless, [1], context=context))
    pauses, last = [], time.perf_counter()
    while len(pauses) < 100:
        time.sleep(0.001)
        pauses.append(time.perf_counter() - last)
        last = time.perf_counter()

    assert thread.is_alive()
    assert sorted(pauses)[50] < 0.05
    context.cancel()
    assert end()


def test_what_has_no_loops_is_run_as_it_is(load, run, doubling):
    model = load(doubling)
    context = RunContext(CPU)
    context.cancel()

    assert not model.native.program.flagged
    assert run(model, np.ones(2, np.float32), context=context)[0].values() == [2, 2]
