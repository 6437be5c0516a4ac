"""What a framework prints from C++ to standard error, sent to a log instead.

For frameworks that offer no way to tell them where to print, or what not to.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

_STDERR: Final = 2  # what C++ knows it as, whatever Python calls sys.stderr
_log = logging.getLogger(__name__)


def _file() -> IO[bytes]:
    """Returns a file that is gone when it is closed: one in memory, where the system has such."""
    in_memory = getattr(os, "memfd_create", None)
    return os.fdopen(in_memory("noise"), "w+b") if in_memory else tempfile.TemporaryFile()


@contextmanager
def logged(who: str, only: str = "") -> Iterator[None]:
    """Logs at debug level what the process prints to standard error meanwhile.

    The whole process: what other threads print just then is logged as well. So this is for short
    moments in which it is known that something is printed.

    Args:
        who: Who is taken to have printed.
        only: What the lines begin with that are logged, as a regular expression. Others go on to
            standard error, at the end.
    """
    try:
        kept = os.dup(_STDERR)
    except OSError:  # a daemon without standard error
        yield
        return
    with _file() as file:
        os.dup2(file.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            file.seek(0)
            for line in file.read().splitlines(keepends=True):
                text = line.decode(errors="replace")
                if re.match(only, text):
                    _log.debug("%s: %s", who, text.rstrip("\r\n"))
                else:
                    os.write(_STDERR, line)
