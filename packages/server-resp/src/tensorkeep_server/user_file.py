"""The file that describes the users, one line each."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tensorkeep.rights.users import FileError, read_lines

if TYPE_CHECKING:
    from tensorkeep.commands.command import CommandTable
    from tensorkeep.rights.user import Rights
    from tensorkeep.rights.users import Users

_log = logging.getLogger(__name__)


def read_users(path: str, table: CommandTable | None) -> dict[bytes, Rights]:
    """Returns the users that a file describes.

    Args:
        path: The file.
        table: All commands; None where an engine has others.

    Raises:
        FileError: It cannot be read, or something in it is wrong.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise FileError(f"cannot read the file of users: {error.strerror}") from error
    return read_lines(lines, Path(path).name, table)


def write_users(path: str, users: Users) -> None:
    """Writes all users into a file, which has the old content or the new one at any moment.

    Raises:
        OSError: It cannot be written.
    """
    content = b"".join(line + b"\n" for line in users.lines())
    written = Path(f"{path}.new")
    try:
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)
    except OSError:
        _log.exception("the users cannot be written into %s", path)
        written.unlink(missing_ok=True)
        raise
