"""The files of an ONNX model: the model, and those beside it that its weights lie in.

Called by programs that store models, see `tensorkeep.model_files`; ONNX Runtime is not imported.
"""

from __future__ import annotations

import posixpath
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING, Final

from tensorkeep.errors import InvalidModelFile
from tensorkeep_onnx.modelproto import survey
from tensorkeep_onnx.protobuf import MalformedModel

if TYPE_CHECKING:
    from pathlib import Path

_SUFFIX: Final = ".onnx"  # by which the model is found among its files


def files_of(path: Path) -> dict[str, Path]:
    """Returns the files of a model by the names that they have in an archive.

    Args:
        path: The model's file. What is no model is returned as it is: the server says why it is
            none.

    Raises:
        InvalidModelFile: A file with weights is missing, or is not in the folder of the model (or
            of the file that the model is a link to).
        OSError: The model cannot be read.
    """
    name = path.name if path.name.endswith(_SUFFIX) else f"{path.name}{_SUFFIX}"
    files = {name: path}
    for location in sorted(_locations(path)):
        file = posixpath.normpath(location)
        if posixpath.isabs(file) or file.split("/")[0] in {"..", "."}:
            raise InvalidModelFile(f'its weights lie in "{location}", which is no file beside it')
        files[file] = _beside(path, file)
    return files


def _locations(path: Path) -> set[str]:
    if not path.stat().st_size:
        return set()
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        try:
            return {each.location for each in survey(content).external}
        except MalformedModel:
            return set()


def _beside(model: Path, name: str) -> Path:
    """Returns the path of a file beside a model.

    Links are followed within the model's folder, and to the folder that the model itself is linked
    from: caches of models are kept so.
    """
    path = model.parent / name
    if not path.is_file():
        raise InvalidModelFile(f'its weights lie in "{name}" beside it, which is missing')
    folders = (model.parent.resolve(), model.resolve().parent)
    if not any(path.resolve().is_relative_to(folder) for folder in folders):
        raise InvalidModelFile(f'its weights lie in "{name}", a link that leads out of its folder')
    return path
