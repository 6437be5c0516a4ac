"""TorchScript archives: handing torch the parts that it is to read.

torch's reader runs no Python that an archive brings, but it believes what the archive says of the
sizes of its tensors, and holds the interpreter while it copies them: for 0.6 to 2 ms for each MB,
in which a server serves nobody. So the weights are copied here, and torch is given their memory
as it gives it to itself where several modules share one package.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import sys
import zipfile
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tensorkeep.errors import ModelRejected
from tensorkeep.tensor import Tensor
from tensorkeep_torch.archive import MalformedArchive
from tensorkeep_torch.extensions import load_operators
from tensorkeep_torch.internals import read_module
from tensorkeep_torch.tensors import to_torch

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from tensorkeep_torch.archive import Archive
    from tensorkeep_torch.internals import Native

_DATA, _CONSTANTS = "data.pkl", "constants.pkl"
_CODE: Final = "code/"
_BYTE_ORDER: Final = "byteorder"
# Since version 6 of the format, which operators such as gelu ask for; before it was at the top.
_VERSION, _OLD_VERSION = ".data/version", "version"
# Within a package: the source that its modules share, and the first module.
_PACKAGE: Final = "package/.data"
_SHARED, _MODULE = f"{_PACKAGE}/ts_code", f"{_PACKAGE}/ts_code/0"
_CONSTANT: Final = "constant_"
_KEY_BEFORE: Final = 4  # operations: the key, the device, the number of elements, the tuple of all
_PUTS: Final = ("BINPUT", "LONG_BINPUT", "MEMOIZE", "PUT")
# Methods that torch calls while it loads, before anybody has seen what operators they have; what
# takes files or comes from elsewhere, wherever in the source it stands.
_AT_ONCE: Final = "__setstate__"
_REACHES: Final = re.compile(
    r"\b(?:from_file|save)\b|\bops\b(?!\s*\.\s*(?:aten|prim|quantized|torchvision)\b)"
)


def is_torchscript(archive: Archive) -> bool:
    """Returns whether an archive is one of TorchScript."""
    return _DATA in archive and _CONSTANTS in archive


def load(archive: Archive, device: torch.device) -> tuple[Native, Native, int]:
    """Loads a module.

    Args:
        archive: The archive.
        device: Where the weights are to be.

    Returns:
        The module, all functions of its source as one compilation unit, and the bytes of its
        weights.

    Raises:
        MalformedArchive: It is damaged.
        ModelRejected: It has operators of a package that is not there, or reaches further while
            it is loaded.
        Exception: torch's own.
    """
    if _BYTE_ORDER in archive and archive.text(_BYTE_ORDER) != sys.byteorder:
        raise MalformedArchive("it was written on a machine of the other byte order")
    data, constants = (bytes(archive.record(name)) for name in (_DATA, _CONSTANTS))
    memory = {key: _memory(archive, f"data/{key}") for key in _keys(_DATA, data)}
    for key in _keys(_CONSTANTS, constants):
        # The keys of both begin at 0, and here they stand side by side.
        memory[_CONSTANT + key] = _memory(archive, f"constants/{key}")
    sources = {
        name: archive.text(name)
        for name in archive.names
        if name.startswith(_CODE) and name.endswith(".py")
    }
    _check_what_runs_at_once("\n".join(sources.values()))
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as target:
        version = archive.record(_VERSION if _VERSION in archive else _OLD_VERSION)
        target.writestr(f"{_PACKAGE}/version", version)
        target.writestr(f"{_MODULE}/{_DATA}", data)
        target.writestr(f"{_MODULE}/{_CONSTANTS}", _renamed(constants))
        for name, source in sources.items():
            load_operators(source)
            target.writestr(f"{_SHARED}/{name}", source)
    module, unit = read_module(package.getvalue(), memory, device)
    return module, unit, sum(each.nbytes for each in memory.values())


def _check_what_runs_at_once(source: str) -> None:
    """Looks for what reaches further, if some of a source runs before the rest is looked at.

    Where there is a sandbox, the system keeps files away as well.

    Raises:
        ModelRejected: There is something.
    """
    found = _REACHES.search(source) if _AT_ONCE in source else None
    if found is not None:
        raise ModelRejected(f"{found[0]} may not be used where {_AT_ONCE} is: that runs at once")


def _memory(archive: Archive, name: str) -> torch.Tensor:
    """Returns a copy of a record, made without holding the interpreter."""
    plain = Tensor.from_numpy(np.frombuffer(archive.record(name), np.uint8))
    return to_torch(plain, None, copy=True)


# --------------------------------------------------------------------------- pickles
def _keys(name: str, pickled: bytes) -> list[str]:
    """Returns the keys of the memory that a pickle names, each once.

    Raises:
        MalformedArchive: It is no pickle, or not as torch writes them.
    """
    reader = _Reader(io.BytesIO(pickled))
    try:
        reader.load()
        found = {key: count for what, _, key, _, count in reader.found if what == "storage"}
    except Exception as error:  # a damaged pickle: whatever its reader stumbles over
        raise MalformedArchive(f"{name!r} is damaged: {error!r}") from error
    return [str(key) for key, count in found.items() if count]


def _renamed(pickled: bytes) -> bytes:
    """Returns the pickle of constants with other keys.

    Raises:
        MalformedArchive: It is not as torch writes them.
    """
    steps = [step for step in pickletools.genops(pickled) if step[0].name not in _PUTS]
    pieces, done = [], 0
    for index, (operation, _, _) in enumerate(steps):
        if operation.name != "BINPERSID":
            continue
        before, key, at = steps[index - _KEY_BEFORE]
        if before.name != "BINUNICODE" or at is None or at < done:
            raise MalformedArchive(f"{_CONSTANTS!r} is not as torch writes it")
        new = f"{_CONSTANT}{key}".encode()
        pieces += [pickled[done:at], b"X", len(new).to_bytes(4, "little"), new]
        done = at + 5 + len(str(key).encode())
    return b"".join([*pieces, pickled[done:]])


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
