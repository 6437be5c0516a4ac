"""AI.TENSORSET and AI.TENSORGET, and what every other command shares of tensors on the wire."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.errors import UnsupportedDType
from tensorkeep.keyspace import NEW
from tensorkeep.tensor import DType, Tensor, element_count
from tensorkeep_server.args import Args, keyword, parse_integer
from tensorkeep_server.command import DENYOOM, MODULE, READONLY, WRITE, Command, Difference, command
from tensorkeep_server.errors import CommandError
from tensorkeep_server.numerals import parse_doubles, parse_wholes
from tensorkeep_server.reply import OK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tensorkeep_server.codec import Argument
    from tensorkeep_server.reply import Reply
    from tensorkeep_server.state import Client

NO_TENSOR: Final = "ERR tensor key is empty or in a different shard"

# The types that have a name on the wire. Others exist inside, as outputs of models.
WIRE_DTYPES: Final[dict[Argument, DType]] = {
    dtype.name.encode(): dtype
    for dtype in (
        DType.FLOAT,
        DType.DOUBLE,
        DType.INT8,
        DType.INT16,
        DType.INT32,
        DType.INT64,
        DType.UINT8,
        DType.UINT16,
        DType.BOOL,
        DType.STRING,
    )
}
_NAMES: Final = {dtype: dtype.name.encode() for dtype in WIRE_DTYPES.values()}

# How `array` names the elements of each type; it refuses integers that do not fit.
_ELEMENTS: Final = {
    DType.FLOAT: "f",
    DType.DOUBLE: "d",
    DType.INT8: "b",
    DType.INT16: "h",
    DType.INT32: "i",
    DType.INT64: "q",
    DType.UINT8: "B",
    DType.UINT16: "H",
    DType.BOOL: "B",
}
_INVALID_VALUE: Final = "ERR invalid value"
_INVALID_SHAPE: Final = "ERR invalid or negative value found in tensor shape"


# --------------------------------------------------------------------------- AI.TENSORSET
class TensorSet(NamedTuple):
    """AI.TENSORSET key type [dim…] [BLOB data | VALUES v…].

    What follows the key is read only after the key was looked at: a key of another type wins over
    every other mistake.
    """

    key: bytes
    content: Args


def parse_tensor_set(args: Args) -> TensorSet:
    """Parses the key."""
    if len(args) < 3:  # noqa: PLR2004 - key, type, and a size or data
        raise args.wrong_arity()
    return TensorSet(args.take(), args)


def read_tensor(args: Args, max_bytes: int) -> Tensor:
    """Reads type, sizes and data of a tensor.

    Args:
        args: Stands at the type.
        max_bytes: Most bytes that a tensor without data may have.

    Raises:
        CommandError: The first thing that is wrong, from left to right.
        InvalidTensor: The data does not fit type and sizes.
    """
    items = args.items
    name = items[args.at]
    dtype = WIRE_DTYPES.get(name) if type(name) is bytes else None
    if dtype is None:
        dtype = WIRE_DTYPES.get(keyword(name))
        if dtype is None:
            raise CommandError("ERR invalid data type")
    sizes: list[int] = []
    for at in range(args.at + 1, len(items)):
        item = items[at]
        size = parse_integer(item)
        if size is not None and size > 0:
            sizes.append(size)
            continue
        word = keyword(item)
        if word == b"BLOB":
            if len(items) != at + 2:
                raise CommandError(
                    "ERR a single binary string should come after the BLOB argument"
                    " in 'AI.TENSORSET' command"
                )
            return Tensor.from_blob(dtype, tuple(sizes), items[at + 1])
        if word == b"VALUES":
            return _read_values(dtype, tuple(sizes), items[at + 1 :])
        raise CommandError(_INVALID_SHAPE)
    if element_count(sizes) * dtype.itemsize > max_bytes:
        raise CommandError(_INVALID_SHAPE)
    return Tensor.zeros(dtype, tuple(sizes))


def _read_values(dtype: DType, shape: tuple[int, ...], values: Sequence[Argument]) -> Tensor:
    if len(values) != element_count(shape):
        raise CommandError("ERR wrong number of values was given in 'AI.TENSORSET' command")
    if dtype is DType.STRING:
        return Tensor.from_values(dtype, shape, [_read_string(value) for value in values])
    numbers: Sequence[float] | None
    if dtype is DType.FLOAT or dtype is DType.DOUBLE:
        numbers = parse_doubles(values)
    else:
        numbers = parse_wholes(values)
    if numbers is None or (dtype is DType.BOOL and max(numbers) > 1):
        raise CommandError(_INVALID_VALUE)
    try:
        # A double beyond FLOAT becomes infinite, as in C.
        blob = array(_ELEMENTS[dtype], numbers).tobytes()
    except OverflowError:
        raise CommandError(_INVALID_VALUE) from None
    return Tensor.trusted(dtype, shape, blob)


def _read_string(value: Argument) -> bytes:
    """A string may bring its terminating NUL; it is not empty, and has no NUL inside."""
    if not value:
        raise CommandError("ERR C-string value contains null character")
    return bytes(value).removesuffix(b"\0")


def tensor_set(client: Client, request: TensorSet) -> Reply:
    """Stores a tensor, replacing a tensor and its expiry."""
    keys = client.keys
    check_target(client, request.key)
    tensor = read_tensor(request.content, client.server.settings.limits.max_bulk)
    keys.set(request.key, tensor, None, NEW)
    return OK


# --------------------------------------------------------------------------- AI.TENSORGET
class TensorGet(NamedTuple):
    """AI.TENSORGET key [META] [BLOB | VALUES]; the words are judged after the key."""

    key: bytes
    words: Sequence[Argument]


def parse_tensor_get(args: Args) -> TensorGet:
    """Parses the key, and keeps the words."""
    if not 1 <= len(args) <= 3:  # noqa: PLR2004 - key and two words
        raise args.wrong_arity()
    return TensorGet(args.take(), args.items[args.at :])


def tensor_get(client: Client, request: TensorGet) -> Reply:
    """Answers a stored tensor in the form that the words ask for."""
    return show_tensor(stored_tensor(client, request.key), read_form(request.words))


class Form(NamedTuple):
    """What is shown of a tensor.

    Attributes:
        meta: Whether its type and sizes are.
        blob: Whether its data is, as one blob.
        values: Whether its data is, as a list.
    """

    meta: bool
    blob: bool
    values: bool


def read_form(words: Iterable[Argument]) -> Form:
    """Reads the format words of AI.TENSORGET.

    Raises:
        CommandError: A word is unknown, or the words contradict each other.
    """
    meta = blob = values = False
    for word in words:
        match keyword(word):
            case b"META":
                meta = True
            case b"BLOB":
                blob = True
            case b"VALUES":
                values = True
            case _:
                raise CommandError("ERR unsupported data format")
    if blob and values:
        raise CommandError("ERR both BLOB and VALUES specified")
    if not (meta or blob or values):
        meta = blob = True
    return Form(meta, blob, values)


def show_tensor(tensor: Tensor, form: Form) -> Reply:
    """Returns a tensor as it is to be shown.

    Raises:
        UnsupportedDType: The type has no name on the wire.
    """
    check_dtype(tensor)
    if not form.meta:
        return tensor.blob if form.blob else _values(tensor)
    shown: list[Reply] = [b"dtype", _NAMES[tensor.dtype], b"shape", list(tensor.shape)]
    if form.blob:
        shown += (b"blob", tensor.blob)
    elif form.values:
        shown += (b"values", _values(tensor))
    return shown


def _values(tensor: Tensor) -> list[Reply]:
    values = tensor.values()
    return [int(value) for value in values] if tensor.dtype is DType.BOOL else values


# --------------------------------------------------------------------------- for other commands
def stored_tensor(client: Client, key: bytes) -> Tensor:
    """Returns the tensor under a key of the client's database.

    Raises:
        CommandError: There is no such key.
        WrongType: It holds something else.
    """
    value = client.keys.get(key)
    if type(value) is Tensor:
        return value
    if value is None:
        raise CommandError(NO_TENSOR)
    return client.keys.typed(key, Tensor)


def check_target(client: Client, key: bytes) -> None:
    """Makes sure that a tensor may be stored under a key.

    Raises:
        WrongType: The key holds something else than a tensor.
    """
    value = client.keys.get(key)
    if value is not None and type(value) is not Tensor:
        client.keys.typed(key, Tensor)


def check_dtype(tensor: Tensor) -> None:
    """Makes sure that a tensor's type has a name on the wire.

    Raises:
        UnsupportedDType: It has not, so clients could not read it.
    """
    if tensor.dtype not in _NAMES:
        raise UnsupportedDType(tensor.dtype.name)


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "ai.tensorset",
        parse_tensor_set,
        tensor_set,
        summary="Stores a tensor.",
        group="module",
        flags=(WRITE, DENYOOM, MODULE),
        keys=(1, 1, 1),
        syntax="key type [dim ...] [BLOB data | VALUES value ...]",
        differences=(
            Difference(
                "Does not look at the last byte of a `BOOL` blob.",
                "Looks at each.",
                "What is neither 0 nor 1 must not be stored as a `BOOL`.",
            ),
            Difference(
                "A shape too large for the memory, without data, ends the server.",
                "An error, as for other shapes that cannot be; the most is `--max-argument-bytes`.",
                "No request may end the server.",
            ),
        ),
    ),
    command(
        "ai.tensorget",
        parse_tensor_get,
        tensor_get,
        summary="Answers a stored tensor.",
        group="module",
        flags=(READONLY, MODULE),
        keys=(1, 1, 1),
        syntax="key [META] [BLOB | VALUES]",
    ),
)
