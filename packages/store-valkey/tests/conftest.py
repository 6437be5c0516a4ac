"""Engines, and a client's end of a session: what it is sent, and what it waits for."""

import asyncio

import pytest
import uvloop

from tensorkeep.store import Host
from tensorkeep_valkey.store import open_store
from tensorkeep_valkey.testing import DEFAULT, PRESENT, running_engine

LIMIT = 30.0  # seconds until a test that waits has failed


def pytest_asyncio_loop_factories(config, item):
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session", params=PRESENT)
def each_engine(request):
    """Every engine that is installed."""
    with running_engine(request.param) as engine:
        yield engine


@pytest.fixture(scope="session")
def engine():
    """One engine for all tests that do it no harm."""
    with running_engine(DEFAULT) as running:
        yield running


@pytest.fixture
def own_engine():
    """An engine that a test may kill."""
    with running_engine(DEFAULT) as running:
        yield running


class Client:
    """The client's end: what it was sent, and whether it was closed."""

    def __init__(self, store):
        self.sent = bytearray()
        self.lost = None
        self.paused = False
        self.waiting = 0
        self._changed = asyncio.Event()
        self.session = store.session(self)

    def send(self, data):
        self.sent += data
        self._changed.set()

    def lose(self, reason):
        self.lost = reason
        self._changed.set()

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False

    def relay(self, *words):
        """Sends a command and does not wait."""
        self.waiting += 1

        def done():
            self.waiting -= 1
            self._changed.set()

        self.session.relay([w.encode() if isinstance(w, str) else w for w in words], done)

    async def until(self, condition):
        async with asyncio.timeout(LIMIT):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def take(self):
        taken = bytes(self.sent)
        self.sent.clear()
        return taken

    async def do(self, *words):
        """Sends a command; returns what came until it was done."""
        self.relay(*words)
        await self.until(lambda: not self.waiting)
        return self.take()

    async def comes(self, data):
        """Waits until exactly this was sent."""
        await self.until(lambda: len(self.sent) >= len(data))
        assert self.take() == data

    async def ask(self, *words):
        future = asyncio.get_running_loop().create_future()
        self.session.ask([w.encode() for w in words], future.set_result)
        async with asyncio.timeout(LIMIT):
            return (await future)()


class Started:
    """A started store, and its clients."""

    def __init__(self, store):
        self.store = store
        self.clients = []

    def client(self):
        self.clients.append(Client(self.store))
        return self.clients[-1]

    @property
    def told(self):
        return self.store.info()["Store"]


@pytest.fixture
async def begin():
    """Starts stores, which end with the test."""
    started = []

    async def start(url):
        store = open_store(url, Host(engine=None, directory="", options={}))
        await store.start()
        started.append(Started(store))
        return started[-1]

    yield start
    for each in started:
        for client in each.clients:
            client.session.close()
        await each.store.close()


@pytest.fixture
async def store(begin, engine):
    """A store in the engine that all share."""
    return await begin(engine.unix)
