"""CLUSTER: what a server that is no part of a cluster answers to clients that ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.command import (
    STALE,
    Command,
    command,
    container,
    only_subcommands,
)
from tensorkeep.commands.errors import CommandError

if TYPE_CHECKING:
    from tensorkeep.commands.args import Args
    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.state import Client

_NO_CLUSTER: Final = "ERR This instance has cluster support disabled"
_QUESTIONS: Final = (  # name, what Redis answers in a cluster, arity, first version of Redis
    ("info", "the state of the cluster", 2, "3.0.0"),
    ("keyslot", "the slot of a key", 3, "3.0.0"),
    ("myid", "the identity of the node", 2, "3.0.0"),
    ("nodes", "the nodes of the cluster", 2, "3.0.0"),
    ("shards", "the slots and nodes of each shard", 2, "7.0.0"),
    ("slots", "the nodes of each range of slots", 2, "3.0.0"),
)


def parse_any(args: Args) -> None:
    """Takes what the arity allows."""
    args.take_rest()


def refuse(_client: Client, _request: None) -> Reply:
    """Returns as Redis does that is no part of a cluster."""
    raise CommandError(_NO_CLUSTER)


COMMANDS: Final[tuple[Command, ...]] = (
    container(
        only_subcommands(
            "cluster", summary="Commands about clusters.", group="cluster", since="3.0.0"
        ),
        (
            command(
                name,
                parse_any,
                refuse,
                summary=f"Refuses: there is no cluster, which would tell {answer}.",
                group="cluster",
                arity=arity,
                flags=(STALE,),
                syntax="key" if name == "keyslot" else "",
                since=since,
                tips=() if name in {"keyslot", "myid"} else ("nondeterministic_output",),
            )
            for name, answer, arity, since in _QUESTIONS
        ),
    ),
)
