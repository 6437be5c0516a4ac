"""Transactions as redis-py does them: in pipelines, with watched keys and with retries."""

import threading

import pytest
import redis
import redis.asyncio

PUT = ("AI.TENSORSET", "tensor", "FLOAT", 2, "VALUES")
GET = ("AI.TENSORGET", "tensor", "VALUES")


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(serving, request):
    with serving.client(protocol=request.param) as client:
        client.flushall()
        yield client


def number(reply):
    """Returns the number that a tensor holds, whichever protocol brought it."""
    return int(float(reply[0]))


def put_number(commands, value):
    commands.execute_command("AI.TENSORSET", "n", "INT64", 1, "VALUES", value)


def test_a_pipeline_is_a_transaction_unless_told_otherwise(client):
    with client.pipeline() as pipe:
        pipe.execute_command(*PUT, 1, 2).execute_command(*GET).expire("tensor", 100).ttl("tensor")
        stored, values, *rest = pipe.execute()
    assert stored in {b"OK", "OK"}
    assert list(map(float, values)) == [1, 2]
    assert rest == [True, 100]


def test_a_model_is_stored_and_found_in_one_transaction(client, digits):
    with client.pipeline(transaction=True) as pipe:
        digits.store(pipe)
        pipe.exists("digits").execute_command("AI.MODELGET", "digits", "META").delete("digits")
        stored, there, meta, deleted = pipe.execute()
    assert stored in {b"OK", "OK"}
    assert (there, deleted) == (1, 1)
    assert meta[:2] == [b"backend", b"ONNX"]


def test_a_run_is_refused_and_what_stands_beside_it_is_done(client):
    with client.pipeline() as pipe:
        pipe.execute_command(*PUT, 1, 2).execute_command("AI.MODELEXECUTE", "m").exists("tensor")
        _, refused, there = pipe.execute(raise_on_error=False)
    assert isinstance(refused, redis.ResponseError)
    assert str(refused).endswith("Cannot run RedisAI command within a transaction or a LUA script")
    assert there == 1


@pytest.mark.memory_store("Redis 6.2 has other words", on=("redis-6.2",))
def test_a_command_that_cannot_be_queued_aborts_the_pipeline(client):
    with client.pipeline() as pipe:
        pipe.execute_command(*PUT, 1, 2).execute_command("NOSUCH")
        with pytest.raises(redis.ResponseError, match=r"Command # 2 .*unknown command 'NOSUCH'"):
            pipe.execute()
    assert not client.exists("tensor")


def test_a_changed_key_raises_a_watch_error(client):
    with client.pipeline() as pipe:
        pipe.watch("n")
        put_number(client, 1)
        pipe.multi()
        pipe.delete("n")
        with pytest.raises(redis.WatchError):
            pipe.execute()
    assert client.exists("n")


def test_unwatching_lets_a_pipeline_go_on(client):
    with client.pipeline() as pipe:
        pipe.watch("n")
        put_number(client, 1)
        pipe.unwatch()
        pipe.multi()
        pipe.delete("n")
        assert pipe.execute() == [1]


def test_retried_transactions_of_several_clients_lose_no_step(serving, client):
    put_number(client, 0)

    def step(pipe):
        value = number(pipe.execute_command("AI.TENSORGET", "n", "VALUES"))
        pipe.multi()
        put_number(pipe, value + 1)

    def count():
        with serving.client() as own:
            for _ in range(25):
                own.transaction(step, "n")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert number(client.execute_command("AI.TENSORGET", "n", "VALUES")) == 100


async def test_asyncio_has_the_same_transactions(serving):
    client = redis.asyncio.Redis(port=serving.port)
    try:
        await client.delete("n")
        async with client.pipeline() as pipe:
            await pipe.watch("n")
            pipe.multi()
            put_number(pipe, 1)
            pipe.exists("n")
            assert (await pipe.execute())[1] == 1
            await pipe.watch("n")
            await client.delete("n")
            pipe.multi()
            put_number(pipe, 2)
            with pytest.raises(redis.WatchError):
                await pipe.execute()
        assert not await client.exists("n")
    finally:
        await client.aclose()
