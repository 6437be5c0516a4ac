"""The store of `--dir`: an engine of our own, and a way to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, get_args

from tensorkeep.errors import StoreError
from tensorkeep_valkey.addresses import Address
from tensorkeep_valkey.data_directory import DataDirectory
from tensorkeep_valkey.engine_program import Fsync, find_program
from tensorkeep_valkey.engine_users import EngineUsers
from tensorkeep_valkey.own_engine import OwnEngine
from tensorkeep_valkey.store import ValkeyStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorkeep.store import Host
    from tensorkeep_valkey.addresses import Credentials


def open_directory(_url: str, host: Host) -> DirectoryStore:
    """Opens the store in `host.directory`; nothing is started yet.

    Raises:
        StoreError: There is no program to start, or an option means nothing.
    """
    fsync = host.options.get("fsync", "everysec")
    if fsync not in get_args(Fsync):
        known = ", ".join(get_args(Fsync))
        raise StoreError(f"ERR fsync must be one of {known}, not {fsync!r}")
    directory = DataDirectory(host.directory)
    program = find_program(host.options.get("program", ""))
    users = EngineUsers(host.options.get("password", ""), host.options.get("users", ""))
    engine = OwnEngine(directory, program, cast("Fsync", fsync), users)
    return DirectoryStore(directory, engine, users.credentials, host)


class DirectoryStore(ValkeyStore):
    """A store whose engine is started by it.

    Args:
        directory: Where the data is.
        engine: The engine.
        credentials: Who the server is there; None if it need not say.
        host: What the store is given.
    """

    def __init__(
        self,
        directory: DataDirectory,
        engine: OwnEngine,
        credentials: Credentials | None,
        host: Host,
    ) -> None:
        super().__init__(Address(shown=f"dir:{directory.path}"), host)
        self._directory = directory
        self._own_engine = engine
        self._credentials = credentials

    async def start(self) -> None:
        """Starts the engine and reaches it.

        Raises:
            StoreError: The folder is another server's, or the engine does not start.
        """
        self._directory.take()
        try:
            self._address = Address(
                shown=self._address.shown,
                path=self._directory.socket,
                credentials=self._credentials,
            )
            await self._own_engine.start()
            await super().start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Lets go of the engine, and ends it."""
        await super().close()
        await self._own_engine.close()
        self._directory.release()

    def info(self) -> Mapping[str, Mapping[str, str | int | float]]:
        """Returns the section of INFO that tells of the engine."""
        told = super().info()
        return {**told, "Store": {**told["Store"], "store_restarts": self._own_engine.restarts}}
