"""TorchScript archives: what is checked before torch reads one, and reading it.

torch's reader runs no Python that an archive brings, but it believes what the archive says of
the sizes of its tensors, and so would read beyond them.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
import zipfile
from typing import IO, TYPE_CHECKING, Any, Final

from tensorkeep_torch.archive import MalformedArchive
from tensorkeep_torch.internals import read_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from tensorkeep_torch.archive import Archive
    from tensorkeep_torch.internals import Native

PICKLES: Final = {"data.pkl": "data", "constants.pkl": "constants"}  # with their tensors' folders
_CODE: Final = "code/"
_IN_MEMORY: Final = 2**20  # bytes; see _read
_VERSION: Final = ("version", ".data/version", "byteorder")
_ITEM_SIZES: Final = {
    "BFloat16Storage": 2,
    "BoolStorage": 1,
    "ByteStorage": 1,
    "CharStorage": 1,
    "ComplexDoubleStorage": 16,
    "ComplexFloatStorage": 8,
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "IntStorage": 4,
    "LongStorage": 8,
    "QInt32Storage": 4,
    "QInt8Storage": 1,
    "QUInt2x4Storage": 1,
    "QUInt4x2Storage": 1,
    "QUInt8Storage": 1,
    "ShortStorage": 2,
}


def is_torchscript(archive: Archive) -> bool:
    """Returns whether an archive is one of TorchScript."""
    return all(name in archive for name in PICKLES)


def load(archive: Archive, device: torch.device) -> tuple[Native, Native, int]:
    """Loads a module.

    Args:
        archive: The archive.
        device: Where the weights are to be.

    Returns:
        The module, all functions of its source as one compilation unit, and the bytes of its
        weights.

    Raises:
        MalformedArchive: It says of a tensor what is not so.
        Exception: torch's own.
    """
    folders = (*(f"{folder}/" for folder in PICKLES.values()),)
    for name, folder in PICKLES.items():
        _check_tensors(archive, name, folder)
    kept = [
        name
        for name in archive.names
        if name in PICKLES or name in _VERSION or name.startswith((_CODE, *folders))
    ]
    module, unit = _read(archive, kept, device)
    return module, unit, sum(len(archive.record(each)) for each in kept if each.startswith(folders))


def _read(archive: Archive, names: list[str], device: torch.device) -> tuple[Native, Native]:
    """Lets torch read the records that were checked, and no others.

    It holds the interpreter while it copies the weights: for 2.2 ms for each MB of a string of
    bytes, for 0.6 ms for each MB of a file. So large archives become files, in memory.
    """
    size = sum(len(archive.record(name)) for name in names)
    if sys.platform != "linux" or size < _IN_MEMORY:
        content = io.BytesIO()
        _write(content, archive, names)
        return read_module(content.getvalue(), device)
    descriptor = os.memfd_create("tensorkeep-torch")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            _write(file, archive, names)
        return read_module(f"/proc/self/fd/{descriptor}", device)
    finally:
        os.close(descriptor)


def _write(file: IO[bytes], archive: Archive, names: list[str]) -> None:
    with zipfile.ZipFile(file, "w") as target:
        for name in names:
            target.writestr(f"model/{name}", archive.record(name))


# --------------------------------------------------------------------------- tensors
def _check_tensors(archive: Archive, name: str, folder: str) -> None:
    """Checks that each tensor of a pickle lies in a record that is as long as is said.

    Raises:
        MalformedArchive: One does not, or this is no pickle.
    """
    try:
        for kind, key, count in _storages(bytes(archive.record(name))):
            size = count * _ITEM_SIZES[kind]
            if size:
                archive.record(f"{folder}/{key}", size)
    except MalformedArchive:
        raise
    except Exception as error:  # a damaged pickle: whatever its reader stumbles over
        raise MalformedArchive(f"{name!r} is damaged: {error!r}") from error


def _storages(pickled: bytes) -> Iterator[tuple[str, str, int]]:
    """Gives type, key and number of elements of every piece of memory that a pickle names."""
    reader = _Reader(io.BytesIO(pickled))
    reader.load()
    for what, kind, key, _, count in reader.found:
        if what != "storage" or type(key) is not str or type(count) is not int or count < 0:
            raise MalformedArchive("it names memory in a way that is not known")
        yield kind.__name__, key, count


class _Inert:
    """Stands for whatever a pickle names: takes everything and does nothing."""

    def __new__(cls, *_: object, **__: object) -> _Inert:  # noqa: PYI034 - mypy: a type made by type()
        return object.__new__(cls)

    def __setstate__(self, _: object) -> None:
        pass

    def __setitem__(self, _: object, __: object) -> None:
        pass

    def append(self, _: object) -> None:
        """Takes an element."""

    def extend(self, _: object) -> None:
        """Takes elements."""


class _Reader(pickle.Unpickler):
    """Reads a pickle without importing or calling anything that it names."""

    found: list[Any]

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.found = []

    def find_class(self, _: str, name: str, /) -> Callable[..., object]:
        return type(name, (_Inert,), {})

    def persistent_load(self, pid: Any, /) -> object:  # noqa: ANN401 - as pickle has it
        self.found.append(pid)
        return _Inert()
