# ruff: noqa: INP001 - a program and no package; a test imports it by its path.
"""Renders the tables about commands from the command table; run it to write them anew.

It decides how the tables look, and nothing about commands: each word about one is in the command
table, and what stands around the tables is written by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from tensorkeep.commands.command import ADMIN, MODULE, WRITE
from tensorkeep_memory.store import MemoryStore
from tensorkeep_server.commands import with_commands_of

COMMANDS = with_commands_of(MemoryStore())

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tensorkeep.commands.command import Command, Difference

SECTIONS: Final = {  # titles by group, in the order of the pages
    "module": "Tensors, models and scripts",
    "generic": "Keys",
    "string": "Strings",
    "list": "Lists",
    "hash": "Hashes",
    "set": "Sets",
    "sorted-set": "Sorted sets",
    "connection": "Connections",
    "transactions": "Transactions",
    "pubsub": "Messages",
    "server": "The server",
    "cluster": "Clusters",
}
_BEGIN: Final = """\
<!-- From here on docs/render_commands.py writes: change the command table, not this page. -->
"""
_END: Final = "<!-- To here. -->\n"


def render(page: str, commands: Iterable[Command], tables: Tables) -> str:
    """Returns a page with its tables written anew.

    Args:
        page: The page as it is.
        commands: The command table.
        tables: Makes the tables.

    Raises:
        KeyError: A command belongs to a group that the pages have no section for.
    """
    before, _, rest = page.partition(_BEGIN)
    return f"{before}{_BEGIN}\n{tables(commands)}{_END}{rest.partition(_END)[2]}"


def usage_tables(commands: Iterable[Command]) -> str:
    """Returns tables that say what each command takes and does."""
    return _sections(commands, "| command | what it does | as in | |", _usages)


def _usages(items: list[Command]) -> Iterator[tuple[str, ...]]:
    for item in items:
        usage = f"{_name(item)} {item.syntax}".rstrip()
        origin = "RedisAI" if MODULE in item.flags else f"Redis {item.since}"
        marks = ", ".join(flag for flag in (WRITE, ADMIN) if flag in item.flags)
        yield f"`{usage}`", item.summary, origin, marks


def difference_tables(commands: Iterable[Command]) -> str:
    """Returns tables that say where each command is not as in RedisAI or Redis."""
    return _sections(commands, "| command | RedisAI or Redis | here | why |", _compared)


def _compared(items: list[Command]) -> Iterator[tuple[str, ...]]:
    """Yields what differs, once for all commands that have it, and then what does not."""
    having: dict[Difference, list[str]] = {}
    for item in items:
        for difference in item.differences:
            having.setdefault(difference, []).append(f"`{_name(item)}`")
    for difference, names in having.items():
        yield ", ".join(names), *difference
    for item in items:
        if not item.differences:
            yield f"`{_name(item)}`", item.summary, "the same", ""


def _sections(
    commands: Iterable[Command],
    head: str,
    rows: Callable[[list[Command]], Iterator[tuple[str, ...]]],
) -> str:
    """Returns one table for each group of commands."""
    groups: dict[str, list[Command]] = {group: [] for group in SECTIONS}
    for item in commands:
        groups[item.group] += _askable(item)
    rule = "| --- " * (head.count("|") - 1) + "|"
    return "".join(
        f"## {SECTIONS[group]}\n\n{head}\n{rule}\n{''.join(map(_row, rows(items)))}\n"
        for group, items in groups.items()
    )


def _askable(command: Command) -> Iterator[Command]:
    """Yields a command if it can stand alone, and its subcommands."""
    if not command.subcommands or command.arity >= -1:
        yield command
    yield from command.subcommands


def _name(item: Command) -> str:
    return item.full_name.upper().replace("|", " ")


def _row(cells: Iterable[str]) -> str:
    # A bar would end the cell, even in code.
    escaped = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |\n"


if TYPE_CHECKING:
    Tables = Callable[[Iterable[Command]], str]

PAGES: Final[dict[str, Tables]] = {
    "commands.md": usage_tables,
    "differences.md": difference_tables,
}

if __name__ == "__main__":
    for name, tables in PAGES.items():
        page = Path(__file__).with_name(name)
        written = render(page.read_text(encoding="utf-8"), COMMANDS, tables)
        page.write_text(written, encoding="utf-8")
