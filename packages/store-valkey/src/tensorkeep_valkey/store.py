"""The plugin: a store whose engine is a Valkey or Redis."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from tensorkeep.errors import StoreError
from tensorkeep_valkey.addresses import parse
from tensorkeep_valkey.catalog import Search
from tensorkeep_valkey.engine_info import EngineInfo, read_info
from tensorkeep_valkey.freed_memory import keep_freed_memory
from tensorkeep_valkey.known_models import KnownModels
from tensorkeep_valkey.losses import Lost, Refuses, Unreachable, Untrusted
from tensorkeep_valkey.preloading import build_all
from tensorkeep_valkey.shared_connections import SharedConnections
from tensorkeep_valkey.store_session import StoreSession
from tensorkeep_valkey.upstream import WANTS_PASSWORD, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tensorkeep.model import Model, Script
    from tensorkeep.store import Downstream, Host, Result, Session
    from tensorkeep_valkey.addresses import Address
    from tensorkeep_valkey.catalog import Found
    from tensorkeep_valkey.shared_connection import Reply, SharedConnection

_log = logging.getLogger(__name__)

_LOOK_EVERY: Final = 2.0  # seconds between two looks at the engine
_AWAITED: Final = 60.0  # seconds that an engine may be away when the server starts
_TELL_EVERY: Final = 5.0  # seconds between two lines about that
_STEP: Final = 0.05  # seconds between two looks whether it is there, at least
_NEEDED: Final = "Redis 6.2 or newer, or any Valkey, is needed"


def open_store(url: str, host: Host) -> ValkeyStore:
    """Opens the store that a URL names; nothing is connected yet.

    Args:
        url: Where the engine is, see `addresses`.
        host: What the store is given.

    Raises:
        StoreError: The URL, or one of its options, means nothing.
    """
    return ValkeyStore(parse(url), host)


class ValkeyStore:
    """A store whose values are those of an engine at some address.

    Args:
        address: Where the engine is.
        host: What the store is given.
    """

    def __init__(self, address: Address, host: Host) -> None:
        self._address = address
        self._host = host
        self._upstream: Upstream | None = None
        self._shared: SharedConnections | None = None
        self._known = KnownModels(host.engine, self.own)
        self._engine = EngineInfo()
        self._reached = False
        self._timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------ begin and end
    async def start(self) -> None:
        """Reaches the engine and looks whether it will do.

        Raises:
            StoreError: It cannot be reached for a minute, refuses the password, or is too old.
        """
        keep_freed_memory()
        self._upstream = Upstream(self._address)
        self._shared = SharedConnections(self._upstream)
        try:
            await self._begin(asyncio.get_running_loop().time() + _AWAITED)
        except BaseException:
            await self.close()
            raise

    async def _begin(self, until: float) -> None:
        """Reaches the engine, which may be started just now, too."""
        await self._reach(until)
        engine, shown = self._engine, self._address.shown
        if engine.too_old:
            raise StoreError(f"ERR the engine at {shown} is too old, {engine.version}: {_NEEDED}")
        _log.info("the data is in %s %s at %s", engine.name or "an engine", engine.version, shown)
        self._plan_look()
        self._known.start()
        if self._host.options.get("preload") == "yes":
            await self._preload(until)

    async def _reach(self, until: float) -> None:
        """Asks the engine how it is, again and again while it is not there."""
        loop = asyncio.get_running_loop()
        tell_at = loop.time() + _TELL_EVERY
        while True:
            asked: asyncio.Future[Reply] = loop.create_future()
            self.home().send([b"INFO"], asked.set_result)
            reply = await asked
            if not isinstance(reply, StoreError):
                self._seen(reply)
                return
            lasting = isinstance(reply, Untrusted) or not isinstance(reply, (Unreachable, Lost))
            if lasting or loop.time() >= until:
                raise self._unfit(reply)
            if loop.time() >= tell_at:
                tell_at = loop.time() + _TELL_EVERY
                _log.warning("still waiting: %s", reply.line.partition(" ")[2])
            await asyncio.sleep(max(self._upstream.pause() if self._upstream else 0, _STEP))

    async def _preload(self, until: float) -> None:
        """Builds what is stored in any database; begins again with an engine that went away."""
        for database in sorted({self._address.database, *self._engine.databases}):
            while True:
                try:
                    await build_all(self.own(database), database, self._known)
                except (Unreachable, Lost) as error:
                    _log.warning("the engine went away: %s", error)
                    await self._reach(max(until, asyncio.get_running_loop().time() + _AWAITED))
                    continue
                except StoreError as error:
                    if database == self._address.database:
                        raise
                    _log.warning("the models of database %d are not built: %s", database, error)
                break

    def _unfit(self, error: StoreError) -> StoreError:
        shown, line = self._address.shown, error.line
        if isinstance(error, Unreachable):
            return error
        if isinstance(error, Refuses) and line == WANTS_PASSWORD:
            return StoreError(
                f"ERR the engine at {shown} wants a password and the store's address has none, as"
                " in valkey://user:password@host"
            )
        if line.startswith("WRONGPASS"):
            return StoreError(
                f"ERR the engine at {shown} refuses the user or password of the store's address:"
                f" {line}"
            )
        if "unknown command" in line.lower():
            return StoreError(f"ERR the engine at {shown} is too old ({line}): {_NEEDED}")
        return StoreError(f"ERR the engine at {shown} cannot be used: {line}")

    async def close(self) -> None:
        """Lets go of the engine."""
        self._known.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._shared is not None:
            self._shared.close()
        if self._upstream is not None:
            await self._upstream.close()

    # ------------------------------------------------------------------ what others use
    def home(self) -> SharedConnection:
        """Returns the server's own connection, with the rights and database of the address."""
        return self.own(self._address.database)

    def own(self, database: int) -> SharedConnection:
        """Returns the server's own connection to a database, with the rights of the address."""
        assert self._shared is not None  # noqa: S101 - it is started
        return self._shared.get(self._address.credentials, database)

    def session(self, downstream: Downstream) -> StoreSession:
        """Begins the session of a client."""
        assert self._upstream is not None  # noqa: S101 - it is started
        assert self._shared is not None  # noqa: S101
        database = self._address.database
        return StoreSession(self._upstream, self._shared, downstream, database, self._known)

    def catalog(
        self,
        kind: type[Model | Script],
        session: Session,
        done: Callable[[Result[Sequence[tuple[bytes, str]]]], None],
    ) -> None:
        """Lists the keys of all models or scripts of the session's database, with their tags."""

        def found(result: Result[Sequence[Found]]) -> None:
            def listed() -> Sequence[tuple[bytes, str]]:
                return [(each.key, each.tag) for each in result() if each.storing.kind is kind]

            done(listed)

        Search(partial(cast("StoreSession", session).exchange, again=True), found).begin()

    # ------------------------------------------------------------------ watching the engine
    def _plan_look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_LOOK_EVERY, self._look)

    def _look(self) -> None:
        """Asks the engine how it is, which connects to one that is back."""
        self.home().send([b"INFO"], self._looked)

    def _looked(self, reply: Reply) -> None:
        self._seen(reply)
        if self._timer is not None:
            self._plan_look()

    def _seen(self, reply: Reply) -> None:
        self._reached = not isinstance(reply, Unreachable)
        if isinstance(reply, bytes):
            self._engine = read_info(reply)

    def info(self) -> Mapping[str, Mapping[str, str | int | float]]:
        """Returns the section of INFO that tells of the engine."""
        upstream, engine = self._upstream, self._engine
        reached = self._reached and upstream is not None and upstream.connected > 0
        state = "loading" if engine.loading else "connected"
        return {
            "Store": {
                "store": self._address.shown,
                "store_state": state if reached else "unreachable",
                "store_engine": engine.name,
                "store_engine_version": engine.version,
                "store_role": engine.role,
                "store_connections": 0 if upstream is None else upstream.connected,
                "store_reconnections": 0 if upstream is None else upstream.reconnections,
                "store_last_error": "" if upstream is None else upstream.last_error,
            }
        }
