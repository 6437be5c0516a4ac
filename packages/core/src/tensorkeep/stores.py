"""What stores are installed: plugins, found by the scheme of a URL, and opened.

Listing reads package metadata and imports nothing. A store is imported when it is opened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final

from tensorkeep.errors import StoreUnavailable, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tensorkeep.store import Host, LocalStore, RemoteStore

GROUP: Final = "tensorkeep.stores"
"""Entry points of stores: one for each scheme, a function of the URL and a `Host`."""

EXTRAS_GROUP: Final = "tensorkeep.stores_of_extras"
"""The same for the stores that extras of the core bring, installed or not: each names its extra."""

DIRECTORY_STORE: Final = "dir:"
"""URL of the store that keeps its data in `Host.directory`."""

DEFAULT_STORE: Final = "memory:"
"""URL of the store of a server that is told of none."""


def _installed() -> Iterable[EntryPoint]:
    return entry_points(group=GROUP)


def _of_extras() -> Iterable[EntryPoint]:
    return entry_points(group=EXTRAS_GROUP)


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What is known of an installed store.

    Attributes:
        schemes: The schemes of the URLs that it takes.
        distribution: The distribution that brings it, with its version; empty when unknown.
        reason: Why it cannot be used, empty when it can.
    """

    schemes: tuple[str, ...]
    distribution: str
    reason: str


def find_store(
    url: str,
    installed: Callable[[], Iterable[EntryPoint]] = _installed,
    of_extras: Callable[[], Iterable[EntryPoint]] = _of_extras,
) -> EntryPoint:
    """Returns the entry point of the store that takes a URL, without importing it.

    Args:
        url: The URL; its scheme chooses the store.
        installed: Lists the entry points of the installed stores.
        of_extras: Lists those of the stores that extras bring.

    Raises:
        StoreUnavailable: No installed distribution has a store of this scheme, or several have.
    """
    scheme = url.partition(":")[0].lower()
    points = list(installed())
    found = [each for each in points if each.name.lower() == scheme]
    if not found:
        known = ", ".join(sorted({each.name for each in points})) or "none"
        reason = f"no installed package brings it (installed: {known})"
        for extra in sorted(
            {name for each in of_extras() if each.name.lower() == scheme for name in each.extras}
        ):
            reason += f'; pip install "tensorkeep[{extra}]" does'
        raise StoreUnavailable(scheme, reason)
    if len({(_distribution(each), each.value) for each in found}) > 1:
        names = " and ".join(sorted(_distribution(each) or each.value for each in found))
        raise StoreUnavailable(scheme, f"{names} both bring it: one of them has to be uninstalled")
    return found[0]


def open_store(
    url: str, host: Host, installed: Callable[[], Iterable[EntryPoint]] = _installed
) -> LocalStore | RemoteStore:
    """Opens a store; a remote one is not started yet.

    Args:
        url: Its scheme chooses the store; what else stands in it is the store's own business.
        host: What the store is given.
        installed: Lists the entry points of the installed stores.

    Raises:
        StoreUnavailable: No store has this scheme, several have, or the one does not load.
        StoreError: The URL, or an option, means nothing to the store.
    """
    opens = _loaded(find_store(url, installed))
    store: LocalStore | RemoteStore = opens(url, host)
    return store


def status(installed: Callable[[], Iterable[EntryPoint]] = _installed) -> list[StoreStatus]:
    """Returns what is known of every installed store, after importing each."""
    schemes: dict[tuple[str, str], list[str]] = {}
    for each in installed():
        schemes.setdefault((_distribution(each), each.value), []).append(each.name)
    return [
        StoreStatus(tuple(sorted(names)), distribution, _reason(names, installed))
        for (distribution, _), names in sorted(schemes.items())
    ]


def without_password(url: str) -> str:
    """Returns a URL as people may read it: `***` stands for each password."""
    masked = re.sub(r"(?<=//)([^:@/]*):.*@", r"\1:***@", url)
    return re.sub(r"(password=)[^&#]*", r"\1***", masked, flags=re.IGNORECASE)


def _reason(schemes: Iterable[str], installed: Callable[[], Iterable[EntryPoint]]) -> str:
    for scheme in schemes:
        try:
            _loaded(find_store(scheme, installed, tuple))
        except StoreUnavailable as error:
            return error.reason
    return ""


def _loaded(point: EntryPoint) -> Callable[[str, Host], LocalStore | RemoteStore]:
    try:
        opens: Callable[[str, Host], LocalStore | RemoteStore] = point.load()
    except Exception as error:
        raise StoreUnavailable(point.name, f"it cannot be loaded: {text_of(error)}") from error
    return opens


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else ""
