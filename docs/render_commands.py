# ruff: noqa: INP001 - a program and no package; a test imports it by its path.
"""Renders the page of all commands from the command table; run it to write `commands.md` anew.

It decides how the page looks, and nothing about commands: each word about one is in the table.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from tensorkeep_server.command import ADMIN, MODULE, WRITE
from tensorkeep_server.commands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tensorkeep_server.command import Command

PAGE: Final = Path(__file__).with_name("commands.md")

SECTIONS: Final = {  # titles by group, in the order of the page
    "module": "Tensors, models and scripts",
    "generic": "Keys",
    "string": "Strings",
    "list": "Lists",
    "hash": "Hashes",
    "set": "Sets",
    "connection": "Connections",
    "transactions": "Transactions",
    "pubsub": "Messages",
    "server": "The server",
    "cluster": "Clusters",
}
_HEAD: Final = """\
# Commands

What the server answers over the Redis protocol; `COMMAND DOCS` and the hints of `redis-cli` say the
same. Words in capitals are typed as they stand, in any case. What is in square brackets may be left
out, `|` separates alternatives, and what stands before `...` may be repeated.

The `AI.` commands are RedisAI's, the others Redis'. Their clients find the arguments, replies and
error texts that they know; where a command does less, its line says so. The third column names the
first version that had it, the last one whether `COMMAND` calls it *write* or *admin*.

"""
_TABLE: Final = """\
| command | what it does | as in | |
| --- | --- | --- | --- |
"""
_FOOT: Final = """\
<!-- Written by docs/render_commands.py from the command table; change the table, not this page. -->
"""


def render(commands: Iterable[Command]) -> str:
    """Returns the page.

    Args:
        commands: The command table.

    Raises:
        KeyError: A command belongs to a group that the page has no section for.
    """
    sections: dict[str, list[Command]] = {group: [] for group in SECTIONS}
    for item in commands:
        sections[item.group].append(item)
    return _HEAD + "".join(_section(SECTIONS[g], items) for g, items in sections.items()) + _FOOT


def _section(title: str, commands: Iterable[Command]) -> str:
    rows = "".join(_row(item) for command in commands for item in _askable(command))
    return f"## {title}\n\n{_TABLE}{rows}\n"


def _askable(command: Command) -> Iterator[Command]:
    """Yields a command if it can stand alone, and its subcommands."""
    if not command.subcommands or command.arity >= -1:
        yield command
    yield from command.subcommands


def _row(item: Command) -> str:
    usage = f"{item.full_name.upper().replace('|', ' ')} {item.syntax}".rstrip()
    origin = "RedisAI" if MODULE in item.flags else f"Redis {item.since}"
    marks = ", ".join(flag for flag in (WRITE, ADMIN) if flag in item.flags)
    # A bar would end the cell, even in code.
    cells = (cell.replace("|", r"\|") for cell in (f"`{usage}`", item.summary, origin, marks))
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(render(COMMANDS), encoding="utf-8")
