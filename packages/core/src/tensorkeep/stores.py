"""Finds and opens stores, which are plugins (entry points `tensorkeep.stores`)."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final

from tensorkeep.errors import StoreUnavailable, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.store import Host, LocalStore, RemoteStore

GROUP: Final = "tensorkeep.stores"

DEFAULT_STORE: Final = "memory:"
"""URL of the store of a server that is told of none."""


def installed() -> Sequence[EntryPoint]:
    """Returns the entry points of all installed stores, one for each scheme of their URLs."""
    return tuple(entry_points(group=GROUP))


def open_store(
    url: str, host: Host, find: Callable[[], Sequence[EntryPoint]] = installed
) -> LocalStore | RemoteStore:
    """Opens a store; a remote one is not started yet.

    Args:
        url: Its scheme chooses the store; what else stands in it is the store's own business.
        host: What the store is given.
        find: Returns the entry points of the installed stores.

    Raises:
        StoreUnavailable: No store has this scheme, several have, or the one does not load.
        StoreError: The URL, or an option, means nothing to the store.
    """
    scheme = url.partition(":")[0].lower()
    found = [each for each in find() if each.name == scheme]
    if not found:
        known = ", ".join(sorted({each.name for each in find()})) or "none"
        raise StoreUnavailable(scheme, f"no store is installed for it (installed: {known})")
    if len({each.value for each in found}) > 1:
        owners = ", ".join(sorted(each.dist.name if each.dist else each.value for each in found))
        raise StoreUnavailable(scheme, f"several distributions claim it: {owners}")
    try:
        opens = found[0].load()
    except Exception as error:
        raise StoreUnavailable(scheme, f"it cannot be loaded: {text_of(error)}") from error
    store: LocalStore | RemoteStore = opens(url, host)
    return store
