"""Where there is no memory for a larger table, nothing is half changed."""

from types import SimpleNamespace

import pytest

from tensorkeep.commands.args import Args
from tensorkeep.headroom import HEADROOM
from tensorkeep_memory.commands import COMMANDS
from tensorkeep_memory.keyspace import Keyspace
from tensorkeep_memory.values.kinds import SIZES

TABLE = {command.name: command for command in COMMANDS}


class Full(dict):
    """A table that cannot be enlarged."""

    def __setitem__(self, key, value):
        if key not in self:
            raise MemoryError
        super().__setitem__(key, value)

    def update(self, entries):
        for number, (key, value) in enumerate(entries.items()):
            if number == 1:
                raise MemoryError
            super().__setitem__(key, value)


@pytest.fixture
def client():
    keys = Keyspace(lambda: 1_000_000.0, SIZES)
    return SimpleNamespace(keys=keys, database=0, version=2)


def do(client, text):
    words = text.encode().split()
    command = TABLE[words[0].decode().lower()]
    return command.handle(client, command.parse(Args(words)))


@pytest.fixture
def stored(client):
    for text in ("SET s abc", "SADD t a b", "HSET h a 1", "ZADD z 1 a", "SADD other x y"):
        do(client, text)
    return client


@pytest.mark.parametrize(
    "text", ["SET fresh 1", "MSET s 1 fresh 2 other 3 more 4", "MSETNX a 1 b 2", "APPEND fresh 1"]
)
def test_keys_are_all_added_or_none(stored, text):
    keys = stored.keys
    before = {key: keys.peek(key) for key in keys}
    keys._entries = Full(keys._entries)
    with pytest.raises(MemoryError):
        do(stored, text)
    keys.validate()
    assert {key: keys.peek(key) for key in keys} == before
    assert do(stored, "GET s") == b"abc"


@pytest.mark.parametrize(
    "text",
    [
        "SADD t c d",
        "SMOVE other t x",
        "HSET h b 1 c 2",
        "HINCRBY h a 4",
        "ZADD z 2 b",
        "ZINCRBY z 2 a",
    ],
)
def test_nothing_is_added_to_what_may_have_to_be_enlarged_without_room_for_that(
    stored, text, monkeypatch
):
    asked = []
    monkeypatch.setattr(HEADROOM, "limited", True)
    monkeypatch.setattr(HEADROOM, "has", asked.append)
    with pytest.raises(MemoryError):
        do(stored, text)
    assert asked[0] > 400  # twice what the table takes
    stored.keys.validate()
    assert (do(stored, "SCARD t"), do(stored, "SCARD other")) == (2, 2)
    assert do(stored, "HGETALL h").pairs == ((b"a", b"1"),)
    assert do(stored, "ZSCORE z a") == 1.0
    assert do(stored, "ZCARD z") == 1
