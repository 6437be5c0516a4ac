"""What MONITOR shows of a command: one line, whatever bytes the arguments have.

Redis shows everything. Here arguments are tensors and models, of which megabytes would make every
command slow and fill what may wait for the one who looks; so what is long is cut, as in SLOWLOG.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.commands.args import Argument

_MOST_BYTES: Final = 1024  # of one argument
_MOST_IN_ALL: Final = 64 * 1024

_PLAIN: Final = re.compile(rb"[ !#-\[\]-~]*")
_ESCAPED: Final = [b"%c" % byte if 32 <= byte < 127 else b"\\x%02x" % byte for byte in range(256)]  # noqa: PLR2004 - ASCII
for _byte, _letter in zip(b'"\\\a\b\t\n\r', b'"\\abtnr', strict=True):
    _ESCAPED[_byte] = b"\\%c" % _letter


def monitor_line(request: Sequence[Argument], *, at: float, database: int, address: str) -> bytes:
    """Returns the line, as it is sent.

    Args:
        request: The whole request.
        at: Unix time in seconds.
        database: Number of the client's database.
        address: The client's.
    """
    words: list[bytes] = []
    room = _MOST_IN_ALL
    for number, argument in enumerate(request):
        if room <= 0:
            words.append(b'"... (%d more arguments)"' % (len(request) - number))
            break
        words.append(_quoted(argument))
        room -= len(words[-1])
    return b"+%.6f [%d %b] %b\r\n" % (at, database, address.encode(), b" ".join(words))


def _quoted(argument: Argument) -> bytes:
    shown = bytes(argument[:_MOST_BYTES])
    if not _PLAIN.fullmatch(shown):
        shown = b"".join([_ESCAPED[byte] for byte in shown])
    more = len(argument) - _MOST_BYTES
    return b'"%b... (%d more bytes)"' % (shown, more) if more > 0 else b'"%b"' % shown
