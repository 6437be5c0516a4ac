"""Which files a model consists of: what a backend says of it to programs that store models.

Such a program need not run on the server's machine, and need not import the framework. So this is
no hook of a backend but a function of its own, named by an entry point in `tensorkeep.model_files`:

    [project.entry-points."tensorkeep.model_files"]
    ONNX = "tensorkeep_onnx.files:files_of"

It takes the path of a model and returns its files: by the names that they have in an archive, the
paths. A backend whose models are always one file has none. It raises `InvalidModelFile` when
something is missing, or would have to be taken from where no model's files are.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

GROUP: Final = "tensorkeep.model_files"


def files_of(backend: str, path: Path) -> Mapping[str, Path]:
    """Returns the files of a model, by the names that they have in an archive.

    Args:
        backend: Name of the backend that is to run it, in any case.
        path: The model's file.

    Returns:
        More than one where they have to be packed into one archive, the model itself among them.

    Raises:
        InvalidModelFile: A file that the model names is missing, or not beside it.
        OSError: A file cannot be read.
    """
    for point in entry_points(group=GROUP):
        if point.name.upper() == backend.upper():
            found: Mapping[str, Path] = point.load()(path)
            return found
    return {path.name: path}
