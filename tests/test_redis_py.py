"""redis-py, the client that Python programs have, used in all the ways that it offers."""

import asyncio
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import pytest
import redis
import redis.asyncio
from counted import blocked
from redis.backoff import NoBackoff
from redis.retry import Retry


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def protocol(request):
    return request.param


@pytest.fixture
def client(serving, protocol):
    with serving.client(protocol=protocol) as client:
        yield client


@pytest.fixture
def connect(serving, protocol):
    """Makes a client for asyncio: `async with connect() as client`."""

    @asynccontextmanager
    async def connect(**options):
        client = redis.asyncio.Redis(port=serving.port, protocol=protocol, **options)
        try:
            yield client
        finally:
            await client.aclose()

    return connect


@pytest.fixture(scope="module", autouse=True)
def stored(serving, digits):
    """The network, and the first picture."""
    with serving.client() as client:
        digits.store(client)
        picture = digits.pictures[:1]
        client.execute_command(
            "AI.TENSORSET", "picture", "FLOAT", *picture.shape, "BLOB", picture.tobytes()
        )


RUN = ("AI.MODELEXECUTE", "digits", "INPUTS", 1, "picture", "OUTPUTS", 1)


# ------------------------------------------------------------------ replies
def test_every_kind_of_reply_arrives_as_what_it_is(client, protocol):
    client.execute_command("AI.TENSORSET", "kinds", "FLOAT", 2, 2, "VALUES", 1, "0.5", "-inf", 0)

    assert client.ping() is True
    assert client.echo("é\0\r\n") == "é\0\r\n".encode()
    assert client.exists("kinds", "no such key") == 1
    assert client.execute_command("AI.TENSORGET", "kinds", "BLOB") == (
        np.array([1, 0.5, -math.inf, 0], np.float32).tobytes()
    )
    assert client.execute_command("AI.TENSORGET", "kinds", "META") == [
        b"dtype", b"FLOAT", b"shape", [2, 2],
    ]  # fmt: skip
    assert client.execute_command("AI.CONFIG", "GET", "no such setting") is None
    values = client.execute_command("AI.TENSORGET", "kinds", "VALUES")
    assert values == (
        [1.0, 0.5, -math.inf, 0.0] if protocol == 3 else [b"1", b"0.5", b"-inf", b"0"]
    )


@pytest.mark.memory_store("Redis 6.2 has other words", on=("redis-6.2",))
def test_an_error_is_raised_with_its_text(client):
    with pytest.raises(redis.ResponseError, match=r"^model key is empty$"):
        client.execute_command("AI.MODELGET", "nowhere")
    with pytest.raises(redis.ResponseError, match=r"^WRONGTYPE Operation against a key"):
        client.execute_command("AI.TENSORGET", "digits")
    with pytest.raises(redis.ResponseError, match=r"^unknown command 'NO.SUCH'"):
        client.execute_command("NO.SUCH")
    assert client.ping()


def test_decoded_responses_are_text(serving, protocol, type_names):
    with serving.client(protocol=protocol, decode_responses=True) as client:
        client.execute_command("AI.TENSORSET", "decoded", "STRING", 2, "VALUES", "é", "日本")

        assert client.execute_command("AI.TENSORGET", "decoded", "VALUES") == ["é", "日本"]
        assert client.type("decoded") == type_names["AI_TENSOR"]
        assert client.info()["tensorkeep_version"]


def test_a_large_tensor_goes_there_and_back(client):
    blob = np.random.default_rng(5).bytes(8_000_000)

    client.execute_command("AI.TENSORSET", "large", "UINT8", len(blob), "BLOB", blob)

    assert client.execute_command("AI.TENSORGET", "large", "BLOB") == blob


# ------------------------------------------------------------------ pipelines
def test_a_pipeline_answers_in_order_with_errors_in_their_places(client):
    pipeline = client.pipeline(transaction=False)
    for number in range(200):
        pipeline.execute_command("AI.TENSORSET", f"p:{number}", "INT64", 1, "VALUES", number)
    pipeline.execute_command("AI.TENSORGET", "nowhere")
    pipeline.execute_command(*RUN, "p:answer")
    for number in range(200):
        pipeline.execute_command("AI.TENSORGET", f"p:{number}", "VALUES")

    replies = pipeline.execute(raise_on_error=False)

    assert replies[:200] == [b"OK"] * 200
    assert isinstance(replies[200], redis.ResponseError)
    assert replies[201] == b"OK"
    assert replies[202:] == [[number] for number in range(200)]


# ------------------------------------------------------------------ connections
def test_threads_share_a_pool(serving, protocol, digits):
    pool = redis.BlockingConnectionPool(
        max_connections=4, timeout=30, port=serving.port, protocol=protocol
    )
    threads = 16

    def ask(number):
        with redis.Redis(connection_pool=pool) as client:
            assert client.execute_command(*RUN, f"pool:{number}") == b"OK"
            return client.execute_command("AI.TENSORGET", f"pool:{number}", "BLOB")

    with ThreadPoolExecutor(threads) as executor:
        answers = set(executor.map(ask, range(threads * 5)))
    pool.disconnect()

    assert len(answers) == 1
    assert abs(np.frombuffer(answers.pop(), np.float32) - digits.one_by_one[0]).max() <= 1e-6


@pytest.mark.memory_store(
    "CLIENT SETINFO came with 7.2",
    on=(
        "redis-6.2",
        "redis",
    ),
)
def test_a_client_has_its_name_its_database_and_its_library(serving, protocol):
    url = f"redis://127.0.0.1:{serving.port}/3?protocol={protocol}&client_name=painter"
    with redis.Redis.from_url(url) as client:
        (own,) = client.client_list(client_id=[client.client_id()])

        assert client.client_getname() in {"painter", b"painter"}
        assert (own["name"], own["db"], own["lib-name"]) == ("painter", "3", "redis-py")
        assert own["resp"] == str(protocol)
        client.execute_command("AI.TENSORSET", "in three", "FLOAT", 1)
    with serving.client(protocol=protocol) as client:
        assert client.exists("in three") == 0
        assert client.select(3)


def test_a_pool_checks_the_health_of_its_connections(serving, protocol):
    with serving.client(protocol=protocol, health_check_interval=0.001) as client:
        for _ in range(20):
            assert client.echo("well") == b"well"
        client.connection_pool.disconnect()
        assert client.echo("again") == b"again"


def test_a_client_whose_connection_was_ended_connects_again(serving, protocol):
    retry = Retry(NoBackoff(), 3)
    with (
        serving.client(protocol=protocol, retry=retry) as client,
        serving.client(protocol=protocol) as other,
    ):
        first = client.client_id()
        assert other.client_kill_filter(_id=first) == 1

        assert client.execute_command(*RUN, "after the end") == b"OK"
        assert client.client_id() != first


def test_a_client_without_patience_can_go_on_after_a_timeout(serving, protocol, counting):
    with serving.client(protocol=protocol) as client:
        client.execute_command("AI.MODELSTORE", "slow", "ONNX", "CPU:9", "BLOB", counting)
        client.execute_command("AI.TENSORSET", "turns", "INT64", 1, "VALUES", 1_000_000)
        client.execute_command("AI.TENSORSET", "one", "FLOAT", 1)
    with redis.Redis(
        port=serving.port, protocol=protocol, socket_timeout=0.1, retry=Retry(NoBackoff(), 0)
    ) as client:
        with pytest.raises(redis.TimeoutError):
            client.execute_command(
                "AI.MODELEXECUTE", "slow", "INPUTS", 2, "turns", "one", "OUTPUTS", 1, "late"
            )
        assert client.ping()  # on a connection of its own: no late answer is taken for PONG


# ------------------------------------------------------------------ keys and the server
@pytest.mark.memory_store("TYPE is the engine's")
def test_keys_are_found_by_iteration(client):
    names = {f"scan:{number}".encode() for number in range(500)}
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.execute_command("AI.TENSORSET", name, "INT8", 1)
    pipeline.execute()

    assert set(client.scan_iter(match="scan:*", count=17)) == names
    assert set(client.scan_iter(_type="AI__MODEL")) >= {b"digits"}
    assert names.isdisjoint(client.scan_iter(_type="AI__MODEL"))
    assert set(client.keys("scan:1?")) == {f"scan:1{digit}".encode() for digit in range(10)}
    assert client.delete(*names) == 500
    assert list(client.scan_iter(match="scan:*")) == []


def test_keys_expire_and_are_renamed_and_typed(client, type_names):
    client.execute_command("AI.TENSORSET", "mortal", "FLOAT", 1)

    assert client.type("mortal").decode() == type_names["AI_TENSOR"]
    assert client.type("digits").decode() == type_names["AI__MODEL"]
    assert client.ttl("mortal") == -1
    assert client.expire("mortal", 100)
    assert 0 < client.pttl("mortal") <= 100_000
    assert client.persist("mortal")
    assert client.rename("mortal", "renamed")
    assert (client.exists("mortal"), client.exists("renamed")) == (0, 1)
    assert client.unlink("renamed") == 1
    assert client.randomkey() is not None
    assert client.dbsize() > 0


def test_what_the_server_says_of_itself_is_understood(client):
    info = client.info()

    assert info["redis_version"].count(".") == 2
    assert info["uptime_in_seconds"] >= 0
    assert client.config_get("maxclients").keys() == {"maxclients"}
    assert client.command_count() == len(client.command())
    assert "ai.tensorset" in client.command()
    (key,) = client.command_getkeys("AI.TENSORGET", "kinds", "META")
    assert key in {"kinds", b"kinds"}
    assert client.module_list()
    assert len(client.time()) == 2


# ------------------------------------------------------------------ asyncio
async def test_many_tasks_ask_at_once(connect, digits):
    async with connect(max_connections=50) as client:

        async def ask(number):
            await client.execute_command(*RUN, f"task:{number}")
            return await client.execute_command("AI.TENSORGET", f"task:{number}", "BLOB")

        answers = set(await asyncio.gather(*(ask(number) for number in range(50))))

    assert len(answers) == 1
    assert abs(np.frombuffer(answers.pop(), np.float32) - digits.one_by_one[0]).max() <= 1e-6


async def test_a_pipeline_of_asyncio_answers_in_order(connect):
    async with connect() as client, client.pipeline(transaction=False) as pipeline:
        for number in range(50):
            pipeline.execute_command("AI.TENSORSET", f"a:{number}", "INT32", 1, "VALUES", number)
            pipeline.execute_command("AI.TENSORGET", f"a:{number}", "VALUES")

        replies = await pipeline.execute()

    assert replies[1::2] == [[number] for number in range(50)]


async def test_names_health_and_iteration_work_with_asyncio(connect):
    async with connect(client_name="sculptor", health_check_interval=0.001) as client:
        await client.execute_command("AI.TENSORSET", "iter:1", "INT8", 1)
        await asyncio.sleep(0.01)

        assert await client.client_getname() in {"sculptor", b"sculptor"}
        assert [key async for key in client.scan_iter("iter:*")] == [b"iter:1"]
        assert await client.delete("iter:1") == 1


async def test_a_task_that_is_cancelled_leaves_the_client_usable(connect, counting):
    async with connect() as client:
        await client.execute_command("AI.MODELSTORE", "slow", "ONNX", "CPU:8", "BLOB", counting)
        await client.execute_command("AI.TENSORSET", "turns", "INT64", 1, "VALUES", 1_000_000)
        await client.execute_command("AI.TENSORSET", "one", "FLOAT", 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.execute_command(
                    "AI.MODELEXECUTE", "slow", "INPUTS", 2, "turns", "one", "OUTPUTS", 1, "late"
                )

        assert await client.ping()
        assert await client.echo("still here") == b"still here"


async def test_an_ended_connection_is_replaced(connect, serving):
    async with connect(retry=redis.asyncio.retry.Retry(NoBackoff(), 3)) as client:
        number = await client.client_id()
        with serving.client() as other:
            assert other.client_kill_filter(_id=number) == 1
        assert await client.execute_command(*RUN, "after") == b"OK"


def test_a_blocked_client_does_not_stop_the_others_of_the_same_pool(serving, protocol, digits):
    with serving.client(protocol=protocol) as client:
        digits.store(client, "pair", "BATCHSIZE", 2, "MINBATCHSIZE", 2)  # a run waits for another
        replies = []
        run = ("AI.MODELEXECUTE", "pair", *RUN[2:], "late")
        thread = threading.Thread(target=lambda: replies.append(client.execute_command(*run)))
        thread.start()
        with serving.wire() as wire:
            while not blocked(wire):
                time.sleep(0.01)
        assert client.ping()
        assert replies == []
        assert client.execute_command(*run) == b"OK"
        thread.join()
    assert replies == [b"OK"]
