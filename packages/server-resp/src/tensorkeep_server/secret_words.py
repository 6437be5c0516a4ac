"""Which words of a request nobody may see but the server: passwords.

MONITOR, the log of what took long and the audit log show requests, or what errors quote of them.
A request that is wrong may have a password anywhere behind the word that announces it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import keyword

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorkeep.commands.args import Request
    from tensorkeep.commands.command import Command

HIDDEN: Final = b"(redacted)"
_SETTINGS: Final = frozenset({b"REQUIREPASS", b"TLS-KEY-FILE-PASS"})
_CREDENTIALS: Final = 2  # words behind AUTH: user and password
_QUOTED: Final = re.compile("'.*'", re.DOTALL)


def without_secrets(command: Command, request: Request) -> Request:
    """Returns a request as others may see it; the request itself if nothing of it is secret.

    Args:
        command: The command, or the subcommand.
        request: The whole request.
    """
    hidden = set(_secret(command, request))
    if not hidden:
        return request
    return [HIDDEN if at in hidden else word for at, word in enumerate(request)]


def without_quotes(line: str) -> str:
    """Returns an error without what it quotes of its request, which may be secret."""
    return _QUOTED.sub(f"'{HIDDEN.decode()}'", line)


def _secret(command: Command, request: Request) -> Iterator[int]:
    """Returns the places of words that are secret, some of them perhaps beyond the last one."""
    match command.full_name:
        case "acl|setuser":
            yield from range(3, len(request))
        case "acl|dryrun":  # what may be dry runs of AUTH and the others
            yield from range(4, len(request))
        case "config|set":
            for at in range(2, len(request)):
                if keyword(request[at]) in _SETTINGS:
                    yield from range(at + 1, len(request))
        case "auth":
            yield from range(1, len(request))
        case "hello":
            for at in range(1, len(request)):
                if keyword(request[at]) == b"AUTH":
                    yield from range(at + 1, at + 1 + _CREDENTIALS)
