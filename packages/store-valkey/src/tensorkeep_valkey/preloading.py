"""Builds all models and scripts of a database before the server is ready."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from tensorkeep.errors import TensorkeepError
from tensorkeep_valkey.built_models import Place
from tensorkeep_valkey.catalog import Search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.model import Runnable
    from tensorkeep.store import Result
    from tensorkeep_valkey.catalog import Found
    from tensorkeep_valkey.known_models import KnownModels
    from tensorkeep_valkey.shared_connection import SharedConnection

_log = logging.getLogger(__name__)

_TELL_EVERY: Final = 5.0  # seconds between two lines of progress


async def build_all(connection: SharedConnection, database: int, known: KnownModels) -> None:
    """Builds, one after the other, what is stored; what cannot be built is told to the log.

    Args:
        connection: The server's own to the database.
        database: Its number.
        known: Builds them, and keeps them.

    Raises:
        StoreError: The engine does not tell what is stored.
    """
    loop = asyncio.get_running_loop()
    searched: asyncio.Future[Result[Sequence[Found]]] = loop.create_future()
    Search(connection.exchange, searched.set_result).begin()
    all_found = (await searched)()
    failed, tell_at = 0, loop.time() + _TELL_EVERY
    _log.info("%d models and scripts are stored, which are built now", len(all_found))
    for number, found in enumerate(all_found):
        built: asyncio.Future[Runnable | TensorkeepError] = loop.create_future()
        known.build(Place(database, found.key), found.storing, built.set_result)
        outcome = await built
        if isinstance(outcome, TensorkeepError):
            failed += 1
            _log.warning("%r cannot be built: %s", found.key, outcome)
        if loop.time() >= tell_at:
            tell_at += _TELL_EVERY
            _log.info("%d of %d are built", number + 1 - failed, len(all_found))
    _log.info("%d of %d models and scripts are built", len(all_found) - failed, len(all_found))
