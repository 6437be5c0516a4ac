"""What HELLO, MODULE LIST and INFO say of modules: the AI commands, which were one in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.command import (
    ADMIN,
    NOSCRIPT,
    Command,
    command,
    container,
    nothing,
    only_subcommands,
)
from tensorkeep.commands.reply import Map
from tensorkeep_server.identity import AI_VERSION_NUMBER

if TYPE_CHECKING:
    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.state import Client


INFO_LINE: Final = (
    f"module:name=ai,ver={AI_VERSION_NUMBER},api=1,filters=0,usedby=[],using=[],"
    "options=[handle-io-errors]"
)
"""The line of INFO that names our module."""


def ai_module() -> Map:
    """Describes the AI commands as a module."""
    return Map(((b"name", b"ai"), (b"ver", AI_VERSION_NUMBER), (b"path", b""), (b"args", ())))


def modules() -> Reply:
    """Returns the list of modules, as clients read it to learn whether they can use AI.*."""
    return (ai_module(),)


def module_list(_client: Client, _request: None) -> Reply:
    """Lists the modules."""
    return modules()


COMMANDS: Final[tuple[Command, ...]] = (
    container(
        only_subcommands(
            "module", summary="Commands about modules.", group="server", since="4.0.0"
        ),
        (
            command(
                "list",
                nothing,
                module_list,
                summary="Lists the modules: the AI commands count as one.",
                group="server",
                arity=2,
                flags=(ADMIN, NOSCRIPT),
                since="4.0.0",
                tips=("nondeterministic_output_order",),
            ),
        ),
    ),
)
