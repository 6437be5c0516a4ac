"""A tensor is a string that is read back bit for bit; anything else is not taken for one."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.errors import StoreError, WrongType
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing.strategies import tensors
from tensorkeep_valkey.layout import decode_tensor, encode_tensor, header_of


def large():
    return Tensor.from_numpy(np.arange(10_000, dtype=np.float64).reshape(100, 100))


@given(tensors())
def test_a_tensor_comes_back_as_it_was(tensor):
    value = encode_tensor(tensor)
    line = header_of(tensor)
    assert value == line + bytes(tensor.blob)
    assert len(line) % 64 == 0
    assert line.split() == [
        b"TENSOR/1",
        tensor.dtype.name.encode(),
        *map(str.encode, map(str, tensor.shape)),
    ]
    assert decode_tensor(b"k", value) == tensor
    assert decode_tensor(b"k", memoryview(value)) == tensor


def test_the_line_of_a_matrix_is_the_one_of_the_documentation():
    tensor = Tensor.from_values(DType.FLOAT, (2, 3), range(6))
    assert header_of(tensor) == b"TENSOR/1 FLOAT 2 3".ljust(63) + b"\n"


@pytest.mark.parametrize("rank", [20, 30, 31, 64])
def test_a_line_may_be_longer_than_64_bytes(rank):
    tensor = Tensor.from_values(DType.UINT8, (1,) * rank, [7])
    value = encode_tensor(tensor)
    assert len(value) == len(header_of(tensor)) + 1
    assert decode_tensor(b"k", value) == tensor


def test_a_large_tensor_shares_the_memory_of_the_reply():
    value = bytearray(encode_tensor(large()))
    tensor = decode_tensor(b"k", memoryview(value))
    value[-1] ^= 255
    assert tensor.blob == memoryview(value)[64:]


@pytest.mark.parametrize(
    "value",
    [b"", b"text", b"TENSOR", b"TENSOR/", b"TENSOR/x FLOAT", b" TENSOR/1 FLOAT", b"\x80" * 200],
)
def test_what_others_have_stored_is_of_the_wrong_type(value):
    with pytest.raises(WrongType) as raised:
        decode_tensor(b"k", value)
    assert raised.value.key == b"k"


@given(st.binary(max_size=200))
def test_no_bytes_are_a_tensor_by_chance(value):
    with pytest.raises(WrongType):
        decode_tensor(b"k", value)


def test_what_a_newer_version_has_stored_is_told_as_such():
    with pytest.raises(StoreError, match=r"newer Tensorkeep, in version 2 .* knows version 1"):
        decode_tensor(b"k", b"TENSOR/2 FLOAT 2".ljust(63) + b"\n" + bytes(8))


def line(text):
    return text.ljust(63) + b"\n"


@pytest.mark.parametrize(
    "value",
    [
        line(b"TENSOR/1 FLOAT 2") + bytes(7),
        line(b"TENSOR/1 FLOAT 2") + bytes(9),
        line(b"TENSOR/1 FLOAT 2"),
        line(b"TENSOR/1 BOOL 1") + b"\2",
        line(b"TENSOR/1 STRING 2") + b"a\0",
        line(b"TENSOR/1 STRING 1") + b"a",
        line(b"TENSOR/1 COMPLEX 1") + bytes(4),
        line(b"TENSOR/1 FLOAT -1") + bytes(4),
        line(b"TENSOR/1 FLOAT 01") + bytes(4),
        line(b"TENSOR/1 FLOAT 1x") + bytes(4),
        line(b"TENSOR/1  FLOAT 1") + bytes(4),
        line(b"TENSOR/1 FLOAT 99999999999999999999 9"),
        line(b"TENSOR/1 FLOAT 0 99999999999999999999"),
        b"TENSOR/1 FLOAT 1\n" + bytes(4),
        b"TENSOR/1 FLOAT 1" + b" " * 5000,
        b"TENSOR/1",
    ],
)
@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_what_is_damaged_is_told_as_such(value, kind):
    with pytest.raises(StoreError, match="damaged"):
        decode_tensor(b"k", kind(value))


@given(tensors(), st.data())
def test_a_tensor_with_a_byte_changed_is_another_tensor_or_an_error(tensor, data):
    value = bytearray(encode_tensor(tensor))
    at = data.draw(st.integers(0, len(value) - 1))
    value[at] ^= data.draw(st.integers(1, 255))
    with suppress(StoreError, WrongType):
        decode_tensor(b"k", bytes(value))
