"""Every type that LiteRT takes goes in and comes back, and outputs belong to nobody else."""

import gc

import numpy as np
import pytest

from tensorkeep.tensor import DType, Tensor
from tensorkeep_tflite import plugin, tensors

NUMBERS = sorted(tensors.DTYPES - {DType.STRING}, key=lambda each: each.name)


@pytest.mark.parametrize("shape", [(2, 3), (6,), (1, 2, 1, 3)])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_of_every_type_come_back_as_they_went_in(graphs, load, run, dtype, shape):
    model = load(graphs.identity(dtype))
    given = Tensor.from_numpy(np.resize([0, 1, 1, 0, 1, 0], shape).astype(dtype.numpy))

    (output,) = run(model, given)

    assert output == given
    assert output.dtype is dtype


@pytest.mark.parametrize("dtype", NUMBERS)
def test_a_tensor_made_from_bytes_is_taken_as_well(graphs, load, run, dtype):
    given = Tensor.from_blob(dtype, (4,), bytes([0, 1]) * 2 * dtype.itemsize)

    assert run(load(graphs.identity(dtype)), given) == [given]


@pytest.mark.parametrize("dtype", [DType.INT32, DType.FLOAT])
def test_operators_compute_on_other_types_than_floats(graphs, load, run, dtype):
    given = np.array([[-1, 2, -3]], dtype.numpy)

    assert run(load(graphs.unary("ABS", dtype=dtype)), given)[0].values() == [1, 2, 3]


def test_truth_values_work(graphs, load, run):
    graph = graphs.unary("LOGICAL_NOT", dtype=DType.BOOL)

    (output,) = run(load(graph), np.array([[True, False, True]]))

    assert (output.dtype, output.values()) == (DType.BOOL, [False, True, False])


def test_quantised_elements_go_in_and_out_as_they_are(graphs, load, run):
    model = load(graphs.binary("MUL", dtype=DType.INT8, scale=0.5))
    a, b = np.array([[2, -4, 127]], np.int8), np.array([[4, 4, 127]], np.int8)

    (output,) = run(model, a, b)

    # 1.0 by 2.0 is 2.0; what a byte cannot hold is the most that it can.
    assert (output.dtype, output.values()) == (DType.INT8, [4, -8, 127])


def test_the_device_claims_those_types_and_no_others():
    (cpu,) = plugin.devices()

    assert (cpu.kind, cpu.index, cpu.memory) == ("CPU", None, None)
    assert cpu.description
    assert {*DType} - cpu.dtypes == {DType.BFLOAT16}


# --------------------------------------------------------------------------- memory
def test_outputs_outlive_later_runs_and_their_model(graphs, load, run):
    model = load(graphs.unary("SQUARE"))
    outputs = [run(model, np.full(100_000, turn, np.float32))[0] for turn in range(10)]

    del model
    gc.collect()

    assert [set(each.values()) for each in outputs] == [{turn**2} for turn in range(10)]


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_an_output_shares_no_memory_with_an_input_a_constant_or_another_output(
    graphs, load, run, size
):
    graph = graphs.new().tensor("x", [size]).tensor("y", [size]).constant("w", [1, 2])
    model = load(graph.operator("SQRT", ["x"], ["y"]).ends(["x"], ["x", "y", "w", "y"]))
    given = np.ones(size, np.float32)

    outputs = [*run(model, given), *run(model, given), *run(model, given)]

    arrays = [given, *(each.numpy() for each in outputs)]
    for index, one in enumerate(arrays):
        for other in arrays[index + 1 :]:
            assert not np.shares_memory(one, other)


def test_large_tensors_are_copied_by_numpy_which_lets_other_threads_work(
    graphs, load, run, monkeypatch
):
    model = load(graphs.unary("SQUARE"))
    given = np.arange(1_000_000, dtype=np.float32) % 100
    first = run(model, given)
    runner = model.native._all[0]

    class Watched:
        def __init__(self, native):
            self.native = native

        def __getattr__(self, name):
            if name in {"set_tensor", "get_tensor"}:
                pytest.fail(f"{name} copies while it holds the interpreter")
            return getattr(self.native, name)

    runner._interpreter = Watched(runner._interpreter)

    assert run(model, given) == first
    assert first[0].numpy()[:5].tolist() == [0, 1, 4, 9, 16]


def test_an_output_that_becomes_small_again_is_still_right(graphs, load, run):
    model = load(graphs.unary("SQUARE"))

    for size in (3, 1_000_000, 3, 100_000, 1):
        (output,) = run(model, np.full(size, 3, np.float32))
        assert output.shape == (size,)
        assert set(output.values()) == {9}
