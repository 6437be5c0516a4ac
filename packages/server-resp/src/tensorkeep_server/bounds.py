"""How many of anything one command may name: reading more would keep all other clients waiting.

Each bound lies far beyond what anybody needs. What Redis' own commands may name is bounded by the
number of a request's arguments alone, as in Redis.
"""

from __future__ import annotations

from typing import Final

from tensorkeep.commands.errors import CommandError

MOST_NAMES: Final = 10_000
"""Keys or names behind one word of an AI command, such as INPUTS, LOAD or ENTRY_POINTS."""

MOST_OPERATIONS: Final = 10_000
"""Operations of one DAG."""


def check_names(count: int, word: str) -> None:
    """Makes sure that a word may be followed by so many keys or names.

    Raises:
        CommandError: There are too many.
    """
    if count > MOST_NAMES:
        raise CommandError(f"ERR {word} must be at most {MOST_NAMES}")


def check_operations(count: int) -> None:
    """Makes sure that a DAG may have so many operations.

    Raises:
        CommandError: There are too many.
    """
    if count > MOST_OPERATIONS:
        raise CommandError(f"ERR operations of a DAG must be at most {MOST_OPERATIONS}")
