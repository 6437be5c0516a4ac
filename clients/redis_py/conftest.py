"""What the versions of redis-py differ in, so that one tour runs with each of them unchanged."""

from contextlib import asynccontextmanager

import pytest
import redis
import redis.asyncio

VERSION = int(redis.__version__.partition(".")[0])
# The first version that asks for one.
PROTOCOL_FROM = 5
PROTOCOLS = (2, 3) if VERSION >= PROTOCOL_FROM else (2,)
PATIENCE = 60.0  # seconds that a client waits for a reply


@pytest.fixture(scope="session")
def version():
    """The first number of redis-py's version."""
    return VERSION


@pytest.fixture(params=PROTOCOLS, ids="RESP{}".format)
def protocol(request):
    """The version of the protocol, each that this redis-py can speak."""
    return request.param


@pytest.fixture
def spoken(protocol):
    """The option by which a client is told which protocol to speak."""
    return {"protocol": protocol} if VERSION >= PROTOCOL_FROM else {}


@pytest.fixture
def connect(port, spoken):
    """Makes a client: `connect(db=3)`. It is closed in the end."""
    made = []

    def connect(**options):
        options = {"port": port, "socket_timeout": PATIENCE, **spoken, **options}
        made.append(redis.Redis(**options))
        return made[-1]

    yield connect
    for client in made:
        client.close()
        client.connection_pool.disconnect()


@pytest.fixture
def client(connect):
    """A client of a server without keys."""
    client = connect()
    client.flushall()
    return client


@pytest.fixture
def connect_async(port, spoken):
    """Makes a client for asyncio: `async with connect_async() as client`."""

    @asynccontextmanager
    async def connect_async(**options):
        options = {"port": port, "socket_timeout": PATIENCE, **spoken, **options}
        client = redis.asyncio.Redis(**options)
        try:
            yield client
        finally:
            await (client.aclose() if hasattr(client, "aclose") else client.close())
            await client.connection_pool.disconnect()

    return connect_async


@pytest.fixture(scope="session")
def named():
    """Makes a table of a reply: in RESP2 names and values alternate, in RESP3 it may be one."""

    def named(reply):
        return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))

    return named
