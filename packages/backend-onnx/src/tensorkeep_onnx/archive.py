"""A model whose weights lie beside it: a zip archive of the model and the files with its data.

`tensorkeep store-model` makes such an archive; `zip -0` does as well. Members lie in it as they
are, not compressed, so each is a view of the archive's bytes. Nothing but members is ever read.
"""

from __future__ import annotations

import io
import posixpath
import struct
import zipfile
from typing import TYPE_CHECKING, Final

from tensorkeep.errors import ModelRejected
from tensorkeep_onnx.messages import NO_PROTOBUF
from tensorkeep_onnx.modelproto import RAW_DATA, in_file
from tensorkeep_onnx.protobuf import head_of
from tensorkeep_onnx.rewriting import Edit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tensorkeep_onnx.modelproto import ExternalTensor
    from tensorkeep_onnx.rewriting import Piece

_MAGIC: Final = b"PK\x03\x04"  # no model begins so
_HEAD: Final = struct.Struct("<4s22xHH")  # before a member: lengths of its name and extra field
_ENCRYPTED: Final = 1
_SMALL: Final = 1024  # bytes; less goes into the model itself, nothing at all as well


def is_archive(blob: bytes) -> bool:
    """Returns whether bytes are a zip archive rather than a model."""
    return blob.startswith(_MAGIC)


def unpack(blob: bytes) -> tuple[bytes, dict[str, memoryview]]:
    """Returns the model in an archive, and all members by their paths from the model's folder.

    Raises:
        ModelRejected: The archive is damaged or compressed, or there is no one model in it.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            members = {each.filename: _view(blob, each) for each in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError) as error:
        raise ModelRejected(NO_PROTOBUF) from error
    models = [name for name in members if name.endswith(".onnx")]
    if len(models) != 1:
        raise ModelRejected(
            f"{NO_PROTOBUF} An archive must hold one file whose name ends with .onnx, and the"
            f" files with its data, not {len(models)}"
        )
    folder = posixpath.dirname(models[0])
    inside = f"{folder}/" if folder else ""
    beside = {
        name.removeprefix(inside): view
        for name, view in members.items()
        if name.startswith(inside) and name != models[0]
    }
    return bytes(members[models[0]]), beside


def _view(blob: bytes, member: zipfile.ZipInfo) -> memoryview:
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & _ENCRYPTED:
        raise ModelRejected(
            f"{member.filename} in the archive must be stored as it is, as with zip -0"
        )
    _, name, extra = _HEAD.unpack_from(blob, member.header_offset)
    start = member.header_offset + _HEAD.size + name + extra
    view = memoryview(blob)[start : start + member.file_size]
    if len(view) != member.file_size:
        raise ModelRejected(f"{member.filename} in the archive is not whole")
    return view


def data_of(
    tensors: Iterable[ExternalTensor], files: Mapping[str, memoryview]
) -> tuple[dict[str, memoryview], list[Edit]]:
    """Finds the data of tensors in the files beside a model.

    Args:
        tensors: The tensors whose data lie in files.
        files: The files, by their paths from the model's folder.

    Returns:
        What the runtime is given as files, by names of our own, so that it looks for none; and the
        edits that put these names into the model, and data where it takes no such files.

    Raises:
        ModelRejected: A file is missing, or shorter than a tensor says.
    """
    given: dict[str, memoryview] = {}
    edits: list[Edit] = []
    for each in tensors:
        view = files.get(posixpath.normpath(each.location))
        if view is None:
            raise ModelRejected(f'The file "{each.location}" with data is not in the archive')
        data = _part(view, each)
        pieces: tuple[Piece, ...]
        if each.initializer and len(data) >= _SMALL:
            name = f"tensorkeep-{len(given)}"
            given[name] = data
            pieces = (in_file(name, len(data)),)
        else:
            pieces = (head_of(RAW_DATA, len(data)), data)
        first, *others = each.fields
        edits += [Edit(*first, pieces), *(Edit(*other) for other in others)]
    return given, edits


def _part(view: memoryview, tensor: ExternalTensor) -> memoryview:
    try:
        start = int(tensor.offset or 0)
        length = int(tensor.length) if tensor.length else len(view) - start
    except ValueError as error:
        raise ModelRejected(f'The data in "{tensor.location}" have no place') from error
    if start < 0 or length < 0 or start + length > len(view):
        raise ModelRejected(f'The file "{tensor.location}" is shorter than its tensors')
    return view[start : start + length]
