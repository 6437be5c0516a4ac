"""All commands, in the order in which COMMAND shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.command import MODULE
from tensorkeep.store import is_remote
from tensorkeep_server.commands import merged
from tensorkeep_server.commands.ai import (
    catalog,
    dag,
    deprecated_models,
    deprecated_scripts,
    execute,
    models,
    script_execute,
    scripts,
    tensors,
)
from tensorkeep_server.commands.ai import (
    config as ai_config,
)
from tensorkeep_server.commands.connections import (
    client,
    pubsub,
    session,
    transactions,
)
from tensorkeep_server.commands.operations import (
    acl,
    cluster,
    config,
    info,
    introspection,
    memory,
    modules,
    monitoring,
    server,
)

if TYPE_CHECKING:
    from tensorkeep.commands.command import Command
    from tensorkeep.store import LocalStore, RemoteStore

_OF_SERVER: Final[tuple[Command, ...]] = (
    *session.COMMANDS,
    *acl.COMMANDS,
    *client.COMMANDS,
    *introspection.COMMANDS,
    *config.COMMANDS,
    *info.COMMANDS,
    *server.COMMANDS,
    *monitoring.COMMANDS,
    *modules.COMMANDS,
    *cluster.COMMANDS,
)
_OF_MODELS: Final[tuple[Command, ...]] = (
    *memory.COMMANDS,
    *transactions.COMMANDS,
    *pubsub.COMMANDS,
    *tensors.COMMANDS,
    *models.COMMANDS,
    *execute.COMMANDS,
    *scripts.COMMANDS,
    *script_execute.COMMANDS,
    *dag.COMMANDS,
    *deprecated_models.COMMANDS,
    *deprecated_scripts.COMMANDS,
    *catalog.COMMANDS,
    *ai_config.COMMANDS,
)


def with_commands_of(store: LocalStore) -> tuple[Command, ...]:
    """Returns all commands of a server whose data is in a local store."""
    return (*_OF_SERVER, *store.commands, *_OF_MODELS)


def commands_over(store: LocalStore | RemoteStore) -> tuple[Command, ...]:
    """Returns the commands that a server does itself: with a remote store, few."""
    if is_remote(store):
        ours = tuple(each for each in _OF_MODELS if MODULE in each.flags)
        return (*merged.COMMANDS, *ours)
    return with_commands_of(store)
