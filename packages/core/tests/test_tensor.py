"""Tensors: every way in, every way out, and what is refused at each."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.errors import (
    BlobLengthMismatch,
    InvalidBool,
    InvalidShape,
    InvalidTensor,
    InvalidValue,
    NulInString,
    StringCountMismatch,
    TensorkeepError,
    UnknownDType,
    ValueCountMismatch,
)
from tensorkeep.tensor import DType, Tensor, element_count
from tensorkeep.testing import strategies

NUMERIC = [dtype for dtype in DType if dtype is not DType.STRING]
FLOATS = [DType.FLOAT16, DType.BFLOAT16, DType.FLOAT, DType.DOUBLE]
INTEGERS = [dtype for dtype in DType if dtype.numpy.kind in "iu"]
LARGE = 16 * 1024  # bytes from which on a blob is a view

numeric_tensors = strategies.tensors(strategies.dtypes(strings=False))
string_tensors = strategies.tensors(st.just(DType.STRING))


def texts(*values, shape=None):
    return Tensor.from_values(DType.STRING, shape or (len(values),), values)


# ---------------------------------------------------------------------- element types
@pytest.mark.parametrize("dtype", NUMERIC)
def test_a_type_is_found_by_its_numpy_type(dtype):
    assert DType.of(dtype.numpy) is dtype
    assert dtype.itemsize == dtype.numpy.itemsize


def test_types_of_equal_width_in_c_are_one_type():
    assert DType.of(np.dtype(np.longlong)) is DType.of(np.dtype(np.int64)) is DType.INT64


def test_a_type_is_found_by_its_name():
    assert DType("BFLOAT16") is DType.BFLOAT16
    assert repr(DType.BFLOAT16) == "DType.BFLOAT16"


def test_elements_of_a_string_tensor_are_objects_of_no_fixed_size():
    assert DType.STRING.numpy == np.dtype(object)
    assert DType.STRING.itemsize == 1


@pytest.mark.parametrize("numpy", ["complex64", "M8[s]", "V3", "longdouble", "O", "S3"])
def test_a_numpy_type_without_a_tensor_type_is_refused(numpy):
    with pytest.raises(UnknownDType, match="no tensor type for elements of NumPy type"):
        DType.of(np.dtype(numpy))


# ---------------------------------------------------------------------- round trips
@given(strategies.tensors())
def test_a_tensor_survives_its_blob(tensor):
    again = Tensor.from_blob(tensor.dtype, tensor.shape, tensor.blob)
    assert again == tensor
    assert (again.dtype, again.shape, bytes(again.blob)) == (
        tensor.dtype, tensor.shape, bytes(tensor.blob)
    )  # fmt: skip


@given(strategies.tensors())
def test_a_tensor_survives_numpy(tensor):
    again = Tensor.from_numpy(tensor.numpy())
    assert again == tensor
    assert tensor.numpy().dtype == tensor.dtype.numpy
    assert tensor.numpy().shape == tensor.shape


@given(strategies.tensors())
def test_a_tensor_survives_its_values(tensor):
    again = Tensor.from_values(tensor.dtype, tensor.shape, tensor.values())
    if tensor.dtype in FLOATS:  # a NaN keeps being one, not its bits
        with np.errstate(invalid="ignore"):  # a signalling NaN says so when it is converted
            wide = [each.numpy().astype(np.float64) for each in (again, tensor)]
        assert np.array_equal(*wide, equal_nan=True)
        assert again.dtype is tensor.dtype
    else:
        assert again == tensor


@given(numeric_tensors)
def test_a_tensor_survives_another_byte_order_and_layout(tensor):
    if tensor.dtype is DType.BFLOAT16:  # NumPy knows no foreign order of it
        return
    array = tensor.numpy()
    foreign = array.astype(array.dtype.newbyteorder(">"), order="F")
    # NumPy may make a NaN a quiet one on the way
    assert np.array_equal(
        Tensor.from_numpy(foreign).numpy(), array, equal_nan=tensor.dtype in FLOATS
    )


@given(numeric_tensors)
def test_a_transposed_array_becomes_a_tensor_in_c_order(tensor):
    array = tensor.numpy()
    turned = Tensor.from_numpy(array.T)
    assert turned.shape == tensor.shape[::-1]
    assert bytes(turned.blob) == array.T.tobytes()
    assert turned.numpy().flags.c_contiguous


@given(strategies.tensors())
def test_a_blob_has_as_many_bytes_as_it_says(tensor):
    assert tensor.nbytes == len(tensor.blob) == len(bytes(tensor.blob))
    if tensor.dtype is not DType.STRING:
        assert tensor.nbytes == element_count(tensor.shape) * tensor.dtype.itemsize


# ---------------------------------------------------------------------- from a blob
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_blob_is_not_copied(kind):
    blob = kind(np.arange(6, dtype=np.float32).tobytes())
    tensor = Tensor.from_blob(DType.FLOAT, (2, 3), blob)
    assert tensor.blob is blob
    assert np.shares_memory(tensor.numpy(), np.frombuffer(blob, np.uint8))
    assert tensor.values() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("dtype", "shape"), [(DType.FLOAT, (6,)), (DType.UINT8, (2, 3))])
def test_a_view_of_other_elements_or_axes_is_taken_as_its_bytes(dtype, shape):
    array = np.arange(6, dtype=dtype.numpy).reshape(shape)
    tensor = Tensor.from_blob(dtype, (3, 2), memoryview(array))
    assert tensor.nbytes == len(tensor.blob) == array.nbytes
    assert np.shares_memory(tensor.numpy(), array)
    assert tensor.values() == [0, 1, 2, 3, 4, 5]


def test_a_view_with_gaps_is_refused():
    with pytest.raises(InvalidTensor, match="blob must be contiguous memory"):
        Tensor.from_blob(DType.UINT8, (2,), memoryview(b"abcd")[::2])


def test_a_blob_at_an_odd_address_gives_an_aligned_array():
    received = bytearray(b"$" + np.arange(3, dtype=np.int32).tobytes())
    tensor = Tensor.from_blob(DType.INT32, (3,), memoryview(received)[1:])
    assert tensor.numpy().flags.aligned
    assert tensor.values() == [0, 1, 2]
    assert bytes(tensor.blob) == bytes(received[1:])


@pytest.mark.parametrize(
    ("dtype", "shape", "length", "text"),
    [
        (DType.FLOAT, (2, 2), 15, r"blob must have 16 bytes for FLOAT\[2, 2\], not 15"),
        (DType.FLOAT, (), 5, r"blob must have 4 bytes for FLOAT\[\], not 5"),
        (DType.BOOL, (0,), 1, r"blob must have 0 bytes for BOOL\[0\], not 1"),
        (DType.BFLOAT16, (3,), 3, r"blob must have 6 bytes for BFLOAT16\[3\], not 3"),
    ],
)
def test_a_blob_of_another_length_is_refused(dtype, shape, length, text):
    with pytest.raises(BlobLengthMismatch, match=text):
        Tensor.from_blob(dtype, shape, bytes(length))


@pytest.mark.parametrize("blob", [b"\2\0\0", b"\0\2\0", b"\1\0\xff"])
def test_every_byte_of_a_bool_blob_must_be_zero_or_one(blob):
    with pytest.raises(InvalidBool, match="blob of a BOOL tensor must hold only bytes 0 and 1"):
        Tensor.from_blob(DType.BOOL, (3,), blob)


def test_a_bool_blob_of_no_elements_is_taken():
    assert Tensor.from_blob(DType.BOOL, (2, 0), b"").values() == []


@pytest.mark.parametrize(
    ("count", "blob"),
    [(1, b""), (1, b"a"), (1, b"a\0b\0"), (2, b"a\0"), (0, b"a"), (0, b"\0"), (1, b"a\0b")],
)
def test_a_string_blob_must_hold_one_terminated_string_for_each_element(count, blob):
    text = f"blob of a STRING tensor must hold {count} NUL-terminated strings"
    for kind in (bytes, bytearray, memoryview):
        with pytest.raises(StringCountMismatch, match=text):
            Tensor.from_blob(DType.STRING, (count,), kind(blob))


def test_a_string_blob_may_hold_empty_strings_and_any_other_bytes():
    tensor = Tensor.from_blob(DType.STRING, (3,), b"\0\xff\xfe\0\n\0")
    assert tensor.strings() == tensor.values() == [b"", b"\xff\xfe", b"\n"]


def test_a_trusted_blob_is_taken_as_it_is():
    assert Tensor.trusted(DType.INT8, (2,), b"\1\2").values() == [1, 2]


# ---------------------------------------------------------------------- shapes
@pytest.mark.parametrize("shape", [(-1,), (2, -1), (0, -1), (-1, -1)])
def test_a_negative_size_is_refused(shape):
    for make in (
        lambda: Tensor.from_blob(DType.INT8, shape, b"1"),
        lambda: Tensor.from_values(DType.INT8, shape, [1]),
        lambda: Tensor.zeros(DType.INT8, shape),
    ):
        with pytest.raises(InvalidShape, match="shape must not have negative sizes"):
            make()


@pytest.mark.parametrize(
    "shape", [(2**62,), (2**59 + 1,), (2**31, 2**31), (10**30,), (2**62, 0), (0, 2**99)]
)
@pytest.mark.parametrize("dtype", [DType.FLOAT, DType.STRING])
def test_a_shape_beyond_the_address_space_is_refused(dtype, shape):
    for make in (
        lambda: Tensor.from_blob(dtype, shape, b""),
        lambda: Tensor.from_values(dtype, shape, []),
    ):
        with pytest.raises(InvalidShape, match=r"shape \[.*\] is too large to be addressed"):
            make()


def test_a_shape_that_passes_is_one_that_numpy_takes():
    shape = (2**59, 0)
    assert Tensor.from_blob(DType.DOUBLE, shape, b"").numpy().shape == shape


def test_a_shape_may_have_as_many_sizes_as_numpy_takes():
    assert Tensor.from_values(DType.INT8, (1,) * 64, [7]).numpy().ndim == 64
    with pytest.raises(InvalidShape, match="shape must not have more than 64 sizes, not 65"):
        Tensor.from_values(DType.INT8, (1,) * 65, [7])


@pytest.mark.parametrize(("shape", "count"), [((), 1), ((3,), 3), ((2, 0, 4), 0), ((2, 3, 4), 24)])
def test_elements_are_counted(shape, count):
    assert element_count(shape) == count


# ---------------------------------------------------------------------- zeros
@pytest.mark.parametrize("dtype", NUMERIC)
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_zeros_are_zeros(dtype, shape):
    tensor = Tensor.zeros(dtype, shape)
    assert (tensor.dtype, tensor.shape) == (dtype, shape)
    assert not any(tensor.blob)


def test_zeros_of_string_are_empty_strings():
    assert Tensor.zeros(DType.STRING, (2, 1)) == texts("", "", shape=(2, 1))


@pytest.mark.parametrize(
    ("dtype", "shape"), [(DType.STRING, (2**61,)), (DType.INT8, (2**61,)), (DType.FLOAT, (2**60,))]
)
def test_zeros_that_no_memory_can_hold_are_refused(dtype, shape):
    with pytest.raises(InvalidShape, match=f"no memory for a {dtype.name} tensor of shape"):
        Tensor.zeros(dtype, shape)


def test_zeros_beyond_the_address_space_are_refused():
    with pytest.raises(InvalidShape, match="too large to be addressed"):
        Tensor.zeros(DType.DOUBLE, (2**60,))


# ---------------------------------------------------------------------- from values
@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_are_taken(dtype):
    values = [1, 0.5, True, np.float32(2), np.int8(3), ml_dtypes.bfloat16(4), float("-inf")]
    tensor = Tensor.from_values(dtype, (7,), values)
    assert tensor.values() == [1, 0.5, 1, 2, 3, 4, float("-inf")]
    assert {type(value) for value in tensor.values()} == {float}


@pytest.mark.parametrize("dtype", [DType.FLOAT16, DType.BFLOAT16, DType.FLOAT])
def test_a_float_that_the_type_cannot_hold_becomes_infinite(dtype):
    assert Tensor.from_values(dtype, (2,), [1e300, -1e300]).values() == [np.inf, -np.inf]


def test_floats_are_rounded_once_to_the_nearest_bfloat16():
    ascending = np.arange(0x7F80, dtype=np.uint16)  # all that are positive and finite
    elements = ascending.view(ml_dtypes.bfloat16).astype(np.float64)
    middles = (elements[1:] + elements[:-1]) / 2
    lower = ascending[:-1]
    for numbers, wanted in (
        (middles, lower + (lower & 1)),
        (np.nextafter(middles, 0), lower),
        (np.nextafter(middles, np.inf), lower + 1),
    ):
        tensor = Tensor.from_values(DType.BFLOAT16, numbers.shape, [*numbers])
        assert (np.frombuffer(tensor.blob, np.uint16) == wanted).all()
        negative = Tensor.from_values(DType.BFLOAT16, numbers.shape, [*-numbers])
        assert (np.frombuffer(negative.blob, np.uint16) == wanted | 0x8000).all()


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_taken_up_to_the_limits_of_the_type(dtype):
    limits = np.iinfo(dtype.numpy)
    values = [int(limits.min), int(limits.max), True, np.uint8(2), np.True_]
    tensor = Tensor.from_values(dtype, (5,), values)
    assert tensor.values() == [limits.min, limits.max, 1, 2, 1]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("kind", [int, np.int64, np.uint64])
def test_an_integer_beyond_the_limits_is_refused_and_never_wrapped_around(dtype, kind):
    limits = np.iinfo(dtype.numpy)
    holds = np.iinfo(kind) if kind is not int else np.iinfo(np.int64)
    for value in (int(limits.min) - 1, int(limits.max) + 1, 2**63, -(2**63)):
        beyond = not limits.min <= value <= limits.max
        if beyond and (kind is int or holds.min <= value <= holds.max):
            with pytest.raises(InvalidValue, match=f"values must fit {dtype.name}: "):
                Tensor.from_values(dtype, (1,), [kind(value)])


@pytest.mark.parametrize("value", [1.0, 1.5, np.float32(1), "1", b"1", None, [1], 1j, np.zeros(1)])
def test_what_is_no_integer_is_refused_for_an_integer_type(value):
    text = f"values of INT8 must be integers, not {type(value).__name__}"
    with pytest.raises(InvalidValue, match=text):
        Tensor.from_values(DType.INT8, (1,), [value])


@pytest.mark.parametrize("dtype", [*FLOATS, DType.BOOL])
@pytest.mark.parametrize("value", ["1", b"1", None, [1.0], 1j])
def test_what_is_no_number_is_refused(dtype, value):
    text = f"values of {dtype.name} must be numbers, not {type(value).__name__}"
    with pytest.raises(InvalidValue, match=text):
        Tensor.from_values(dtype, (1,), [value])


def test_an_integer_that_no_float_can_hold_is_refused():
    with pytest.raises(InvalidValue, match="values must fit DOUBLE: int too large"):
        Tensor.from_values(DType.DOUBLE, (1,), [10**400])


def test_booleans_are_taken_as_numbers_or_booleans():
    tensor = Tensor.from_values(DType.BOOL, (2, 3), [True, False, 1, 0, 1.0, np.False_])
    assert tensor.values() == [True, False, True, False, True, False]
    assert bytes(tensor.blob) == b"\1\0\1\0\1\0"


@pytest.mark.parametrize("value", [2, -1, 0.5, float("nan")])
def test_another_number_is_no_boolean(value):
    with pytest.raises(InvalidValue, match="values of BOOL must be 0, 1 or booleans"):
        Tensor.from_values(DType.BOOL, (2,), [1, value])


def test_strings_are_taken_as_text_or_bytes():
    tensor = texts("é", b"\xff", "", np.str_("a"), shape=(2, 2))
    assert tensor.values() == ["é".encode(), b"\xff", b"", b"a"]
    assert tensor.blob == b"\xc3\xa9\0\xff\0\0a\0"


@pytest.mark.parametrize("value", [1, None, bytearray(b"a"), ["a"]])
def test_what_is_no_string_is_refused(value):
    text = rf"values\[1\] of a STRING tensor must be str or bytes, not {type(value).__name__}"
    with pytest.raises(InvalidValue, match=text):
        texts("a", value)


@pytest.mark.parametrize("value", ["a\0b", b"\0", "a\0"])
def test_a_string_with_a_nul_is_refused(value):
    with pytest.raises(NulInString, match=r"values\[2\] must not hold a NUL byte"):
        texts("a", "b", value)


def test_text_that_utf8_cannot_hold_is_refused():
    with pytest.raises(InvalidValue, match=r"values\[0\] cannot be stored as UTF-8"):
        texts("\ud800")


@pytest.mark.parametrize("dtype", [DType.INT8, DType.FLOAT, DType.BOOL])
def test_another_number_of_values_is_refused(dtype):
    with pytest.raises(ValueCountMismatch, match=r"values must be 4 for shape \[2, 2\], not 3"):
        Tensor.from_values(dtype, (2, 2), [1, 1, 1])


@pytest.mark.parametrize("dtype", DType)
def test_a_scalar_is_one_value_and_a_size_of_zero_is_none(dtype):
    value = b"1" if dtype is DType.STRING else 1
    assert Tensor.from_values(dtype, (), [value]).values() == [value]
    assert Tensor.from_values(dtype, (), [value]).numpy().shape == ()
    empty = Tensor.from_values(dtype, (2, 0), [])
    assert (empty.values(), bytes(empty.blob), empty.numpy().shape) == ([], b"", (2, 0))


@pytest.mark.parametrize(
    "error",
    [
        UnknownDType, InvalidShape, BlobLengthMismatch, InvalidBool, StringCountMismatch,
        NulInString, ValueCountMismatch, InvalidValue,
    ],
)  # fmt: skip
def test_every_refusal_is_an_invalid_tensor_and_a_value_error(error):
    assert issubclass(error, InvalidTensor)
    assert issubclass(error, TensorkeepError)
    assert issubclass(error, ValueError)


# ---------------------------------------------------------------------- from NumPy
@pytest.mark.parametrize("dtype", NUMERIC)
def test_an_array_in_c_order_is_shared(dtype):
    array = np.ones((2, 3), dtype.numpy)
    tensor = Tensor.from_numpy(array)
    assert np.shares_memory(tensor.numpy(), array)
    assert array.flags.writeable


def test_a_read_only_array_is_shared_as_it_is():
    array = np.ones(3)
    array.setflags(write=False)
    assert Tensor.from_numpy(array).numpy() is array


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3).T,
        np.arange(6)[::2],
        np.arange(6)[::-1],
        np.broadcast_to(np.arange(3), (2, 3)),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(3, dtype=">i4"),
        np.frombuffer(b"-" + bytes(8), np.int32, offset=1),
    ],
    ids=["transposed", "strided", "reversed", "broadcast", "Fortran", "foreign", "unaligned"],
)
def test_an_array_of_another_layout_is_copied(array):
    tensor = Tensor.from_numpy(array)
    assert not np.shares_memory(tensor.numpy(), array)
    assert np.array_equal(tensor.numpy(), array)
    flags = tensor.numpy().flags
    assert (flags.c_contiguous, flags.aligned, flags.writeable) == (True, True, False)
    assert tensor.numpy().dtype.isnative


@pytest.mark.parametrize("scalar", [np.float32(3), np.True_, ml_dtypes.bfloat16(3)])
def test_a_numpy_scalar_becomes_a_tensor_without_axes(scalar):
    tensor = Tensor.from_numpy(scalar)
    assert type(tensor.numpy()) is np.ndarray
    assert (tensor.shape, tensor.values(), len(tensor.blob)) == ((), [scalar], scalar.nbytes)


@pytest.mark.parametrize("writeable", [True, False])
def test_a_subclass_of_array_becomes_a_plain_array(writeable):
    class Odd(np.ndarray):
        def reshape(self, *_):
            raise AssertionError

    odd = np.arange(6).reshape(2, 3).view(Odd)
    odd.setflags(write=writeable)
    tensor = Tensor.from_numpy(odd)
    assert type(tensor.numpy()) is np.ndarray
    assert tensor.values() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "array",
    [
        np.array([["é", ""], ["a", "b"]]),
        np.array([["é".encode(), b""], [b"a", b"b"]]),
        np.array([["é", b""], [b"a", "b"]], object),
        np.array([["é", ""], ["a", "b"]], np.dtypes.StringDType()),
        np.array([["é", "a"], ["", "b"]], object).T,
        np.array([["é", ""], ["a", "b"]], ">U1"),
    ],
    ids=["U", "S", "O", "T", "transposed", "foreign"],
)
def test_arrays_of_strings_become_string_tensors(array):
    assert Tensor.from_numpy(array) == texts("é", "", "a", "b", shape=(2, 2))


@pytest.mark.parametrize(
    "array", [np.zeros(2, "c8"), np.zeros(2, ">c8"), np.zeros(2, "M8[s]"), np.zeros(2, "i4,f4"),
              np.zeros(2, np.longdouble), np.zeros(2, ml_dtypes.float8_e4m3fn)],
)  # fmt: skip
def test_an_array_of_other_elements_is_refused(array):
    with pytest.raises(UnknownDType, match="no tensor type for elements of NumPy type"):
        Tensor.from_numpy(array)


def test_an_array_of_objects_that_are_no_strings_is_refused():
    with pytest.raises(InvalidValue, match=r"values\[0\] of a STRING tensor must be str or bytes"):
        Tensor.from_numpy(np.array([1, "a"], object))


def test_an_array_of_strings_with_a_nul_is_refused():
    with pytest.raises(NulInString):
        Tensor.from_numpy(np.array([b"a\0b"]))


# ---------------------------------------------------------------------- reading
@given(strategies.tensors())
def test_an_array_can_be_read_only(tensor):
    assert not tensor.numpy().flags.writeable
    assert tensor.numpy() is tensor.numpy()


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_an_array_is_read_only_though_its_blob_is_not(kind):
    tensor = Tensor.from_blob(DType.INT8, (2,), kind(bytearray(b"ab")))
    with pytest.raises(ValueError, match="read-only"):
        tensor.numpy()[0] = 1


@pytest.mark.parametrize("dtype", NUMERIC)
def test_the_blob_of_a_large_array_is_its_memory(dtype):
    array = np.ones((2, LARGE // 2), dtype.numpy)
    tensor = Tensor.from_numpy(array)
    assert np.shares_memory(np.frombuffer(tensor.blob, np.uint8), array)
    assert len(tensor.blob) == tensor.nbytes == array.nbytes
    assert tensor.blob.readonly
    assert bytes(tensor.blob) == array.tobytes()


def test_the_blob_of_a_small_array_is_bytes_and_made_once():
    tensor = Tensor.from_numpy(np.ones(3))
    assert tensor.nbytes == 24
    assert tensor.blob == np.ones(3).tobytes()
    assert tensor.blob is tensor.blob
    assert type(tensor.blob) is bytes


@given(string_tensors)
def test_strings_of_an_array_are_those_of_the_tensor(tensor):
    array = tensor.numpy()
    assert array.shape == tensor.shape
    assert array.reshape(-1).tolist() == tensor.strings() == tensor.values()


@pytest.mark.parametrize("dtype", NUMERIC)
def test_values_are_plain_python(dtype):
    (value,) = Tensor.from_values(dtype, (1,), [1]).values()
    assert type(value) is (bool if dtype is DType.BOOL else float if dtype in FLOATS else int)


def test_numpy_takes_a_tensor_for_an_array():
    array = np.arange(3.0)
    tensor = Tensor.from_numpy(array)
    assert np.shares_memory(np.asarray(tensor), array)
    assert not np.shares_memory(np.array(tensor), array)
    assert np.asarray(tensor, np.int8).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="Unable to avoid copy"):
        np.array(tensor, np.int8, copy=False)
    assert (np.arange(3.0) + tensor).tolist() == [0, 2, 4]


# ---------------------------------------------------------------------- comparing
def test_tensors_are_equal_when_type_shape_and_bytes_are():
    tensor = Tensor.from_values(DType.INT8, (2,), [1, 2])
    same = Tensor.from_blob(DType.INT8, (2,), memoryview(b"\1\2"))
    assert tensor == same
    assert hash(tensor) == hash(same)
    for other in (
        Tensor.from_values(DType.UINT8, (2,), [1, 2]),
        Tensor.from_values(DType.INT8, (1, 2), [1, 2]),
        Tensor.from_values(DType.INT8, (2,), [2, 1]),
        [1, 2],
    ):
        assert tensor != other


def test_a_large_tensor_equals_its_bytes():
    array = np.arange(LARGE, dtype=np.float32)
    shared = Tensor.from_numpy(array)
    assert shared == Tensor.from_blob(DType.FLOAT, (LARGE,), array.tobytes())
    assert shared == Tensor.from_numpy(array.copy())
    assert hash(shared) == hash(Tensor.from_numpy(array.copy()))


def test_not_a_number_equals_itself_in_a_tensor():
    tensor = Tensor.from_values(DType.FLOAT, (1,), [float("nan")])
    assert tensor == Tensor.from_blob(DType.FLOAT, (1,), bytes(tensor.blob))


def test_a_tensor_shows_its_type_and_shape():
    assert repr(Tensor.zeros(DType.BFLOAT16, (2, 3))) == "Tensor(BFLOAT16, shape=[2, 3])"


def test_a_tensor_takes_no_other_attributes():
    with pytest.raises(AttributeError):
        Tensor.zeros(DType.INT8, ()).name = "x"


# ---------------------------------------------------------------------- the strategies
@given(strategies.dtypes(strings=False))
def test_strategies_can_leave_strings_out(dtype):
    assert dtype is not DType.STRING


@given(strategies.shapes(min_rank=1, max_rank=2, max_size=3, zeros=False))
def test_strategies_keep_to_the_sizes_they_are_given(shape):
    assert 1 <= len(shape) <= 2
    assert set(shape) <= {1, 2, 3}


@given(st.data(), strategies.dtypes(), strategies.shapes())
def test_strategies_make_blobs_that_fit(data, dtype, shape):
    Tensor.from_blob(dtype, shape, data.draw(strategies.blobs(dtype, shape)))


@pytest.mark.parametrize("size", [3, 100_000])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_strings_of_a_blob_are_counted_whatever_its_size(size, kind):
    blob = b"a\xff\0" * size

    assert Tensor.from_blob(DType.STRING, (size,), kind(blob)).strings() == [b"a\xff"] * size
    for wrong in (blob[:-1], blob + b"\0", blob[:-1] + b"b\0c"):
        with pytest.raises(StringCountMismatch):
            Tensor.from_blob(DType.STRING, (size,), kind(wrong))
