"""A GPU is offered when graphs run on it, and a model for a GPU gets it.

There is no GPU here: what is asked of TensorFlow is looked at, and what it would answer is said.
"""

import pytest

from tensorkeep.tensor import DType
from tensorkeep_tf import devices, plugin
from tensorkeep_tf.framework import tf
from tensorkeep_tf.graphs import place


@pytest.fixture
def gpus(monkeypatch):
    """Stands for a TensorFlow with two GPUs; gives the set of those that do not work."""

    broken = set()

    def run_tiny_graph(device):
        if device.index in broken:
            raise RuntimeError("no kernel image is available")
        return 1000 + device.index

    listed = [f"/physical_device:GPU:{index}" for index in range(2)]
    names = {name: {"device_name": f"Fake {name[-1]}"} for name in listed}
    monkeypatch.setattr(tf.config, "list_physical_devices", {"GPU": listed}.get)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", names.get)
    monkeypatch.setattr(devices, "run_tiny_graph", run_tiny_graph)
    return broken


def test_the_cpu_is_always_there_with_every_type():
    cpu = plugin.devices()[0]

    assert (cpu.kind, cpu.index, cpu.memory) == ("CPU", None, None)
    assert cpu.dtypes == set(DType)
    assert cpu.description


def test_every_gpu_on_which_a_graph_runs_is_offered(gpus):
    _, first, second = plugin.devices()

    assert (first.kind, first.index, first.description, first.memory) == ("GPU", 0, "Fake 0", 1000)
    assert (second.index, second.description, second.memory) == (1, "Fake 1", 1001)
    assert first.dtypes == set(DType)


def test_a_gpu_on_which_nothing_runs_is_not_offered(gpus):
    gpus.add(0)

    assert [(each.kind, each.index) for each in plugin.devices()] == [("CPU", None), ("GPU", 1)]


@pytest.mark.parametrize(
    ("device", "node"),
    [("CPU", ""), ("CPU:7", ""), ("GPU", "/device:GPU:0"), ("gpu:1", "/device:GPU:1")],
)
def test_every_node_is_placed_on_the_models_device(graphs, monkeypatch, load, device, node):
    def make():
        with tf.device("/device:GPU:5"):
            tf.identity(tf.function(tf.negative)(graphs.given()), name="y")

    seen = []

    def placed(graph, where):
        place(graph, where)
        bodies = [graph.node, *(each.node_def for each in graph.library.function)]
        seen.extend(each.device for body in bodies for each in body)

    monkeypatch.setattr("tensorkeep_tf.graphs.place", placed)
    load(graphs.graph(make), device=device)

    assert len(seen) > 2
    assert set(seen) == {node}


def test_a_session_for_the_cpu_touches_no_gpu(graphs, load, configs):
    load(graphs.identity())

    assert configs[0].device_count["GPU"] == 0
    assert "GPU" in configs[0].device_count


def test_a_session_for_a_gpu_takes_memory_as_it_is_needed(graphs, load, configs):
    load(graphs.identity(), device="GPU:1")

    assert configs[0].gpu_options.allow_growth
    assert configs[0].allow_soft_placement
    assert "GPU" not in configs[0].device_count


def test_weights_on_a_gpu_do_not_count_as_memory_of_the_host(graphs, load):
    before = plugin.backend_stats()["memory"]
    model = load(graphs.weighty(2_000_000), device="GPU", memory_limit=before + 1_000_000)

    assert model
    assert plugin.backend_stats()["memory"] == before


@pytest.mark.gpu
def test_on_a_real_gpu_a_model_runs(graphs, load, run):
    gpus = [each for each in plugin.devices() if each.kind == "GPU"]
    if not gpus:
        pytest.skip("the installed TensorFlow can use no GPU")

    model = load(graphs.identity(op=tf.sqrt), device=f"GPU:{gpus[0].index}")

    assert run(model, [4, 9])[0].values() == [2, 3]
