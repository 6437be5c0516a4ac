"""What MONITOR shows of a command: one line, whatever bytes the arguments have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorkeep_server.codec import Argument

_ESCAPED: Final = [
    *(b"\\x%02x" % byte if not 32 <= byte < 127 else b"%c" % byte for byte in range(256))  # noqa: PLR2004 - ASCII
]
for _character, _name in zip(b'"\\\a\b\t\n\r', b'"\\abtnr', strict=True):
    _ESCAPED[_character] = b"\\%c" % _name


def monitor_line(request: Iterable[Argument], *, at: float, database: int, address: str) -> bytes:
    """Returns the line, as it is sent.

    Args:
        request: The whole request.
        at: Unix time in seconds.
        database: Number of the client's database.
        address: The client's.
    """
    words = b" ".join(b'"%b"' % b"".join([_ESCAPED[byte] for byte in word]) for word in request)
    return b"+%.6f [%d %b] %b\r\n" % (at, database, address.encode(), words)
