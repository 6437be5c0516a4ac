"""The folder in which an engine of our own keeps its data: one server at a time, and one engine."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tensorkeep.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

SOCKET: Final = "engine.sock"
"""Name of the engine's Unix socket in the folder."""

SETTINGS: Final = "engine.conf"
"""Name of the file in the folder with what the engine is told that others may not see."""

_LONGEST_SOCKET: Final = 107  # bytes of a path that the system takes for a Unix socket
_PRIVATE: Final = 0o700
_OWNERS_FILE: Final = 0o600


class DataDirectory:
    """A folder that this server has for itself.

    Two locks guard it, which the system gives back when who holds them dies. One is the server's.
    The other goes on to the engine and its children: as long as one of them is at work, though the
    server that started it was killed, no other engine is started.

    Args:
        path: The folder; it is made if it is missing.

    Attributes:
        path: The folder, absolute.
    """

    def __init__(self, path: str) -> None:
        self.path: Final = Path(path).absolute()
        self._server = -1
        self._folder = -1

    def take(self) -> None:
        """Takes the folder for this server.

        Raises:
            StoreError: Another server has it, or it cannot be made or written to.
        """
        try:
            self.path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            self._server = os.open(self.path / "server.lock", os.O_RDWR | os.O_CREAT, _OWNERS_FILE)
            self._folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            self.release()
            raise StoreError(f"ERR the directory {self.path}: {error.strerror}") from error
        if not _lock(self._server):
            self.release()
            raise StoreError(f"ERR the directory {self.path} is used by another server")

    def write_settings(self, lines: Iterable[bytes]) -> None:
        """Writes what the engine is told; nobody else can read it."""
        path = self.path / SETTINGS
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNERS_FILE)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(line + b"\n" for line in lines)

    def release(self) -> None:
        """Leaves the folder to others."""
        for descriptor in (self._server, self._folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._server = self._folder = -1

    def engine_lock(self) -> int | None:
        """Takes the engine's lock, for an engine that is to be started.

        Returns:
            A descriptor, which the engine is to inherit and the caller closes; None while an
            earlier engine is at work.
        """
        descriptor = os.open(self.path / "engine.lock", os.O_RDWR | os.O_CREAT, _OWNERS_FILE)
        if _lock(descriptor):
            return descriptor
        os.close(descriptor)
        return None

    def note_engine(self, number: int) -> None:
        """Writes down which process the engine is, for who finds it at work later."""
        path = self.path / "engine.pid"
        path.touch(mode=_OWNERS_FILE)
        path.write_text(f"{number}\n", encoding="ascii")

    def earlier_engine(self) -> int | None:
        """Returns the number of the process that was the engine last, None if it is not known."""
        try:
            return int((self.path / "engine.pid").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    @property
    def socket(self) -> str:
        """Path of the engine's socket; one that is too long is reached through the open folder."""
        path = str(self.path / SOCKET)
        if len(os.fsencode(path)) <= _LONGEST_SOCKET:
            return path
        return f"/proc/self/fd/{self._folder}/{SOCKET}"


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
