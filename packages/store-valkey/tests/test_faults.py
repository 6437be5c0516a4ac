"""What goes wrong with an engine is told, nothing is done twice, and it is found again."""

import asyncio
import os
import signal
import subprocess
import time
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from tensorkeep.errors import StoreError
from tensorkeep.store import Host
from tensorkeep_valkey.store import open_store
from tensorkeep_valkey.testing import DEFAULT, free_port, running_engine

NOT_DONE = b"-LOADING the engine at "
PERHAPS = b"-ERR the connection to the engine at "


async def exchange(session, *requests, again=False):
    future = asyncio.get_running_loop().create_future()
    session.exchange(
        [[each.encode() for each in request] for request in requests],
        future.set_result,
        again=again,
    )
    return await future


async def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def until_it_is(wanted, ask):
    deadline = time.monotonic() + 30
    while (found := await ask()) != wanted:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)


@asynccontextmanager
async def listening(serve):
    """Serves connections until the block ends; yields the port."""
    running = set()

    async def one(reader, writer):
        running.add(asyncio.current_task())
        try:
            await serve(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0.01)  # uvloop lets go of what is closed in its next turn


def saying(reply):
    """Returns what serves by the same reply to whatever comes."""

    async def serve(reader, writer):
        while await reader.read(1000):
            writer.write(reply() if callable(reply) else reply)

    return serve


@asynccontextmanager
async def cutting(engine):
    """A proxy before an engine; told to, it passes on so many bytes of replies, then hangs up."""
    left = [None]

    async def requests(reader, writer):
        while chunk := await reader.read(65536):
            writer.write(chunk)

    async def replies(reader, writer):
        while chunk := await reader.read(65536):
            if left[0] is None:
                writer.write(chunk)
                continue
            writer.write(chunk[: left[0]])
            left[0] -= len(chunk)
            if left[0] <= 0:
                left[0] = None
                await writer.drain()
                return

    async def serve(reader, writer):
        up_reader, up_writer = await asyncio.open_unix_connection(engine.path)
        tasks = [
            asyncio.create_task(requests(reader, up_writer)),
            asyncio.create_task(replies(up_reader, writer)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            up_writer.transport.abort()

    def cut_after(count):
        left[0] = count

    async with listening(serve) as port:
        yield f"valkey://127.0.0.1:{port}", cut_after


# --------------------------------------------------------------------------- the start
@pytest.fixture
def impatient(monkeypatch):
    """No engine is waited for."""
    monkeypatch.setattr("tensorkeep_valkey.store._AWAITED", 0.0)


async def start(url):
    store = open_store(url, Host(engine=None, directory="", options={}))
    try:
        await store.start()
    finally:
        await store.close()


async def test_an_engine_that_is_not_there_is_told_at_the_start(impatient):
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:\d+/0 cannot be reached.*refused"):
        await start(f"valkey://127.0.0.1:{free_port()}")
    with pytest.raises(StoreError, match=r"/nowhere.* cannot be reached.*No such file"):
        await start("unix:///nowhere")


async def test_an_engine_that_comes_later_is_awaited(monkeypatch, own_engine, caplog):
    monkeypatch.setattr("tensorkeep_valkey.store._TELL_EVERY", 0.1)
    own_engine.kill()
    starting = asyncio.ensure_future(start(own_engine.unix))
    await asyncio.sleep(0.5)
    assert not starting.done()
    own_engine.start()

    await starting
    assert caplog.text.count("cannot be reached") >= 2
    assert "is reached again" in caplog.text


async def test_a_start_that_is_given_up_leaves_nothing(own_engine):
    own_engine.kill()
    starting = asyncio.ensure_future(start(own_engine.unix))
    await asyncio.sleep(0.1)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_host_that_has_no_address_is_told_at_the_start(impatient):
    with pytest.raises(StoreError, match=r"nobody\.invalid:6379/0 cannot be reached"):
        await start("valkey://nobody.invalid")


async def test_what_is_no_engine_is_told_at_the_start():
    async with listening(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        with pytest.raises(StoreError, match="speaks another protocol"):
            await start(f"valkey://127.0.0.1:{port}")


async def test_one_that_never_answers_is_told_at_the_start(impatient):
    async with listening(saying(b"")) as port:
        with pytest.raises(StoreError, match=r"not within 0\.2 s"):
            await start(f"valkey://127.0.0.1:{port}?socket_connect_timeout=0.2")


async def test_one_that_hangs_up_is_told_at_the_start(impatient):
    async def hang_up(reader, writer):
        await reader.read(10)

    async with listening(hang_up) as port:
        with pytest.raises(StoreError, match="closed the connection at once"):
            await start(f"valkey://127.0.0.1:{port}")


async def test_a_wrong_password_and_a_missing_one_are_told_at_the_start():
    with running_engine("valkey-9.1", "--requirepass", "secret") as engine:
        with pytest.raises(StoreError, match="refuses the user or password") as raised:
            await start(engine.unix.replace("unix://", "unix://ann:mistaken@"))
        assert "mistaken" not in str(raised.value)
        with pytest.raises(StoreError, match="wants a password"):
            await start(engine.unix)


async def test_an_engine_that_is_too_old_is_told_at_the_start():
    old = iter([b"%1\r\n+proto\r\n:3\r\n", b"$22\r\nredis_version:6.0.16\r\n\r\n"])
    async with listening(saying(lambda: next(old))) as port:
        with pytest.raises(StoreError, match=r"too old, 6\.0\.16: Redis 6\.2 or newer"):
            await start(f"valkey://127.0.0.1:{port}")


async def test_one_that_knows_no_hello_is_too_old():
    async with listening(saying(b"-ERR unknown command `HELLO`, with args\r\n")) as port:
        with pytest.raises(StoreError, match="too old"):
            await start(f"valkey://127.0.0.1:{port}")


# --------------------------------------------------------------------------- loss
async def test_an_engine_that_dies_and_comes_back(begin, own_engine):
    started = await begin(own_engine.unix)
    client = started.client()
    assert await client.do("SET", "key", "1") == b"+OK\r\n"
    assert (started.told["store_state"], started.told["store_reconnections"]) == ("connected", 0)

    client.relay("BLPOP", "never", "0")
    client.relay("PING")
    await until(lambda: not client.session._own._out)
    own_engine.kill()
    await client.until(lambda: not client.waiting)

    assert client.take().count(PERHAPS) == 2
    assert client.lost is None
    assert (await client.do("GET", "key")).startswith(NOT_DONE)
    (reply,) = await exchange(client.session, ["GET", "key"])
    assert reply.line.startswith("LOADING")
    assert started.told["store_state"] == "unreachable"
    assert started.told["store_last_error"]

    own_engine.start()
    deadline = time.monotonic() + 20
    while not (found := await client.do("GET", "key")).startswith(b"$"):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.02)
    assert found == b"$-1\r\n"  # it keeps nothing on the disk
    await until(lambda: started.told["store_state"] == "connected")
    assert started.told["store_reconnections"] == 1


async def test_who_the_client_is_is_said_again_after_a_loss(begin, own_engine):
    started = await begin(own_engine.unix)
    client, other = started.client(), started.client()
    await other.do(*["ACL", "SETUSER", "ann", "on", ">secret", "~*", "+@all"])
    await client.do("HELLO", "3", "AUTH", "ann", "secret", "SETNAME", "me")
    await client.do("SELECT", "4")

    assert await other.do("CLIENT", "KILL", "USER", "ann") == b":1\r\n"
    assert await client.do("ACL", "WHOAMI") == b"$3\r\nann\r\n"
    found = await client.do("CLIENT", "INFO")
    assert b" name=me " in found
    assert b" db=4 " in found
    assert b" resp=3 " in found


@pytest.mark.parametrize(
    ("commands", "lost"),
    [
        ([["MULTI"], ["SET", "a", "1"]], "a transaction"),
        ([["WATCH", "a"]], "watched keys"),
        ([["SUBSCRIBE", "a"]], "subscriptions"),
        ([["MONITOR"]], "MONITOR"),
        ([["CLIENT", "NO-EVICT", "ON"]], "settings of CLIENT"),
        ([["MULTI"], ["EXEC"]], ""),
        ([["SUBSCRIBE", "a"], ["UNSUBSCRIBE"]], ""),
    ],
)
async def test_a_client_whose_state_is_lost_is_closed_and_no_other(
    begin, own_engine, commands, lost
):
    started = await begin(own_engine.unix)
    client, other = started.client(), started.client()
    for words in commands:
        await client.do(*words)
    kill = ["CLIENT", "KILL", "TYPE", "pubsub" if lost == "subscriptions" else "normal"]
    await other.do(*kill, "SKIPME", "yes")

    if lost:
        await client.until(lambda: client.lost is not None)
        assert client.lost.endswith(f"and with it {lost}")
    else:
        assert await client.do("PING") == b"+PONG\r\n"
        assert client.lost is None


async def test_shared_connections_that_were_killed_are_opened_again(begin, own_engine):
    started = await begin(own_engine.unix)
    client = started.client()
    await exchange(client.session, ["PING"])
    await client.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    await until(lambda: started.told["store_connections"] == 1)
    assert await exchange(client.session, ["PING"]) == [b"PONG"]


async def test_a_request_on_its_way_is_not_done_twice_unless_it_may_be(begin, own_engine):
    async with cutting(own_engine) as (url, cut_after):
        started = await begin(url)
        client = started.client()
        await exchange(client.session, ["PING"])
        cut_after(1)
        (reply,) = await exchange(client.session, ["INCR", "counted"])
        assert reply.line.startswith("ERR the connection")
        assert "may have been done" in reply.line

        assert await exchange(client.session, ["GET", "counted"]) == [b"1"]
        cut_after(1)
        assert await exchange(client.session, ["GET", "counted"], again=True) == [b"1"]


@pytest.mark.parametrize("count", [1, 4, 5, 15, 25, 26, 27])
async def test_a_reply_that_is_cut_closes_the_client_whole_ones_do_not(begin, own_engine, count):
    reply = b"$20\r\n" + b"x" * 20 + b"\r\n"
    async with cutting(own_engine) as (url, cut_after):
        started = await begin(url)
        client = started.client()
        await client.do("SET", "key", b"x" * 20)
        cut_after(count)
        client.relay("GET", "key")
        client.relay("INCR", "counted")
        await client.until(lambda: not client.waiting)

        if count < len(reply):
            await client.until(lambda: client.lost is not None)
            assert reply.startswith(client.take())
        else:
            sent = client.take()
            assert sent.startswith(reply + PERHAPS)
            assert client.lost is None
            assert await client.do("GET", "counted") == b"$1\r\n1\r\n"


async def test_an_engine_that_does_not_answer_in_time_is_given_up(begin, own_engine):
    started = await begin(own_engine.unix + "?socket_timeout=1")
    client = started.client()
    await exchange(client.session, ["PING"])
    own_engine.process.send_signal(signal.SIGSTOP)
    (reply,) = await exchange(client.session, ["SET", "slow", "1"])
    assert "may have been done: no reply within 1 s" in reply.line

    own_engine.process.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + 20
    while isinstance((await exchange(client.session, ["GET", "slow"]))[0], StoreError):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


# --------------------------------------------------------------------------- what engines refuse
async def test_a_full_engine_says_so(begin, own_engine):
    started = await begin(own_engine.unix)
    client = started.client()
    await client.do("CONFIG", "SET", "maxmemory", "1")

    (reply,) = await exchange(client.session, ["SET", "key", "1"])
    assert reply.line.startswith("OOM ")
    assert (await client.do("SET", "key", "1")).startswith(b"-OOM ")
    assert started.told["store_state"] == "connected"


async def test_an_engine_that_has_become_a_replica_is_looked_for_again(begin, own_engine):
    started = await begin(own_engine.unix)
    client = started.client()
    await exchange(client.session, ["PING"])
    await client.do("REPLICAOF", "127.0.0.1", str(free_port()))

    before = started.store._upstream.generation
    assert (await client.do("SET", "key", "1")).startswith(b"-READONLY")
    (reply,) = await exchange(client.session, ["SET", "key", "1"])
    assert reply.line.startswith("READONLY ")
    assert started.store._upstream.generation == before + 1
    await until(lambda: started.told["store_role"] == "slave")
    await client.do("REPLICAOF", "NO", "ONE")
    assert await exchange(client.session, ["SET", "key", "1"]) == [b"OK"]
    assert await client.do("SET", "key", "1") == b"+OK\r\n"


async def test_an_engine_that_still_loads_says_so(begin, own_engine):
    started = await begin(own_engine.unix)
    client = started.client()
    for number in range(150):  # each delays loading by 100 ms, until that has been seen
        client.relay("SET", f"key:{number}", os.urandom(2000))
    assert (await client.do("SAVE")).endswith(b"+OK\r\n")
    own_engine.kill()
    own_engine.options = (
        "--key-load-delay",
        "100000",
        "--loading-process-events-interval-bytes",
        "1024",
    )
    own_engine.start()

    deadline = time.monotonic() + 60
    seen = set()
    while not (reply := await client.do("STRLEN", "key:1")).startswith(b":2000"):
        (shared,) = await exchange(client.session, ["GET", "key:1"])
        seen |= {reply.split()[0], shared.line.split()[0] if isinstance(shared, StoreError) else ""}
        if seen >= {b"-LOADING", "LOADING"}:
            await client.do("CONFIG", "SET", "key-load-delay", "0")
        assert time.monotonic() < deadline, reply
    assert seen >= {b"-LOADING", "LOADING"}
    assert (started.told["store_state"], client.lost) == ("connected", None)


# --------------------------------------------------------------------------- Sentinel
@contextmanager
def running_sentinel(engine):
    """Runs a Sentinel that watches an engine as `main`; yields its port."""
    port = free_port()
    file = engine.folder / "sentinel.conf"
    file.write_text(f"port {port}\nsentinel monitor main 127.0.0.1 {engine.port} 1\n")
    process = subprocess.Popen([engine.program, file, "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


async def test_sentinels_name_the_engine_again_after_a_failover(begin):
    with running_engine() as one, running_engine() as other, running_sentinel(one) as port:
        watcher = redis.Redis(port=port, retry=Retry(ConstantBackoff(0.05), 200))
        watcher.ping()
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{port}"
        started = await begin(f"valkey+sentinel://{hosts}/main/0")
        client = started.client()
        await client.do("SET", "where", "one")
        await exchange(client.session, ["PING"])
        await (await begin(other.unix)).client().do("SET", "where", "other")

        watcher.execute_command("SENTINEL", "REMOVE", "main")
        watcher.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", other.port, 1)
        watcher.close()
        await client.do("REPLICAOF", "127.0.0.1", str(free_port()))
        assert (await client.do("SET", "key", "1")).startswith(b"-READONLY")
        # The Sentinel is asked anew at most once a second.
        relayed = partial(client.do, "GET", "where")
        await until_it_is(b"$5\r\nother\r\n", relayed)
        await until_it_is([b"other"], partial(exchange, client.session, ["GET", "where"]))


async def test_a_service_that_no_sentinel_knows_is_told(own_engine, impatient):
    with running_sentinel(own_engine) as port:
        redis.Redis(port=port, retry=Retry(ConstantBackoff(0.05), 200)).ping()
        with pytest.raises(StoreError, match="No master found for 'another'"):
            await start(f"valkey+sentinel://127.0.0.1:{port}/another")


async def test_more_clients_than_the_engine_lets_wait_connect_all_the_same(begin):
    with running_engine(DEFAULT, "--tcp-backlog", "1") as engine:
        store = await begin(engine.unix)
        clients = [store.client() for _ in range(50)]
        engine.process.send_signal(signal.SIGSTOP)
        for client in clients:
            client.relay("PING")
        await asyncio.sleep(0.1)
        engine.process.send_signal(signal.SIGCONT)
        for client in clients:
            await client.until(lambda client=client: not client.waiting)
        assert {client.take() for client in clients} == {b"+PONG\r\n"}
