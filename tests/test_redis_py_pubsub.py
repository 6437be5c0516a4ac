"""Messages as redis-py sends and gets them: with threads, with asyncio, in both protocols."""

import asyncio
import threading

import pytest
import redis.asyncio

PROTOCOLS = pytest.mark.parametrize("protocol", [2, 3], ids=["RESP2", "RESP3"])
PATIENCE = 30.0


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(serving, request):
    with serving.client(protocol=request.param) as client:
        yield client


def take(subscriber):
    """Returns the next message as kind, pattern, channel and data."""
    message = subscriber.get_message(timeout=PATIENCE)
    assert message is not None, "no message came"
    return tuple(message[name] for name in ("type", "pattern", "channel", "data"))


def test_messages_are_sent_and_got(client):
    with client.pubsub() as subscriber:
        subscriber.subscribe("news", "sport")
        subscriber.psubscribe("n*")
        assert [take(subscriber) for _ in range(3)] == [
            ("subscribe", None, b"news", 1),
            ("subscribe", None, b"sport", 2),
            ("psubscribe", None, b"n*", 3),
        ]
        assert client.publish("news", b"\0\r\n") == 2
        assert [take(subscriber) for _ in range(2)] == [
            ("message", None, b"news", b"\0\r\n"),
            ("pmessage", b"n*", b"news", b"\0\r\n"),
        ]
        subscriber.unsubscribe()
        assert {take(subscriber)[:3] for _ in range(2)} == {
            ("unsubscribe", None, b"news"),
            ("unsubscribe", None, b"sport"),
        }
        assert client.publish("sport", "x") == 0
        assert client.publish("news", "x") == 1


def test_a_subscriber_sees_whether_its_connection_lives(client):
    with client.pubsub(ignore_subscribe_messages=True) as subscriber:
        subscriber.subscribe("quiet")
        subscriber.ping(b"alive")
        kinds = []
        while "pong" not in kinds:
            message = subscriber.get_message(timeout=PATIENCE)
            kinds += [] if message is None else [message["type"]]
        assert kinds == ["pong"]


def test_pubsub_is_asked_about(client):
    with client.pubsub() as subscriber:
        subscriber.subscribe("asked")
        take(subscriber)
        assert client.pubsub_channels("ask*") == [b"asked"]
        assert client.pubsub_numsub("asked", "none") == [(b"asked", 1), (b"none", 0)]
        before = client.pubsub_numpat()
        subscriber.psubscribe("asked about*")
        take(subscriber)
        assert client.pubsub_numpat() == before + 1


def test_a_thread_handles_messages(client):
    got, came = [], threading.Event()

    def handle(message):
        got.append(message["data"])
        if len(got) == 100:
            came.set()

    subscriber = client.pubsub()
    subscriber.subscribe(handled=handle)
    take(subscriber)
    thread = subscriber.run_in_thread(sleep_time=0.1)
    try:
        with client.pipeline(transaction=False) as pipe:
            for number in range(100):
                pipe.publish("handled", number)
            assert pipe.execute() == [1] * 100
        assert came.wait(PATIENCE)
    finally:
        thread.stop()
        thread.join(PATIENCE)
    assert got == [b"%d" % number for number in range(100)]


def test_a_transaction_publishes_when_it_is_done(client):
    with client.pubsub(ignore_subscribe_messages=True) as subscriber:
        subscriber.subscribe("paid")
        subscriber.get_message(timeout=PATIENCE)
        with client.pipeline() as pipe:
            pipe.set("payment", "done").publish("paid", "payment").get("payment")
            assert pipe.execute() == [True, 1, b"done"]
        assert take(subscriber) == ("message", None, b"paid", b"payment")


def test_events_on_keys_are_got_like_messages(client):
    before = client.config_get("notify-keyspace-events")["notify-keyspace-events"]
    client.config_set("notify-keyspace-events", "KEA")
    try:
        with client.pubsub(ignore_subscribe_messages=True) as subscriber:
            subscriber.psubscribe("__keyspace@0__:orders*")
            subscriber.get_message(timeout=PATIENCE)
            client.rpush("orders", "a")
            client.set("other", "x")
            client.expire("orders", 100)
            assert [take(subscriber)[2:] for _ in range(2)] == [
                (b"__keyspace@0__:orders", b"rpush"),
                (b"__keyspace@0__:orders", b"expire"),
            ]
    finally:
        client.config_set("notify-keyspace-events", before)


@pytest.mark.memory_store("MONITOR shows what the engine is asked for")
def test_commands_are_watched_and_slow_ones_found(serving, client):
    with serving.client() as other, other.monitor() as monitor:
        client.set("watched", "\n")
        commands = iter(monitor.listen())
        seen = next(each for each in commands if "watched" in each["command"])
    assert seen["command"] == "SET watched \\n"
    assert (seen["db"], seen["client_type"]) == (0, "tcp")
    client.config_set("slowlog-log-slower-than", 0)
    try:
        client.get("watched")
        entry = client.slowlog_get(1)[0]
    finally:
        client.config_set("slowlog-log-slower-than", 10_000)
    assert entry["command"] == b"GET watched"
    assert client.slowlog_len() > 0
    assert client.slowlog_reset()


@PROTOCOLS
def test_many_subscribers_of_asyncio_get_every_message(serving, protocol):
    async def listen(client, ready, count):
        async with client.pubsub(ignore_subscribe_messages=True) as subscriber:
            await subscriber.subscribe("all")
            await subscriber.psubscribe("a?l")
            confirmed = 0
            while confirmed < 2:
                message = await subscriber.parse_response()
                confirmed += message[0] in {b"subscribe", b"psubscribe"}
            ready.release()
            got = []
            async for message in subscriber.listen():
                got.append((message["type"], message["data"]))
                if len(got) == 2 * count:
                    break
            return got

    async def main():
        options = {"port": serving.port, "protocol": protocol, "socket_timeout": PATIENCE}
        count, ready = 50, asyncio.Semaphore(0)
        async with redis.asyncio.Redis(**options) as client:
            tasks = [asyncio.create_task(listen(client, ready, count)) for _ in range(20)]
            for _ in tasks:
                await ready.acquire()
            sent = [await client.publish("all", number) for number in range(count)]
            return sent, await asyncio.gather(*tasks)

    sent, got = asyncio.run(asyncio.wait_for(main(), 2 * PATIENCE))
    assert sent == [40] * 50
    for each in got:
        assert each == [
            (kind, b"%d" % number) for number in range(50) for kind in ("message", "pmessage")
        ]
