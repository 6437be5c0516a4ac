"""The log of nurseries and workers: records as lines on standard error, for the server to write.

What a framework prints comes the same way, as plain lines.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from contextlib import suppress
from typing import Final

import msgspec

_MARK: Final = b"\x1e"  # before a record; whatever lacks it was printed
_STANDARD_ERROR: Final = 2
PRINTED: Final = "tensorkeep_workers_process.printed"


class Line(msgspec.Struct, array_like=True, frozen=True):
    """A line of the log.

    Attributes:
        level: Its level.
        name: Name of its logger.
        text: What it says; perhaps of several lines.
    """

    level: int
    name: str
    text: str


def start(level: int) -> None:
    """Sends all records from a level on to standard error.

    Args:
        level: The level.
    """
    logging.basicConfig(level=level, handlers=[_Handler()], force=True)
    logging.captureWarnings(True)  # noqa: FBT003 - whether to
    flush_lines()


def flush_lines() -> None:
    """Has each line that is printed written at once."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record).encode("utf-8", "backslashreplace").decode()
            line = msgspec.json.encode(Line(record.levelno, record.name, text))
            with suppress(OSError):  # the server is gone, and so is this process soon
                os.write(_STANDARD_ERROR, _MARK + line + b"\n")
        except Exception:  # noqa: BLE001 - as logging has it
            self.handleError(record)


def line_of(written: bytes) -> Line:
    """Returns a line that a nursery or worker wrote.

    Args:
        written: The line, without its end. A worker may write whatever it likes.
    """
    if written.startswith(_MARK):
        with suppress(msgspec.MsgspecError):
            return msgspec.json.decode(written[len(_MARK) :], type=Line)
    return Line(logging.INFO, PRINTED, written.decode("utf-8", "backslashreplace"))
