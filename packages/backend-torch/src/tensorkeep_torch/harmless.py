"""Which models of TORCH are harmless: no input can make them end, block or fill this process.

Found by entry point in the group `tensorkeep.harmless`; torch is not imported. An archive of
TorchScript is harmless if it is as torch writes archives, calls only operators of `HARMLESS` as
was tested, has no loops and no choices that depend on values, and needs no more memory than is
known for what it is given. Archives of `torch.export` are not looked at.
"""

from __future__ import annotations

import io
import logging
import struct
import zipfile
from itertools import product
from typing import TYPE_CHECKING, Final

from tensorkeep.size_bounds import Unbounded
from tensorkeep_torch.archive import Archive, MalformedArchive
from tensorkeep_torch.harmless_operators import HARMLESS, Unlisted
from tensorkeep_torch.module_source import read_source
from tensorkeep_torch.module_state import LONGEST, Instance, Unreadable, Weights, read_state
from tensorkeep_torch.sized_run import MOST_STEPS, SizedRun

if TYPE_CHECKING:
    import ast

    from tensorkeep.model import ModelSpec
    from tensorkeep_torch.module_source import Source

LIGHT: Final = False
"""To import torch keeps others waiting."""

_END: Final = struct.Struct("<4s4H2LH")  # of a zip archive: entries, their bytes and place
_LARGE_END: Final = struct.Struct("<4sQ2H2L4Q")  # the same where numbers may be large
_MOST_RECORDS: Final = 5_000
_MOST_UNPACKED: Final = 2**20  # bytes of records that are compressed: source
_CODE, _SUFFIX = "code/", ".py"
_DATA, _CONSTANTS = "data.pkl", "constants.pkl"
_VERSION, _OLD_VERSION = ".data/version", "version"
_VERSIONS: Final = frozenset(b"%d" % number for number in range(3, 11))
_NO_CONSTANTS: Final = frozenset((b"\x80\x02).", b"\x80\x02]."))  # an empty tuple
_MOST_INPUTS: Final = 3
_RANKS: Final = range(9)  # what has more axes grows as the last of these does
_MOST_ALL_STEPS: Final = 200_000  # of all combinations of axes
_MOST_BYTES: Final = 2**30  # at once, where each axis of any size has the size 1
_MOST_FOR_EACH_BYTE: Final = 2**14  # of an input: 64 KiB never take more than 1 GiB
_WIDEST: Final = 8  # bytes of an element
_log: Final = logging.getLogger(__name__)


def why_isolated(spec: ModelSpec, blob: bytes) -> str:
    """Returns why a model is not to run in the process that serves clients.

    Args:
        spec: What the user says of the model.
        blob: The model.

    Returns:
        The first reason that was found, for people; empty for a harmless model.
    """
    try:
        if spec.device.kind != "CPU":
            return "the operators were tested on the CPU only"
        _check(blob)
    except (MalformedArchive, Unreadable, Unlisted, Unbounded) as error:
        return str(error)
    except Exception:  # noqa: BLE001 - what the check stumbles over is not harmless
        _log.exception("The check of a model of TORCH failed")
        return "the check of the model failed"
    return ""


def _check(blob: bytes) -> None:
    _check_size(blob)
    archive = Archive(blob)
    if _DATA not in archive or _CONSTANTS not in archive:
        raise Unreadable("it is no archive of TorchScript")
    version = archive.record(_VERSION if _VERSION in archive else _OLD_VERSION)
    if bytes(version[:9]).strip() not in _VERSIONS:
        raise Unreadable("the version of its format is not one that was tested")
    if bytes(archive.record(_CONSTANTS)[:100]) not in _NO_CONSTANTS:
        raise Unreadable("it has constants that were not tested")
    files = {
        name.removeprefix(_CODE).removesuffix(_SUFFIX).replace("/", "."): archive.text(name)
        for name in archive.names
        if name.startswith(_CODE) and name.endswith(_SUFFIX)
    }
    source = read_source(files, HARMLESS)
    sizes = {
        name.removeprefix("data/"): len(archive.record(name))
        for name in archive.names
        if name.startswith("data/")
    }
    if len(archive.record(_DATA)) > LONGEST:
        raise Unreadable("its objects take too much room")
    module = read_state(bytes(archive.record(_DATA)), sizes)
    if not isinstance(module, Instance):
        raise Unreadable("it holds no module")
    _check_types(source, module)
    _run(source, module)


def _check_size(blob: bytes) -> None:
    """Makes sure that the archive's list of contents is short, before anything reads it."""
    if len(blob) < _END.size or not blob.startswith(b"PK\3\4"):
        raise Unreadable("it is no archive")
    mark, *_, entries, size, _, comment = _END.unpack_from(blob, len(blob) - _END.size)
    if mark != b"PK\5\6" or comment:
        raise Unreadable("its archive is not as torch writes it")
    if entries > _MOST_RECORDS or size > 200 * _MOST_RECORDS:
        raise Unreadable("its archive has too many records")
    locator = blob[len(blob) - _END.size - 20 : len(blob) - _END.size]
    if locator.startswith(b"PK\6\7") and _large_list(blob, locator) != (entries, size):
        raise Unreadable("its archive is not as torch writes it")
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        packed = [each for each in archive.infolist() if each.compress_type != zipfile.ZIP_STORED]
    if sum(each.file_size for each in packed) > _MOST_UNPACKED:
        raise Unreadable("its archive has too much that is compressed")


def _large_list(blob: bytes, locator: bytes) -> tuple[int, int]:
    """Returns entries and bytes of the list of contents, from its form for large archives."""
    _, place, disks = struct.unpack("<4xLQL", locator)
    if disks != 1 or place != len(blob) - _END.size - len(locator) - _LARGE_END.size:
        return 0, 0
    mark, *_, total, length, _ = _LARGE_END.unpack_from(blob, place)
    return (total, length) if mark == b"PK\6\6" else (0, 0)


_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "Tensor": (Weights,),
    "int": (int,),
    "bool": (bool,),
    "float": (float,),
    "str": (str,),
    "NoneType": (type(None),),
    "Optional[Tensor]": (Weights, type(None)),
    "Optional[bool]": (bool, type(None)),
    "Optional[int]": (int, type(None)),
    "Optional[float]": (float, type(None)),
    "List[int]": (list,),
}


def _is_of(value: object, told: str) -> bool:
    """Returns whether a value of a pickle is of the type that a class says."""
    numbers = value if isinstance(value, list) else ()
    return type(value) in _KINDS.get(told, ()) and all(type(each) is int for each in numbers)


def _check_types(source: Source, module: Instance) -> None:
    """Raises unless attributes are of the types that the source says: torch does not look again."""
    todo = [module]
    while todo:
        owner = todo.pop()
        kind, state = source.classes.get(owner.kind), owner.state or {}
        if kind is None or state.keys() != kind.attributes.keys() - kind.constants.keys():
            raise Unreadable("an object has other attributes than its class")
        for name, value in state.items():
            told = kind.attributes[name]
            if isinstance(value, Instance):
                if told != value.kind:
                    raise Unreadable(f"the attribute {name[:50]} is of another class than it says")
                todo.append(value)
            elif not _is_of(value, told):
                raise Unreadable(f"the attribute {name[:50]} is of another type than it says")


def _run(source: Source, module: Instance) -> None:
    kind = source.classes.get(module.kind)
    if kind is None or "forward" not in kind.methods:
        raise Unreadable("it has no forward")
    count = _inputs(kind.methods["forward"])
    steps, ends = 0, False
    for ranks in product(_RANKS, repeat=count):
        run = SizedRun(source)
        ends = run.of(module, ranks) or ends
        steps += run.steps
        if steps > _MOST_ALL_STEPS or run.steps > MOST_STEPS:
            raise Unlisted("a run takes more steps than were tested")
        most, rate = run.most_elements()
        if most * _WIDEST > _MOST_BYTES:
            raise Unbounded("its values can fill the memory")
        if rate * _WIDEST > _MOST_FOR_EACH_BYTE:
            raise Unbounded("a small input can fill the memory")
    if not ends:
        raise Unlisted("no input fits it")


def _inputs(forward: ast.FunctionDef) -> int:
    """Returns how many tensors a module takes."""
    _, *taken = forward.args.args
    kinds = [getattr(each.annotation, "id", "") for each in taken]
    if kinds != ["Tensor"] * len(kinds) or forward.args.defaults:
        raise Unreadable("it takes what was not tested")
    if not 1 <= len(kinds) <= _MOST_INPUTS:
        raise Unreadable("it takes more or fewer tensors than were tested")
    if getattr(forward.returns, "id", "") != "Tensor":
        raise Unreadable("it returns what was not tested")
    return len(kinds)
