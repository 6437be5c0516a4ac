"""A store under test, of either kind, reached by plain calls that wait for what comes.

A local store does everything at once; what a remote one calls back later is waited for here, on an
event loop that turns meanwhile. So one test holds for both.
"""

from __future__ import annotations

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

from tensorkeep.backends import Backends
from tensorkeep.commands.command import CommandTable
from tensorkeep.config import EngineConfig
from tensorkeep.engine import Engine
from tensorkeep.store import Host, is_remote
from tensorkeep.testing.fake_backend import FakeBackend

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorkeep.errors import TensorkeepError
    from tensorkeep.model import Model, ModelSpec, Script, ScriptSpec
    from tensorkeep.store import LocalStore, RemoteStore, Result, Session, Step, Values, Wanted

_T = TypeVar("_T")

BACKEND: Final = "FAKE"
"""Name of the backend that builds models and scripts: `FakeBackend`."""

_PATIENCE: Final = 30.0  # seconds to wait for what a store calls back
_MOST_BYTES: Final = 512 * 2**20  # of one value, as Redis has it


class StoreClient(Protocol):
    """A client of the store, in database 0 to begin with."""

    def read(self, *wanted: Wanted) -> Values:
        """Reads values at one moment."""

    def change(self, change: Callable[[Values], object]) -> None:
        """Makes changes: all, or none if an error is raised."""

    def command(self, *words: bytes) -> Any:  # noqa: ANN401 - a reply is of many kinds
        """Does a command on plain data, and returns its reply; an integer is an `int`."""

    def select(self, database: int) -> None:
        """Selects another database."""


class OpenedStore:
    """A store that was opened, with an engine whose only backend is `FakeBackend`.

    Args:
        opens: Opens the store; a remote one is started here.

    Attributes:
        backend: Builds models and scripts, with signatures of any name.
        engine: The engine.
        store: The store.
        remote: The same if it is remote, else None.
    """

    def __init__(self, opens: Callable[[Host], LocalStore | RemoteStore]) -> None:
        self.backend: Final = FakeBackend(signatures=True)
        self._runner = asyncio.Runner()
        self._clients: list[RemoteClient] = []
        backends = Backends(installed=lambda: ())
        backends.add(BACKEND, self.backend)
        self.engine: Final = Engine(self._runner.get_loop(), EngineConfig(), backends)
        self.store: Final = opens(Host(self.engine, "", {}))
        self.remote: Final = self.store if is_remote(self.store) else None
        if self.remote is not None:
            self._runner.run(self.remote.start())

    def client(self) -> StoreClient:
        """Returns a new client."""
        if self.remote is None:
            return _LocalClient(cast("LocalStore", self.store))
        return self.remote_client()

    def remote_client(self) -> RemoteClient:
        """Returns a new client of a remote store."""
        assert self.remote is not None  # noqa: S101 - who asks for it has looked
        client = RemoteClient(self, self.remote)
        self._clients.append(client)
        return client

    def wait(self, begin: Callable[[Callable[[Result[_T]], None]], object]) -> _T:
        """Begins something on the loop's thread, and returns its result, or raises its error."""

        async def result() -> Result[_T]:
            future: asyncio.Future[Result[_T]] = asyncio.get_running_loop().create_future()
            begin(future.set_result)
            return await asyncio.wait_for(future, _PATIENCE)

        return self._runner.run(result())()

    def model(self, spec: ModelSpec, blob: bytes) -> Model:
        """Builds a model."""

        def begin(done: Callable[[Result[Model]], None]) -> None:
            self.engine.create_model(spec, blob, _when_built(done))

        return self.wait(begin)

    def script(self, spec: ScriptSpec, source: bytes) -> Script:
        """Compiles a script."""

        def begin(done: Callable[[Result[Script]], None]) -> None:
            self.engine.create_script(spec, source, _when_built(done))

        return self.wait(begin)

    def close(self) -> None:
        """Closes the clients, the store and the engine."""
        for client in self._clients:
            self.wait(client.close)
        if self.remote is not None:
            self._runner.run(self.remote.close())

        def end(done: Callable[[Result[None]], None]) -> None:
            self.engine.close(0.0, partial(done, _nothing))

        self.wait(end)
        self._runner.close()


def _when_built(
    done: Callable[[Result[_T]], None],
) -> Callable[[_T | None, TensorkeepError | None], None]:
    def built(runnable: _T | None, error: TensorkeepError | None) -> None:
        def result() -> _T:
            if error is not None:
                raise error
            return cast("_T", runnable)

        done(result)

    return built


class _LocalClient:
    """See `StoreClient`; it is what the handlers of a local store are given."""

    version: Final = 2

    def __init__(self, store: LocalStore) -> None:
        self.keys = store.databases[0]
        self.database = 0
        self.server: Final = SimpleNamespace(
            databases=store.databases, one_moment=store.one_moment, most_bytes=_MOST_BYTES
        )
        self._table = CommandTable(store.commands)

    def read(self, *wanted: Wanted) -> Values:
        del wanted  # all values are at hand
        return self.keys

    def change(self, change: Callable[[Values], object]) -> None:
        change(self.keys)

    def command(self, *words: bytes) -> Any:  # noqa: ANN401 - a reply is of many kinds
        command, args = self._table.find(words)
        return command.handle(self, command.parse(args))

    def select(self, database: int) -> None:
        self.keys, self.database = self.server.databases[database], database


class RemoteClient:
    """See `StoreClient`; and a `Downstream`, which keeps what it is sent.

    Attributes:
        session: Its session.
        sent: What it was sent.
        lost: Why its connection was closed; empty while it is not.
    """

    def __init__(self, opened: OpenedStore, store: RemoteStore) -> None:
        self.sent = b""
        self.lost = ""
        self._wait = opened.wait

        def begin(done: Callable[[Result[Session]], None]) -> None:
            session = store.session(self)
            done(lambda: session)

        self.session: Final[Session] = self._wait(begin)

    # ------------------------------------------------------------------ downstream
    def send(self, data: bytes) -> None:
        """Keeps what it is sent."""
        self.sent += data

    def lose(self, reason: str) -> None:
        """Keeps why its connection was closed."""
        self.lost = reason

    def pause(self) -> None:
        """Goes on: what a test relays is small."""

    def resume(self) -> None:
        """See `pause`."""

    # ------------------------------------------------------------------ the client
    def read(self, *wanted: Wanted) -> Values:
        """See `StoreClient`."""
        values: Values = self._wait(partial(self.session.read, wanted))
        return values

    def change(self, change: Callable[[Values], object]) -> None:
        """See `StoreClient`."""
        values = self.session.values()
        change(values)
        self._wait(partial(self.session.write, values))

    def command(self, *words: bytes) -> Any:  # noqa: ANN401 - a reply is of many kinds
        """See `StoreClient`; not within a transaction."""
        return self._wait(partial(self.session.ask, words))

    def relay(self, *words: bytes) -> bytes:
        """Has the engine do a command, and returns what was sent of it."""
        before = len(self.sent)

        def begin(done: Callable[[Result[None]], None]) -> None:
            self.session.relay(words, partial(done, _nothing))

        self._wait(begin)
        return self.sent[before:]

    def enqueue(self, step: Step) -> None:
        """Puts a command of the front end's own into a transaction."""
        self._wait(partial(self.session.enqueue, step))

    def select(self, database: int) -> None:
        """See `StoreClient`."""
        self.relay(b"SELECT", b"%d" % database)

    def close(self, done: Callable[[Result[None]], None]) -> None:
        """Ends its session."""
        self.session.close()
        done(_nothing)


def _nothing() -> None:
    """The result of what only ends."""
