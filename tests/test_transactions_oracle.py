"""Transactions answer, byte for byte, what those of a real Redis answer.

Both servers have two clients that get in each other's way: they watch, queue, drop and do the same
commands about the same few keys in the same order.
"""

from collections import Counter

import pytest

FAR = 4102444800  # the year 2100

WORDS = {
    "key": ("a", "b", "c", b"\xff\0"),
    "database": ("0", "1", "2", "16", "x"),
    "time": (FAR, FAR + 1, 0, -1, "x"),
    "condition": ("NX", "XX", "GT", "LT", "bogus"),
    "flushing": ("ASYNC", "bogus"),
}
REQUESTS = """
    16 MULTI
    20 EXEC
     3 DISCARD
    20 WATCH key key*
     3 UNWATCH
     2 RESET
     1 NOSUCH key
     1 CLIENT NOSUCH
    10 STORE key
     6 DEL key key*
     2 UNLINK key
     2 EXISTS key key*
     1 TOUCH key
     3 RENAME key key
     3 RENAMENX key key
     3 MOVE key database
     3 SELECT database
     2 SWAPDB 0 1
     1 SWAPDB database database
     5 EXPIREAT key time condition*
     3 PERSIST key
     3 EXPIRETIME key
     2 OBJECT ENCODING key
     2 DBSIZE
     1 FLUSHDB flushing*
     1 FLUSHALL flushing*
     1 PING PING* PING*
     1 ECHO key
     1 SELECT 0
"""
GAMES = 200
MOVES = 60


def outcome(words, reply):
    """Names what became of a transaction, None for any other command."""
    if words[0].upper() != "EXEC":
        return None
    head = reply.partition(b"\r\n")[0]
    if head in {b"*-1", b"_"}:
        return "nothing done"
    return "all done" if head.startswith(b"*") else head.partition(b" ")[0].decode()


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_redis_answers_the_same(ours, theirs, author, version, seed):
    sides = [(ours, theirs), (ours.another(), theirs.another())]
    writes = author(seed, REQUESTS, WORDS)
    outcomes = Counter()
    for game in range(GAMES):
        for side in (*sides[0], *sides[1]):
            side.begin(version)
        for _ in range(MOVES):
            number, words = writes.random.randrange(2), writes.request()
            print(game, number, *words)
            mine, other = (side.ask(words) for side in sides[number])
            assert mine == other
            outcomes[outcome(words, mine)] += 1
        assert contents(ours) == contents(theirs)
    for side in sides[1]:
        side.wire.close()
    assert {"all done", "nothing done", "-EXECABORT", "-ERR"} <= outcomes.keys()
    assert min(outcomes["all done"], outcomes["nothing done"], outcomes["-EXECABORT"]) > 20


def contents(side):
    """Returns the names of all keys, by database, with their times of expiry."""
    side.wire.ask("RESET")
    found = []
    for database in range(3):
        side.wire.ask("SELECT", database)
        names = sorted(side.wire.read("KEYS", "*"))
        found.append([(name, side.wire.read("EXPIRETIME", name)) for name in names])
    return found
