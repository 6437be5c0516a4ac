"""What a session is built from: the model as the runtime is to see it, and what goes with it.

What a model may be is decided here, before the runtime sees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorkeep.errors import ModelRejected
from tensorkeep_onnx.archive import data_of, is_archive, unpack
from tensorkeep_onnx.extensions import library_for
from tensorkeep_onnx.locales import locale_edits
from tensorkeep_onnx.messages import EXTERNAL_DATA, NO_GRAPH, NO_PROTOBUF
from tensorkeep_onnx.modelproto import survey
from tensorkeep_onnx.protobuf import MalformedModel
from tensorkeep_onnx.rewriting import rewritten
from tensorkeep_onnx.zipmap import NO_ZIP_MAPS, ZIP_MAP, find_zip_maps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorkeep_onnx.protobuf import Buffer
    from tensorkeep_onnx.rewriting import Piece


@dataclass(frozen=True, slots=True)
class Source:
    """A model that may be built.

    Attributes:
        model: The model as it was stored.
        pieces: The model as the runtime is to see it, in pieces.
        files: Data of its weights, by the names of the files that the model says they lie in.
        library: The library with operators that the model needs; empty when it needs none.
        classes: For outputs that are probabilities of classes, the number of classes.
        weights: Bytes of all its tensors.
        steady: Whether the time of a run can depend on the shapes of the inputs only.
    """

    model: Buffer
    pieces: Sequence[Piece]
    files: Mapping[str, memoryview]
    library: str
    classes: Mapping[str, int]
    weights: int
    steady: bool


def read_source(blob: bytes) -> Source:
    """Reads a serialized model, or an archive of one and the files with its weights.

    Raises:
        ModelRejected: It is neither, or none that may be built here.
    """
    model, files = unpack(blob) if is_archive(blob) else (blob, None)
    try:
        found = survey(model)
    except MalformedModel as error:
        raise ModelRejected(NO_PROTOBUF) from error
    if not found.graph:
        raise ModelRejected(NO_GRAPH)
    if found.external and files is None:
        # The runtime would read any file below the server's working directory.
        raise ModelRejected(EXTERNAL_DATA)
    library = library_for(found.operators)
    given, edits = data_of(found.external, files or {})
    maps = find_zip_maps(model) if ZIP_MAP in found.operators else NO_ZIP_MAPS
    locales = locale_edits(model, found.normalizers)
    pieces = rewritten(model, [*edits, *maps.edits, *locales])
    size = found.weights + sum(map(len, given.values()))
    return Source(model, pieces, given, library, maps.classes, size, found.steady)
