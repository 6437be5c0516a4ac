"""The exchange of arrays through DLPack, with new and old partners."""

import gc
import sys

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given

from tensorkeep import dlpack
from tensorkeep.errors import UnknownDType
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing import strategies

NUMERIC = [dtype for dtype in DType if dtype is not DType.STRING]
NEW = (1, 0)


def capsule_name(capsule):
    return dlpack._get_name(capsule)


class Producer:
    """A framework's array, as new or as old as a test wants it."""

    def __init__(self, array, device=(1, 0)):
        self.array = array
        self.device = device

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, *, max_version=None):
        return dlpack.to_capsule(self.array, max_version)


class OldProducer(Producer):
    """A producer from before DLPack 1.0: it knows no arguments but the stream."""

    def __dlpack__(self, stream=None):
        return dlpack.to_capsule(self.array, None)


def consumed(capsule):
    """Returns the array that NumPy makes of a capsule."""
    return np.from_dlpack(dlpack._Capsule(capsule))


@given(strategies.tensors(strategies.dtypes(strings=False)))
def test_a_tensor_survives_dlpack(tensor):
    again = Tensor.from_dlpack(tensor)
    # First: what is compared is read as bytes, and small tensors keep nothing else then.
    assert again.numpy().size == 0 or np.shares_memory(again.numpy(), tensor.numpy())
    assert again == tensor


@pytest.mark.parametrize("dtype", [each for each in NUMERIC if each is not DType.BFLOAT16])
def test_numpy_shares_the_memory_of_a_tensor_and_cannot_write_there(dtype):
    tensor = Tensor.from_values(dtype, (3,), [1, 0, 1])
    array = np.from_dlpack(tensor)
    assert array.dtype == dtype.numpy
    assert np.shares_memory(array, tensor.numpy())
    assert not array.flags.writeable


@pytest.mark.parametrize("dtype", NUMERIC)
@pytest.mark.parametrize("producer", [Producer, OldProducer])
def test_an_array_of_a_new_or_old_producer_is_shared(dtype, producer):
    array = np.ones((2, 3), dtype.numpy)
    tensor = Tensor.from_dlpack(producer(array))
    assert (tensor.dtype, tensor.shape) == (dtype, (2, 3))
    assert np.shares_memory(tensor.numpy(), array)
    assert tensor.values() == [1] * 6


@pytest.mark.parametrize("dtype", NUMERIC)
def test_an_old_consumer_gets_a_copy_for_it_could_write(dtype):
    tensor = Tensor.from_values(dtype, (3,), [1, 0, 1])
    capsule = tensor.__dlpack__()
    assert capsule_name(capsule) == b"dltensor"
    array = dlpack.to_array(dlpack._Capsule(capsule))
    assert array.dtype == dtype.numpy
    assert not np.shares_memory(array, tensor.numpy())
    assert array.tolist() == [1, 0, 1]


def test_an_old_consumer_shares_what_may_be_written_to():
    array = np.zeros(3, np.float32)
    assert np.shares_memory(consumed(dlpack.to_capsule(array, None)), array)


@pytest.mark.parametrize("version", [None, (0, 8)])
def test_a_consumer_that_reads_no_newer_version_gets_the_old_form(version):
    tensor = Tensor.zeros(DType.FLOAT, (1,))
    assert capsule_name(tensor.__dlpack__(max_version=version)) == b"dltensor"
    assert capsule_name(tensor.__dlpack__(max_version=NEW)) == b"dltensor_versioned"


def test_bfloat16_travels_under_its_own_type_code():
    array = np.ones(2, ml_dtypes.bfloat16)
    for version in (None, NEW):
        capsule = dlpack.to_capsule(array, version)
        assert dlpack._type_code(capsule).value == 4  # kDLBfloat
        with pytest.raises((BufferError, RuntimeError)):  # which NumPy does not know
            consumed(capsule)


def test_a_consumer_may_ask_for_a_copy():
    tensor = Tensor.from_numpy(np.zeros(3))
    copy = consumed(tensor.__dlpack__(max_version=NEW, copy=True))
    assert not np.shares_memory(copy, tensor.numpy())
    shared = consumed(tensor.__dlpack__(max_version=NEW, copy=False))
    assert np.shares_memory(shared, tensor.numpy())


def test_a_tensor_is_in_host_memory_and_stays_there():
    tensor = Tensor.zeros(DType.FLOAT, (1,))
    assert tensor.__dlpack_device__() == (1, 0)
    assert tensor.__dlpack__(dl_device=(1, 0), max_version=NEW) is not None
    with pytest.raises(BufferError, match=r"cannot be exported to device \(2, 0\)"):
        tensor.__dlpack__(dl_device=(2, 0))


def test_strings_are_not_exchanged():
    tensor = Tensor.zeros(DType.STRING, (1,))
    with pytest.raises(BufferError, match="a STRING tensor cannot be exchanged through DLPack"):
        np.from_dlpack(tensor)
    with pytest.raises(UnknownDType, match="a STRING tensor cannot be exchanged"):
        Tensor.from_dlpack(tensor)


def test_pinned_host_memory_is_taken():
    assert Tensor.from_dlpack(Producer(np.ones(2), device=(3, 0))).values() == [1, 1]


@pytest.mark.parametrize("device", [(2, 0), (4, 1), (10, 0), (13, 0)])
def test_an_array_on_another_device_is_refused(device):
    text = f"must be in host memory, not on a DLPack device of type {device[0]}"
    with pytest.raises(UnknownDType, match=text):
        Tensor.from_dlpack(Producer(np.ones(2), device))
    with pytest.raises(BufferError, match=text):
        dlpack.to_array(Producer(np.ones(2), device))


@pytest.mark.parametrize("array", [np.ones(2, np.complex64), np.ones(2, ">f4"), np.array(["a"])])
def test_elements_without_a_tensor_type_are_refused(array):
    with pytest.raises(UnknownDType):
        Tensor.from_dlpack(array)


@pytest.mark.parametrize(
    "array",
    [np.arange(6.0).reshape(2, 3).T, np.arange(6.0)[::2], np.arange(6.0)[::-1]],
    ids=["transposed", "strided", "reversed"],
)
def test_an_array_of_another_layout_is_copied(array):
    tensor = Tensor.from_dlpack(array)
    assert np.array_equal(tensor.numpy(), array)
    assert tensor.numpy().flags.c_contiguous


def test_a_tensor_keeps_the_memory_it_shares_alive():
    array = np.arange(1000)
    tensor = Tensor.from_dlpack(Producer(array))
    del array
    gc.collect()
    assert tensor.values() == list(range(1000))


def test_a_consumer_keeps_the_memory_of_a_tensor_alive():
    array = np.from_dlpack(Tensor.from_numpy(np.arange(1000)))
    gc.collect()
    assert array.tolist() == list(range(1000))


def test_a_capsule_that_nobody_takes_frees_its_memory():
    array = np.ones(3, ml_dtypes.bfloat16)
    references = sys.getrefcount(array)
    capsule = dlpack.to_capsule(array, NEW)
    assert sys.getrefcount(array) > references
    del capsule
    assert sys.getrefcount(array) == references
