"""What arguments a command takes: from the text that people read to the tree that tools read.

`[TYPE (STRING | LIST)] key [key ...]` says it in the words of Redis' documentation: what is in
square brackets may be left out, what is in parentheses belongs together, a bar separates
alternatives, dots let what stands before them be repeated, and capitals are typed as they stand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, TypeAlias

_WORDS: Final = re.compile(r"\|>|\.\.\.|[][()|]|[^][()|\s]+")
_MORE: Final = "..."


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a command, or several that belong together.

    Attributes:
        name: What it is called.
        kind: `string`, `pure-token` for a word that is typed as it stands, `oneof` for
            alternatives, or `block` for several arguments in a row.
        token: The word that is typed, or that is typed before it.
        optional: Whether it may be left out.
        multiple: Whether it may be repeated.
        repeats_token: Whether its word is typed again each time.
        arguments: The alternatives, or those in a row.
    """

    name: str
    kind: str
    token: str = ""
    optional: bool = False
    multiple: bool = False
    repeats_token: bool = False
    arguments: tuple[Parameter, ...] = ()


_Row: TypeAlias = "list[tuple[Parameter, list[str]]]"  # each with the words that it was read from


@cache  # The texts are those of the command table; reading them all takes 6 ms.
def read_syntax(syntax: str) -> tuple[Parameter, ...]:
    """Returns the arguments that a text describes, in their order.

    Raises:
        ValueError: A bracket is not closed, or closed twice.
    """
    words = _WORDS.findall(syntax)
    arguments, at = _alternatives(words, 0)
    if at != len(words):
        raise ValueError(f"what is closed here was never opened: {' '.join(words[at:])}")
    return arguments


def _alternatives(words: list[str], at: int) -> tuple[tuple[Parameter, ...], int]:
    """Reads up to the end of a bracket; returns the arguments and where it ended."""
    rows = []
    while True:
        row, at = _row(words, at)
        rows.append(tuple(argument for argument, _ in row))
        if words[at : at + 1] != ["|"]:
            break
        at += 1
    if len(rows) == 1:
        return rows[0], at
    return (_one_of(tuple(map(_together, rows))),), at


def _row(words: list[str], at: int) -> tuple[_Row, int]:
    """Reads what stands in a row, up to a bar or the end of a bracket."""
    row: _Row = []
    while at < len(words) and words[at] not in {"|", "]", ")"}:
        start = at
        if words[at] in {"[", "("}:
            arguments, at = _alternatives(words, at + 1)
            if at == len(words):
                raise ValueError(f"what is opened here is not closed: {' '.join(words[start:])}")
            item = _together(arguments)
            is_again = words[start] == "[" and _repeats(row, words[start + 1 : at])
            at += 1
            if is_again:
                continue
            item = replace(item, optional=words[start] == "[")
        else:
            item = _word(words[at])
            at += 1
        if words[at : at + 1] == [_MORE]:
            item = replace(item, multiple=True)
            at += 1
        _add(row, item, words[start:at])
    return row, at


def _word(word: str) -> Parameter:
    if any(letter.islower() for letter in word):
        return Parameter(word, "string")
    return Parameter(word.lower(), "pure-token", word)


def _add(row: _Row, item: Parameter, words: list[str]) -> None:
    """Adds an argument; a word that stands before its value becomes a part of it."""
    if row and item.kind in {"string", "oneof"} and not item.optional:
        last, before = row[-1]
        if last.kind == "pure-token" and not (last.optional or last.multiple):
            row[-1] = (replace(item, token=last.token), before + words)
            return
    row.append((item, words))


def _repeats(row: _Row, words: list[str]) -> bool:
    """Notes that the last arguments of a row may be repeated, if that is what words say."""
    if words[-1:] != [_MORE]:
        return False
    again: list[str] = []
    for count, (_, each) in enumerate(reversed(row), 1):
        again = each + again
        if again == words[:-1]:
            last = _together(tuple(argument for argument, _ in row[-count:]))
            row[-count:] = [(replace(last, multiple=True, repeats_token=bool(last.token)), again)]
            return True
    return False


def _together(arguments: tuple[Parameter, ...]) -> Parameter:
    """Returns arguments as one."""
    if len(arguments) == 1:
        return arguments[0]
    return Parameter(" ".join(each.name for each in arguments), "block", arguments=arguments)


def _one_of(arguments: tuple[Parameter, ...]) -> Parameter:
    return Parameter(" | ".join(each.name for each in arguments), "oneof", arguments=arguments)
