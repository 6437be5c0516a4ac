"""What the server and its workers say to each other: typed messages, one a packet.

What a worker sent is checked while it is decoded and never unpickled: its framework may be in the
hands of whoever sent the model. Text is bytes, for names and errors may hold what UTF-8 cannot
say. What the server sends may be trusted.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

import msgspec

_T = TypeVar("_T")

# How many of a thing a message may have: decoding holds the server, and takes much more memory.
MOST: Final = 16 * 1024
MOST_ARGUMENTS: Final = 1024 * 1024  # as in a client's request
LONGEST_TEXT: Final = 1024 * 1024
Few = Annotated[list[_T], msgspec.Meta(max_length=MOST)]
Text = Annotated[bytes, msgspec.Meta(max_length=LONGEST_TEXT)]
Shape = Annotated[tuple[int, ...], msgspec.Meta(max_length=256)]
Arguments = Annotated[list[bytes], msgspec.Meta(max_length=MOST_ARGUMENTS)]

Axis: TypeAlias = Literal["", "KNOWN", "DECLARED", "POSSIBLE", "NONE"]
"""Name of an `AxisKind`; empty for a script."""

INLINE: Final = -1
ARENA: Final = -2


class NoMessage(Exception):
    """What came is not what may come; the text says why."""


def packed(text: str) -> bytes:
    """Returns any text as bytes."""
    return text.encode("utf-8", "surrogatepass")


def unpacked(text: bytes) -> str:
    """Returns the text that `packed` made bytes of.

    Raises:
        NoMessage: It did not.
    """
    try:
        return text.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise NoMessage(f"a text that is none: {error}") from error


class Cell(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A tensor.

    Attributes:
        dtype: Position of its type in `DType`.
        shape: Its sizes.
        blob: Its elements, where they come with the message.
        file: Which of the message's files holds them; `INLINE` or `ARENA` for none.
        offset: Where they begin there, in bytes.
        size: How many bytes they are there.
    """

    dtype: int
    shape: Shape
    blob: bytes = b""
    file: int = INLINE
    offset: int = 0
    size: int = 0


class Message(msgspec.Struct, array_like=True, tag=True):
    """What is said; its tag is its class."""


class Failure(Message):
    """An error; see `failures`.

    Attributes:
        number: Number of the call that failed.
        name: Class of the error, where it is one of Tensorkeep's.
        text: What it says.
        fields: Its other attributes, all of them text.
        kept: See `Outputs.kept`.
    """

    number: int
    name: str
    text: Text
    fields: Annotated[dict[str, Text], msgspec.Meta(max_length=8)] = {}
    kept: bool = False


# --------------------------------------------------------------------------- to a worker
class Describe(Message):
    """Asks for what the backend says of itself; it checks itself first. See `Described`."""

    number: int


class Build(Message):
    """Asks for a model or script to be built. See `Built`.

    Attributes:
        number: Number of the call.
        runnable: Number that it will have.
        script: Whether it is a script.
        told: The specification and the options, pickled.
        size: Bytes of the blob in the message's file; 0 where it comes with the message.
        blob: The blob.
    """

    number: int
    runnable: int
    script: bool
    told: bytes
    size: int = 0
    blob: bytes = b""


class Where(msgspec.Struct, array_like=True, frozen=True):
    """The device and the time of a run.

    Attributes:
        queue: `Device.queue`.
        kind: `Device.kind`.
        index: `Device.index`.
        name: `Device.name`.
        timeout: `RunContext.timeout`.
        deadline: `RunContext.deadline`, on the clock that all processes share.
    """

    queue: bytes
    kind: str
    index: int | None
    name: bytes
    timeout: float | None
    deadline: float | None


class Run(Message):
    """Asks for a run of a model. See `Outputs`.

    Attributes:
        number: Number of the call.
        runnable: Number of the model.
        inputs: Its inputs.
        where: Where and for how long.
        arena: Bytes of the arena for inputs whose file comes with the message, before others; 0 for
            the one known.
        results: The same for the arena for outputs, whose file comes next.
        room: Bytes of outputs that may come in the arena; None for all that it has room for.
    """

    number: int
    runnable: int
    inputs: list[Cell]
    where: Where
    arena: int = 0
    results: int = 0
    room: int | None = None


class Runs(Message):
    """Asks for several runs, one after the other; no file comes with them. See `Outputs`."""

    runs: list[Run]


class Call(Message):
    """Asks for a call of a script's function. See `Outputs`.

    Attributes:
        number: Number of the call.
        runnable: Number of the script.
        function: Name of the function.
        tensors: Its tensors.
        keys: Its keys.
        arguments: Its arguments.
        outputs: How many tensors it is to return, None for any.
        where: Where and for how long.
        arena: See `Run.arena`.
        results: See `Run.results`.
    """

    number: int
    runnable: int
    function: bytes
    tensors: list[Cell]
    keys: list[bytes]
    arguments: list[bytes]
    outputs: int | None
    where: Where
    arena: int = 0
    results: int = 0


class Drop(Message):
    """Frees models and scripts; nothing is sent back."""

    runnables: list[int]


class Serialize(Message):
    """Asks for the bytes of a model. See `Blob`."""

    number: int
    runnable: int


class Reply(Message):
    """What a script's command returned: `hookspecs.CommandReply`."""

    reply: Any


class ModelOutputs(Message):
    """What the model that a script asked for returned."""

    outputs: list[Cell]


ToWorker: TypeAlias = (
    Runs | Describe | Build | Run | Call | Drop | Serialize | Reply | ModelOutputs | Failure
)


# --------------------------------------------------------------------------- from a worker
class Ready(Message):
    """The worker is there.

    Attributes:
        pid: Its process.
        sandbox: What keeps it from files and the network, for people.
    """

    pid: int
    sandbox: bytes


class DeviceSaid(msgspec.Struct, array_like=True, frozen=True):
    """`hookspecs.DeviceInfo`."""

    kind: str
    index: int | None
    description: bytes
    memory: int | None
    dtypes: Few[int]


class Described(Message):
    """`hookspecs.BackendInfo`, the devices, and whether there is a hook `serialize`."""

    number: int
    api_version: int
    framework: bytes
    framework_version: bytes
    scripts: bool
    needs_names: bool
    signatures: bool
    limits_runs: bool
    devices: Few[DeviceSaid]
    serializes: bool


class Built(Message):
    """`model.LoadedModel` but for the framework's object; all empty for a script.

    Attributes:
        number: Number of the call.
        grown: Bytes by which the process has grown.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        fewer_inputs: Other numbers of inputs.
        axis: Name of the kind of its batch axis.
        axis_reason: Why it has none.
        optional_outputs: Positions of outputs that may be none.
        keeps_state: Whether a run may change what the next one finds.
    """

    number: int
    grown: Annotated[int, msgspec.Meta(ge=0)]
    inputs: Few[bytes] = []
    outputs: Few[bytes] = []
    fewer_inputs: Few[int] = []
    axis: Axis = ""
    axis_reason: Text = b""
    optional_outputs: Few[int] = []
    keeps_state: bool = False


class Outputs(Message):
    """What a run returned.

    Attributes:
        number: Number of the call.
        outputs: The outputs.
        kept: Whether something in the worker still uses the arena, which must not be used again.
    """

    number: int
    outputs: Few[Cell | None]
    kept: bool = False


class Blob(Message):
    """The bytes of a model."""

    number: int
    blob: bytes


class Command(Message):
    """A script asks for a command. See `Reply`."""

    number: int
    command: Text
    arguments: Arguments


class ModelExecute(Message):
    """A script asks for a run of a model. See `ModelOutputs`."""

    number: int
    key: bytes
    inputs: Few[Cell]
    outputs: int


FromWorker: TypeAlias = (
    Ready | Described | Built | Outputs | Blob | Command | ModelExecute | Failure
)


encode: Final = msgspec.msgpack.Encoder().encode

_to_worker: Final = msgspec.msgpack.Decoder(ToWorker)
_from_worker: Final = msgspec.msgpack.Decoder(FromWorker)


def decode_to_worker(packet: memoryview) -> ToWorker:
    """Returns a message to a worker."""
    message: ToWorker = _to_worker.decode(packet)
    return message


def decode_from_worker(packet: memoryview) -> FromWorker:
    """Returns a message from a worker.

    Raises:
        NoMessage: It is none.
    """
    try:
        message: FromWorker = _from_worker.decode(packet)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NoMessage(str(error)) from error
    return message
