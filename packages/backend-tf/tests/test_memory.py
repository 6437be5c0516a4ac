"""The weights of all models stay below the limit, and INFO's figure is what is known."""

import gc

import numpy as np
import pytest

from tensorkeep.errors import ModelRejected
from tensorkeep_tf import plugin
from tensorkeep_tf.framework import tf

MB = 1_000_000
TOO_MANY = "The weights of all models together exceed the backend's memory limit"


@pytest.fixture(autouse=True)
def held(monkeypatch):
    """Returns a function that tells the bytes held now; what earlier tests hold is not counted.

    What a test of this file has made must be gone when it ends.
    """
    gc.collect()
    monkeypatch.setattr("tensorkeep_tf.model._weights", {})

    def held():
        return plugin.backend_stats()["memory"]

    yield held
    gc.collect()
    assert held() == 0


def test_memory_counts_the_weights_of_the_models_that_are_held(graphs, load, run, held):
    first = load(graphs.weighty(MB))
    second = load(graphs.weighty(2 * MB))
    run(first, np.array([1], np.uint8))
    assert 3 * MB <= held() <= 3 * MB + 200

    del first
    assert 2 * MB <= held() <= 2 * MB + 100
    del second
    assert held() == 0


def test_memory_counts_the_variables_of_a_saved_model(saved, pack, unpack, held):
    class Weighty(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = tf.Variable(tf.zeros([1000, 250]))

        @tf.function(input_signature=[tf.TensorSpec([None, 1000], tf.float32, "x")])
        def serve(self, x):
            return {"y": x @ self.w}

    model = unpack(pack(saved(Weighty())))

    assert model
    assert held() == MB


def test_a_model_that_was_refused_leaves_nothing_counted(graphs, load, held):
    with pytest.raises(ModelRejected):
        load(graphs.identity("complex64"))

    assert held() == 0


def test_the_weights_of_all_models_together_stay_below_the_limit(graphs, load, run):
    blob = graphs.weighty(MB)
    held = [load(blob, memory_limit=3 * MB) for _ in range(2)]
    with pytest.raises(ModelRejected, match=TOO_MANY):
        load(blob, memory_limit=3 * MB)

    held.pop()

    assert run(load(blob, memory_limit=3 * MB), np.array([1], np.uint8))[0].values() == [1]


def test_a_model_is_gone_without_waiting_for_the_garbage_collector(graphs, load, run):
    def resident():
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no file of a disk
            return int(file.read().split()[1]) * 4096

    blob = graphs.weighty(20 * MB)
    given = np.array([1], np.uint8)
    run(load(blob), given)
    gc.collect()
    before = resident()
    gc.disable()
    try:
        for _ in range(10):
            run(load(blob), given)
    finally:
        gc.enable()

    # Each takes 80 MB while it lives.
    assert resident() - before < 300 * MB
