"""The memory limit holds, runs after it work, and INFO's figure is what is known."""

import gc
import threading

import numpy as np
import pytest

from tensorkeep.errors import ModelRejected, RunFailed
from tensorkeep_onnx import plugin

MB = 1_000_000
PER_MB = MB // 4  # floats


@pytest.fixture(autouse=True)
def held(monkeypatch):
    """Returns a function that tells the bytes held now; what earlier tests hold is not counted.

    What a test of this file has made must be gone when it ends.
    """
    gc.collect()
    monkeypatch.setattr("tensorkeep_onnx.model._weights", {})

    def held():
        return plugin.backend_stats()["memory"]

    yield held
    gc.collect()
    assert held() == 0


@pytest.fixture
def fill(graphs, load, run):
    """Returns a function that lets a run under a limit return so many MB: `fill(limit)(5)`."""

    def fill(limit):
        model = load(graphs.fill(), memory_limit=limit * MB)
        return lambda size: run(model, np.array([int(size * PER_MB)], np.int64))[0]

    return fill


def test_a_run_beyond_the_limit_fails_and_the_next_one_works(fill):
    megabytes = fill(10)

    with pytest.raises(RunFailed) as caught:
        megabytes(20)

    text = str(caught.value)
    assert "Onnxruntime memory limit exceeded, memory allocation failed." in text
    assert "Available memory of " in text
    assert "bfc_arena" not in text
    assert megabytes(5).shape == (5 * PER_MB,)


def test_runs_of_all_sizes_below_the_limit_work_in_any_order(fill):
    megabytes = fill(10)

    for size in (0.5, 1, 2, 4, 6, 8, 9, 9.9, 1, 9.9, 5, 0.1, 6, 9.9):
        assert megabytes(size).shape == (int(size * PER_MB),)
        with pytest.raises(RunFailed):
            megabytes(10.1)


def test_a_run_may_need_all_that_the_run_before_has_returned(fill):
    megabytes = fill(10)

    assert [megabytes(size).shape[0] / PER_MB for size in (6, 8, 6, 9, 9)] == [6, 8, 6, 9, 9]


def test_outputs_that_are_kept_take_nothing_from_later_runs(fill):
    megabytes = fill(10)

    kept = [megabytes(6) for _ in range(5)]

    assert [set(each.numpy()) for each in kept] == [{1}] * 5


def test_strings_and_other_outputs_work_under_a_limit(graphs, load, run, strings):
    model = load(graphs.identity("string"), memory_limit=MB)

    assert run(model, strings(["a"]))[0].values() == [b"a"]


def test_many_runs_beyond_the_limit_at_once_all_fail(fill):
    megabytes = fill(10)
    texts = []

    def attempt():
        try:
            megabytes(20)
        except RunFailed as error:
            texts.append(str(error))

    threads = [threading.Thread(target=attempt) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len([text for text in texts if "memory limit exceeded" in text]) == 20
    assert megabytes(9).shape == (9 * PER_MB,)


def test_a_model_whose_weights_exceed_the_limit_is_refused(graphs, load):
    with pytest.raises(ModelRejected) as caught:
        load(graphs.weighty(2 * MB), memory_limit=MB)

    assert str(caught.value) == (
        "Exception during initialization: "
        "Onnxruntime memory limit exceeded, memory allocation failed."
    )


def test_the_weights_of_all_models_together_stay_below_the_limit(graphs, load, run):
    blob = graphs.weighty(MB)
    held = [load(blob, memory_limit=3 * MB) for _ in range(2)]
    with pytest.raises(ModelRejected, match="memory limit exceeded"):
        load(blob, memory_limit=3 * MB)

    held.pop()

    assert run(load(blob, memory_limit=3 * MB))[0].values() == [0]


def test_sessions_have_an_arena_only_to_limit_it(settings):
    assert not settings().enable_cpu_mem_arena
    assert settings(memory_limit=MB).enable_cpu_mem_arena


def test_without_a_limit_there_is_none(graphs, load, run, fill):
    limited = fill(1)
    model = load(graphs.fill())

    assert run(model, np.array([5 * PER_MB], np.int64))[0].shape == (5 * PER_MB,)
    with pytest.raises(RunFailed, match="memory limit exceeded"):
        limited(5)


def test_a_model_is_built_under_the_limit_of_its_own_engine(fill):
    small, large = fill(2), fill(20)

    assert large(10).shape == (10 * PER_MB,)
    with pytest.raises(RunFailed, match="memory limit exceeded"):
        small(10)


def test_memory_counts_the_weights_of_the_models_that_are_held(graphs, load, run, held):
    first = load(graphs.weighty(MB))
    second = load(graphs.weighty(2 * MB))
    run(first)
    run(second)
    assert 3 * MB <= held() <= 3 * MB + 200

    del first
    assert 2 * MB <= held() <= 2 * MB + 100
    del second
    assert held() == 0


def test_a_model_that_was_refused_leaves_nothing_counted(graphs, load, held):
    broken = graphs.model(
        [graphs.node("NoSuchOperator", ["w"], ["y"])],
        [],
        [graphs.value("y")],
        [graphs.constant("w", np.zeros(1000))],
    )
    with pytest.raises(ModelRejected):
        load(broken)

    assert held() == 0
