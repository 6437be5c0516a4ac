"""How a model or script is kept: a hash, whose field `tensorkeep` is `MODEL/1` or `SCRIPT/1`.

The other fields are text, lists of names are JSON. A model's blob is cut into pieces, `blob:0`,
`blob:1` and so on, a script's code is the field `source`. Each storing has an `id` of its own: what
was built of it is known by that, wherever the key is renamed or copied to.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.batching import Batching
from tensorkeep.device import Device
from tensorkeep.errors import InvalidDevice, StoreError, WrongType
from tensorkeep.model import Model, ModelSpec, Script, ScriptSpec
from tensorkeep_valkey.layout import VERSION, damaged, too_new

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorkeep.model import Runnable
    from tensorkeep.tensor import Blob

MARK: Final = b"tensorkeep"
"""The field that tells what the hash is."""

ID: Final = b"id"
"""The field that tells one storing from another."""

PIECE: Final = 32 * 2**20
"""Bytes of a piece of a model, but for the last."""

MOST_PIECES: Final = 64
"""So many pieces a model may have: 2 GB."""

_MARKED: Final = re.compile(rb"(MODEL|SCRIPT)/([0-9]{1,9})")
_NUMBER: Final = re.compile(rb"[0-9]{1,19}")
_KINDS: Final[dict[bytes, type[Runnable]]] = {b"MODEL": Model, b"SCRIPT": Script}
MARKS: Final[dict[type[Runnable], bytes]] = {
    kind: b"%b/%d" % (name, VERSION) for name, kind in _KINDS.items()
}
"""What the field `tensorkeep` holds."""

_COMMON: Final = (MARK, ID, b"backend", b"device", b"tag")
_OF_MODELS: Final = (
    *(b"batchsize", b"minbatchsize", b"minbatchtimeout"),
    *(b"inputs", b"outputs", b"given_inputs", b"given_outputs", b"signature", b"pieces"),
)

FIELDS: Final = (*_COMMON, *_OF_MODELS, b"entry_points")
"""All fields but the content."""

CONTENT: Final = (b"source", *(b"blob:%d" % number for number in range(MOST_PIECES)))
"""The fields that hold a script's source or a model's blob."""


class StoredRecord(NamedTuple):
    """What a hash says of a model or script.

    Attributes:
        id: Which storing this is.
        kind: `Model` or `Script`.
        spec: What the user said.
        inputs: Names of the inputs that the backend found; of a script none.
        outputs: Names of the outputs that the backend found; of a script none.
        content: The blob in pieces, or the source; None if it was not read.
    """

    id: bytes
    kind: type[Runnable]
    spec: ModelSpec | ScriptSpec
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    content: tuple[Blob, ...] | None


# --------------------------------------------------------------------------- writing
def encode_fields(runnable: Runnable, identity: bytes) -> dict[bytes, Blob]:
    """Returns all fields of a model or script but a model's pieces.

    Args:
        runnable: The model or script.
        identity: The `id` of this storing.
    """
    spec = runnable.spec
    fields: dict[bytes, Blob] = {
        MARK: MARKS[type(runnable)],
        ID: identity,
        b"backend": _encoded(spec.backend),
        b"device": _encoded(spec.device.name),
        b"tag": _encoded(spec.tag),
    }
    if isinstance(runnable, Script):
        fields[b"entry_points"] = _listed(runnable.spec.entry_points)
        fields[b"source"] = runnable.source
        return fields
    of_model, loaded = runnable.spec, runnable.loaded
    fields |= {
        b"batchsize": b"%d" % of_model.batching.size,
        b"minbatchsize": b"%d" % of_model.batching.minimum,
        b"minbatchtimeout": b"%d" % of_model.batching.timeout_ms,
        b"inputs": _listed(loaded.inputs),
        b"outputs": _listed(loaded.outputs),
        b"given_inputs": _listed(of_model.inputs),
        b"given_outputs": _listed(of_model.outputs),
        b"signature": _encoded(of_model.signature),
        b"pieces": b"%d" % len(pieces_of(runnable.blob)),
    }
    return fields


def pieces_of(blob: bytes, size: int = PIECE) -> list[memoryview]:
    """Returns a model's blob in the pieces in which it is kept; none of an empty one.

    Raises:
        StoreError: There would be too many.
    """
    view = memoryview(blob)
    pieces = [view[begin : begin + size] for begin in range(0, len(blob), size)]
    if len(pieces) > MOST_PIECES:
        most = MOST_PIECES * size
        raise StoreError(f"ERR the model has {len(blob)} bytes, which is more than the {most} kept")
    return pieces


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _listed(names: Sequence[str]) -> bytes:
    return json.dumps(names, separators=(",", ":")).encode()


# --------------------------------------------------------------------------- reading
def kind_of(mark: Blob | None) -> type[Runnable] | None:
    """Returns what a hash with this field `tensorkeep` is; None if it is none of ours."""
    match = None if mark is None else _MARKED.fullmatch(mark)
    return None if match is None else _KINDS[match[1]]


def check_kind(key: bytes, mark: Blob | None, kind: type[Runnable] | None) -> type[Runnable]:
    """Returns what a hash with this field `tensorkeep` is.

    Args:
        key: Where it was found, for errors.
        mark: The field.
        kind: What it must be; None for a model or a script.

    Raises:
        WrongType: It is something else.
        StoreError: A newer Tensorkeep has written it.
    """
    if kind is not None and mark == MARKS[kind]:
        return kind
    match = None if mark is None else _MARKED.fullmatch(mark)
    if match is None or kind not in {None, _KINDS[match[1]]}:
        raise WrongType(key)
    version = int(match[2])
    if version != VERSION:
        raise too_new(match[1].decode().lower(), version)
    return _KINDS[match[1]]


def decode_record(key: bytes, fields: Mapping[bytes, Blob | None]) -> StoredRecord:
    """Returns what the fields of a hash say.

    Args:
        key: Where it was found, for errors.
        fields: Those of `FIELDS`; those of `CONTENT` too if that is wanted.

    Raises:
        WrongType: It is neither a model nor a script.
        StoreError: A newer Tensorkeep has written it, or it is damaged.
    """
    kind = check_kind(key, fields[MARK], None)
    try:
        return _decoded(kind, _Fields(fields), whole=b"source" in fields)
    except (ValueError, InvalidDevice) as error:
        raise damaged(kind.__name__.lower(), str(error)) from error


def _decoded(kind: type[Runnable], fields: _Fields, *, whole: bool) -> StoredRecord:
    identity, backend = fields.content(ID), fields.text(b"backend")
    device, tag = Device.parse_loosely(fields.text(b"device")), fields.text(b"tag")
    pieces: tuple[Blob, ...] | None = None
    if kind is Script:
        script = ScriptSpec(backend, device, tag, fields.names(b"entry_points"))
        if whole:
            pieces = (fields.content(b"source"),)
        return StoredRecord(bytes(identity), kind, script, (), (), pieces)
    batching = Batching(*map(fields.number, (b"batchsize", b"minbatchsize", b"minbatchtimeout")))
    given_inputs, given_outputs = fields.names(b"given_inputs"), fields.names(b"given_outputs")
    signature = fields.text(b"signature")
    model = ModelSpec(backend, device, tag, batching, given_inputs, given_outputs, signature)
    inputs, outputs = fields.names(b"inputs"), fields.names(b"outputs")
    count = fields.number(b"pieces")
    if whole:
        pieces = tuple(fields.content(b"blob:%d" % each) for each in range(count))
    return StoredRecord(bytes(identity), kind, model, inputs, outputs, pieces)


class _Fields:
    """The fields of a hash; what is missing or makes no sense is a `ValueError`."""

    def __init__(self, fields: Mapping[bytes, Blob | None]) -> None:
        self._fields = fields

    def content(self, name: bytes) -> Blob:
        value = self._fields.get(name)
        if value is None:
            msg = f"it has no field {name.decode()}"
            raise ValueError(msg)
        return value

    def text(self, name: bytes) -> str:
        return bytes(self.content(name)).decode("utf-8", "surrogateescape")

    def number(self, name: bytes) -> int:
        value = self.content(name)
        if not _NUMBER.fullmatch(value):
            msg = f"its field {name.decode()} is no number"
            raise ValueError(msg)
        return int(value)

    def names(self, name: bytes) -> tuple[str, ...]:
        value = json.loads(self.text(name))
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            msg = f"its field {name.decode()} is no list of names"
            raise ValueError(msg)
        return tuple(value)
