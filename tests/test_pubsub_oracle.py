"""Subscriptions and messages answer what those of a real Redis answer.

Several connections to each server get the same requests in the same order. After each request every
connection is asked for a sign of life, so that it is known which messages it got. Redis goes over
patterns, and over the channels whose subscriptions end together, in the order of a hash table,
which is another in each process; here it is that of subscribing. So what came to a connection
after one request is compared without its order.
"""

from collections import Counter

import pytest

from tensorkeep_server.testing import WireError, read_value

NAMES = ("a", "b", "ab", "news.1", "*", b"\xff\r\n", "")
WORDS = {
    "channel": NAMES,
    "pattern": ("*", "**", "a*", "?", "[ab]", "news.*", "\\*", "a[", b"\xff*"),
    "message": ("", "hi", b"\0\r\n", "x" * 100, "y" * 20_000, "z" * 70_000),
    "version": ("2", "3", "2", "3", "4"),
}
REQUESTS = """
    14 SUBSCRIBE channel channel*
    14 PSUBSCRIBE pattern pattern*
     6 SSUBSCRIBE channel channel*
     8 UNSUBSCRIBE channel*
     8 PUNSUBSCRIBE pattern*
     4 SUNSUBSCRIBE channel*
    30 PUBLISH channel message
     8 SPUBLISH channel message
     4 PUBSUB CHANNELS pattern*
     6 PUBSUB NUMSUB channel*
     3 PUBSUB NUMPAT
     2 PUBSUB SHARDCHANNELS
     3 PUBSUB SHARDNUMSUB channel*
     8 PING message
     4 PING
     4 GET channel
     2 NOSUCH channel
     1 EXEC
     3 HELLO version
     2 RESET
     1 QUIT
"""
ENDINGS = {b"unsubscribe", b"punsubscribe", b"sunsubscribe"}


class Crowd:
    """Some connections to one of two servers."""

    def __init__(self, side):
        self.side = side
        self.sides = [side.another() for _ in range(4)]

    def ask(self, number, words, token):
        """Sends a request on one connection; returns what came to each, without its order."""
        self.sides[number].wire.send(*words)
        if words[0].upper() == "QUIT":
            closing = self.until_closed(number)
            self.sides[number] = self.side.another()
            return [closing, *(self.until(each, token) for each in range(len(self.sides)))]
        # First the one that was asked: what it causes has happened when it answers.
        first = self.until(number, token)
        return [first, *(self.until(n, token) for n in range(len(self.sides)) if n != number)]

    def until(self, number, token):
        wire = self.sides[number].wire
        got = [wire.ask("PING", token)]
        while not got[-1].endswith(b"\r\n%b\r\n" % token.encode()):
            got.append(wire.reply())
        return comparable(got)

    def until_closed(self, number):
        got = []
        try:
            while True:
                got.append(self.sides[number].wire.reply())
        except (EOFError, ConnectionResetError):
            self.sides[number].wire.close()
        return comparable(got)

    def close(self):
        for side in self.sides:
            side.wire.close()


def comparable(replies):
    """Returns replies without their order, and without which name ended as which."""
    found = Counter()
    for reply in replies:
        value = read_value(reply)
        if isinstance(value, list) and value and value[0] in ENDINGS:
            found[reply[:1], value[0], value[2]] += 1
            found[value[0], value[1]] += 1
        elif b"\r\n$6\r\nserver\r\n" in reply[:20]:
            found[reply[:1], b"HELLO"] += 1  # what they say of themselves differs
        elif isinstance(value, list) and all(isinstance(item, bytes) for item in value):
            found[(reply[:1], *sorted(value))] += 1
        else:
            found[reply] += 1
    return found


@pytest.mark.memory_store("shard channels came with Redis 7.0", on=("redis-6.2",))
@pytest.mark.parametrize("seed", range(8))
def test_the_same_messages_come_as_from_redis(author, ours, theirs, seed):
    draw = author(seed, REQUESTS, WORDS)
    both = Crowd(ours), Crowd(theirs)
    asked = []
    for step in range(250):
        number, words = draw.random.randrange(4), draw.request()
        asked.append((number, words))
        mine, other = (crowd.ask(number, words, f"token{step}") for crowd in both)
        assert mine == other, asked[-20:]
    for crowd in both:
        crowd.close()


def test_what_has_an_order_in_redis_has_the_same_here(ours, theirs):
    """A message to the channel comes before that to a pattern, and patterns end as they came."""
    patterns = ["news.*", "**", "a*", "?", "*", "[a-z]"]
    got = []
    for side in (ours.another(), theirs.another()):
        reader, writer = side.wire, side.another().wire
        replies = [reader.ask("PSUBSCRIBE", pattern) for pattern in patterns]
        reader.ask("SUBSCRIBE", "news.1")
        for pattern in patterns[1:]:  # one alone is left to match
            reader.ask("PUNSUBSCRIBE", pattern)
        replies.append(writer.ask("PUBLISH", "news.1", "hi"))
        replies += [reader.reply(), reader.reply()]
        replies += [reader.ask("PSUBSCRIBE", pattern) for pattern in patterns[::-1]]
        reader.send("PUNSUBSCRIBE")
        replies += [reader.reply() for _ in patterns]
        got.append(replies)
        reader.close()
        writer.close()
    assert got[0] == got[1]


def test_an_empty_channel_is_one_that_no_star_means(ours, theirs):
    got = []
    for side in (ours.another(), theirs.another()):
        reader, writer = side.another().wire, side.wire
        reader.ask("SUBSCRIBE", "")
        asked = [("PUBSUB", "CHANNELS"), *(("PUBSUB", "CHANNELS", p) for p in ("", "*", "**"))]
        replies = [writer.ask(*words) for words in asked]
        reader.ask("PSUBSCRIBE", "*")
        replies += [writer.ask("PUBLISH", "", "hi"), reader.reply(), reader.ask("PING", "end")]
        got.append(replies)
        reader.close()
        writer.close()
    assert got[0] == got[1]
    assert b":1\r\n" in got[0]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_transactions_of_one_client_answer_the_same(author, ours, theirs, version, seed):
    """Down to the bytes, but without messages to the client itself.

    Such a message comes among the replies of the transaction in Redis, and before them here.
    """
    draw = author(seed, REQUESTS, WORDS)
    sides = [side.another() for side in (ours, theirs)]
    for side in sides:
        side.begin(version)
    for _ in range(40):
        queue = [draw.request() for _ in range(4)]
        words = {"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "PING", "GET", "NOSUCH", "PUBSUB"}
        queue = [each for each in queue if each[0].upper() in words]
        queue = [each for each in queue if "CHANNELS" not in str(each[1:2]).upper()]
        got = []
        for side in sides:
            for each in (["MULTI"], *queue, ["EXEC"], ["PING", "end"]):
                side.wire.send(*each)
            replies = []
            while not replies or not replies[-1].endswith(b"$3\r\nend\r\n"):
                replies.append(side.wire.reply())
            got.append(replies)
            side.wire.ask("RESET")
            side.wire.ask("HELLO", version)
        assert got[0] == got[1], queue
    for side in sides:
        side.wire.close()


@pytest.mark.memory_store("Redis 6.2 leaves out messages, too", on=("redis-6.2",))
def test_replies_that_are_left_out_are_the_same(ours, theirs):
    got = []
    for side in (ours.another(), theirs.another()):
        wire = side.wire
        for words in (
            ("CLIENT", "REPLY", "SKIP"),
            ("SUBSCRIBE", "a"),
            ("PING",),
            ("UNSUBSCRIBE", "a"),
            ("CLIENT", "REPLY", "OFF"),
            ("PSUBSCRIBE", "b"),
            ("PING",),
            ("PUNSUBSCRIBE",),
            ("SUNSUBSCRIBE",),
            ("CLIENT", "REPLY", "ON"),
            ("PING", "end"),
        ):
            wire.send(*words)
        replies = []
        while not replies or not replies[-1].endswith(b"end\r\n"):
            replies.append(wire.reply())
        got.append(replies)
        wire.close()
    assert got[0] == got[1]
    assert not any(isinstance(read_value(reply), WireError) for reply in got[0])
