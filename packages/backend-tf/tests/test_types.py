"""Every type that both sides have goes in and comes back, without needless copies."""

import gc

import ml_dtypes
import numpy as np
import pytest

from tensorkeep.errors import ModelRejected, RunFailed
from tensorkeep.tensor import DType, Tensor
from tensorkeep_tf.framework import tf
from tensorkeep_tf.tensors import dtype_of

NUMBERS = [dtype for dtype in DType if dtype is not DType.STRING]
NAMES = {dtype_of(each): each.name for each in map(tf.dtypes.as_dtype, range(1, 24)) if each}


def aligned(array):
    """Returns a copy that begins where TensorFlow takes memory as it is."""
    buffer = np.empty(array.nbytes + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    copy = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@pytest.mark.parametrize("shape", [(2, 3), (6,), (), (0, 3), (1, 2, 1, 3)])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_of_every_type_come_back_as_they_went_in(graphs, load, run, dtype, shape):
    model = load(graphs.identity(NAMES[dtype]))
    given = Tensor.from_numpy(np.resize([0, 1, 1, 0, 1, 0], shape).astype(dtype.numpy))

    (output,) = run(model, given)

    assert output == given
    assert output.dtype is dtype


@pytest.mark.parametrize("dtype", NUMBERS)
def test_a_tensor_made_from_bytes_is_taken_as_well(graphs, load, run, dtype):
    model = load(graphs.identity(NAMES[dtype]))
    given = Tensor.from_blob(dtype, (4,), bytes([0, 1]) * 2 * dtype.itemsize)

    assert run(model, given) == [given]


def test_a_type_is_computed_with(graphs, load, run):
    blob = graphs.graph(lambda: tf.add(graphs.given(dtype="bfloat16"), 1, name="y"))

    (output,) = run(load(blob), np.array([1.5, -2], ml_dtypes.bfloat16))

    assert (output.dtype, output.values()) == (DType.BFLOAT16, [2.5, -1])


@pytest.mark.parametrize("dtype", ["complex64", "qint8"])
def test_a_model_that_takes_or_returns_a_type_that_we_lack_is_refused(graphs, load, dtype):
    with pytest.raises(ModelRejected, match=rf'Input "x" is of type {dtype}; it must be a tensor'):
        load(graphs.identity(dtype))

    def make():
        x = graphs.given()
        if dtype == "qint8":
            tf.raw_ops.QuantizeV2(input=x, min_range=0.0, max_range=1.0, T=tf.qint8, name="y")
        else:
            tf.cast(x, dtype, name="y")

    with pytest.raises(ModelRejected, match=rf'Output "y" is of type {dtype}; it must be'):
        load(graphs.graph(make))


# --------------------------------------------------------------------------- strings
@pytest.mark.parametrize("shape", [(6,), (2, 3), (3, 1, 2)])
def test_strings_come_back_as_they_went_in(graphs, load, run, shape):
    values = ["short", b"caf\xe9", "Ünïcödé", "日本", "two words\n", "x" * 10_000]
    given = Tensor.from_values(DType.STRING, shape, values)

    assert run(load(graphs.identity("string")), given) == [given]


def test_a_single_string_and_no_string_at_all_come_back(graphs, load, run):
    model = load(graphs.identity("string"))

    for given in (
        Tensor.from_values(DType.STRING, (), [b"one\xff"]),
        Tensor.from_values(DType.STRING, (0, 2), []),
    ):
        assert run(model, given) == [given]


def test_an_output_with_a_nul_inside_is_an_error_that_says_so(graphs, load, run, strings):
    blob = graphs.graph(lambda: tf.strings.join([graphs.given(dtype="string"), b"\0"], name="y"))

    with pytest.raises(RunFailed, match=r"An output cannot be kept as a tensor: .* NUL"):
        run(load(blob), strings(["a"]))


# --------------------------------------------------------------------------- memory
@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_outputs_outlive_their_session(graphs, load, run, name):
    dtype = tf.dtypes.as_dtype(name).as_numpy_dtype
    model = load(graphs.graph(lambda: tf.add(graphs.given(dtype=name), 1, name="y")))
    outputs = [run(model, np.full(100_000, turn, dtype))[0] for turn in range(10)]

    del model
    gc.collect()
    reused = [np.full(100_000, 255, np.uint8) for _ in range(50)]

    assert len(reused) == 50
    assert [set(each.values()) for each in outputs] == [{turn + 1} for turn in range(10)]


def test_a_constant_outlives_its_session(graphs, load, run):
    model = load(graphs.graph(lambda: tf.constant(np.full(100_000, 7, np.float32), name="y")), "")
    outputs = [run(model)[0] for _ in range(3)]

    del model
    gc.collect()

    assert [set(each.values()) for each in outputs] == [{7}] * 3


def test_a_large_input_is_neither_copied_nor_changed(graphs, load, run):
    given = aligned(np.ones(1_000_000, np.float32))

    (same,) = run(load(graphs.identity()), given)
    (doubled,) = run(load(graphs.graph(lambda: tf.add(graphs.given(), 1, name="y"))), given)

    assert np.shares_memory(same.numpy(), given)
    assert not np.shares_memory(doubled.numpy(), given)
    assert set(given) == {1}


def test_a_large_output_is_tensorflows_own_memory(graphs, load, run):
    (output,) = run(load(graphs.identity(op=tf.negative)), np.ones(1_000_000, np.float32))

    assert not output.numpy().flags.owndata
    assert not output.numpy().flags.writeable
