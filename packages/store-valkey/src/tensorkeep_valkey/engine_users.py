"""The users of an engine of our own: those that the server was told of, and the server itself."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tensorkeep.errors import StoreError
from tensorkeep.rights.categories import OF_AI_COMMANDS
from tensorkeep.rights.passwords import hashed
from tensorkeep.rights.rules import changed
from tensorkeep.rights.user import EVERYTHING, Rights
from tensorkeep.rights.users import DEFAULT, FileError, read_lines
from tensorkeep_valkey.addresses import Credentials

if TYPE_CHECKING:
    from tensorkeep.rights.selector import CommandRule, Selector

OWN_USER: Final = b"tensorkeep-server"
"""Who the server is towards an engine that has users."""

_OURS: Final = frozenset(f"@{category}" for category in OF_AI_COMMANDS)


class EngineUsers:
    """What an engine is told of its users.

    Args:
        password: What a client has to say to be the default user, empty for nothing.
        user_file: File that describes users, empty for none.

    Attributes:
        credentials: Who the server is; None if the engine is told of no users.

    Raises:
        StoreError: The file cannot be used.
    """

    def __init__(self, password: str = "", user_file: str = "") -> None:
        self._rights: dict[bytes, Rights] = {}
        self.credentials: Credentials | None = None
        if not password and not user_file:
            return
        words = [b"resetpass", b">" + password.encode("utf-8", "surrogateescape")]
        self._rights[DEFAULT] = changed(EVERYTHING, words, None) if password else EVERYTHING
        if user_file:
            self._rights |= _read(user_file)
        own = secrets.token_hex().encode()
        self.credentials = Credentials(OWN_USER, own)
        self._rights[OWN_USER] = replace(EVERYTHING, any_password=False, passwords=(hashed(own),))

    def lines(self) -> list[bytes]:
        """Returns the lines of the engine's configuration; there are hashes in them alone."""
        return [
            b" ".join((b"user", name, *_known_to_engines(rights).words()))
            for name, rights in self._rights.items()
        ]


def _read(path: str) -> dict[bytes, Rights]:
    try:
        found = read_lines(Path(path).read_bytes().splitlines(), Path(path).name, None)
    except OSError as error:
        raise StoreError(f"ERR cannot read the file of users: {error.strerror}") from error
    except FileError as error:
        raise StoreError(f"ERR {error}") from error
    if OWN_USER in found:
        raise StoreError(f"ERR {path}: the user {OWN_USER.decode()} is the server's own")
    return found


def _known_to_engines(rights: Rights) -> Rights:
    """Returns rights without what is said of AI commands, which no engine has."""
    return replace(
        rights,
        root=_without_ai(rights.root),
        selectors=tuple(map(_without_ai, rights.selectors)),
    )


def _without_ai(selector: Selector) -> Selector:
    return replace(selector, commands=tuple(filter(_is_known, selector.commands)))


def _is_known(rule: CommandRule) -> bool:
    return rule.name not in _OURS and not rule.name.startswith("ai.")
