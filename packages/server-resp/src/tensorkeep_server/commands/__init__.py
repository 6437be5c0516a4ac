"""All commands, in the order in which COMMAND shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep_server.commands import (
    ai_config,
    catalog,
    client,
    config,
    counters,
    dag,
    databases,
    deprecated_models,
    deprecated_scripts,
    execute,
    expiry,
    info,
    introspection,
    keys,
    list_elements,
    lists,
    models,
    modules,
    monitoring,
    objects,
    pubsub,
    script_execute,
    scripts,
    server,
    session,
    strings,
    substrings,
    tensors,
    transactions,
)

if TYPE_CHECKING:
    from tensorkeep_server.command import Command

COMMANDS: Final[tuple[Command, ...]] = (
    *session.COMMANDS,
    *client.COMMANDS,
    *introspection.COMMANDS,
    *config.COMMANDS,
    *info.COMMANDS,
    *server.COMMANDS,
    *monitoring.COMMANDS,
    *modules.COMMANDS,
    *keys.COMMANDS,
    *expiry.COMMANDS,
    *databases.COMMANDS,
    *objects.COMMANDS,
    *strings.COMMANDS,
    *substrings.COMMANDS,
    *counters.COMMANDS,
    *lists.COMMANDS,
    *list_elements.COMMANDS,
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
