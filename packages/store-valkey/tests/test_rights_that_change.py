"""What is changed of users and passwords at the engine holds for clients at once."""

import asyncio

import pytest

from tensorkeep.errors import StoreError
from tensorkeep_valkey.testing import PRESENT, running_engine

ANN = ("ACL", "SETUSER", "ann", "on", ">secret", "~*", "+@all")


@pytest.fixture(params=PRESENT)
def engine(request):
    with running_engine(request.param) as running:
        yield running


async def exchange(session, *requests):
    future = asyncio.get_running_loop().create_future()
    session.exchange([[each.encode() for each in words] for words in requests], future.set_result)
    return [str(reply) if isinstance(reply, StoreError) else reply for reply in await future]


async def one(client, *words):
    (reply,) = await exchange(client.session, words)
    return reply


async def test_a_password_that_is_set_later_is_wanted_from_clients_that_come_later(begin, engine):
    started = await begin(engine.unix)
    before, idle, admin = started.client(), started.client(), started.client()
    assert await one(before, "SET", "k", "1") == b"OK"
    await admin.do("CONFIG", "SET", "requirepass", "secret")

    after = started.client()
    assert (
        await exchange(after.session, ["GET", "k"], ["PING"])
        == ["NOAUTH Authentication required."] * 2
    )
    assert await one(idle, "GET", "k") == "NOAUTH Authentication required."
    assert (await after.do("GET", "k")).startswith(b"-NOAUTH")
    assert await after.do("AUTH", "secret") == b"+OK\r\n"
    assert await one(after, "GET", "k") == b"1"
    assert await after.do("RESET") == b"+RESET\r\n"
    assert await one(after, "GET", "k") == "NOAUTH Authentication required."
    assert await one(before, "GET", "k") == b"1"  # as a connection of its own to the engine would

    await admin.do("CONFIG", "SET", "requirepass", "")
    assert await one(after, "GET", "k") == b"1"


async def test_a_user_that_is_deleted_can_do_nothing_more(begin, engine):
    started = await begin(engine.unix)
    client, admin = started.client(), started.client()
    await admin.do(*ANN)
    await client.do("AUTH", "ann", "secret")
    assert await one(client, "SET", "k", "1") == b"OK"
    assert await client.do("GET", "k") == b"$1\r\n1\r\n"
    await admin.do("ACL", "DELUSER", "ann")

    for _ in range(3):  # the first may hear that the connection was lost
        found = await one(client, "GET", "k")
        relayed = await client.do("GET", "k")
    assert found.startswith("WRONGPASS")
    assert relayed.startswith(b"-WRONGPASS")
    assert await one(admin, "GET", "k") == b"1"


async def test_rights_that_are_taken_or_given_count_at_once(begin, engine):
    started = await begin(engine.unix)
    client, admin = started.client(), started.client()
    await admin.do(*ANN)
    await client.do("AUTH", "ann", "secret")
    assert await one(client, "SET", "k", "1") == b"OK"

    await admin.do("ACL", "SETUSER", "ann", "-set", "resetkeys", "~mine:*")
    assert (await one(client, "SET", "mine:k", "1")).startswith("NOPERM")
    assert (await one(client, "GET", "k")).startswith("NOPERM")
    await admin.do("ACL", "SETUSER", "ann", "+set")
    assert await one(client, "SET", "mine:k", "1") == b"OK"


async def test_rights_of_those_without_a_password_count_at_once(begin, engine):
    started = await begin(engine.unix)
    client, admin = started.client(), started.client()
    await admin.do(*ANN)
    await admin.do("AUTH", "ann", "secret")
    assert await one(client, "SET", "k", "1") == b"OK"

    await admin.do("ACL", "SETUSER", "default", "-get")
    assert (await one(client, "GET", "k")).startswith("NOPERM")
    await admin.do("ACL", "SETUSER", "default", "off")
    assert (await one(started.client(), "SET", "k", "1")).startswith("NOAUTH")


async def test_an_old_password_lets_nobody_in(begin, engine):
    started = await begin(engine.unix)
    client, admin = started.client(), started.client()
    await admin.do(*ANN)
    await client.do("AUTH", "ann", "secret")
    assert await one(client, "SET", "k", "1") == b"OK"
    await admin.do("ACL", "SETUSER", "ann", "resetpass", ">other")

    after = started.client()
    assert (await after.do("AUTH", "ann", "secret")).startswith(b"-WRONGPASS")
    assert await after.do("AUTH", "ann", "other") == b"+OK\r\n"
    assert await one(after, "GET", "k") == b"1"


async def test_clients_that_come_together_are_proven_together(begin, engine):
    started = await begin(engine.unix)
    clients = [started.client() for _ in range(100)]
    before = await clients[0].do("INFO", "stats")
    await asyncio.gather(*(one(each, "PING") for each in clients))
    after = await clients[0].do("INFO", "stats")

    def connections(told):
        return int(told.partition(b"total_connections_received:")[2].split()[0])

    assert connections(after) - connections(before) <= 3
    assert await asyncio.gather(*(one(each, "PING") for each in clients)) == [b"PONG"] * 100
