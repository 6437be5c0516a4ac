"""All users of a server: who is let in, and the file that describes them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, TypeAlias

from tensorkeep.commands.args import text
from tensorkeep.rights.passwords import fits
from tensorkeep.rights.rules import BLANKS, RuleError, changed
from tensorkeep.rights.user import EVERYTHING, Rights

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tensorkeep.commands.args import Request
    from tensorkeep.commands.command import Command, CommandTable

DEFAULT: Final = b"default"
"""The name of the user that a client is that does not say who it is."""

# What nobody's password is compared with, so that an unknown name takes as long as a known one.
_NOBODYS: Final = (secrets.token_hex(32),)


_Form: TypeAlias = "tuple[object, ...]"

_MOST_REMEMBERED: Final = 1024  # requests of a user
_MOST_WORDS: Final = 24
_MOST_BYTES: Final = 1024


class User:
    """A user, as the clients know it that are connected as this user.

    Attributes:
        name: Its name.
        rights: What it may do; another value when that has changed.
        unrestricted: Whether that is everything.
    """

    __slots__ = ("_allowed", "name", "rights", "unrestricted")

    def __init__(self, name: bytes, rights: Rights) -> None:
        self.name = name
        self._allowed: set[_Form] = set()
        self.set(rights)

    def set(self, rights: Rights) -> None:
        """Changes what it may do, for all clients at once."""
        self.rights = rights
        self.unrestricted = rights.unrestricted
        self._allowed.clear()

    def remembers(self, command: Command, request: Request) -> bool:
        """Returns whether a request with the same keys is known to be allowed.

        Finding that out takes a fifth of the time of running a small model; clients send the same
        again and again.
        """
        try:
            if len(request) <= command.one_key:
                return (command.full_name, request[1]) in self._allowed
            if len(request) > _MOST_WORDS or sum(map(len, request)) > _MOST_BYTES:
                return False
            return tuple(request) in self._allowed
        except ValueError:  # a large argument, which may change, cannot be looked up
            return False

    def remember(self, command: Command, request: Request) -> None:
        """Notes that a request is allowed, until the rights change."""
        if len(self._allowed) >= _MOST_REMEMBERED:
            self._allowed.clear()
        if len(request) <= command.one_key:
            if type(request[1]) is bytes and len(request[1]) <= _MOST_BYTES:
                self._allowed.add((command.full_name, request[1]))
        elif len(request) <= _MOST_WORDS and sum(map(len, request)) <= _MOST_BYTES:
            self._allowed.add(tuple(request))


class FileError(ValueError):
    """A file of users cannot be used; the text says what is wrong in which lines."""


class Users:
    """All users.

    Args:
        table: All commands, to which their rights refer.

    Attributes:
        default: The user that clients are which do not say who they are.
    """

    def __init__(self, table: CommandTable) -> None:
        self._table = table
        self.default = User(DEFAULT, EVERYTHING)
        self._users = {DEFAULT: self.default}

    def __iter__(self) -> Iterator[User]:
        return iter(sorted(self._users.values(), key=lambda user: user.name))

    def get(self, name: bytes) -> User | None:
        """Returns a user by name, None when there is none."""
        return self._users.get(name)

    def first(self) -> User | None:
        """Returns whom a client is that has not said who it is; None if it has to."""
        rights = self.default.rights
        return self.default if rights.on and rights.any_password else None

    def authenticate(self, name: bytes, password: bytes) -> User | None:
        """Returns the user that a name and password belong to, None for nobody."""
        user = self._users.get(name)
        rights = Rights(passwords=_NOBODYS) if user is None else user.rights
        right = fits(password, rights.passwords) or rights.any_password
        return user if right and rights.on else None

    def change(self, name: bytes, words: Sequence[bytes]) -> User:
        """Changes a user's rights; one that there is not yet begins with none.

        Returns:
            The user.

        Raises:
            RuleError: One of the words changes nothing; then nothing is changed.
        """
        user = self._users.get(name)
        rights = changed(Rights() if user is None else user.rights, words, self._table)
        if user is None:
            user = self._users[name] = User(name, rights)
        else:
            user.set(rights)
        return user

    def set_password(self, password: bytes) -> None:
        """Sets the one password of the default user; an empty one lets everybody in."""
        words = [b"resetpass", b">" + password] if password else [b"nopass"]
        self.change(DEFAULT, words)

    def delete(self, name: bytes) -> User | None:
        """Removes a user and returns it; None when there is none."""
        return self._users.pop(name, None)

    # ------------------------------------------------------------------ as text
    def lines(self) -> list[bytes]:
        """Returns the lines that describe all users, in the order of their names."""
        return [b" ".join((b"user", user.name, *user.rights.words())) for user in self]

    def replace(self, rights: dict[bytes, Rights]) -> list[User]:
        """Sets all users; the default user stays what it is if it is not among them.

        Returns:
            The users that are gone.
        """
        gone = [user for user in self if user.name not in rights and user is not self.default]
        for user in gone:
            del self._users[user.name]
        for name, each in rights.items():
            if name in self._users:
                self._users[name].set(each)
            else:
                self._users[name] = User(name, each)
        return gone


def read_lines(
    lines: Iterable[bytes], source: str, table: CommandTable | None
) -> dict[bytes, Rights]:
    """Returns the users that lines describe.

    Args:
        lines: Lines such as `user alice on >secret ~app:* +@read`; empty ones, and those that
            begin with a `#`, mean nothing.
        source: What the lines come from, for people.
        table: All commands; None where it is not known which there are.

    Raises:
        FileError: Something is wrong with some of the lines.
    """
    found: dict[bytes, Rights] = {}
    wrong: list[str] = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        why = _read_line(words, found, table)
        if why:
            wrong.append(f"{source}:{number}: {why}")
    if wrong:
        raise FileError(" ".join(wrong))
    return found


def _read_line(
    words: Sequence[bytes], found: dict[bytes, Rights], table: CommandTable | None
) -> str:
    """Reads one user; returns what is wrong, nothing if it is not."""
    if words[0] != b"user" or len(words) == 1:
        return "should start with the keyword 'user', followed by a name."
    name = words[1]
    if not is_name(name):
        return "the name of a user can't contain spaces or null characters."
    if name in found:
        return f"user '{text(name)}' is described twice."
    try:
        found[name] = changed(Rights(), words[2:], table)
    except RuleError as error:
        return f"{error}." if not error.word else f"{shown_rule(error.word)}: {error}."
    return ""


def is_name(name: bytes) -> bool:
    """Returns whether a user may be called so."""
    return BLANKS.isdisjoint(name)


def shown_rule(word: bytes) -> str:
    """Returns a word of a user's rights as errors may repeat it: without a password."""
    return f"{text(word[:1])}(redacted)" if word[:1] in {b">", b"<"} else text(word)
