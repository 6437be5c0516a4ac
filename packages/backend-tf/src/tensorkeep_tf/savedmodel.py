"""SavedModels, packed as one zip archive: their graph, and the files that TensorFlow reads.

The files are unpacked into TensorFlow's own file system in memory, `ram://`, so none of them is
ever on a disk. Which files there are is decided here: those of the checkpoint, and the assets.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from contextlib import contextmanager
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from tensorkeep.errors import ModelRejected
from tensorkeep_tf.files import ASSETS, CHECKPOINT
from tensorkeep_tf.framework import AssetFileDef, SavedModelProto, tf
from tensorkeep_tf.graphs import node_of
from tensorkeep_tf.messages import INVALID_ARCHIVE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Messages of TensorFlow's protobufs bring no types.
MetaGraph = Any

_MAGIC: Final = b"PK\x03\x04"
_GRAPH: Final = "saved_model.pb"
_SERVE: Final = "serve"
_VARIABLES: Final = re.compile(r"variables/variables(\.(?:index|data-\d{5}-of-\d{5}))")
_ASSET: Final = re.compile(r"assets/(?:.*/)?([^/]+)")
_DAMAGED: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,  # of a newer version of the format
    RuntimeError,  # a password is needed
    ValueError,
)


def is_archive(blob: bytes) -> bool:
    """Returns whether bytes are a zip archive rather than a GraphDef."""
    return blob.startswith(_MAGIC)


class Archive:
    """A zip archive with a SavedModel, at its top or in one folder.

    Args:
        blob: The archive.

    Attributes:
        folder: Where its files are while they are needed.
        graph: The graph for serving, with its signatures.

    Raises:
        ModelRejected: The archive is damaged, or holds no graph for serving.
    """

    def __init__(self, blob: bytes) -> None:
        # The same each time, as the graph contains it; and no other graph can guess it before.
        self.folder: Final = f"ram://tensorkeep-tf-{token_hex(16)}"
        self._blob = blob
        with _opened(blob) as archive:
            members = archive.namelist()
            found = [name for name in members if f"/{name}".endswith(f"/{_GRAPH}")]
            if not found:
                hint = _hint(members)
                raise ModelRejected(f"{INVALID_ARCHIVE}: no {_GRAPH} in the archive{hint}")
            graph = min(found, key=len)
            content = archive.read(graph)
        top = graph.removesuffix(_GRAPH)
        inner = {name.removeprefix(top): name for name in members if name.startswith(top)}
        self._files = {_file(name): member for name, member in inner.items() if _file(name)}
        self.graph: Final = _graph_for_serving(content)

    def preparing(self, *, variables: bool) -> list[tuple[str, dict[str, str]]]:
        """Returns the operations to run once before all else: to restore variables, to fill tables.

        Each with the values that tensors get meanwhile: names of files in the archive.

        Args:
            variables: Whether there are any.

        Raises:
            ModelRejected: There is no such file in the archive.
        """
        steps = []
        saver, assets = self.graph.saver_def, _asset_files(self.graph)
        if variables and saver.restore_op_name:
            self._need(f"{CHECKPOINT}.index", f"variables/{CHECKPOINT}.index")
            steps.append((node_of(saver.restore_op_name), {saver.filename_tensor_name: CHECKPOINT}))
        if starter := _starter(self.graph):
            for name in assets.values():
                self._need(_file(f"{ASSETS}{name}"), f"{ASSETS}{name}")
            steps.append((node_of(starter), assets))
        return steps

    def _need(self, file: str, name: str) -> None:
        if file not in self._files:
            raise ModelRejected(f'Invalid SavedModel: no file "{name}" in the archive')

    @contextmanager
    def unpacked(self) -> Iterator[None]:
        """Writes its files to `folder`, and removes them in the end.

        Raises:
            ModelRejected: The archive is damaged.
        """
        tf.io.gfile.makedirs(f"{self.folder}/{ASSETS}")
        try:
            with _opened(self._blob) as archive:
                for file, member in self._files.items():
                    with tf.io.gfile.GFile(f"{self.folder}/{file}", "wb") as target:
                        target.write(archive.read(member))
            yield
        finally:
            tf.io.gfile.rmtree(self.folder)


def _file(name: str) -> str:
    """Returns where a member of an archive is unpacked to; empty when it is not needed."""
    if match := _VARIABLES.fullmatch(name):
        return f"{CHECKPOINT}{match[1]}"
    match = _ASSET.fullmatch(name)
    return f"{ASSETS}{match[1]}" if match else ""


@contextmanager
def _opened(blob: bytes) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            yield archive
    except _DAMAGED as error:
        raise ModelRejected(f"{INVALID_ARCHIVE}: the archive cannot be read: {error}") from error


def _graph_for_serving(content: bytes) -> MetaGraph:
    try:
        model = SavedModelProto.FromString(content)
    except DecodeError as error:
        raise ModelRejected(f"{INVALID_ARCHIVE}: {_GRAPH} cannot be read") from error
    serving = [each for each in model.meta_graphs if _SERVE in each.meta_info_def.tags]
    if serving:  # others have more tags: for a GPU, say
        return min(serving, key=lambda each: len(each.meta_info_def.tags))
    raise ModelRejected(f'{INVALID_ARCHIVE}: it has no graph with the tag "{_SERVE}"')


def _hint(members: Iterable[str]) -> str:
    """Returns what is said to those who gave an archive of another kind that is known."""
    if "config.json" in members and any(name.endswith(".weights.h5") for name in members):
        return "; it is a model of Keras: model.export(folder) makes a SavedModel of it"
    return ""


def _starter(meta: MetaGraph) -> str:
    for name in ("saved_model_main_op", "legacy_init_op"):  # of TensorFlow 1
        for node in meta.collection_def[name].node_list.value:
            return str(node)
    return str(meta.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name)


def _asset_files(meta: MetaGraph) -> dict[str, str]:
    packed = meta.collection_def["saved_model_assets"].any_list.value  # of TensorFlow 1
    told = [*meta.asset_file_def, *(AssetFileDef.FromString(each.value) for each in packed)]
    return {each.tensor_info.name: each.filename for each in told}
