"""Tensors as commands write them: how their words are read, and how one is shown in a reply.

Nothing here is stored or looked up, and no command is known but by the name that its errors bear.
"""

from __future__ import annotations

from array import array
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tensorkeep.commands.args import Args, keyword, parse_integer
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.numerals import parse_doubles, parse_integers
from tensorkeep.commands.reply import BLOCK, BigNumber, LongArray
from tensorkeep.commands.set_options import is_option
from tensorkeep.tensor import NUL, DType, Tensor, element_count
from tensorkeep_server.portions import PORTION

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from tensorkeep.commands.args import Argument
    from tensorkeep.commands.reply import Reply

_DTYPES: Final[dict[Argument, DType]] = {dtype.name.encode(): dtype for dtype in DType}

# How `array` names the elements of each type that it has; it refuses integers that do not fit.
_ELEMENTS: Final = {
    DType.FLOAT: "f",
    DType.DOUBLE: "d",
    DType.INT8: "b",
    DType.INT16: "h",
    DType.INT32: "i",
    DType.INT64: "q",
    DType.UINT8: "B",
    DType.UINT16: "H",
    DType.UINT32: "I",
    DType.UINT64: "Q",
    DType.BOOL: "B",
}
_FLOATS: Final = {DType.FLOAT16, DType.BFLOAT16, DType.FLOAT, DType.DOUBLE}
_LARGEST_INTEGER: Final = 2**63 - 1  # of a reply
LONG_REQUEST: Final = 4096
"""Arguments from which on a request that holds values is read in steps."""

_STEP: Final = 4096  # values that are read at once, in at most about 2 ms
_INVALID_VALUE: Final = "ERR invalid value"
_INVALID_SHAPE: Final = "ERR invalid or negative value found in tensor shape"


# --------------------------------------------------------------------------- reading
def read_tensor(args: Args, max_bytes: int) -> Tensor:
    """Reads type, sizes and data of a tensor, up to the options of storing it, if there are any.

    Args:
        args: Stands at the type; then at the options.
        max_bytes: Most bytes that a tensor without data may have.

    Raises:
        CommandError: The first thing that is wrong, from left to right.
        InvalidTensor: The data does not fit type and sizes.
    """
    found = _read_head(args, max_bytes)
    return found if type(found) is Tensor else _read_values(found)


def read_tensor_in_steps(args: Args, max_bytes: int) -> Generator[None, None, Tensor]:
    """Does what `read_tensor` does, in steps of at most about 2 ms, and returns the tensor."""
    found = _read_head(args, max_bytes)
    if type(found) is Tensor:
        return found
    blobs = []
    for values in _cut(found):
        blobs.append(_read_values(values).blob)
        yield
    return Tensor.trusted(found.dtype, found.shape, b"".join(blobs))


class _Values(NamedTuple):
    """Values that are to be read: those of a request from an index to before another."""

    dtype: DType
    shape: tuple[int, ...]
    items: Sequence[Argument]
    start: int
    stop: int


def _read_head(args: Args, max_bytes: int) -> Tensor | _Values:
    """Reads all but values."""
    items = args.items
    name = items[args.at]
    dtype = _DTYPES.get(name) if type(name) is bytes else None
    if dtype is None:
        dtype = _DTYPES.get(keyword(name))
        if dtype is None:
            raise CommandError("ERR invalid data type")
    sizes, at = _read_sizes(items, args.at + 1)
    word = keyword(items[at]) if at < len(items) else b""
    if word == b"BLOB":
        if not _ends(items, at + 2):
            raise CommandError(
                "ERR a single binary string should come after the BLOB argument"
                " in 'AI.TENSORSET' command"
            )
        args.at = at + 2
        return Tensor.from_blob(dtype, sizes, items[at + 1])
    if word == b"VALUES":
        args.at = end = at + 1 + element_count(sizes)
        if not _ends(items, end):
            raise CommandError("ERR wrong number of values was given in 'AI.TENSORSET' command")
        return _Values(dtype, sizes, items, at + 1, end)
    if not _ends(items, at) or element_count(sizes) * dtype.itemsize > max_bytes:
        raise CommandError(_INVALID_SHAPE)
    args.at = at
    return Tensor.zeros(dtype, sizes)


def _read_sizes(items: Sequence[Argument], at: int) -> tuple[tuple[int, ...], int]:
    """Reads sizes from an index on; returns them and the index of what is none."""
    sizes: list[int] = []
    while at < len(items):
        size = parse_integer(items[at])
        if size is None or size <= 0:
            break
        sizes.append(size)
        at += 1
    return tuple(sizes), at


def _ends(items: Sequence[Argument], end: int) -> bool:
    """Returns whether the data may end before an index: with the request, or before options."""
    return len(items) == end or (len(items) > end and is_option(items[end]))


def _cut(found: _Values) -> Iterator[_Values]:
    """Cuts values into parts that are read one after the other."""
    for start in range(found.start, found.stop, _STEP):
        stop = min(start + _STEP, found.stop)
        yield found._replace(shape=(stop - start,), start=start, stop=stop)


def _read_values(found: _Values) -> Tensor:
    dtype, shape, items, start, stop = found
    values = items[start:stop]
    if dtype is DType.STRING:
        # A string may bring its terminating NUL.
        return Tensor.from_values(dtype, shape, [bytes(each).removesuffix(NUL) for each in values])
    numbers: Sequence[float] | None
    numbers = parse_doubles(values) if dtype in _FLOATS else parse_integers(values)
    if numbers is None or (dtype is DType.BOOL and max(numbers) > 1):
        raise CommandError(_INVALID_VALUE)
    code = _ELEMENTS.get(dtype)
    if code is None:
        return Tensor.from_values(dtype, shape, numbers)
    try:
        # A double beyond FLOAT becomes infinite, as in C.
        blob = array(code, numbers).tobytes()
    except OverflowError:
        raise CommandError(_INVALID_VALUE) from None
    return Tensor.trusted(dtype, shape, blob)


# --------------------------------------------------------------------------- showing
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
    """Returns a tensor as it is to be shown."""
    if not form.meta:
        return tensor.blob if form.blob else _values(tensor)
    shown: list[Reply] = [b"dtype", tensor.dtype.name.encode(), b"shape", list(tensor.shape)]
    if form.blob:
        shown += (b"blob", tensor.blob)
    elif form.values:
        shown += (b"values", _values(tensor))
    return shown


def _values(tensor: Tensor) -> Reply:
    count = element_count(tensor.shape)
    if count > BLOCK:
        blocks = _strings if tensor.dtype is DType.STRING else _numbers
        return LongArray(count, partial(blocks, tensor))
    return _shown(tensor.dtype, tensor.values())


def _numbers(tensor: Tensor) -> Iterator[list[Reply]]:
    """Gives the elements of a tensor of numbers in blocks."""
    array = tensor.numpy().reshape(-1)
    for start in range(0, len(array), BLOCK):
        yield _shown(tensor.dtype, array[start : start + BLOCK].tolist())


def _shown(dtype: DType, values: list[Any]) -> list[Reply]:
    """Returns elements as they are shown: booleans as numbers, large ones as what can hold them."""
    if dtype is DType.BOOL:
        return [int(value) for value in values]
    if dtype is DType.UINT64 and max(values, default=0) > _LARGEST_INTEGER:
        return [value if value <= _LARGEST_INTEGER else BigNumber(value) for value in values]
    return values


def _strings(tensor: Tensor) -> Iterator[list[Reply]]:
    """Gives the elements of a tensor of strings in blocks, without cutting all of it at once."""
    blob = memoryview(tensor.blob)
    start = 0
    while start < len(blob):
        # A portion is looked at; an element that is longer is looked for with its end.
        size = PORTION
        while (end := bytes(blob[start : start + size]).rfind(NUL) + 1) == 0:
            size *= 2
        strings = bytes(blob[start : start + end]).split(NUL)[:-1]
        start += end
        for first in range(0, len(strings), BLOCK):
            yield [*strings[first : first + BLOCK]]
