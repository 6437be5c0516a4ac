"""Commands on keys of any type, and on the plain data that Redis has, in COMMAND's order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep_memory.commands import (
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

if TYPE_CHECKING:
    from tensorkeep.commands.command import Command

COMMANDS: Final[tuple[Command, ...]] = (
    *keys.COMMANDS,
    *expiry.COMMANDS,
    *databases.COMMANDS,
    *objects.COMMANDS,
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
)
