"""All families of plain data beside a real Redis, as a state machine: every reply must be the same.

The oracles of the families send many more requests; this one lets them meet on the same few keys,
and hypothesis shortens what differs to the requests that matter.
"""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tensorkeep_server.testing import read_value

KEYS = st.sampled_from(["a", "b", "c"])
WORDS = st.sampled_from(["x", "y", "z", "", "10", "-3", "3.5", "nan", "0x10", "\xff"])
NUMBERS = st.sampled_from(
    ["0", "1", "-1", "2", "-2", "5", "100", "9223372036854775807", "1.5", "x"]
)
FIELDS = st.sampled_from(["f", "g", "h", "7"])

# What stands for words of which there are several; everything else stands for itself.
DRAWN = {
    "key": KEYS,
    "word": WORDS,
    "number": NUMBERS,
    "field": FIELDS,
    "nxxx": st.sampled_from(["NX", "XX"]),
    "side": st.sampled_from(["LEFT", "RIGHT"]),
    "place": st.sampled_from(["BEFORE", "AFTER"]),
}
STRINGS = """
    SET key word|SET key word nxxx|SET key word GET|SET key word EX 1000|SET key word KEEPTTL
    GET key|GETSET key word|GETDEL key|GETEX key PERSIST|MGET key key|MSET key word key word
    MSETNX key word key word|APPEND key word|STRLEN key|INCR key|DECRBY key number
    INCRBYFLOAT key number|SETNX key word|SETEX key number word|SETRANGE key number word
    GETRANGE key number number
"""
LISTS = """
    LPUSH key word word|RPUSH key word|LPUSHX key word|RPUSHX key word|LPOP key|LPOP key number
    RPOP key|LLEN key|LRANGE key number number|LINDEX key number|LSET key number word
    LINSERT key place word word|LREM key number word|LTRIM key number number
    LMOVE key key side side|RPOPLPUSH key key|LPOS key word|LPOS key word RANK number COUNT number
"""
HASHES = """
    HSET key field word field word|HSETNX key field word|HMSET key field word|HGET key field
    HMGET key field field|HGETALL key|HDEL key field field|HLEN key|HEXISTS key field|HKEYS key
    HVALS key|HINCRBY key field number|HINCRBYFLOAT key field number|HSTRLEN key field
    HRANDFIELD key 100
"""
SETS = """
    SADD key word word|SREM key word|SMEMBERS key|SISMEMBER key word|SMISMEMBER key word word
    SCARD key|SPOP key 100|SRANDMEMBER key 100|SMOVE key key word|SUNION key key|SINTER key key
    SDIFF key key|SUNIONSTORE key key key|SINTERSTORE key key key|SDIFFSTORE key key key
"""
SORTED_SETS = """
    ZADD key number word|ZADD key nxxx number word number word|ZADD key INCR number word
    ZADD key GT CH number word|ZINCRBY key number word|ZREM key word|ZCARD key|ZSCORE key word
    ZMSCORE key word word|ZRANK key word|ZREVRANK key word|ZCOUNT key number number
    ZRANGE key number number WITHSCORES|ZRANGE key number number BYSCORE LIMIT number number
    ZRANGE key number number REV|ZREVRANGEBYSCORE key number number WITHSCORES
    ZRANGESTORE key key number number|ZREMRANGEBYRANK key number number
    ZREMRANGEBYSCORE key number number|ZPOPMIN key|ZPOPMAX key number|ZRANDMEMBER key 100
    ZUNION 2 key key WITHSCORES|ZINTERSTORE key 2 key key WEIGHTS number number|ZDIFF 2 key key
    ZUNIONSTORE key 2 key key AGGREGATE MAX|ZINTERCARD 2 key key|ZSCAN key 0
"""
ANY = """
    DEL key|UNLINK key key|EXISTS key key|TYPE key|RENAME key key|RENAMENX key key|COPY key key
    COPY key key REPLACE|OBJECT ENCODING key|EXPIRE key 1000|PERSIST key|EXPIREAT key 1|DBSIZE
    SCAN 0 TYPE string|SCAN 0 TYPE hash|SCAN 0 TYPE zset|MULTI|EXEC|DISCARD|WATCH key|UNWATCH
"""
TEMPLATES = [
    template.split()
    for family in (STRINGS, LISTS, HASHES, SETS, SORTED_SETS, ANY)
    for template in family.replace("\n", "|").split("|")
    if template.strip()
]
# Replies without an order of their own, and the number of replies that belong together in them.
UNORDERED = {
    **dict.fromkeys(("SMEMBERS", "SPOP", "SRANDMEMBER", "SUNION", "SINTER", "SDIFF", "SCAN"), 1),
    **dict.fromkeys(("HKEYS", "HVALS", "HRANDFIELD", "ZRANDMEMBER"), 1),
    "HGETALL": 2,
}


@st.composite
def requests(draw):
    return [draw(DRAWN.get(word, st.just(word))) for word in draw(st.sampled_from(TEMPLATES))]


def ordered(name, value):
    """Returns a reply in an order that can be compared."""
    size = UNORDERED.get(name)
    if size is None or not isinstance(value, list):
        return value
    if name == "SCAN":
        return [value[0], sorted(value[1])]
    return sorted(tuple(value[at : at + size]) for at in range(0, len(value), size))


class PlainData(RuleBasedStateMachine):
    """One client of each server, sending the same."""

    sides = ()

    @initialize(version=st.sampled_from([2, 3]))
    def begin(self, version):
        for side in self.sides:
            side.begin(version)
        self.queued = None

    @rule(request=requests())
    def ask(self, request):
        words = [word.encode("latin-1") for word in request]
        ours, theirs = (side.wire.ask(*words) for side in self.sides)
        if ours == theirs:
            same = True
        elif request[0] == "EXEC":
            names = self.queued or []
            same = all(
                ordered(name, mine) == ordered(name, yours)
                for name, mine, yours in zip(
                    names, read_value(ours), read_value(theirs), strict=True
                )
            )
        else:
            name = request[0]
            same = ours[:1] == theirs[:1]
            same = same and ordered(name, read_value(ours)) == ordered(name, read_value(theirs))
        assert same, (request, ours, theirs)
        self.note(request[0], theirs)

    def note(self, name, reply):
        """Remembers which commands wait for EXEC."""
        if reply == b"+QUEUED\r\n":
            self.queued.append(name)
        elif name == "MULTI" and reply == b"+OK\r\n":
            self.queued = []
        elif name in {"EXEC", "DISCARD"}:
            self.queued = None


@pytest.mark.memory_store("some requests of it end Redis 6.2 itself", on=("redis-6.2",))
def test_every_reply_is_the_one_that_redis_gives(ours, theirs):
    PlainData.sides = (ours, theirs)
    run_state_machine_as_test(
        PlainData, settings=settings(max_examples=120, stateful_step_count=60, deadline=None)
    )
