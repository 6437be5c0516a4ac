"""Many clients' requests go over one connection, each with its client's rights and database."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorkeep.errors import StoreError
from tensorkeep_valkey.addresses import parse
from tensorkeep_valkey.packing import packed
from tensorkeep_valkey.shared_connection import SharedConnection
from tensorkeep_valkey.testing import running_engine
from tensorkeep_valkey.upstream import Upstream


async def exchange(session, *requests, again=False):
    future = asyncio.get_running_loop().create_future()
    session.exchange(
        [[each.encode() for each in request] for request in requests],
        future.set_result,
        again=again,
    )
    return await future


async def test_replies_come_to_who_has_asked(store):
    clients = [store.client() for _ in range(50)]
    found = await asyncio.gather(
        *(exchange(x.session, ["ECHO", f"{n}"], ["PING"]) for n, x in enumerate(clients))
    )

    assert found == [[b"%d" % n, b"PONG"] for n in range(50)]
    assert store.told["store_connections"] == 1


async def test_requests_of_one_turn_go_out_in_one_write(store):
    client = store.client()
    await exchange(client.session, ["PING"])
    writes = []
    connection = client.session.share()
    transport = connection._transport

    class Noting:
        def write(self, data):
            writes.append(data)
            transport.write(data)

    connection._transport = Noting()
    await asyncio.gather(*(exchange(client.session, ["PING"]) for _ in range(20)))
    connection._transport = transport

    assert writes == [packed([[b"PING"]] * 20)]


async def test_each_database_has_a_connection(store):
    one, other = store.client(), store.client()
    await one.do("SELECT", "7")
    await exchange(one.session, ["SET", "here", "1"])

    assert await exchange(other.session, ["EXISTS", "here"]) == [0]
    assert await exchange(one.session, ["EXISTS", "here"]) == [1]


async def test_rights_are_those_that_the_client_has_got(begin):
    with running_engine() as engine:
        started = await begin(engine.unix)
        client = started.client()
        await client.do(
            *["ACL", "SETUSER", "ann", "on", ">secret", "~allowed:*", "+@all", "-flushall"]
        )

        assert await exchange(client.session, ["SET", "other", "1"]) == [b"OK"]
        assert await client.do("AUTH", "ann", "secret") == b"+OK\r\n"
        (reply,) = await exchange(client.session, ["SET", "other", "1"])
        assert isinstance(reply, StoreError)
        assert reply.line.startswith("NOPERM")
        assert await exchange(client.session, ["SET", "allowed:1", "1"]) == [b"OK"]
        assert await client.do("RESET") == b"+RESET\r\n"
        assert await exchange(client.session, ["SET", "other", "1"]) == [b"OK"]


async def test_a_client_without_a_password_does_not_get_that_of_the_server(begin):
    with running_engine("valkey-9.1", "--requirepass", "secret") as engine:
        started = await begin(engine.unix.replace("unix://", "unix://:secret@"))
        client = started.client()

        (reply,) = await exchange(client.session, ["GET", "key"])
        assert reply.line == "NOAUTH Authentication required."
        assert (await client.do("GET", "key")).startswith(b"-NOAUTH")
        assert await client.do("AUTH", "secret") == b"+OK\r\n"
        assert await exchange(client.session, ["GET", "key"]) == [None]
        assert "secret" not in str(started.store.info())


async def test_an_error_within_an_array_is_one(store):
    client = store.client()
    replies = await exchange(
        client.session, ["MULTI"], ["SET", "kind", "x"], ["LPUSH", "kind", "y"], ["EXEC"]
    )

    assert replies[-1][0] == b"OK"
    assert isinstance(replies[-1][1], StoreError)


@pytest.mark.parametrize("size", [0, 1, 32 * 1024, 128 * 1024 - 5, 602_112, 5_000_000])
async def test_values_of_any_size_are_whole(store, size):
    client = store.client()
    value = bytes(range(251)) * (size // 251 + 1)
    future = asyncio.get_running_loop().create_future()
    client.session.exchange(
        [
            [b"SET", b"sized", memoryview(value)[:size]],
            [b"PING"],
            [b"GET", b"sized"],
            [b"MGET", b"sized", b"sized"],
            [b"GET", b"sized"],
            [b"DEL", b"sized"],
        ],
        future.set_result,
    )
    replies = await future

    assert replies[0::5] == [b"OK", 1]
    assert [bytes(each) for each in (replies[2], *replies[3], replies[4])] == [value[:size]] * 4


class Transport:
    """What a connection writes to in a test that makes up what comes."""

    def write(self, data):
        pass

    def writelines(self, data):
        pass

    def abort(self):
        pass

    close = abort


def value(size):
    return b"$%d\r\n" % size + b"x" * size + b"\r\n"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.sampled_from([b"+OK\r\n", b":1\r\n", b"*2\r\n:1\r\n" + value(40_000), b"$-1\r\n"])
             | st.sampled_from([0, 10, 32_768, 32_769, 131_066, 131_072, 300_000]).map(value),
             min_size=1, max_size=6),
    st.data(),
)  # fmt: skip
async def test_replies_are_the_same_wherever_the_bytes_were_cut(replies, data):
    connection = SharedConnection(Upstream(parse("valkey://nowhere")), [])
    connection.connection_made(Transport())
    got = []
    for _ in replies:
        connection.send([b"X"], got.append)
    stream = memoryview(b"".join(replies))
    while stream:
        buffer = connection.get_buffer(-1)
        most = min(len(buffer), len(stream))
        taken = data.draw(st.integers(1, most) | st.just(most))
        buffer[:taken] = stream[:taken]
        stream = stream[taken:]
        connection.buffer_updated(taken)
    connection.close()

    def plain(reply):
        return [plain(each) for each in reply] if isinstance(reply, list) else (
            bytes(reply) if isinstance(reply, memoryview) else reply
        )  # fmt: skip

    def expected(reply):
        size = len(reply)
        if reply[:1] == b"$":
            return None if reply[1:2] == b"-" else reply[reply.index(b"\n") + 1 : size - 2]
        return {b"+": b"OK", b":": 1}.get(reply[:1], [1, b"x" * 40_000])

    assert [plain(each) for each in got] == [expected(each) for each in replies]
