"""The words that give and take rights.

They, and what is said of wrong ones, are those of Redis' ACL SETUSER.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import text
from tensorkeep.commands.command import TO_CHANGE, TO_READ
from tensorkeep.rights.categories import CATEGORIES
from tensorkeep.rights.passwords import HASH, hashed
from tensorkeep.rights.selector import BOTH, CommandRule, KeyPattern, Selector
from tensorkeep.rights.user import Rights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tensorkeep.commands.command import CommandTable

_SYNTAX: Final = "Syntax error"
_UNKNOWN: Final = "Unknown command or category name in ACL"
_AFTER_ALL: Final = (
    "Adding a pattern after the * pattern (or the '{0}' flag) is not valid and does not have any"
    " effect. Try '{1}' to start with an empty list of {2}"
)
_AFTER_ALL_KEYS: Final = _AFTER_ALL.format("allkeys", "resetkeys", "patterns")
_AFTER_ALL_CHANNELS: Final = _AFTER_ALL.format("allchannels", "resetchannels", "channels")
_NO_SUCH_PASSWORD: Final = "The password you are trying to remove from the user does not exist"  # noqa: S105 - a text
_NO_HASH: Final = (
    "The password hash must be exactly 64 characters and contain only lowercase hexadecimal"
    " characters"
)
_NO_FIRST_ARGUMENT: Final = "Allowing first-arg of a subcommand is not supported"
_ACCESS: Final = {b"R": TO_READ, b"W": TO_CHANGE}
_SUB_WORDS: Final = 2  # `subcommand|argument`
BLANKS: Final = frozenset(b" \t\n\v\f\r\0")
"""What neither a name nor a pattern may contain."""


class RuleError(Exception):
    """A word changes nothing; the text says why, as Redis does.

    Attributes:
        word: The word; empty where the text says all.
    """

    def __init__(self, word: bytes, why: str) -> None:
        super().__init__(why)
        self.word = word


def changed(rights: Rights, words: Sequence[bytes], table: CommandTable | None) -> Rights:
    """Returns rights changed by words, one after the other.

    Args:
        rights: The rights before.
        words: As in ACL SETUSER.
        table: All commands; None where it is not known which there are.

    Raises:
        RuleError: One of the words changes nothing.
    """
    for word in tuple(joined(words)):
        rights = _changed(rights, word, table)
    return rights


def joined(words: Iterable[bytes]) -> Iterator[bytes]:
    """Joins the words of each selector, which stand between parentheses, to one.

    Raises:
        RuleError: One of them is not closed.
    """
    parts: list[bytes] = []
    for word in words:
        if word.startswith(b"(") and not word.endswith(b")"):
            parts = [word]  # one within another takes its place, as in Redis
            continue
        if not parts:
            yield word
            continue
        parts.append(word)
        if word.endswith(b")"):
            yield b" ".join(parts)
            parts = []
    if parts:
        raise RuleError(
            b"", f"Unmatched parenthesis in acl selector starting at '{text(parts[0])}'."
        )


_SANITIZING: Final = b"sanitize-payload"
_SKIPPING: Final = b"skip-sanitize-payload"
_OF_USER: Final[Mapping[bytes, Callable[[Rights], Rights]]] = {
    b"on": lambda rights: replace(rights, on=True),
    b"off": lambda rights: replace(rights, on=False),
    b"nopass": lambda rights: replace(rights, any_password=True, passwords=()),
    b"resetpass": lambda rights: replace(rights, any_password=False, passwords=()),
    _SKIPPING: lambda rights: replace(rights, sanitizing=_SKIPPING),
    _SANITIZING: lambda rights: replace(rights, sanitizing=_SANITIZING),
    b"clearselectors": lambda rights: replace(rights, selectors=()),
    b"reset": lambda _: Rights(sanitizing=_SANITIZING),
}


def _changed(rights: Rights, word: bytes, table: CommandTable | None) -> Rights:
    """Returns rights changed by one word; an empty one says nothing, as in Redis."""
    if not word:
        return rights
    change = _OF_USER.get(word.lower())
    if change is not None:
        return change(rights)
    if word[:1] in {b">", b"<", b"#", b"!"}:
        return _with_password(rights, word)
    if word.startswith(b"("):
        selector = Selector()
        for part in word[1:-1].split():
            try:
                selector = _selected(selector, part, table)
            except RuleError as error:
                raise RuleError(word, str(error)) from None
        return replace(rights, selectors=(*rights.selectors, selector))
    return replace(rights, root=_selected(rights.root, word, table))


def _with_password(rights: Rights, word: bytes) -> Rights:
    mark, rest = word[:1], word[1:]
    if mark in {b"#", b"!"}:
        found = text(rest)
        if not HASH.fullmatch(found):
            raise RuleError(word, _NO_HASH)
    else:
        found = hashed(rest)
    if mark in {b"<", b"!"}:
        if found not in rights.passwords:
            raise RuleError(word, _NO_SUCH_PASSWORD)
        return replace(rights, passwords=tuple(p for p in rights.passwords if p != found))
    known = () if found in rights.passwords else (found,)
    return replace(rights, any_password=False, passwords=(*rights.passwords, *known))


_OF_SELECTOR: Final[Mapping[bytes, Callable[[Selector], Selector]]] = {
    b"allcommands": (every_command := lambda part: replace(part, all_commands=True, commands=())),
    b"+@all": every_command,
    b"nocommands": (no_command := lambda part: replace(part, all_commands=False, commands=())),
    b"-@all": no_command,
    b"allkeys": (every_key := lambda part: replace(part, all_keys=True, keys=())),
    b"~*": every_key,
    b"resetkeys": lambda part: replace(part, all_keys=False, keys=()),
    b"allchannels": (every_channel := lambda part: replace(part, all_channels=True, channels=())),
    b"&*": every_channel,
    b"resetchannels": lambda part: replace(part, all_channels=False, channels=()),
}


def _selected(selector: Selector, word: bytes, table: CommandTable | None) -> Selector:
    """Returns a selector changed by one word on commands, keys or channels."""
    change = _OF_SELECTOR.get(word.lower())
    if change is not None:
        return change(selector)
    match word[:1]:
        case b"~" | b"%":
            return _with_key(selector, word)
        case b"&":
            return _with_channel(selector, word)
        case b"+" | b"-":
            return _with_command(selector, word, table)
        case _:
            raise RuleError(word, _SYNTAX)


def _with_channel(selector: Selector, word: bytes) -> Selector:
    if selector.all_channels:
        raise RuleError(word, _AFTER_ALL_CHANNELS)
    if not BLANKS.isdisjoint(word):
        raise RuleError(word, _SYNTAX)
    known = () if word[1:] in selector.channels else (word[1:],)
    return replace(selector, channels=(*selector.channels, *known))


def _with_key(selector: Selector, word: bytes) -> Selector:
    if selector.all_keys:
        raise RuleError(word, _AFTER_ALL_KEYS)
    kinds, tilde, pattern = word.partition(b"~")
    access = BOTH
    if kinds:
        letters = [bytes([letter]) for letter in kinds[1:].upper()]
        if not tilde or not letters or not set(letters) <= _ACCESS.keys():
            raise RuleError(word, _SYNTAX)
        access = sum(_ACCESS[letter] for letter in set(letters))
    if not BLANKS.isdisjoint(pattern):
        raise RuleError(word, _SYNTAX)
    known = {each.pattern: each.access for each in selector.keys}
    known[pattern] = known.get(pattern, 0) | access
    return replace(selector, keys=tuple(map(KeyPattern._make, known.items())))


def _with_command(selector: Selector, word: bytes, table: CommandTable | None) -> Selector:
    allows, name = word[:1] == b"+", text(word[1:]).lower()
    if not BLANKS.isdisjoint(word):  # a first argument, which would end the word in a file of users
        raise RuleError(word, _SYNTAX)
    if table is not None:
        _check_command(word, name, table, allows=allows)
    # What was said before of the same, or of a part of it, has no meaning any more.
    kept = tuple(
        rule
        for rule in selector.commands
        if rule.name != name and not rule.name.startswith(f"{name}|")
    )
    return replace(selector, commands=(*kept, CommandRule(allows, name)))


def _check_command(word: bytes, name: str, table: CommandTable, *, allows: bool) -> None:
    """Raises `RuleError` where a rule speaks of a command or category that there is not."""
    if name.startswith("@"):
        if name[1:] not in CATEGORIES:
            raise RuleError(word, _UNKNOWN)
        return
    first, *words = name.split("|")
    command = table.get(first.encode())
    if command is None:
        raise RuleError(word, _UNKNOWN)
    if not words:
        return
    if not words[-1]:
        raise RuleError(word, _SYNTAX)
    found = table.subcommand(first.encode(), words[0].encode())
    if len(words) >= _SUB_WORDS:
        raise RuleError(word, _NO_FIRST_ARGUMENT if found else _UNKNOWN)
    if found is None and (command.subcommands or not allows):
        raise RuleError(word, _UNKNOWN)
