"""A GPU is offered when models run on it, and a model for a GPU gets it or is refused."""

import ctypes

import onnxruntime
import pytest

from tensorkeep.errors import ModelRejected
from tensorkeep.tensor import DType
from tensorkeep_onnx import plugin

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class Driver:
    """Stands for CUDA's driver with two GPUs."""

    def __init__(self, status=0):
        self.status = status
        self.cuInit = lambda flags: self.status

    def cuDeviceGetCount(self, count):  # noqa: N802 - the driver's own name
        count._obj.value = 2
        return 0

    def cuDeviceGet(self, handle, index):  # noqa: N802
        handle._obj.value = 100 + index

    def cuDeviceGetName(self, name, length, handle):  # noqa: N802
        name.value = b"Fake %d" % handle.value

    def cuDeviceTotalMem_v2(self, memory, handle):  # noqa: N802
        memory._obj.value = handle.value * 1000


@pytest.fixture
def cuda(monkeypatch):
    """Stands for a runtime with CUDA on two GPUs; `broken` and `lost` hold ids that do not work.

    Sessions run on the CPU; `opened` holds what they were to be opened with.
    """

    class Cuda:
        def __init__(self):
            self.broken, self.lost, self.opened = set(), set(), []

    cuda = Cuda()

    native = onnxruntime.InferenceSession

    class Session:
        def __init__(self, model, options, providers, **more):
            cuda.opened.append(providers)
            assert more == {"enable_fallback": 0}
            assert providers[-1] == CPU
            (name, options_of_cuda), *_ = providers
            assert name == CUDA
            self.index = int(options_of_cuda["device_id"])
            if self.index in cuda.broken:
                raise onnxruntime.capi.onnxruntime_pybind11_state.Fail("CUDA failure 2: no memory")
            self._session = native(model, options, [CPU])
            self._sess = self._session._sess

        def get_providers(self):
            return [CPU] if self.index in cuda.lost else [CUDA, CPU]

        def __getattr__(self, name):
            return getattr(self._session, name)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    return cuda


@pytest.fixture
def without_cuda(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])


def names():
    return [(each.kind, each.index) for each in plugin.devices()]


def test_the_cpu_is_always_there_with_every_type():
    cpu = plugin.devices()[0]

    assert (cpu.kind, cpu.index, cpu.memory) == ("CPU", None, None)
    assert cpu.dtypes == set(DType)
    assert cpu.description


def test_without_cuda_in_the_runtime_the_driver_is_not_even_asked(without_cuda, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("asked the driver"))

    assert names() == [("CPU", None)]


def test_every_gpu_on_which_a_model_runs_is_offered(cuda):
    _, first, second = plugin.devices()

    assert (first.kind, first.index, first.description, first.memory) == (
        "GPU",
        0,
        "Fake 100",
        100_000,
    )
    assert (second.index, second.description, second.memory) == (1, "Fake 101", 101_000)
    assert first.dtypes == set(DType)


def test_a_gpu_whose_session_fails_is_not_offered(cuda):
    cuda.broken.add(0)

    assert names() == [("CPU", None), ("GPU", 1)]


def test_a_gpu_whose_session_lands_on_the_cpu_is_not_offered(cuda):
    cuda.lost.update({0, 1})

    assert names() == [("CPU", None)]


@pytest.mark.parametrize("why", ["no driver", "driver does not start"])
def test_without_a_working_driver_there_is_no_gpu(cuda, monkeypatch, why):
    def library(name):
        if why == "no driver":
            raise OSError("libcuda.so.1: cannot open shared object file")
        return Driver(status=100)

    monkeypatch.setattr(ctypes, "CDLL", library)

    assert names() == [("CPU", None)]


@pytest.mark.parametrize(("device", "index"), [("GPU", "0"), ("gpu:0", "0"), ("GPU:1", "1")])
def test_a_model_gets_the_gpu_that_it_is_for(graphs, load, cuda, device, index):
    load(graphs.identity(), device)

    assert cuda.opened == [[(CUDA, {"device_id": index}), CPU]]


def test_a_model_for_a_gpu_runs_like_any_other(graphs, load, run, cuda):
    assert run(load(graphs.identity(), "GPU:1"), [1, 2])[0].values() == [1, 2]


def test_weights_on_a_gpu_do_not_count_as_memory_of_the_host(graphs, load, cuda):
    before = plugin.backend_stats()["memory"]
    model = load(graphs.weighty(2_000_000), "GPU", memory_limit=before + 1_000_000)

    assert model
    assert plugin.backend_stats()["memory"] == before


def test_a_model_for_a_gpu_is_refused_without_cuda(graphs, load, without_cuda):
    with pytest.raises(ModelRejected, match=r"^GPU requested but ONNX couldn't find CUDA$"):
        load(graphs.identity(), "GPU")


def test_a_model_that_landed_on_the_cpu_is_refused(graphs, load, cuda):
    cuda.lost.add(1)

    with pytest.raises(ModelRejected, match=r"^GPU requested but ONNX couldn't find CUDA$"):
        load(graphs.identity(), "GPU:1")


def test_a_number_behind_cpu_changes_nothing_but_the_queue(graphs, load, run):
    assert run(load(graphs.identity(), "CPU:7"), [1])[0].values() == [1]


@pytest.mark.gpu
def test_on_a_real_gpu_a_model_runs(graphs, load, run):
    gpus = [each for each in plugin.devices() if each.kind == "GPU"]
    if not gpus:
        pytest.skip("the installed ONNX Runtime can use no GPU")

    model = load(graphs.identity(op="Sqrt"), f"GPU:{gpus[0].index}")

    assert run(model, [4, 9])[0].values() == [2, 3]
