"""What nurseries and workers tell without being asked: lines on standard error, for the server.

Those are records of the log, figures of the backend, and whatever a framework prints.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

_RECORD: Final = b"\x1e"  # before a record
_FIGURES: Final = b"\x1f"  # before figures; whatever has neither was printed
_STANDARD_ERROR: Final = 2
_LONGEST: Final = 4000  # characters of a record: what is written to a pipe at once comes whole
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
            text = self.format(record)[:_LONGEST].encode("utf-8", "backslashreplace").decode()
            line = msgspec.json.encode(Line(record.levelno, record.name, text))
            _write(_RECORD + line)
        except Exception:  # noqa: BLE001 - as logging has it
            self.handleError(record)


def tell_figures(figures: Mapping[str, int]) -> None:
    """Tells the backend's figures."""
    _write(_FIGURES + msgspec.json.encode(figures))


def _write(line: bytes) -> None:
    with suppress(OSError):  # the server is gone, and so is this process soon
        os.write(_STANDARD_ERROR, line + b"\n")


def line_of(written: bytes) -> Line | dict[str, int]:
    """Returns a line of the log, or figures, that a nursery or worker wrote.

    Args:
        written: The line, without its end. A worker may write whatever it likes.
    """
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        if written.startswith(_RECORD):
            return msgspec.json.decode(written[1:], type=Line)
        if written.startswith(_FIGURES):
            return msgspec.json.decode(written[1:], type=dict[str, int])
    return Line(logging.INFO, PRINTED, written.decode("utf-8", "backslashreplace"))
