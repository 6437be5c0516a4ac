"""A model or script is a hash of text fields, from which all that was said of it comes back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.batching import Batching
from tensorkeep.device import Device
from tensorkeep.errors import StoreError, WrongType
from tensorkeep.model import LoadedModel, Model, ModelSpec, Script, ScriptSpec
from tensorkeep_valkey.record_layout import (
    CONTENT,
    FIELDS,
    check_kind,
    decode_record,
    encode_fields,
    pieces_of,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.binary(max_size=8).map(
    lambda data: data.decode("utf-8", "surrogateescape")
)
NAMES = st.lists(TEXTS, max_size=3).map(tuple)
COUNTS = st.integers(0, 2**63 - 1)
DEVICES = st.sampled_from(["CPU", "cpu", "GPU", "CPU:1", "gpu:00", "CPU:99999"]).map(
    Device.parse
) | st.sampled_from(["CPUs", "CPU:x", "cpu 1", "CPU:123456"]).map(Device.parse_loosely)
BATCHINGS = st.builds(Batching, COUNTS, COUNTS, COUNTS)
MODELS = st.builds(ModelSpec, TEXTS, DEVICES, TEXTS, BATCHINGS, NAMES, NAMES, TEXTS)
SCRIPTS = st.builds(ScriptSpec, TEXTS, DEVICES, TEXTS, NAMES)


PLAIN = ModelSpec("FAKE")


def model(spec=PLAIN, inputs=(), outputs=(), blob=b"blob"):
    return Model(spec, blob, LoadedModel(None, inputs, outputs), None)


def stored(fields, *, whole=True):
    """The fields as they are read: those that are not there are None."""
    names = (*FIELDS, *CONTENT) if whole else FIELDS
    return {name: fields.get(name) for name in names}


def with_pieces(runnable, identity, size):
    fields = encode_fields(runnable, identity)
    pieces = pieces_of(runnable.blob, size)
    fields[b"pieces"] = b"%d" % len(pieces)
    return fields | {b"blob:%d" % number: piece for number, piece in enumerate(pieces)}


@given(MODELS, NAMES, NAMES, st.binary(max_size=20), st.integers(1, 30))
def test_a_model_comes_back_as_it_was(spec, inputs, outputs, blob, size):
    fields = with_pieces(model(spec, inputs, outputs, blob), b"id", size)
    record = decode_record(b"k", stored(fields))
    assert record[:5] == (b"id", Model, spec, inputs, outputs)
    assert record.spec.device.name == spec.device.name
    assert b"".join(record.content) == blob
    assert decode_record(b"k", stored(fields, whole=False)) == record._replace(content=None)


@given(SCRIPTS, st.binary(max_size=20))
def test_a_script_comes_back_as_it_was(spec, source):
    fields = encode_fields(Script(spec, source, None, None), b"id")
    record = decode_record(b"k", stored(fields))
    assert record == (b"id", Script, spec, (), (), (source,))
    assert record.spec.device.name == spec.device.name


def test_the_fields_can_be_read_by_people():
    spec = ModelSpec("ONNX", Device.parse("GPU:1"), "v1", Batching(8, 2, 10), ("a b",), ("c",), "s")
    assert encode_fields(model(spec, ("x",), ("y", "z")), b"0f") == {
        b"tensorkeep": b"MODEL/1",
        b"id": b"0f",
        b"backend": b"ONNX",
        b"device": b"GPU:1",
        b"tag": b"v1",
        b"batchsize": b"8",
        b"minbatchsize": b"2",
        b"minbatchtimeout": b"10",
        b"inputs": b'["x"]',
        b"outputs": b'["y","z"]',
        b"given_inputs": b'["a b"]',
        b"given_outputs": b'["c"]',
        b"signature": b"s",
        b"pieces": b"1",
    }


def test_pieces_are_views_of_the_blob_and_all_but_the_last_are_full():
    blob = bytes(range(10))
    pieces = pieces_of(blob, 4)
    assert [bytes(piece) for piece in pieces] == [blob[:4], blob[4:8], blob[8:]]
    assert all(piece.obj is blob for piece in pieces)
    assert len(pieces_of(blob, 5)) == 2


def test_a_blob_of_too_many_pieces_is_refused():
    assert len(pieces_of(bytes(64), 1)) == 64
    with pytest.raises(StoreError, match="65 bytes, which is more than the 64"):
        pieces_of(bytes(65), 1)


@pytest.mark.parametrize(
    "mark", [None, b"", b"MODEL", b"MODEL/", b"MODEL/x", b"TENSOR/1", b"MODEL/1 "]
)
def test_other_hashes_are_of_the_wrong_type(mark):
    with pytest.raises(WrongType):
        check_kind(b"k", mark, None)


def test_a_script_is_no_model():
    assert check_kind(b"k", b"SCRIPT/1", Script) is Script
    with pytest.raises(WrongType):
        check_kind(b"k", b"SCRIPT/1", Model)


def test_what_a_newer_version_has_stored_is_told_as_such():
    with pytest.raises(StoreError, match=r"model .* newer Tensorkeep, in version 2"):
        check_kind(b"k", b"MODEL/2", Model)


@pytest.mark.parametrize("name", sorted(with_pieces(model(), b"id", 4)))
def test_a_model_without_one_of_its_fields_is_damaged(name):
    fields = stored(with_pieces(model(), b"id", 4))
    fields[name] = None
    error = WrongType if name == b"tensorkeep" else StoreError
    with pytest.raises(error):
        decode_record(b"k", fields)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"device", b"TPU"),
        (b"batchsize", b"-1"),
        (b"batchsize", b"1.5"),
        (b"batchsize", b""),
        (b"pieces", b"65"),
        (b"pieces", b"2"),
        (b"inputs", b"name"),
        (b"inputs", b'"name"'),
        (b"outputs", b"[1]"),
        (b"outputs", json.dumps({"a": 1}).encode()),
    ],
)
def test_a_model_whose_field_makes_no_sense_is_damaged(name, value):
    fields = stored(with_pieces(model(), b"id", 4))
    fields[name] = value
    with pytest.raises(StoreError, match="the model under this key is damaged"):
        decode_record(b"k", fields)
