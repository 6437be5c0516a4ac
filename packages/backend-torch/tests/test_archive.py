"""Archives are read as they are, and what is damaged or not what it says is refused."""

import io
import struct
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep_torch import archive as module
from tensorkeep_torch.archive import Archive, MalformedArchive

RECORDS = {"data.pkl": b"a pickle", "code/a.py": b"some source " * 100, "data/0": bytes(range(256))}


@pytest.fixture(params=[zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def blob(request, archives):
    return archives.packed(RECORDS, request.param)


def test_records_are_found_below_the_top_folder(blob):
    archive = Archive(blob)

    assert archive.names == tuple(RECORDS)
    assert {name: bytes(archive.record(name)) for name in archive.names} == RECORDS
    assert "data/0" in archive
    assert "archive/data/0" not in archive


def test_records_that_are_not_compressed_are_not_copied(archives):
    blob = archives.packed(RECORDS)
    record = Archive(blob).record("data/0")

    assert isinstance(record, memoryview)
    assert record.obj is blob


def test_a_record_that_is_not_there_is_named(blob):
    with pytest.raises(MalformedArchive, match="it has no record 'data/1'"):
        Archive(blob).record("data/1")


def test_text_must_be_utf_8(archives):
    archive = Archive(archives.packed({"a": "zwölf".encode(), "b": b"\xff"}))

    assert archive.text("a") == "zwölf"
    with pytest.raises(MalformedArchive, match="'b' is not text"):
        archive.text("b")


@pytest.mark.parametrize("junk", [b"", b"this is no archive", bytes(100), b"PK\5\6" + bytes(17)])
def test_what_is_no_archive_is_refused(junk):
    with pytest.raises(MalformedArchive):
        Archive(junk)


def test_an_archive_without_records_has_none():
    assert Archive(b"PK\5\6" + bytes(18)).names == ()


def test_an_archive_that_was_cut_short_anywhere_is_refused(blob):
    for length in range(len(blob)):
        with pytest.raises(MalformedArchive):
            Archive(blob[:length])


@given(st.data())
def test_a_changed_byte_changes_no_record_unnoticed(data):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", data.draw(st.sampled_from([0, 8]))) as target:
        for name, content in RECORDS.items():
            target.writestr(f"archive/{name}", content)
    blob = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    try:
        archive = Archive(bytes(blob))
    except MalformedArchive:
        return
    for name in set(archive.names) & set(RECORDS):
        assert bytes(archive.record(name)) == RECORDS[name]


@given(st.binary(max_size=300))
def test_bytes_of_any_kind_are_an_archive_or_refused(junk):
    with suppress(MalformedArchive):
        assert Archive(junk).names == ()


def test_a_record_that_is_there_twice_is_refused(archives):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        target.writestr("archive/a", b"one")
        with pytest.warns(UserWarning, match="Duplicate name"):
            target.writestr("archive/a", b"two")
    with pytest.raises(MalformedArchive, match="'a' is there twice"):
        Archive(file.getvalue())


def test_records_outside_the_folder_are_refused():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        target.writestr("a", b"one")
    with pytest.raises(MalformedArchive, match="'a' is not in a folder"):
        Archive(file.getvalue())


def test_what_would_swell_beyond_measure_is_not_unpacked(archives, monkeypatch):
    monkeypatch.setattr(module, "_MOST_UNPACKED", 10_000)
    content = {"a": bytes(9_000)}

    assert len(Archive(archives.packed(content, zipfile.ZIP_DEFLATED)).record("a")) == 9_000
    with pytest.raises(MalformedArchive, match="unpacked, it has more than 10000 bytes"):
        Archive(archives.packed(content | {"b": bytes(9_000)}, zipfile.ZIP_DEFLATED))
    assert len(Archive(archives.packed(content | {"b": bytes(9_000)})).names) == 2


def test_what_unpacks_to_more_than_it_says_is_refused(archives):
    blob = bytearray(archives.packed({"a": bytes(5_000)}, zipfile.ZIP_DEFLATED))
    directory = blob.rindex(b"PK\1\2")
    struct.pack_into("<I", blob, directory + 24, 50)

    with pytest.raises(MalformedArchive, match="damaged"):
        Archive(bytes(blob))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_to_pack_are_refused(archives, method):
    with pytest.raises(MalformedArchive, match="packed in a way that torch does not use"):
        Archive(archives.packed(RECORDS, method))
