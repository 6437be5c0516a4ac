"""Whatever a worker sends is a message, or is refused: no bytes of it can do anything else."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep import errors
from tensorkeep.errors import TensorkeepError, text_of
from tensorkeep.tensor import DType, Tensor
from tensorkeep_workers_process import messages
from tensorkeep_workers_process.failures import PluginError, error_of, failure
from tensorkeep_workers_process.messages import ARENA, INLINE, Cell, NoMessage
from tensorkeep_workers_process.tensor_cells import DTYPES, from_worker

SENT = [
    messages.Ready(1, b"nothing"),
    messages.Built(1, 0, [b"x"], [b"y"], [], "KNOWN", b"", []),
    messages.Outputs(1, [Cell(2, (2,), bytes(8)), None]),
    messages.Failure(1, "RunFailed", b"text"),
    messages.Command(1, b"GET", [b"key"]),
    messages.ModelExecute(1, b"key", [Cell(2, (2,), bytes(8))], 1),
    messages.Blob(1, b"blob"),
]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text(),
    lambda children: st.lists(children, max_size=10),
)


@pytest.mark.parametrize("sent", SENT, ids=lambda each: type(each).__name__)
def test_a_message_comes_back_as_it_was_sent(sent):
    assert messages.decode_from_worker(memoryview(messages.encode(sent))) == sent


@given(st.binary(max_size=200))
def test_bytes_at_random_are_refused_or_a_message(sent):
    assert_refused_or_message(sent)


@given(ANYTHING)
def test_values_at_random_are_refused_or_a_message(value):
    assert_refused_or_message(msgspec.msgpack.encode(value))


@given(st.sampled_from(SENT), st.data())
def test_a_message_with_a_byte_changed_is_refused_or_a_message(sent, data):
    packet = bytearray(messages.encode(sent))
    packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))

    assert_refused_or_message(bytes(packet))


def assert_refused_or_message(sent):
    try:
        message = messages.decode_from_worker(memoryview(sent))
    except NoMessage:
        return
    assert isinstance(message, messages.Message)


# ---------------------------------------------------------------------- tensors
CELLS = st.builds(
    Cell,
    st.integers(-2, 20),
    st.lists(st.integers(-2, 2**62), max_size=3).map(tuple),
    st.binary(max_size=40),
    st.integers(-3, 2),
    st.integers(-64, 2000),
    st.integers(-64, 2000),
)


@given(CELLS)
def test_a_cell_at_random_is_a_whole_tensor_or_is_refused(cell):
    try:
        (tensor,) = from_worker([cell], [], 0, memoryview(bytearray(1024)))
    except NoMessage:
        return
    assert_whole(tensor)


@given(
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 4), max_size=3).map(tuple),
    st.binary(max_size=64),
)
def test_a_cell_that_nearly_fits_is_a_whole_tensor_or_is_refused(dtype, shape, blob):
    try:
        (tensor,) = from_worker([Cell(DTYPES.index(dtype), shape, blob)], [], 0)
    except NoMessage:
        return
    assert_whole(tensor)


def assert_whole(tensor):
    assert Tensor.from_blob(tensor.dtype, tensor.shape, bytes(tensor.blob)) == tensor
    assert tensor.numpy().shape == tensor.shape


@pytest.mark.parametrize(
    "cell",
    [
        Cell(DTYPES.index(DType.BOOL), (1,), b"\x02"),
        Cell(DTYPES.index(DType.STRING), (1,), b"no end"),
        Cell(DTYPES.index(DType.FLOAT), (3,), bytes(8)),
        Cell(DTYPES.index(DType.FLOAT), (2**40, 2**40), bytes(8)),
        Cell(DTYPES.index(DType.FLOAT), (-1, -2), bytes(8)),
        Cell(len(DTYPES), (2,), bytes(8)),
        Cell(DTYPES.index(DType.FLOAT), (2,), b"", ARENA, 1020, 8),
        Cell(DTYPES.index(DType.FLOAT), (2,), b"", ARENA, 4, 8),
        Cell(DTYPES.index(DType.FLOAT), (2,), b"", 0, 0, 8),
        Cell(DTYPES.index(DType.FLOAT), (2,), b"", -3, 0, 8),
    ],
)
def test_a_cell_that_does_not_fit_is_refused(cell):
    with pytest.raises(NoMessage):
        from_worker([cell], [], 0, memoryview(bytearray(1024)))


def test_a_tensor_in_the_arena_is_copied_before_it_is_looked_at():
    arena = bytearray(1024)
    cell = Cell(DTYPES.index(DType.UINT8), (4,), b"", ARENA, 64, 4)

    (tensor,) = from_worker([cell], [], 0, memoryview(arena))
    arena[64] = 9

    assert tensor.values() == [0, 0, 0, 0]


def test_a_cell_in_the_message_needs_no_arena():
    (tensor,) = from_worker([Cell(DTYPES.index(DType.UINT8), (1,), b"\7", INLINE)], [], 0)

    assert tensor.values() == [7]


# ---------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    "error",
    [
        errors.ModelRejected("it is none"),
        errors.RunFailed("it went wrong"),
        errors.CommandFailed("ERR no"),
        errors.OutputIsNoTensor("output 'y'"),
        errors.BackendUnavailable("TF", "ImportError: no"),
        errors.BackendNotInstalled("TF", "no"),
        errors.DeviceUnavailable("TF", "GPU:7"),
        errors.InvalidShape("shape must not be so"),
        errors.WorkerDied("signal 11 (SIGSEGV)"),
        errors.WorkerTookTooLong("it took longer than 4 s"),
        errors.InternalError(),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_error_of_tensorkeep_comes_back_as_it_was(error):
    came = error_of(failure(7, error))

    assert type(came) is type(error)
    assert vars(came) == vars(error)
    assert str(came) == str(error)


@given(st.text(st.characters(), max_size=20))
def test_the_text_of_what_a_plugin_raises_comes_back_as_it_is_in_process(text):
    error = ValueError(text)
    message = messages.decode_from_worker(memoryview(messages.encode(failure(7, error))))

    came = error_of(message)

    assert type(came) is PluginError
    assert text_of(came) == text_of(error)


class OwnError(TensorkeepError):
    def __str__(self):
        return "an error that tells lies"


def test_an_error_of_a_plugin_that_poses_as_ours_is_its_text():
    came = error_of(failure(7, OwnError("what it says")))

    assert type(came) is PluginError
    assert str(came) == "an error that tells lies"


@pytest.mark.parametrize(
    "message",
    [
        messages.Failure(1, "SystemExit", b""),
        messages.Failure(1, "TensorkeepError", b""),
        messages.Failure(1, "DeviceUnavailable", b"", {"backend": b"TF"}),
        messages.Failure(1, "DeviceUnavailable", b"", {"backend": b"TF", "args": b"x"}),
        messages.Failure(1, "RunFailed", b"\xff\xfe"),
    ],
)
def test_an_error_that_may_not_come_this_way_is_refused(message):
    with pytest.raises(NoMessage):
        error_of(message)
