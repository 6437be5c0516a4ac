"""redis-py 4, 5 and 8 with asyncio: the same in tasks, many at once."""

import asyncio
from contextlib import suppress
from functools import wraps

import numpy as np
import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff, NoBackoff

LIMIT = 60.0  # seconds that a test may take
PATIENCE = 30.0  # seconds that a message may take


def in_a_loop(test):
    """Lets a coroutine be a test; the environments of clients have no plugin for that."""

    @wraps(test)
    def run(*arguments, **fixtures):
        asyncio.run(asyncio.wait_for(test(*arguments, **fixtures), LIMIT))

    return run


@pytest.fixture(autouse=True)
def without_keys(client):
    """Lets each test begin with no keys."""


@in_a_loop
async def test_many_tasks_ask_at_once(connect_async, digits):
    async with connect_async(max_connections=20) as client:
        await client.execute_command("AI.MODELSTORE", "digits", "ONNX", "CPU", "BLOB", digits.onnx)
        limit = asyncio.Semaphore(20)  # the pool of these clients does not wait

        async def ask(number):
            picture = digits.pictures[number]
            async with limit:
                await client.execute_command(
                    *("AI.TENSORSET", f"x:{number}", "FLOAT", 1, *picture.shape),
                    *("BLOB", picture.tobytes()),
                )
                await client.execute_command(
                    *("AI.MODELEXECUTE", "digits", "INPUTS", 1, f"x:{number}"),
                    *("OUTPUTS", 1, f"y:{number}"),
                )
                got = await client.execute_command("AI.TENSORGET", f"y:{number}", "BLOB")
            return np.frombuffer(got, np.float32)

        count = len(digits.pictures)
        assert digits.read_well(np.stack(await asyncio.gather(*map(ask, range(count)))))
        info = await client.execute_command("AI.INFO", "digits")
        assert info[info.index(b"calls") + 1] == count


@in_a_loop
async def test_values_are_what_they_are(connect_async, protocol):
    async with connect_async() as client:
        assert await client.execute_command("AI.TENSORSET", "x", "DOUBLE", 2, "VALUES", 0.1, "inf")
        got = await client.execute_command("AI.TENSORGET", "x", "VALUES")
        assert [*map(float, got)] == [0.1, np.inf]
        assert {*map(type, got)} == {float if protocol == 3 else bytes}
        assert await client.hset("h", mapping={"a": 1, "b": b"\xff"}) == 2
        assert await client.hgetall("h") == {b"a": b"1", b"b": b"\xff"}
        assert await client.sadd("s", 1, 2) == 2
        assert await client.smembers("s") == {b"1", b"2"}
        assert await client.incrbyfloat("n", 0.5) == 0.5
        assert [key async for key in client.scan_iter("[hs]")] in ([b"h", b"s"], [b"s", b"h"])
        assert (await client.info("server"))["redis_mode"] == "standalone"
        with pytest.raises(redis.ResponseError, match=r"^tensor key is empty"):
            await client.execute_command("AI.TENSORGET", "nothing")
    async with connect_async(decode_responses=True) as client:
        assert await client.set("ключ", "десять", get=True) is None
        assert await client.get("ключ") == "десять"


@in_a_loop
async def test_pipelines_and_transactions(connect_async):
    async with connect_async() as client:
        async with client.pipeline(transaction=False) as pipe:
            for number in range(50):
                pipe.execute_command("AI.TENSORSET", f"a:{number}", "INT32", 1, "VALUES", number)
                pipe.execute_command("AI.TENSORGET", f"a:{number}", "VALUES")
            assert (await pipe.execute())[1::2] == [[number] for number in range(50)]
        async with client.pipeline() as pipe:
            await pipe.watch("n")
            await client.set("n", 1)
            pipe.multi()
            pipe.incr("n")
            with pytest.raises(redis.WatchError):
                await pipe.execute()

        async def step(pipe):
            value = int(await pipe.get("n"))
            pipe.multi()
            pipe.set("n", value + 1)

        async def count():
            for _ in range(10):
                await client.transaction(step, "n")

        await asyncio.gather(*(count() for _ in range(4)))
        assert await client.get("n") == b"41"


@in_a_loop
async def test_a_pool_waits_for_a_connection(port, spoken):
    pool = redis.asyncio.BlockingConnectionPool(max_connections=2, timeout=30, port=port, **spoken)
    client = redis.asyncio.Redis(connection_pool=pool)
    numbers = await asyncio.gather(*(client.client_id() for _ in range(30)))
    assert len(set(numbers)) <= 2
    await pool.disconnect()


@in_a_loop
async def test_a_killed_connection_is_replaced(connect_async, client):
    again = {"retry": Retry(ConstantBackoff(0.01), 3), "retry_on_error": [redis.ConnectionError]}
    async with connect_async(client_name="sculptor", health_check_interval=0.01, **again) as own:
        number = await own.client_id()
        assert await own.client_getname() in {"sculptor", b"sculptor"}
        assert client.client_kill_filter(_id=number) == 1
        assert await own.echo("again") == b"again"
        assert await own.client_id() != number
        assert await own.client_getname() in {"sculptor", b"sculptor"}


@in_a_loop
async def test_a_client_outlives_its_server(start, spoken):
    with start() as port:
        own = redis.asyncio.Redis(port=port, retry=Retry(NoBackoff(), 0), **spoken)
        assert await own.ping() is True
    with pytest.raises(redis.ConnectionError):
        await own.ping()
    with start("--port", str(port)):
        assert await own.ping() is True
        await own.connection_pool.disconnect()


@in_a_loop
async def test_a_task_that_is_cancelled_leaves_the_client_usable(connect_async, digits):
    async with connect_async() as client:
        # It waits for a second request that nobody sends.
        options = ("BATCHSIZE", 2000, "MINBATCHSIZE", 1000)
        await client.execute_command(
            "AI.MODELSTORE", "lonely", "ONNX", "CPU", *options, "BLOB", digits.onnx
        )
        one = digits.pictures[:1]
        await client.execute_command(
            "AI.TENSORSET", "one", "FLOAT", *one.shape, "BLOB", one.tobytes()
        )
        run = ("AI.MODELEXECUTE", "lonely", "INPUTS", 1, "one", "OUTPUTS", 1, "y", "TIMEOUT", 500)
        with pytest.raises((TimeoutError, asyncio.TimeoutError)):
            await asyncio.wait_for(client.execute_command(*run), 0.1)
        assert await client.ping() is True
        assert await client.echo("still here") == b"still here"
        assert await client.execute_command(*run) == b"TIMEDOUT"


@in_a_loop
async def test_many_subscribers_get_every_message(connect_async):
    count, ready = 30, asyncio.Semaphore(0)

    async def listen(client):
        async with client.pubsub() as subscriber:
            await subscriber.subscribe("all")
            await subscriber.psubscribe("a?l")
            got = []
            async for message in subscriber.listen():
                if message["type"].endswith("subscribe"):
                    ready.release()
                else:
                    got.append((message["type"], message["channel"], message["data"]))
                if len(got) == 2 * count:
                    break
        return got

    async with connect_async() as client:
        tasks = [asyncio.create_task(listen(client)) for _ in range(10)]
        for _ in range(2 * len(tasks)):
            await ready.acquire()
        assert [await client.publish("all", number) for number in range(count)] == [20] * count
        for got in await asyncio.gather(*tasks):
            assert got == [
                (kind, b"all", b"%d" % number)
                for number in range(count)
                for kind in ("message", "pmessage")
            ]


@in_a_loop
async def test_a_task_handles_messages(connect_async):
    got, came = [], asyncio.Event()

    def handle(message):
        got.append(message["data"])
        if len(got) == 20:
            came.set()

    async with connect_async() as client, client.pubsub() as subscriber:
        await subscriber.subscribe(handled=handle)
        confirmed = await subscriber.get_message(timeout=PATIENCE)
        assert confirmed["type"] == "subscribe"
        task = asyncio.create_task(subscriber.run(poll_timeout=0.05))
        assert [await client.publish("handled", number) for number in range(20)] == [1] * 20
        await asyncio.wait_for(came.wait(), PATIENCE)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert got == [b"%d" % number for number in range(20)]


@in_a_loop
async def test_monitor_shows_the_commands_of_others(connect_async):
    async with connect_async() as client, client.monitor() as monitor:
        await client.set("watched", "x")
        seen = await monitor.next_command()
        while "watched" not in seen["command"]:  # the other connection's greetings
            seen = await monitor.next_command()
    assert (seen["command"], seen["db"]) == ("SET watched x", 0)
