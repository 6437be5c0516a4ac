"""What the commands on plain data see of the client that asked, and of the front end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tensorkeep.commands.reply import Version
    from tensorkeep_memory.keyspace import Keyspace


class Server(Protocol):
    """What all clients share."""

    @property
    def databases(self) -> tuple[Keyspace, ...]:
        """The keys, by number of the database."""

    @property
    def most_bytes(self) -> int:
        """The most bytes that one value may have."""

    def one_moment(self) -> AbstractContextManager[None]:
        """Lets time stand still for all keys, see `LocalStore.one_moment`."""


class Client(Protocol):
    """Who asked for a command."""

    @property
    def server(self) -> Server:
        """What all clients share."""

    @property
    def keys(self) -> Keyspace:
        """The keys of the selected database."""

    @property
    def database(self) -> int:
        """Its number."""

    @property
    def version(self) -> Version:
        """The version of the protocol that the client speaks."""
