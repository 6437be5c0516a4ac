"""SUBSCRIBE, PUBLISH and the like over a socket. The oracle's tests ask a real Redis the same."""

from contextlib import suppress

import pytest

from tensorkeep_server.testing import WireError, request

CONTEXT = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
HI = b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"


def subscribed(connect, *names, version=2, word="SUBSCRIBE"):
    """Opens a connection that is subscribed."""
    wire = connect()
    wire.ask("HELLO", version)
    wire.send(word, *names)
    for _ in names:
        wire.reply()
    return wire


def described(wire, number):
    (line,) = wire.read("CLIENT", "LIST", "ID", number).splitlines()
    return dict(field.split(b"=", 1) for field in line.split())


# --------------------------------------------------------------------------- subscribing
@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_each_channel_is_confirmed_with_the_number_of_subscriptions(wire):
    wire.send("SUBSCRIBE", "a", "b", "a")
    assert wire.reply() == b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
    assert wire.reply() == b"*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"
    assert wire.reply() == b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:2\r\n"
    assert wire.ask("PSUBSCRIBE", "a*") == b"*3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n:3\r\n"
    assert wire.ask("SSUBSCRIBE", "s") == b"*3\r\n$10\r\nssubscribe\r\n$1\r\ns\r\n:1\r\n"
    assert wire.ask("UNSUBSCRIBE", "b") == b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:2\r\n"


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
@pytest.mark.parametrize("word", ["UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"])
def test_ending_no_subscription_at_all_is_confirmed_once(wire, word):
    head = b"$%d\r\n%b\r\n" % (len(word), word.lower().encode())
    assert wire.ask(word) == b"*3\r\n" + head + b"$-1\r\n:0\r\n"
    assert wire.read(word, "none") == [word.lower().encode(), b"none", 0]
    wire.ask("HELLO", "3")
    assert wire.ask(word) == b">3\r\n" + head + b"_\r\n:0\r\n"


@pytest.mark.memory_store("the order of channels is the engine's")
def test_without_names_all_subscriptions_of_the_kind_end(wire):
    for word, name in (("SUBSCRIBE", "a"), ("SUBSCRIBE", "b"), ("PSUBSCRIBE", "p")):
        wire.ask(word, name)
    wire.send("UNSUBSCRIBE")
    assert wire.reply() == b"*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n"
    assert wire.reply() == b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n"
    assert wire.read("PUNSUBSCRIBE") == [b"punsubscribe", b"p", 0]
    assert wire.ask("PING") == b"+PONG\r\n"


def test_confirmations_and_messages_come_also_to_who_wants_no_replies(wire, connect):
    wire.send("CLIENT", "REPLY", "OFF")
    assert wire.read("SUBSCRIBE", "a") == [b"subscribe", b"a", 1]
    assert connect().ask("PUBLISH", "a", "hi") == b":1\r\n"
    assert wire.reply() == HI


# --------------------------------------------------------------------------- messages
def test_a_message_reaches_every_subscriber_in_its_protocol(wire, connect):
    old, new = subscribed(connect, "a"), subscribed(connect, "a", version=3)
    assert wire.ask("PUBLISH", "a", "hi") == b":2\r\n"
    assert old.reply() == HI
    assert new.reply() == b">" + HI[1:]
    assert wire.ask("PUBLISH", "b", "hi") == b":0\r\n"


def test_a_message_says_which_pattern_it_is_for(wire, connect):
    reader = subscribed(connect, "a", "b")
    reader.ask("PSUBSCRIBE", "[ab]")
    assert wire.ask("PUBLISH", "a", b"\r\n\0") == b":2\r\n"
    assert reader.reply() == b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$3\r\n\r\n\0\r\n"
    assert reader.reply() == (b"*4\r\n$8\r\npmessage\r\n$4\r\n[ab]\r\n$1\r\na\r\n$3\r\n\r\n\0\r\n")


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_shard_channels_are_a_world_of_their_own(wire, connect):
    reader = subscribed(connect, "a", word="SSUBSCRIBE")
    assert wire.ask("PUBLISH", "a", "no") == b":0\r\n"
    assert wire.ask("SPUBLISH", "a", "hi") == b":1\r\n"
    assert reader.reply() == b"*3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"


def test_messages_know_no_databases(wire, connect):
    reader = subscribed(connect, "a")
    wire.ask("SELECT", 5)
    assert wire.ask("PUBLISH", "a", "hi") == b":1\r\n"
    assert reader.reply() == HI


def test_messages_of_one_pipeline_come_in_its_order(wire, connect):
    reader = subscribed(connect, "a")
    wire.socket.sendall(b"".join(request("PUBLISH", "a", number) for number in range(500)))
    assert [wire.reply() for _ in range(500)] == [b":1\r\n"] * 500
    for number in range(500):
        assert reader.reply().endswith(b"\r\n%d\r\n" % number)


@pytest.mark.parametrize("size", [100, 20_000, 1_000_000])
def test_a_message_of_any_size_reaches_all(wire, connect, size):
    readers = [subscribed(connect, "a", version=version) for version in (2, 3, 3)]
    assert wire.ask("PUBLISH", "a", b"x" * size) == b":3\r\n"
    for reader in readers:
        assert reader.reply().endswith(b"$%d\r\n%b\r\n" % (size, b"x" * size))


@pytest.mark.memory_store(
    "Valkey replies before the message",
    on=(
        "valkey-8.1",
        "valkey-9.1",
    ),
)
def test_a_subscriber_may_publish_to_itself_in_resp3(wire):
    wire.ask("HELLO", "3")
    assert wire.read("SUBSCRIBE", "a") == [b"subscribe", b"a", 1]
    wire.send("PUBLISH", "a", "hi")
    assert wire.reply() == b">" + HI[1:]
    assert wire.reply() == b":1\r\n"
    assert wire.ask("PING") == b"+PONG\r\n"
    assert wire.ask("ECHO", "x") == b"$1\r\nx\r\n"


def test_a_message_does_not_wait_for_a_reply_that_is_still_to_come(wire, connect, fake):
    other = connect()
    other.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 2)
    other.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", '{"op": "block"}')
    wire.ask("HELLO", "3")
    wire.ask("SUBSCRIBE", "a")
    wire.send("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    fake.await_calls("model_run")
    assert other.ask("PUBLISH", "a", "hi") == b":1\r\n"
    assert wire.reply() == b">" + HI[1:]
    fake.release()
    assert wire.reply() == b"+OK\r\n"


# --------------------------------------------------------------------------- what a subscriber may
@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
@pytest.mark.parametrize("arguments", [("GET", "a"), ("CONFIG", "GET", "x"), ("HELLO", "3")])
def test_a_subscriber_that_speaks_resp2_may_do_little(wire, arguments):
    wire.ask("SUBSCRIBE", "a")
    name = "|".join(arguments[:2]).lower() if arguments[0] == "CONFIG" else arguments[0].lower()
    assert wire.read(*arguments) == WireError(f"ERR Can't execute '{name}': {CONTEXT}")
    assert wire.ask("PING") == b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"
    assert wire.ask("PING", "x") == b"*2\r\n$4\r\npong\r\n$1\r\nx\r\n"
    assert wire.read("UNSUBSCRIBE", "a") == [b"unsubscribe", b"a", 0]
    assert wire.ask("PING") == b"+PONG\r\n"


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_exec_is_refused_in_its_own_words(wire):
    wire.ask("SUBSCRIBE", "a")
    assert wire.read("EXEC") == WireError(
        f"EXECABORT Transaction discarded because of: Can't execute 'exec': {CONTEXT}"
    )


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_a_subscriber_may_do_everything_in_resp3_until_it_speaks_resp2(wire):
    wire.ask("HELLO", "3")
    wire.ask("PSUBSCRIBE", "a")
    assert wire.ask("SET", "k", "v") == b"+OK\r\n"
    wire.ask("HELLO", "2")
    assert wire.read("GET", "k") == WireError(f"ERR Can't execute 'get': {CONTEXT}")


def test_quit_is_answered_and_ends_the_connection(wire):
    wire.ask("SUBSCRIBE", "a")
    assert wire.ask("QUIT") == b"+OK\r\n"
    with pytest.raises(EOFError):
        wire.reply()


# --------------------------------------------------------------------------- the end
def test_reset_ends_all_subscriptions(wire, connect):
    reader = subscribed(connect, "a", version=3)
    reader.ask("PSUBSCRIBE", "*")
    assert reader.ask("RESET") == b"+RESET\r\n"
    assert wire.ask("PUBLISH", "a", "x") == b":0\r\n"
    assert reader.ask("GET", "k") == b"$-1\r\n"


def test_who_goes_away_is_subscribed_to_nothing(wire, connect):
    reader = subscribed(connect, "a", version=3)
    number = reader.read("CLIENT", "ID")
    assert wire.read("CLIENT", "KILL", "TYPE", "PUBSUB") == 1
    while wire.ask("CLIENT", "LIST", "ID", number) != b"$0\r\n\r\n":
        pass
    assert wire.read("PUBSUB", "CHANNELS") == []
    assert wire.ask("PUBLISH", "a", "x") == b":0\r\n"


# --------------------------------------------------------------------------- in transactions
@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_a_transaction_subscribes_and_its_other_commands_are_done_all_the_same(wire):
    wire.ask("MULTI")
    for queued in (("SUBSCRIBE", "x", "y"), ("SET", "k", "v"), ("SSUBSCRIBE", "s"), ("PING",)):
        assert wire.ask(*queued) == b"+QUEUED\r\n"
    wire.send("EXEC")
    # As in Redis: each channel is confirmed, although the array counts commands.
    assert wire.reply() == (
        b"*4\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\ny\r\n:2\r\n"
        b"+OK\r\n-ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client\r\n"
    )
    assert wire.reply() == b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"


def test_a_transaction_publishes(wire, connect):
    reader = subscribed(connect, "a")
    wire.ask("MULTI")
    wire.ask("PUBLISH", "a", "hi")
    assert wire.ask("EXEC") == b"*1\r\n:1\r\n"
    assert reader.reply() == HI


# --------------------------------------------------------------------------- PUBSUB, CLIENT, INFO
@pytest.mark.memory_store("the order of channels is the engine's")
def test_pubsub_tells_what_has_subscribers(wire, connect):
    reader = subscribed(connect, "a", "ab")
    reader.ask("PSUBSCRIBE", "*")
    reader.ask("SSUBSCRIBE", "s")
    subscribed(connect, "*", word="PSUBSCRIBE")
    assert wire.read("PUBSUB", "CHANNELS") == [b"a", b"ab"]
    assert wire.read("PUBSUB", "CHANNELS", "?b") == [b"ab"]
    assert wire.read("PUBSUB", "CHANNELS", "*") == [b"a", b"ab"]
    assert wire.read("PUBSUB", "NUMSUB") == []
    assert wire.read("PUBSUB", "NUMSUB", "a", "none") == [b"a", 1, b"none", 0]
    assert wire.ask("PUBSUB", "NUMPAT") == b":1\r\n"
    assert wire.read("PUBSUB", "SHARDCHANNELS") == [b"s"]
    assert wire.read("PUBSUB", "SHARDNUMSUB", "s", "a") == [b"s", 1, b"a", 0]


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_pubsub_refuses_what_it_does_not_know(wire):
    assert wire.read("PUBSUB", "CHANNELS", "a", "b") == WireError(
        "ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP."
    )
    assert wire.read("PUBSUB", "nosuch") == WireError(
        "ERR unknown subcommand 'nosuch'. Try PUBSUB HELP."
    )


@pytest.mark.memory_store("the engine shows its own connection")
def test_client_list_shows_subscribers(wire, connect):
    reader = subscribed(connect, "a", "b", version=3)
    number = reader.read("CLIENT", "ID")
    reader.ask("PSUBSCRIBE", "*")
    reader.ask("SSUBSCRIBE", "s")
    fields = described(wire, number)
    assert [fields[name] for name in (b"flags", b"sub", b"psub", b"ssub")] == [
        *(b"P", b"2", b"1", b"1"),
    ]
    assert wire.read("CLIENT", "LIST", "TYPE", "PUBSUB").count(b"\n") == 1
    assert wire.read("CLIENT", "LIST", "TYPE", "NORMAL").count(b"\n") == 1


@pytest.mark.memory_store("shard channels came with Redis 7.0", on=("redis-6.2",))
def test_info_counts_channels_and_patterns(wire, connect):
    subscribed(connect, "a", "b")
    subscribed(connect, "a*", word="PSUBSCRIBE")
    subscribed(connect, "s", word="SSUBSCRIBE")
    stats = wire.read("INFO", "stats").splitlines()
    assert {b"pubsub_channels:2", b"pubsub_patterns:1", b"pubsubshard_channels:1"} <= set(stats)


# --------------------------------------------------------------------------- who does not read
@pytest.mark.memory_store("the limit of subscribers is the engine's")
def test_a_subscriber_that_does_not_read_loses_its_connection(wire, connect, server):
    wire.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1000000 0 0")
    slow, reader = subscribed(connect, "a"), subscribed(connect, "b")
    message = b"x" * 100_000
    sent = 0
    while wire.ask("PUBLISH", "a", message) == b":1\r\n":
        sent += 1
        assert sent < 1000, "what the subscriber does not read is kept for ever"
    stats = wire.read("INFO", "stats").splitlines()
    assert b"client_output_buffer_limit_disconnections:1" in stats
    assert wire.ask("PUBLISH", "b", "still there") == b":1\r\n"
    assert reader.reply().endswith(b"still there\r\n")
    got = 0
    with suppress(EOFError, ConnectionResetError):
        while slow.reply():
            got += 1
    assert got < sent


def test_a_subscriber_that_reads_may_get_any_amount(wire, connect, server):
    wire.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1000000 0 0")
    reader = subscribed(connect, "a")
    message = b"x" * 100_000
    for _ in range(50):
        assert wire.ask("PUBLISH", "a", message) == b":1\r\n"
        assert reader.reply().endswith(message + b"\r\n")
