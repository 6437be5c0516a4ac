"""The plugin: a store whose engine is a Valkey or Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from tensorkeep.errors import StoreError

if TYPE_CHECKING:
    from tensorkeep.store import Host


def open_store(url: str, host: Host) -> NoReturn:
    """Opens the store that a URL names.

    Args:
        url: Where the engine is.
        host: What the store is given.

    Raises:
        StoreError: The URL, or one of its options, means nothing.
    """
    del url, host
    raise StoreError("ERR this store is not there yet")
