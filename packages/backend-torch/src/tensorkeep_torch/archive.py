"""The zip archives in which torch keeps models, read without torch.

What a blob holds is checked here before torch sees it: every record is whole, none is there
twice, and nothing swells beyond measure. This module knows records, not what they mean.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Final

_LOCAL_HEADER: Final = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the rest
_LOCAL_SIGNATURE: Final = b"PK\3\4"
_MOST_UNPACKED: Final = 256 * 2**20  # bytes; torch compresses nothing but source code


class MalformedArchive(ValueError):
    """The bytes are no archive of torch, or a damaged one."""


class Archive:
    """The records of an archive, by their names below its one top folder.

    Args:
        blob: The archive.

    Attributes:
        names: The names, in the archive's order.

    Raises:
        MalformedArchive: The bytes are no archive, or what it says of a record is not so.
    """

    def __init__(self, blob: bytes) -> None:
        try:
            with zipfile.ZipFile(io.BytesIO(blob)) as found:
                entries = found.infolist()
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError) as error:
            raise MalformedArchive(str(error)) from error
        self._records: Final[dict[str, memoryview | bytes]] = {}
        room = _MOST_UNPACKED
        for entry in entries:
            _, slash, name = entry.filename.partition("/")
            if not slash or not name:
                raise MalformedArchive(f"{entry.filename!r} is not in a folder")
            if name in self._records:
                raise MalformedArchive(f"{name!r} is there twice")
            if entry.compress_type != zipfile.ZIP_STORED:
                room -= entry.file_size
            if room < 0:
                raise MalformedArchive(f"unpacked, it has more than {_MOST_UNPACKED} bytes")
            self._records[name] = _content(memoryview(blob), entry)
        self.names: Final = tuple(self._records)

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def record(self, name: str) -> memoryview | bytes:
        """Returns the bytes of a record, as they lie in the blob where they are not compressed.

        Raises:
            MalformedArchive: There is no such record.
        """
        found = self._records.get(name)
        if found is None:
            raise MalformedArchive(f"it has no record {name!r}")
        return found

    def text(self, name: str) -> str:
        """Returns a record that is text.

        Raises:
            MalformedArchive: There is no such record, or it is not UTF-8.
        """
        try:
            return str(self.record(name), "utf-8")
        except UnicodeDecodeError as error:
            raise MalformedArchive(f"{name!r} is not text: {error}") from error


def _content(blob: memoryview, entry: zipfile.ZipInfo) -> memoryview | bytes:
    """Returns the content of an entry after checking it against its checksum."""
    name = entry.filename
    try:
        signature, *lengths = _LOCAL_HEADER.unpack_from(blob, entry.header_offset)
    except struct.error as error:
        raise MalformedArchive(f"{name!r} lies outside") from error
    if signature != _LOCAL_SIGNATURE:
        raise MalformedArchive(f"{name!r} lies elsewhere")
    start = entry.header_offset + _LOCAL_HEADER.size + sum(lengths)
    packed = blob[start : start + entry.compress_size]
    if len(packed) != entry.compress_size:
        raise MalformedArchive(f"{name!r} is cut short")
    content = packed if entry.compress_type == zipfile.ZIP_STORED else _unpacked(packed, entry)
    if len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
        raise MalformedArchive(f"{name!r} is damaged")
    return content


def _unpacked(packed: memoryview, entry: zipfile.ZipInfo) -> bytes:
    if entry.compress_type != zipfile.ZIP_DEFLATED or entry.flag_bits & 1:
        raise MalformedArchive(f"{entry.filename!r} is packed in a way that torch does not use")
    try:
        # One byte more than it should have: what is longer is found out, and goes no further.
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, entry.file_size + 1)
    except zlib.error as error:
        raise MalformedArchive(f"{entry.filename!r} is damaged") from error
