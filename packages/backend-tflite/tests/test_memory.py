"""The memory limit holds for weights, and INFO's figure is what is known."""

import gc
from weakref import WeakValueDictionary

import numpy as np
import pytest

from tensorkeep.errors import ModelRejected, RunFailed
from tensorkeep_tflite import model as model_module
from tensorkeep_tflite import plugin

SIZE = 500
WEIGHTS = 4 * SIZE * SIZE  # bytes: a million


@pytest.fixture(autouse=True)
def held(monkeypatch):
    """Returns a function that tells the bytes held now; what earlier tests hold is not counted."""
    monkeypatch.setattr(model_module, "_held", WeakValueDictionary())
    return lambda: plugin.backend_stats()["memory"]


def test_memory_counts_the_weights_of_the_models_that_are_held(graphs, load, run, held):
    blob = graphs.dense(SIZE).blob
    first, second = load(blob), load(blob)
    run(first, np.ones((1, SIZE), np.float32))
    assert held() == 2 * WEIGHTS

    del first
    assert held() == WEIGHTS
    del second
    assert held() == 0


def test_each_interpreter_has_weights_of_its_own(graphs, load, run, held):
    model = load(graphs.dense(SIZE))
    busy = model.native._idle.pop()  # as if a run were going on

    run(model, np.ones((1, SIZE), np.float32))

    assert busy
    assert held() == 2 * WEIGHTS


def test_a_model_that_was_refused_leaves_nothing_counted(graphs, load, held):
    graph = graphs.dense(SIZE)
    graph.model.operatorCodes[0].version = 99
    with pytest.raises(ModelRejected):
        load(graph)
    gc.collect()

    assert held() == 0


def test_weights_of_all_models_together_stay_below_the_limit(graphs, load, run):
    blob = graphs.dense(SIZE).blob
    held = [load(blob, memory_limit=3 * WEIGHTS) for _ in range(3)]
    with pytest.raises(ModelRejected) as caught:
        load(blob, memory_limit=3 * WEIGHTS)
    assert str(caught.value) == "Failed to allocate tensors: the memory limit is reached"

    held.pop()

    assert run(load(blob, memory_limit=3 * WEIGHTS), np.ones((1, SIZE), np.float32))


def test_the_limit_has_room_for_all_workers(graphs, load):
    blob = graphs.dense(SIZE).blob
    held = load(blob, memory_limit=3 * WEIGHTS, workers=2)

    with pytest.raises(ModelRejected, match="the memory limit is reached"):
        load(blob, memory_limit=3 * WEIGHTS, workers=2)
    assert held


def test_an_interpreter_that_cannot_be_built_fails_only_its_run(graphs, load, run, monkeypatch):
    model = load(graphs.unary())
    taken = model.native._idle.pop()
    with monkeypatch.context() as patch:
        patch.setattr(model_module, "open_interpreter", lambda *_: 1 / 0)
        with pytest.raises(RunFailed, match="Failed to construct interpreter: division by zero"):
            run(model, [4.0])
    model.native._idle.append(taken)

    assert run(model, [4.0])[0].values() == [2]
