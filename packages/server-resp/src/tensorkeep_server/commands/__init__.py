"""All commands, in the order in which COMMAND shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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
from tensorkeep_server.commands.data import (
    counters,
    databases,
    expiry,
    hash_counters,
    hashes,
    keys,
    list_elements,
    lists,
    objects,
    set_algebra,
    sets,
    sorted_set_algebra,
    sorted_set_ranges,
    sorted_sets,
    strings,
    substrings,
)
from tensorkeep_server.commands.operations import (
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
    *cluster.COMMANDS,
    *keys.COMMANDS,
    *expiry.COMMANDS,
    *databases.COMMANDS,
    *objects.COMMANDS,
    *memory.COMMANDS,
    *strings.COMMANDS,
    *substrings.COMMANDS,
    *counters.COMMANDS,
    *lists.COMMANDS,
    *list_elements.COMMANDS,
    *hashes.COMMANDS,
    *hash_counters.COMMANDS,
    *sets.COMMANDS,
    *set_algebra.COMMANDS,
    *sorted_sets.COMMANDS,
    *sorted_set_ranges.COMMANDS,
    *sorted_set_algebra.COMMANDS,
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
