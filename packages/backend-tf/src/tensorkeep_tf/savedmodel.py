"""SavedModels, packed as one zip archive: what their graph is, and where the variables' values are.

An archive is not trusted. Of its members only the graph, the files of the checkpoint and the files
that its tables are filled from are read, whatever else is there; they are written under names of
our own, into a private folder, and only up to a limit. Nothing that the archive brings is run to
restore it: its graph for restoring is only read, to learn which variable is which in the
checkpoint.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from shutil import rmtree
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any, Final, Self

from google.protobuf.message import DecodeError

from tensorkeep.errors import ModelRejected
from tensorkeep_tf.framework import SavedModelProto
from tensorkeep_tf.graphs import called_by, node_of
from tensorkeep_tf.messages import INVALID_ARCHIVE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import IO

# Messages of TensorFlow's protobufs bring no types.
MetaGraph = Any
NodeDef = Any

_MAGIC: Final = b"PK\x03\x04"
_GRAPH: Final = "saved_model.pb"
_SERVE: Final = "serve"
_ASSETS: Final = "assets/"
_VARIABLES: Final = re.compile(r"variables/(variables\.(?:index|data-\d{5}-of-\d{5}))")
_ASSIGN: Final = frozenset({"Assign", "AssignVariableOp"})

# Weights hardly get smaller when packed; what grows more than this was made to fill memory.
_MOST_TIMES: Final = 20
_LEAST_LIMIT: Final = 64 * 2**20  # bytes that an archive may always grow to
_PACKED: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})  # others take memory first
_PIECE: Final = 2**20  # bytes written at a time
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


# --------------------------------------------------------------------------- the archive
def read(blob: bytes) -> MetaGraph:
    """Returns the graph for serving, with its signatures, out of an archive.

    Raises:
        ModelRejected: The archive is damaged or too large, or holds no graph for serving.
    """
    with _Archive(blob) as archive:
        content = b"".join(archive.pieces(archive.graph))
    try:
        model = SavedModelProto.FromString(content)
    except DecodeError as error:
        raise ModelRejected(f"{INVALID_ARCHIVE}: {_GRAPH} cannot be read") from error
    serving = [each for each in model.meta_graphs if _SERVE in each.meta_info_def.tags]
    if serving:  # others have more tags: for a GPU, say
        return min(serving, key=lambda each: len(each.meta_info_def.tags))
    raise ModelRejected(f'{INVALID_ARCHIVE}: it has no graph with the tag "{_SERVE}"')


class Unpacked:
    """The files of an archive that TensorFlow reads, while they are needed.

    Args:
        blob: The archive.
        assets: Names of the files among its assets that are wanted.

    Attributes:
        checkpoint: Where TensorFlow finds the checkpoint.
        assets: Where it finds each of the assets.
    """

    def __init__(self, blob: bytes, assets: Iterable[str]) -> None:
        # The same each time, as the graph contains it; and nobody can guess it before.
        self._folder = Path(gettempdir(), f"tensorkeep-tf-{token_hex(16)}")
        self._blob = blob
        self.checkpoint: Final = str(self._folder / "variables")
        self.assets: Final = {
            name: str(self._folder / f"asset-{number}")  # whatever names the archive gives
            for number, name in enumerate(sorted(set(assets)))
        }

    @contextmanager
    def there(self) -> Iterator[None]:
        """Writes the files, and removes them in the end.

        Raises:
            ModelRejected: The archive is damaged or too large, or lacks an asset.
        """
        self._folder.mkdir(mode=0o700)  # readable by its owner only; an error if it is there
        try:
            with _Archive(self._blob) as archive:
                for member, name in archive.variables():
                    archive.write(member, self._folder / name)
                for name, path in self.assets.items():
                    archive.write(archive.asset(name), Path(path))
            yield
        finally:
            rmtree(self._folder)


class _Archive:
    """A zip archive with a SavedModel, at its top or in one folder."""

    def __init__(self, blob: bytes) -> None:
        self._left = max(_LEAST_LIMIT, _MOST_TIMES * len(blob))
        self._limit = self._left
        with _reading():
            self._zip = zipfile.ZipFile(io.BytesIO(blob))
            members = {each.filename: each for each in self._zip.infolist()}
        found = [name for name in members if f"/{name}".endswith(f"/{_GRAPH}")]
        if not found:
            raise ModelRejected(f"{INVALID_ARCHIVE}: no {_GRAPH} in the archive{_hint(members)}")
        name = min(found, key=len)
        self._folder = name.removesuffix(_GRAPH)
        self._members = members
        self.graph: Final = members[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def variables(self) -> Iterator[tuple[zipfile.ZipInfo, str]]:
        """Gives the files of the checkpoint, and the plain name of each."""
        for name, member in self._members.items():
            match = _VARIABLES.fullmatch(name.removeprefix(self._folder))
            if match and name.startswith(self._folder):
                yield member, match[1]

    def asset(self, name: str) -> zipfile.ZipInfo:
        """Returns the member with an asset.

        Raises:
            ModelRejected: There is none of this name.
        """
        member = self._members.get(f"{self._folder}{_ASSETS}{name}")
        if member is None:
            raise ModelRejected(f'Invalid SavedModel: no file "{_ASSETS}{name}" in the archive')
        return member

    def write(self, member: zipfile.ZipInfo, path: Path) -> None:
        """Writes the bytes of a member to a file."""
        with path.open("wb") as file:
            file.writelines(self.pieces(member))

    def pieces(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        """Gives the bytes of a member, as long as all of them together stay below the limit."""
        if member.compress_type not in _PACKED:
            raise ModelRejected("Invalid SavedModel: members must be stored or deflated")
        with _reading():
            source: IO[bytes] = self._zip.open(member)
        with source:
            while True:
                with _reading():
                    piece = source.read(_PIECE)
                if not piece:
                    return
                self._left -= len(piece)
                if self._left < 0:
                    raise ModelRejected(
                        f"{INVALID_ARCHIVE}: unpacked it has more than {self._limit} bytes, "
                        f"{_MOST_TIMES} times the archive's"
                    )
                yield piece


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise ModelRejected(f"{INVALID_ARCHIVE}: the archive cannot be read: {error}") from error


def _hint(members: Iterable[str]) -> str:
    """Returns what is said to those who gave an archive of another kind that is known."""
    if "config.json" in members and any(name.endswith(".weights.h5") for name in members):
        return "; it is a model of Keras: model.export(folder) makes a SavedModel of it"
    return ""


# --------------------------------------------------------------------------- what is run first
def starter(meta: MetaGraph) -> str:
    """Returns the node to run once before all else, to fill tables; empty when there is none."""
    for name in ("saved_model_main_op", "legacy_init_op"):  # of TensorFlow 1
        for node in meta.collection_def[name].node_list.value:
            return node_of(node)
    outputs = meta.signature_def["__saved_model_init_op"].outputs
    return node_of(outputs["__saved_model_init_op"].name) if outputs else ""


# --------------------------------------------------------------------------- the variables
def checkpoint_keys(meta: MetaGraph) -> dict[str, bytes]:
    """Returns, for each variable's node, the key of its value in the checkpoint.

    They stand in the graph that restores the model: it assigns what it read under a key to a
    variable. TensorFlow 2 hides it in a function, TensorFlow 1 does not.

    Raises:
        ModelRejected: A variable is kept in several parts.
    """
    graph = meta.graph_def
    nodes = {node.name: node for node in graph.node}
    functions = {each.signature.name: each for each in graph.library.function}
    keys: dict[str, bytes] = {}
    # Bodies to look through, with the nodes outside that their arguments stand for.
    todo: list[tuple[dict[str, NodeDef], dict[str, str], list[str]]] = [
        (nodes, {}, [node_of(meta.saver_def.restore_op_name)])
    ]
    seen: set[str] = set()
    while todo:
        body, arguments, roots = todo.pop()
        for node in _all_before(body, roots):
            if node.op in _ASSIGN and len(node.input) > 1:
                variable = node_of(node.input[0])
                key = _key(body, node.input[1])
                if key:
                    keys[arguments.get(variable, variable)] = key
            for name in called_by(node, functions):
                if name not in seen and name in functions:
                    seen.add(name)
                    function = functions[name]
                    given = [arguments.get(each, each) for each in map(node_of, node.input)]
                    names = [each.name for each in function.signature.input_arg]
                    inner = {each.name: each for each in function.node_def}
                    todo.append((inner, dict(zip(names, given, strict=False)), list(inner)))
    return keys


def _all_before(body: Mapping[str, NodeDef], roots: Iterable[str]) -> Iterator[NodeDef]:
    """Gives some nodes of a graph and all that they need."""
    todo, seen = list(roots), set()
    while todo:
        name = todo.pop()
        if name in body and name not in seen:
            seen.add(name)
            yield body[name]
            todo += map(node_of, body[name].input)


def _key(body: Mapping[str, NodeDef], tensor: str) -> bytes:
    """Returns the key under which a value is read from the checkpoint; empty when it is not."""
    for _ in body:  # no longer than any path in it
        node = body.get(node_of(tensor))
        if node is None or node.op != "Identity" or not node.input:
            break
        tensor = node.input[0]
    else:
        return b""
    if node is None or node.op != "RestoreV2":
        return b""
    names, slices = (_strings(body, each) for each in node.input[1:3])
    if any(slices):
        raise ModelRejected("Invalid SavedModel: a variable in several parts cannot be restored")
    last = tensor.rpartition(":")[2]
    number = int(last) if last.isdecimal() and ":" in tensor else 0
    return names[number] if number < len(names) else b""


def _strings(body: Mapping[str, NodeDef], tensor: str) -> list[bytes]:
    node = body.get(node_of(tensor))
    return list(node.attr["value"].tensor.string_val) if node is not None else []
