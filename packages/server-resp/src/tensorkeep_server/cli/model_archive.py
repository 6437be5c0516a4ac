"""The content of a model's file, or of an archive of its files, read a piece at a time.

An archive is a zip archive whose members lie in it as they are. It is never made as a whole: what
is kept of it is what stands between the files.
"""

from __future__ import annotations

import zipfile
from typing import IO, TYPE_CHECKING, Final, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PIECE: Final = 1024 * 1024  # bytes


class _Part(NamedTuple):
    """Bytes, or the first ones of a file."""

    size: int
    content: bytes | Path


class ModelContent:
    """The bytes to be sent, to be read once, within `with`.

    Args:
        files: The model's files by the names that they have in an archive. One alone is no archive.

    Attributes:
        size: How many bytes there are.

    Raises:
        OSError: A file cannot be read.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        if len(files) == 1:
            (path,) = files.values()
            self._parts = [_Part(path.stat().st_size, path)]
        else:
            self._parts = _layout(files)
        self.size: Final = sum(part.size for part in self._parts)
        self._parts.reverse()
        self._source: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def read(self, most: int) -> bytes:
        """Returns the next bytes, none at the end.

        Args:
            most: How many there may be.

        Raises:
            OSError: A file cannot be read, or became shorter meanwhile.
        """
        while self._parts and not self._parts[-1].size:
            self._parts.pop()
            self._close()
        if not self._parts:
            return b""
        size, content = self._parts.pop()
        if isinstance(content, bytes):
            piece, content = content[:most], content[most:]
        else:
            if self._source is None:
                self._source = content.open("rb")
            piece = self._source.read(min(most, size))
            if not piece:
                raise OSError(f"{content} became shorter while it was sent")
        self._parts.append(_Part(size - len(piece), content))
        return piece


class _Layout:
    """Takes an archive that is written, and keeps of it what is no file's content."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self.within = False

    def write(self, content: bytes) -> int:
        if not self.within:
            self.parts.append(_Part(len(content), bytes(content)))
        return len(content)

    def flush(self) -> None:
        """Does nothing; `zipfile` asks for it."""


def _layout(files: Mapping[str, Path]) -> list[_Part]:
    layout = _Layout()
    with zipfile.ZipFile(layout, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload] # it writes without seeking where it must
        for name, path in files.items():
            member = zipfile.ZipInfo(name)
            member.file_size = path.stat().st_size  # by which sizes get four bytes or eight
            with archive.open(member, "w") as target, path.open("rb") as source:
                layout.within = True  # read for the checksum, which stands behind it
                count = 0
                while piece := source.read(_PIECE):
                    count += target.write(piece)
                layout.within = False
                layout.parts.append(_Part(count, path))
    return layout.parts
