"""A GPU is offered when something runs on it, and a model for a GPU gets it or is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tensorkeep.device import CPU
from tensorkeep.errors import ModelRejected
from tensorkeep.hookspecs import RunContext
from tensorkeep.tensor import DType
from tensorkeep_torch import devices, model, plugin, script

NO_CUDA = "^GPU requested but Torch couldn't find CUDA"


@pytest.fixture
def cuda(monkeypatch):
    """Stands for torch with CUDA on two GPUs; `broken` holds numbers of those that do not work.

    What is to be on a GPU is on the CPU; `asked` holds the devices that were asked for.
    """

    class Cuda:
        def __init__(self):
            self.broken, self.asked = set(), []

        def device(self, kind, index=None):
            if kind == "cpu":
                return torch.device("cpu")
            self.asked.append(f"{kind}:{index}")
            if index in self.broken:
                raise RuntimeError("CUDA error: no kernel image is available")
            return torch.device("cpu")

    cuda = Cuda()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda index: SimpleNamespace(name=f"Fake {index}", total_memory=1000 + index),
    )
    monkeypatch.setattr(
        devices, "torch", SimpleNamespace(cuda=torch.cuda, device=cuda.device, tensor=torch.tensor)
    )
    return cuda


@pytest.fixture
def without_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def names():
    return [(each.kind, each.index) for each in plugin.devices()]


def test_the_cpu_is_always_there_with_every_type_but_strings():
    cpu = plugin.devices()[0]

    assert (cpu.kind, cpu.index, cpu.memory) == ("CPU", None, None)
    assert cpu.dtypes == set(DType) - {DType.STRING}
    assert cpu.description


def test_without_cuda_there_is_no_gpu(without_cuda):
    assert names() == [("CPU", None)]


def test_every_gpu_on_which_something_runs_is_offered(cuda):
    _, first, second = plugin.devices()

    assert (first.kind, first.index, first.description, first.memory) == ("GPU", 0, "Fake 0", 1000)
    assert (second.index, second.description, second.memory) == (1, "Fake 1", 1001)
    assert first.dtypes == set(DType) - {DType.STRING}
    assert cuda.asked == ["cuda:0", "cuda:1"]


def test_a_gpu_on_which_nothing_runs_is_not_offered(cuda):
    cuda.broken.add(0)

    assert names() == [("CPU", None), ("GPU", 1)]


@pytest.mark.parametrize(("device", "asked"), [("GPU", 0), ("gpu:0", 0), ("GPU:1", 1)])
def test_a_model_gets_the_gpu_that_it_is_for(doubling, load, cuda, device, asked):
    load(doubling, device)

    assert cuda.asked == [f"cuda:{asked}"]


def test_a_model_for_a_gpu_that_is_not_there_is_refused(doubling, load, compile_script, cuda):
    with pytest.raises(ModelRejected, match=f"{NO_CUDA} device 2$"):
        load(doubling, "GPU:2")
    with pytest.raises(ModelRejected, match=f"{NO_CUDA} device 2$"):
        compile_script("def f(x):\n    return x\n", device="GPU:2")


def test_models_and_scripts_for_a_gpu_are_refused_without_cuda(
    doubling, load, compile_script, without_cuda
):
    with pytest.raises(ModelRejected, match=f"{NO_CUDA}$"):
        load(doubling, "GPU")
    with pytest.raises(ModelRejected, match=f"{NO_CUDA}$"):
        compile_script("def f(x):\n    return x\n", device="GPU:1")


def test_a_number_behind_cpu_changes_nothing_but_the_queue(doubling, load, run):
    assert run(load(doubling, "CPU:7"), [1])[0].values() == [2]


# --------------------------------------------------------------------------- where things lie
@pytest.fixture
def elsewhere(monkeypatch):
    """Has GPUs be the device `meta`, which keeps no elements: there is no other in every torch."""
    meta = torch.device("meta")
    for module in (model, script):
        monkeypatch.setattr(module, "torch_device", lambda _: meta)
    moved = []
    move = torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda *args: moved.append(args[1]) or move(*args))
    return moved


def test_weights_lie_on_their_device_once_and_inputs_go_there_at_each_run(
    archives, load, run, elsewhere
):
    archive = archives.scripted("def forward(self, x):\n    return x + self.w\n", w=torch.ones(2))
    loaded = load(archive, "GPU")
    del elsewhere[:]

    for _ in range(2):
        with pytest.raises(Exception, match="meta"):  # whose elements nobody can have
            run(loaded, [1, 2])

    assert elsewhere == [torch.device("meta")] * 2


def test_weights_on_a_gpu_do_not_count_as_memory_of_the_host(archives, load, elsewhere):
    before = plugin.backend_stats()["memory"]

    class Adds(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.ones(1000))

        def forward(self, x):
            return x + self.w

    models = [
        load(archives.scripted("def forward(self, x):\n    return x\n", w=torch.ones(1000)), "GPU"),
        load(archives.exported(Adds(), (torch.ones(1000),)), "GPU"),
    ]

    assert plugin.backend_stats()["memory"] == before
    assert models[1].native.program.first[0][0].device == torch.device("meta")


def test_tensors_that_a_program_makes_are_on_its_device(archives, load, run, elsewhere):
    class Makes(torch.nn.Module):
        def forward(self, x):
            return x + torch.arange(2) + torch.ones(2, device="cpu")

    loaded = load(archives.exported(Makes(), (torch.ones(2),)), "GPU")

    (output,) = loaded.native.program([torch.ones(2, device="meta")], RunContext(CPU))
    assert output.device == torch.device("meta")


# --------------------------------------------------------------------------- real ones
@pytest.fixture(scope="module")
def gpu():
    gpus = [each for each in plugin.devices() if each.kind == "GPU"]
    if not gpus:
        pytest.skip("the installed torch can use no GPU")
    return f"GPU:{gpus[-1].index}"


@pytest.mark.gpu
def test_on_a_real_gpu_models_run(archives, load, run, gpu):
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    x = np.random.default_rng(1).random((4, 3), np.float32)
    expected = network(torch.from_numpy(x)).detach().numpy()
    for blob in (archives.saved(network), archives.exported(network, (torch.rand(4, 3),))):
        loaded = load(blob, gpu)
        for _ in range(3):
            assert np.allclose(run(loaded, x)[0].numpy(), expected, atol=1e-5)


@pytest.mark.gpu
def test_on_a_real_gpu_scripts_run(compile_script, call, keyspace, gpu):
    script = compile_script(
        "def f(x):\n"
        "    for i in range(3):\n"
        "        x = x + 1\n"
        "    return redisAI.model_execute('m', [x], 1)\n",
        device=gpu,
    )
    keyspace.replies["m"] = lambda a: [a]
    given = np.zeros(10_000, np.float32)

    assert (call(script, "f", given)[0].numpy() == 3).all()
    assert not given.any()
