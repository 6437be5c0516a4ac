"""Commands are done by the engine, and what it replies comes to the client byte for byte."""

import asyncio
import re
import socket

import pytest

from tensorkeep_valkey.testing import PRESENT, PROGRAMS, running_engine

SCRIPTED = [
    ["PING"],
    ["PING", "text"],
    ["SET", "key", "value"],
    ["GET", "key"],
    ["GET", "nothing"],
    ["NOSUCH", "command"],
    ["LPUSH", "key", "x"],
    ["RPUSH", "list", "a", "b", ""],
    ["LRANGE", "list", "0", "-1"],
    ["HSET", "hash", "f", "1", "g", "2"],
    ["HGETALL", "hash"],
    ["SADD", "set", "one"],
    ["SMEMBERS", "set"],
    ["ZADD", "sorted", "1.5", "a"],
    ["ZSCORE", "sorted", "a"],
    ["ZRANGE", "sorted", "0", "-1", "WITHSCORES"],
    ["EVAL", "return {1,'two',{3,false}}", "0"],
    ["EVAL", "return redis.error_reply('MINE is wrong')", "0"],
    ["SELECT", "3"],
    ["GET", "key"],
    ["SELECT", "9999"],
    ["SELECT", "0"],
    ["MULTI"],
    ["SET", "key", "other"],
    ["LPUSH", "key", "x"],
    ["EXEC"],
    ["MULTI"],
    ["NOSUCH"],
    ["EXEC"],
    ["EXEC"],
    ["WATCH", "key"],
    ["UNWATCH"],
    ["MULTI"],
    ["DISCARD"],
    ["SUBSCRIBE", "one", "two"],
    ["PSUBSCRIBE", "p*"],
    ["PING"],
    ["PUBLISH", "one", "hello"],
    ["UNSUBSCRIBE", "one"],
    ["UNSUBSCRIBE"],
    ["UNSUBSCRIBE"],
    ["PUNSUBSCRIBE"],
    ["GET", "key"],
    ["BLPOP", "list", "1"],
    ["XADD", "stream", "1-1", "f", "v"],
    ["XRANGE", "stream", "-", "+"],
    ["CLIENT", "GETNAME"],
    ["CLIENT", "SETNAME", "me"],
    ["CLIENT", "GETNAME"],
    ["CLIENT", "REPLY", "ON"],
    ["RESET"],
    ["FLUSHALL"],
]


# Commands that have several replies or none, or change what those behind them have.
SEVERAL = [
    "MULTI/SUBSCRIBE a b/GET x/EXEC/PING/UNSUBSCRIBE/GET x",
    "MULTI/SET k 1/PSUBSCRIBE a* b* c*/SUBSCRIBE q/INCR k/EXEC/PING/RESET/GET k",
    "MULTI/UNSUBSCRIBE/EXEC/GET x",
    "MULTI/UNSUBSCRIBE a b/PUNSUBSCRIBE/EXEC/GET x",
    "SUBSCRIBE a b/MULTI/UNSUBSCRIBE/EXEC",
    "MULTI/SUBSCRIBE a b/SUBSCRIBE b a/UNSUBSCRIBE b/UNSUBSCRIBE/EXEC/GET x",
    "MULTI/SUBSCRIBE a a/UNSUBSCRIBE/PSUBSCRIBE x/PUNSUBSCRIBE/EXEC/GET x",
    "MULTI/SUBSCRIBE a/SELECT 3/SET k 5/EXEC/UNSUBSCRIBE/GET k",
    "MULTI/SUBSCRIBE a b/DISCARD/GET x",
    "MULTI/SUBSCRIBE/EXEC/GET x",
    "MULTI/SUBSCRIBE a b/NOSUCH/EXEC/GET x",
    "MULTI/SUBSCRIBE a b/PUBLISH a hi/EXEC/PING",
    "MULTI/PUBLISH a hi/SUBSCRIBE a/EXEC/PING",
    "SUBSCRIBE/UNSUBSCRIBE/PUNSUBSCRIBE/UNSUBSCRIBE a b c/GET x",
    "SUBSCRIBE a a a/UNSUBSCRIBE a a/GET x",
    "SUBSCRIBE a/RESET/GET x",
    "MULTI/RESET/GET x",
    "MULTI/MONITOR/EXEC/GET x",
    "MULTI/SYNC/EXEC/GET x",
    "MULTI/PSYNC ? -1/EXEC/GET x",
    "PSYNC/SYNC now/GET x",
    "MULTI/HELLO 3/GET x/EXEC/GET x",
    "MULTI/HELLO 9/EXEC/GET x",
    "MULTI/HELLO 3/SUBSCRIBE a b/EXEC/GET x",
    "MULTI/SUBSCRIBE a b/HELLO 3/EXEC/GET x",
    "HELLO 3/SUBSCRIBE a/MULTI/SUBSCRIBE a b/GET x/PUBLISH b hi/EXEC/PUBLISH b hi/GET x",
    "HELLO 3/SUBSCRIBE a/GET x/MULTI/UNSUBSCRIBE/GET x/EXEC/HELLO 2/GET x",
    "HELLO 3/MULTI/HELLO 2/GET x/EXEC/GET x",
    "HELLO 3/CLIENT TRACKING ON/MULTI/GET x/SET x 1/EXEC/GET x/SET x 2/GET x",
    "HELLO 3/MULTI/CLIENT TRACKING ON/GET x/SET x 2/EXEC/SET x 1/GET x",
    "MULTI/AUTH foo bar/EXEC/GET x",
    "MULTI/BLPOP l 0/BLMOVE l m LEFT LEFT 0/XREAD BLOCK 0 STREAMS s $/WAIT 0 0/EXEC/GET x",
    "MULTI/WATCH a/UNWATCH/MULTI/EXEC/EXEC/DISCARD/GET x",
    "MULTI/CLIENT SETNAME foo/CLIENT GETNAME/EXEC/CLIENT GETNAME",
    "MULTI/CLIENT REPLY ON/EXEC/GET x",
    "MULTI/CLIENT REPLY OFF/GET x/EXEC/GET x/CLIENT REPLY ON/GET x",
    "MULTI/CLIENT REPLY OFF/GET x/CLIENT REPLY ON/GET x/EXEC/GET x",
    "MULTI/CLIENT REPLY SKIP/GET x/EXEC/GET x/GET x",
    "MULTI/CLIENT REPLY OFF/DISCARD/GET x",
    "CLIENT REPLY OFF/MULTI/GET x/EXEC/CLIENT REPLY ON/GET x",
    "CLIENT REPLY OFF/MULTI/GET x/CLIENT REPLY ON/GET x/EXEC/GET x",
    "CLIENT REPLY SKIP/MULTI/GET x/EXEC",
    "CLIENT REPLY SKIP/CLIENT REPLY SKIP/GET x/GET x",
    "CLIENT REPLY SKIP/CLIENT REPLY OFF/CLIENT REPLY SKIP/GET x/CLIENT REPLY ON/GET x",
    "CLIENT REPLY/CLIENT REPLY FOO/CLIENT REPLY ON X/GET x",
    "CLIENT REPLY SKIP/NOSUCH/GET x",
    "CLIENT REPLY SKIP/HELLO 3/GET x",
    "CLIENT REPLY OFF/HELLO 3/CLIENT REPLY ON/GET x",
    "CLIENT REPLY OFF/RESET/GET x",
    "SUBSCRIBE a/CLIENT REPLY OFF/GET x/PING",
]
# Redis 6.2 sends nothing at all to who wants no replies, not what was subscribed to either.
SILENT = [
    "CLIENT REPLY OFF/MULTI/SUBSCRIBE a b/GET x/EXEC/UNSUBSCRIBE/CLIENT REPLY ON/GET x",
    "CLIENT REPLY OFF/SUBSCRIBE a b/SUBSCRIBE/UNSUBSCRIBE/CLIENT REPLY ON/GET x",
    "CLIENT REPLY SKIP/SUBSCRIBE a b/UNSUBSCRIBE/GET x",
    "MULTI/CLIENT REPLY OFF/SUBSCRIBE a b/GET x/EXEC/UNSUBSCRIBE a/GET x",
    "HELLO 3/CLIENT REPLY OFF/MULTI/SUBSCRIBE a b/PUBLISH a hi/EXEC/CLIENT REPLY ON/GET x",
]


def directly(engine, commands):
    """Returns what the engine itself sends for commands that are sent one after the other."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(engine.path))
        for words in commands:
            parts = [each.encode() for each in words]
            sock.sendall(
                b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(x), x) for x in parts)
            )
        sock.shutdown(socket.SHUT_WR)
        found = b""
        while chunk := sock.recv(65536):
            found += chunk
        return found


@pytest.mark.parametrize("version", ["2", "3"])
@pytest.mark.parametrize("name", PRESENT)
@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "at once"])
async def test_every_reply_is_that_of_the_engine(begin, name, version, at_once):
    with running_engine(name) as engine:
        started = await begin(engine.unix)
        client = started.client()
        if version == "3":
            commands = [each for each in SCRIPTED if each[0] != "RESET"]
            await client.do("HELLO", "3")
        else:
            commands = SCRIPTED
        for words in commands:
            client.relay(*words)
            if not at_once:
                await client.until(lambda: not client.waiting)
        await client.until(lambda: not client.waiting)

        hello = [["HELLO", "3"]] if version == "3" else []
        expected = directly(engine, [*hello, *commands])
        if version == "3":
            expected = expected[len(directly(engine, hello)) :]
        assert bytes(client.sent) == expected
        assert client.session.database == 0


@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "at once"])
async def test_several_replies_or_none_are_those_of_the_engine(begin, each_engine, at_once):
    started = await begin(each_engine.unix)
    wiping = started.client()
    sequences = [*SEVERAL, *(() if each_engine.program == PROGRAMS["redis-6.2"] else SILENT)]
    for sequence in sequences:
        commands = [each.split() for each in sequence.split("/")]
        await wiping.do("FLUSHALL")
        expected = directly(each_engine, commands)
        await wiping.do("FLUSHALL")
        client = started.client()
        for words in commands:
            client.relay(*words)
            if not at_once:
                await client.until(lambda client=client: not client.waiting)
        await client.until(lambda client=client: not client.waiting)
        found, missing = without_numbers(bytes(client.sent)), without_numbers(expected)
        if len(found) < len(missing):  # what nobody has asked for may come at the end
            await client.until(lambda m=missing, c=client: len(without_numbers(c.sent)) >= len(m))
            found = without_numbers(bytes(client.sent))
        assert found == missing, sequence
        assert client.lost is None, sequence
        client.session.close()


def without_numbers(sent):
    """Returns what was sent without the number of the connection, which HELLO tells."""
    return re.sub(rb"\$2\r\nid\r\n:\d+", b"id", sent)


async def test_a_large_value_comes_in_parts_and_whole(store):
    client = store.client()
    value = bytes(range(256)) * 40_000
    parts = []
    send = client.send
    client.send = lambda data: (parts.append(len(data)), send(data))

    assert await client.do("SET", "large", value) == b"+OK\r\n"
    reply = await client.do("GET", "large")

    assert reply == b"$%d\r\n%b\r\n" % (len(value), value)
    assert max(parts) < len(value) / 4
    await client.do("DEL", "large")


async def test_a_message_may_be_large_and_comes_between_replies(store):
    one, other = store.client(), store.client()
    await one.do("SUBSCRIBE", "news")
    value = bytes(300_000)
    message = b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$%d\r\n%b\r\n" % (len(value), value)

    assert await other.do("PUBLISH", "news", value) == b":1\r\n"
    await one.comes(message)
    assert await one.do("PING") == b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"
    assert (await one.do("UNSUBSCRIBE")).startswith(b"*3\r\n$11\r\nunsubscribe\r\n")


async def test_monitor_shows_commands_and_replies_still_come(store):
    one, other = store.client(), store.client()
    assert await one.do("MONITOR") == b"+OK\r\n"

    await other.do("GET", "shown")
    await one.until(lambda: b'"GET" "shown"' in one.sent)
    one.take()
    assert b"+PONG\r\n" in await one.do("PING")


async def test_invalidations_come_unasked(store):
    one, other = store.client(), store.client()
    await one.do("HELLO", "3")
    await one.do("CLIENT", "TRACKING", "ON")
    await one.do("GET", "tracked")
    await other.do("SET", "tracked", "1")

    await one.comes(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$7\r\ntracked\r\n")


async def test_client_reply_off_and_skip_leave_replies_out_in_order(store):
    client = store.client()
    for words in (
        ["CLIENT", "REPLY", "SKIP"],
        ["SET", "muted", "1"],
        ["GET", "muted"],
        ["CLIENT", "REPLY", "OFF"],
        ["SET", "muted", "2"],
        ["NOSUCH"],
        ["CLIENT", "REPLY", "ON"],
        ["GET", "muted"],
        ["CLIENT", "REPLY", "SOME"],
    ):
        client.relay(*words)
    await client.until(lambda: not client.waiting)

    sent = client.take()
    assert sent.startswith(b"$1\r\n1\r\n+OK\r\n$1\r\n2\r\n-ERR ")
    assert sent.count(b"\r\n") == 6
    assert not client.session.mutes()
    await client.do("CLIENT", "REPLY", "SKIP")
    assert [client.session.mutes(), client.session.mutes()] == [True, False]
    await client.do("CLIENT", "REPLY", "OFF")
    assert [client.session.mutes(), client.session.mutes()] == [True, True]
    assert await client.do("RESET") == b"+RESET\r\n"
    assert not client.session.mutes()


async def test_muted_commands_are_done_only_when_the_engine_has_done_them(store):
    client = store.client()
    await client.do("CLIENT", "REPLY", "OFF")
    await client.do("SET", "muted", "3")

    other = store.client()
    assert await other.do("GET", "muted") == b"$1\r\n3\r\n"


async def test_messages_come_to_a_muted_client(store):
    one, other = store.client(), store.client()
    await one.do("SUBSCRIBE", "quiet")
    await one.do("CLIENT", "REPLY", "OFF")
    await other.do("PUBLISH", "quiet", "x")

    await one.comes(b"*3\r\n$7\r\nmessage\r\n$5\r\nquiet\r\n$1\r\nx\r\n")


async def test_quit_is_answered_and_closes_the_client(store):
    client = store.client()
    await client.do("PING")

    assert await client.do("QUIT") == b"+OK\r\n"
    await client.until(lambda: client.lost is not None)


async def test_a_blocked_client_that_goes_away_takes_nothing(store):
    one, other = store.client(), store.client()
    one.relay("BLPOP", "later", "0")
    one.relay("GET", "never")
    while b"cmd=blpop" not in await other.do("CLIENT", "LIST"):
        pass
    one.session.close()
    while b"cmd=blpop" in await other.do("CLIENT", "LIST"):
        pass
    await other.do("RPUSH", "later", "kept")

    assert await other.do("LPOP", "later") == b"$4\r\nkept\r\n"
    assert one.take() == b""


async def test_a_client_that_does_not_read_holds_up_the_engine_and_not_the_memory(store):
    client = store.client()
    value = bytes(8_000_000)
    await client.do("SET", "large", value)
    client.session.pause()
    for _ in range(8):
        client.relay("GET", "large")
    await asyncio.sleep(0.3)

    assert len(client.sent) < len(value)
    client.session.resume()
    await client.until(lambda: not client.waiting)
    assert len(client.take()) == 8 * (len(value) + 12)
    await client.do("DEL", "large")


async def test_the_version_and_the_database_are_known(store):
    client = store.client()
    await client.do("HELLO", "3")
    await client.do("SELECT", "5")

    assert (client.session.version, client.session.database) == (3, 5)
    assert (await client.ask("CLIENT", "INFO")) is not None


async def test_a_selection_within_a_transaction_counts_from_exec(store):
    client = store.client()
    for words in (["MULTI"], ["SELECT", "6"], ["SELECT", "9999"], ["PING"]):
        await client.do(*words)
    assert client.session.in_transaction
    assert client.session.database == 0

    assert (await client.do("EXEC")).startswith(b"*3\r\n+OK\r\n-ERR")
    assert (client.session.in_transaction, client.session.database) == (False, 6)


async def test_what_is_asked_is_handed_over_as_resp3(store):
    client = store.client()
    await client.do("HSET", "asked", "field", "1")

    assert await client.ask("HGETALL", "asked") == {b"field": b"1"}
    hello = await client.ask("HELLO")
    assert hello[b"proto"] == 2
    assert all(each[b"name"] for each in hello[b"modules"])
    assert (await client.ask("HELLO", "3"))[b"proto"] == 3
    assert client.session.version == 3
    await client.do("SELECT", "4")
    assert await client.ask("HGETALL", "asked") == {}
    assert client.take() == b""


async def test_what_is_asked_and_refused_is_raised(store):
    client = store.client()

    with pytest.raises(Exception, match="ERR unknown command"):
        await client.ask("NOSUCH")
    with pytest.raises(Exception, match="NOPROTO"):
        await client.ask("HELLO", "7")
    with pytest.raises(Exception, match="MONITOR cannot be asked for"):
        await client.ask("MONITOR")
