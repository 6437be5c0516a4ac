"""redis-py 4, 5 and 8: messages, events on keys, pushes, and MONITOR."""

import threading
from contextlib import suppress

import pytest
import redis
from redis.utils import HIREDIS_AVAILABLE

PATIENCE = 30.0
RESP3 = 3
PUSHES_OF_HIREDIS_FROM = 6
SHARDS_FROM = 5  # the first version that subscribes to shard channels


def take(subscriber, count=1):
    """Returns the next messages as kind, pattern, channel and data."""
    got = []
    while len(got) < count:
        message = subscriber.get_message(timeout=PATIENCE)
        assert message is not None, "no message came"
        got.append(tuple(message[name] for name in ("type", "pattern", "channel", "data")))
    return got


def name_of(channel):
    """Returns the key or the event that a channel is named after."""
    return channel.partition(b":")[2]


def test_messages_are_sent_and_got(client):
    with client.pubsub() as subscriber:
        subscriber.subscribe("news", "sport")
        subscriber.psubscribe("n*")
        assert take(subscriber, 3) == [
            ("subscribe", None, b"news", 1),
            ("subscribe", None, b"sport", 2),
            ("psubscribe", None, b"n*", 3),
        ]
        assert client.publish("news", b"\xff\0\r\n") == 2
        assert take(subscriber, 2) == [
            ("message", None, b"news", b"\xff\0\r\n"),
            ("pmessage", b"n*", b"news", b"\xff\0\r\n"),
        ]
        assert client.pubsub_channels("n*") == [b"news"]
        assert client.pubsub_numsub("news", "none") == [(b"news", 1), (b"none", 0)]
        assert client.pubsub_numpat() == 1
        subscriber.ping("alive")
        subscriber.unsubscribe("sport")
        subscriber.punsubscribe()
        kinds = [kind for kind, *_ in take(subscriber, 3)]
        assert kinds == ["pong", "unsubscribe", "punsubscribe"]
        assert client.publish("sport", "x") == 0


def test_a_shard_channel_is_a_world_of_its_own(client, version):
    if version < SHARDS_FROM:
        pytest.skip("this redis-py knows no shard channels")
    with client.pubsub() as subscriber:
        subscriber.ssubscribe("shard")
        assert take(subscriber) == [("ssubscribe", None, b"shard", 1)]
        assert (client.publish("shard", "x"), client.spublish("shard", "y")) == (0, 1)
        assert client.pubsub_shardchannels() == [b"shard"]
        assert client.pubsub_shardnumsub("shard") == [(b"shard", 1)]
        assert take(subscriber) == [("smessage", None, b"shard", b"y")]
        subscriber.sunsubscribe()


def test_a_thread_handles_messages(client):
    got, came = [], threading.Event()

    def handle(message):
        got.append(message["data"])
        if len(got) == 100:
            came.set()

    subscriber = client.pubsub()
    subscriber.subscribe(handled=handle)
    subscriber.psubscribe(**{"handled too*": handle})
    assert [kind for kind, *_ in take(subscriber, 2)] == ["subscribe", "psubscribe"]
    thread = subscriber.run_in_thread(sleep_time=0.05)
    try:
        with client.pipeline(transaction=False) as pipe:
            for number in range(50):
                pipe.publish("handled", number).publish("handled too", number)
            assert pipe.execute() == [1] * 100
        assert came.wait(PATIENCE)
    finally:
        thread.stop()
        thread.join(PATIENCE)
    assert got == [b"%d" % number for number in range(50) for _ in range(2)]


def test_a_subscriber_whose_connection_is_killed_subscribes_again(client):
    with client.pubsub(ignore_subscribe_messages=True) as subscriber:
        subscriber.subscribe("news")
        subscriber.get_message(timeout=PATIENCE)
        number = max(int(each["id"]) for each in client.client_list(_type="pubsub"))
        assert client.client_kill_filter(_id=number) == 1
        while client.publish("news", "again") == 0:
            with suppress(redis.ConnectionError):  # older ones tell it before they come back
                subscriber.get_message(timeout=0.05)
        message = subscriber.get_message(timeout=PATIENCE)
        assert (message["type"], message["data"]) == ("message", b"again")


def test_events_on_keys_are_got_like_messages(client):
    before = client.config_get("notify-keyspace-events")["notify-keyspace-events"]
    assert client.config_set("notify-keyspace-events", "KEAn") is True
    try:
        with client.pubsub(ignore_subscribe_messages=True) as subscriber:
            subscriber.psubscribe("__key*@0__:*")
            subscriber.get_message(timeout=PATIENCE)
            client.execute_command("AI.TENSORSET", "x", "INT8", 1)
            client.rename("x", "y")
            client.delete("y")
            client.rpush("list", "a")
            got = take(subscriber, 14)
        events = [(data, name_of(channel)) for *_, channel, data in got if b"space" in channel]
        assert events == [
            (b"new", b"x"),
            *((b"new", b"y"), (b"rename_from", b"x"), (b"rename_to", b"y")),
            (b"del", b"y"),
            *((b"new", b"list"), (b"rpush", b"list")),
        ]
        assert [(name_of(channel), data) for *_, channel, data in got[1::2]] == events
    finally:
        client.config_set("notify-keyspace-events", before)


def test_in_resp3_a_push_handler_gets_what_was_pushed(client, protocol, version):
    """Only in RESP3 are messages told from replies, so only there can one be handed on as it is."""
    if protocol < RESP3:
        pytest.skip("pushes are RESP3's")
    if version < PUSHES_OF_HIREDIS_FROM and HIREDIS_AVAILABLE:
        pytest.skip("this redis-py hands pushes on only without hiredis")
    got = []
    with client.pubsub(push_handler_func=got.append) as subscriber:
        subscriber.subscribe("news")
        subscriber.get_message(timeout=PATIENCE)
        assert client.publish("news", "x") == 1
        subscriber.get_message(timeout=PATIENCE)
    assert got == [[b"subscribe", b"news", 1], [b"message", b"news", b"x"]]


def test_monitor_shows_the_commands_of_others(client, connect):
    own = connect(db=2)
    with client.monitor() as monitor:
        own.execute_command("AI.TENSORSET", "watched", "INT8", 1, "BLOB", b"\xff")
        own.get("a b")
        commands = iter(monitor.listen())
        seen = next(each for each in commands if "watched" in each["command"])
        other = next(each for each in commands if each["command"].startswith("GET"))
    assert seen["command"] == r"AI.TENSORSET watched INT8 1 BLOB \xff"
    assert (seen["db"], seen["client_type"], other["command"]) == (2, "tcp", "GET a b")
    assert isinstance(seen["time"], float)
