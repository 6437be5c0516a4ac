"""What is sent to real engines to read and to change values, and what comes of it."""

import socket
import threading
import time
from typing import Any

import hiredis
import numpy as np
import pytest

from tensorkeep.batching import Batching
from tensorkeep.commands.set_options import Lifetime, read_lifetime
from tensorkeep.errors import KeyMissing, NotStored, StoreError, WrongType
from tensorkeep.model import LoadedModel, Model, ModelSpec, Script, ScriptSpec
from tensorkeep.store import Record, Wanted
from tensorkeep.tensor import DType, Tensor
from tensorkeep_valkey.layout import encode_tensor
from tensorkeep_valkey.packing import pack
from tensorkeep_valkey.reads import (
    UNCLEAR,
    Storing,
    decode_reads,
    decode_whole,
    encode_reads,
    encode_whole,
)
from tensorkeep_valkey.testing import PRESENT, running_engine
from tensorkeep_valkey.values import StoredValues
from tensorkeep_valkey.writes import decode_writes, encode_writes, knows_no_script

NO_BACKEND: Any = None  # nothing is run

SMALL = Tensor.from_values(DType.INT8, (3,), [1, 2, 3])
LARGE = Tensor.from_numpy(np.arange(30_000, dtype=np.int64))
MODEL = Model(ModelSpec("FAKE", tag="v1"), b"blob", LoadedModel(None, ("x",), ("y",)), NO_BACKEND)
LARGE_MODEL = Model(
    ModelSpec("FAKE", batching=Batching(4)),
    bytes(33 * 2**20),
    LoadedModel(None, (), ()),
    NO_BACKEND,
)
SMALL_SCRIPT = Script(ScriptSpec("FAKE"), b"def f(x): pass", None, NO_BACKEND)
LARGE_SCRIPT = Script(ScriptSpec("FAKE"), b"#" * 100_000, None, NO_BACKEND)


class Engine:
    """A connection to an engine; what is sent and what is received is as sessions have it."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._reader = hiredis.Reader(replyError=StoreError, notEnoughData=self)

    def exchange(self, requests):
        out = []
        for request in requests:
            pack(request, out)
        sending = threading.Thread(target=self._socket.sendall, args=(b"".join(out),))
        sending.start()
        replies = [self._reply() for _ in requests]
        sending.join()
        return replies

    def _reply(self):
        while (reply := self._reader.gets()) is self:
            self._reader.feed(self._socket.recv(1 << 20))
        return reply

    def do(self, *words):
        (reply,) = self.exchange([[w.encode() if isinstance(w, str) else w for w in words]])
        return reply

    def close(self):
        self._socket.close()


@pytest.fixture(scope="module", params=PRESENT)
def running(request):
    with running_engine(request.param) as engine:
        yield engine


@pytest.fixture
def engine(running):
    engine = Engine(running.path)
    assert engine.do("FLUSHALL") == b"OK"
    yield engine
    engine.close()


def write(engine, change, **how):
    values = StoredValues()
    change(values)
    writing = encode_writes(values.changes, **how)
    replies = engine.exchange(writing.requests)
    if knows_no_script(replies):
        replies[-1:] = engine.exchange(writing.whole_script)
    decode_writes(writing.keys, replies)
    return writing


def store(engine, *items, **how):
    """Stores values where only their kind may be."""

    def change(values):
        for key, value in items:
            values.expect(key, type(value))
        for key, value in items:
            values.set(key, value)

    return write(engine, change, **how)


def read(engine, *wanted, **how):
    distinct, requests = encode_reads([Wanted(*each) for each in wanted], **how)
    return decode_reads(distinct, engine.exchange(requests), **how)


def read_whole(engine, key):
    return decode_whole(key, engine.exchange(encode_whole(key)))


def each_kind(engine):
    """Stores one of each kind, and returns how to tell whether all are as they were."""
    engine.do("SET", "text", "text")
    engine.do("SET", "empty", "")
    engine.do("RPUSH", "list", "1")
    engine.do("HSET", "hash", "tensorkeep", "else")
    engine.do("HSET", "bare", "a", "b")
    store(engine, (b"tensor", SMALL), (b"model", MODEL), (b"script", SMALL_SCRIPT))
    return lambda: [engine.do("DUMP", key) for key in (*FOREIGN, b"tensor", b"model", b"script")]


LONGEST = {b"PX": 2**63 - 1 - 2**42, b"PXAT": 2**63 - 1}
FOREIGN = (b"text", b"empty", b"list", b"hash", b"bare")


# --------------------------------------------------------------------------- tensors
@pytest.mark.parametrize("tensor", [SMALL, LARGE], ids=["small", "large"])
def test_a_tensor_is_the_string_of_the_layout(engine, tensor):
    store(engine, (b"k", tensor))
    assert engine.do("GET", "k") == encode_tensor(tensor)
    assert engine.do("TTL", "k") == -1
    assert engine.do("KEYS", "*") == [b"k"]
    assert read(engine, (b"k", Tensor)) == {(b"k", Tensor): tensor}


def test_large_and_small_tensors_are_changed_together(engine):
    items = [(b"%d" % number, (SMALL, LARGE)[number % 2]) for number in range(20)]
    store(engine, *items)
    found = read(engine, *((key, Tensor) for key, _ in items))
    assert [found[key, Tensor] for key, _ in items] == [value for _, value in items]
    assert engine.do("DBSIZE") == len(items)


def test_several_thousand_keys_are_changed_together(engine):
    keys = [b"%d" % number for number in range(10_000)]
    store(engine, *((key, SMALL) for key in keys))
    assert engine.do("DBSIZE") == len(keys)


# --------------------------------------------------------------------------- models and scripts
@pytest.mark.parametrize(
    "runnable", [MODEL, LARGE_MODEL, SMALL_SCRIPT, LARGE_SCRIPT], ids=["m", "M", "s", "S"]
)
def test_a_model_or_script_is_a_hash_from_which_it_comes_back(engine, runnable):
    kind = type(runnable)
    writing = store(engine, (b"k", runnable))
    identity, stored = writing.stored[b"k"]
    assert stored is runnable
    assert engine.do("KEYS", "*") == [b"k"]
    assert engine.do("TTL", "k") == -1
    assert read(engine, (b"k", kind)) == {(b"k", kind): Storing(identity, kind)}
    record = read_whole(engine, b"k")
    assert (record.id, record.spec) == (identity, runnable.spec)
    whole = runnable.blob if kind is Model else runnable.source
    assert b"".join(record.content) == whole
    assert read(engine, (b"k", Record)) == {(b"k", Record): record._replace(content=None)}
    assert read(engine, (b"k", Record), whole=True) == {(b"k", Record): record}


def test_each_storing_has_an_id_of_its_own(engine):
    first, second = (store(engine, (b"k", MODEL)).stored[b"k"][0] for _ in range(2))
    assert first != second
    assert read(engine, (b"k", Model)) == {(b"k", Model): Storing(second, Model)}


def test_nothing_of_a_replaced_model_is_left(engine):
    for model in (LARGE_MODEL, MODEL):
        store(engine, (b"k", model))
    assert engine.do("HEXISTS", "k", "blob:1") == 0
    assert b"".join(read_whole(engine, b"k").content) == MODEL.blob


# --------------------------------------------------------------------------- what is there already
@pytest.mark.parametrize(
    "value", [SMALL, LARGE, MODEL, LARGE_MODEL, LARGE_SCRIPT], ids=["t", "T", "m", "M", "S"]
)
def test_nothing_is_changed_if_one_key_holds_something_else(engine, value):
    unchanged = each_kind(engine)
    before, size = unchanged(), engine.do("DBSIZE")
    own = {Tensor: b"tensor", Model: b"model", Script: b"script"}[type(value)]
    others = {b"tensor", b"model", b"script"} - {own}
    for key in (*FOREIGN, *others):
        for items in (
            [(key, value)],
            [(b"new", LARGE), (key, value)],
            [(key, value), (own, value)],
        ):
            with pytest.raises(WrongType) as raised:
                store(engine, *items)
            assert raised.value.key == key
    assert unchanged() == before
    assert engine.do("DBSIZE") == size  # nothing waits any more
    store(engine, (own, value))


def test_what_is_expected_of_nothing_replaces_everything(engine):
    each_kind(engine)
    for key in (*FOREIGN, b"tensor", b"model", b"script"):
        for value in (SMALL, MODEL, LARGE):
            write(engine, lambda values: values.set(key, value))  # noqa: B023 - called at once
    found = read(engine, *((key, Tensor) for key in FOREIGN))
    assert [*found.values()] == [LARGE] * len(FOREIGN)


@pytest.mark.parametrize("kind", [Tensor, Model, Script])
def test_what_is_dropped_must_be_there_and_of_its_kind(engine, kind):
    unchanged = each_kind(engine)
    before = unchanged()
    with pytest.raises(KeyMissing) as raised:
        write(engine, lambda values: (values.set(b"new", LARGE), values.drop(b"nothing", kind)))
    assert (raised.value.key, raised.value.kind) == (b"nothing", kind)
    own = {Tensor: b"tensor", Model: b"model", Script: b"script"}[kind]
    for key in {*FOREIGN, b"tensor", b"model", b"script"} - {own}:
        with pytest.raises(WrongType):
            write(engine, lambda values: values.drop(key, kind))  # noqa: B023 - called at once
    assert unchanged() == before
    assert engine.do("EXISTS", "new") == 0
    write(engine, lambda values: values.drop(own, kind))
    assert engine.do("EXISTS", own) == 0


@pytest.mark.parametrize("value", [SMALL, LARGE, MODEL, LARGE_SCRIPT], ids=["t", "T", "m", "S"])
def test_an_expiry_is_set_kept_or_ended(engine, value):
    def write_for(word, number):
        write(engine, lambda values: values.set_for(b"k", value, Lifetime(word, number)))
        return engine.do("PTTL", "k")

    assert 90_000 < write_for(b"PX", 100_000) <= 100_000
    assert 90_000 < write_for(b"KEEPTTL", 0) <= 100_000
    assert 190_000 < write_for(b"PXAT", round(time.time() * 1000) + 200_000) <= 200_500
    assert 190_000 < write_for(b"KEEPTTL", 0) <= 200_500
    store(engine, (b"k", value))
    assert engine.do("PTTL", "k") == -1
    assert write_for(b"KEEPTTL", 0) == -1


@pytest.mark.parametrize("value", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("word", [b"PX", b"PXAT"])
def test_the_longest_lifetimes_are_kept(engine, word, value):
    longest = read_lifetime(b"%d" % LONGEST[word], word, "")
    write(engine, lambda values: values.set_for(b"k", value, longest))
    assert engine.do("PTTL", "k") > 2**62
    write(engine, lambda values: values.set_for(b"k", value, Lifetime(b"KEEPTTL", 0)))
    assert engine.do("PTTL", "k") > 2**62


@pytest.mark.parametrize("value", [SMALL, LARGE], ids=["small", "large"])
def test_a_kept_expiry_is_the_same_to_the_millisecond(engine, value):
    if isinstance(engine.do("PEXPIRETIME", "k"), StoreError):
        pytest.skip("this engine does not tell it")
    store(engine, (b"k", value))
    at = round(time.time() * 1000) + 100_000
    engine.do("PEXPIREAT", "k", str(at))
    write(engine, lambda values: values.set_for(b"k", value, Lifetime(b"KEEPTTL", 0)))
    assert engine.do("PEXPIRETIME", "k") == at


def test_what_waited_for_a_key_that_is_not_as_it_must_be_does_not_stay(engine):
    store(engine, (b"k", SMALL))

    def change(values):
        values.expect(b"k", Tensor, present=False)
        values.set(b"k", LARGE)

    with pytest.raises(NotStored) as raised:
        write(engine, change)
    assert raised.value.key == b"k"
    assert engine.do("KEYS", "*") == [b"k"]
    assert read(engine, (b"k", Tensor)) == {(b"k", Tensor): SMALL}


# --------------------------------------------------------------------------- what is read
def clear(engine, found):
    """What was found, once what was unclear has been read again."""
    return {
        wanted: read(engine, wanted, whole=True)[wanted] if value is UNCLEAR else value
        for wanted, value in found.items()
    }


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("kind", [Tensor, Model, Script, Record])
def test_what_is_wrong_with_one_key_is_told_of_that_key(engine, kind, whole):
    each_kind(engine)
    own = {Tensor: [b"tensor"], Model: [b"model"], Script: [b"script"]}.get(
        kind, [b"model", b"script"]
    )
    keys = [*FOREIGN, b"tensor", b"model", b"script", b"nothing"]
    found = clear(engine, read(engine, *((key, kind) for key in keys), whole=whole))
    assert found[b"nothing", kind] is None
    right = [key for key in keys[:-1] if not isinstance(found[key, kind], WrongType)]
    assert right == own


def test_what_is_wanted_twice_is_read_once(engine):
    store(engine, (b"k", SMALL))
    distinct, requests = encode_reads([Wanted(b"k", Tensor)] * 3)
    assert (distinct, requests) == ([(b"k", Tensor)], [(b"GET", b"k")])


# --------------------------------------------------------------------------- faults
def test_a_value_that_was_lost_while_it_waited_is_told_and_nothing_is_changed(engine):
    for value in (LARGE, LARGE_MODEL):
        store(engine, (b"k", SMALL))
        values = StoredValues()
        values.set(b"k", value)
        values.set(b"other", SMALL)
        writing = encode_writes(values.changes)
        with pytest.raises(StoreError, match="lost the value before it was in place"):
            decode_writes(writing.keys, engine.exchange(writing.requests[-1:]))
        assert read(engine, (b"k", Tensor)) == {(b"k", Tensor): SMALL}
        assert engine.do("EXISTS", "other") == 0


def test_the_engine_may_forget_the_script(engine):
    store(engine, (b"k", SMALL))
    engine.do("SCRIPT", "FLUSH")
    store(engine, (b"k", LARGE))
    assert read(engine, (b"k", Tensor)) == {(b"k", Tensor): LARGE}


def test_in_a_transaction_the_script_itself_is_sent(engine):
    engine.do("SCRIPT", "FLUSH")
    values = StoredValues()
    values.set(b"k", LARGE)
    writing = encode_writes(values.changes, whole_script=True)
    *queued, replies = engine.exchange([[b"MULTI"], *writing.requests, [b"EXEC"]])
    assert queued == [b"OK"] + [b"QUEUED"] * len(writing.requests)
    decode_writes(writing.keys, replies)
    assert read(engine, (b"k", Tensor)) == {(b"k", Tensor): LARGE}


@pytest.mark.parametrize("value", [SMALL, LARGE, MODEL], ids=["t", "T", "m"])
def test_a_full_engine_refuses_in_its_own_words(engine, value):
    store(engine, (b"k", SMALL))
    engine.do("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StoreError) as raised:
            write(engine, lambda values: values.set(b"k", value))
    finally:
        engine.do("CONFIG", "SET", "maxmemory", "0")
    assert raised.value.line == "OOM command not allowed when used memory > 'maxmemory'."
    assert read(engine, (b"k", Tensor)) == {(b"k", Tensor): SMALL}


@pytest.mark.parametrize("value", [SMALL, LARGE, MODEL], ids=["t", "T", "m"])
def test_a_replica_refuses_in_its_own_words(engine, value):
    assert engine.do("REPLICAOF", "127.0.0.1", "1") == b"OK"  # where nobody is
    try:
        with pytest.raises(StoreError) as raised:
            write(engine, lambda values: values.set(b"k", value))
    finally:
        engine.do("REPLICAOF", "NO", "ONE")
    assert raised.value.line == "READONLY You can't write against a read only replica."


@pytest.mark.parametrize("value", [SMALL, LARGE, MODEL], ids=["t", "T", "m"])
def test_who_may_not_write_is_told_so_and_nothing_is_changed(engine, running, value):
    engine.do(
        "ACL", "SETUSER", "reader", "on", "nopass", "~*", "+@all", "-@write", "+eval", "+evalsha"
    )
    other = Engine(running.path)
    assert other.do("AUTH", "reader", "x") == b"OK"
    with pytest.raises(StoreError) as raised:
        write(other, lambda values: values.set(b"k", value))
    other.close()
    assert raised.value.line.startswith("NOPERM ")
    assert "script:" not in raised.value.line
    assert engine.do("DBSIZE") == 0


def test_who_may_not_read_a_key_is_told_so_of_that_key(engine, running):
    store(engine, (b"a:1", SMALL), (b"b:1", SMALL))
    engine.do("ACL", "SETUSER", "a", "on", "nopass", "~a:*", "+@all")
    other = Engine(running.path)
    other.do("AUTH", "a", "x")
    found = read(other, (b"a:1", Tensor), (b"b:1", Tensor), (b"b:1", Model))
    with pytest.raises(StoreError, match="NOPERM"):
        store(other, (b"a:1", LARGE), (b"b:1", SMALL))
    store(other, (b"a:1", LARGE))  # also while it waits its key is one that the user may use
    other.close()
    assert found[b"a:1", Tensor] == SMALL
    for kind in (Tensor, Model):
        assert found[b"b:1", kind].line.startswith("NOPERM ")


def test_a_tensor_that_is_no_string_of_the_engine_is_refused():
    huge = Tensor.from_numpy(np.zeros(512 * 2**20, np.uint8))
    values = StoredValues()
    values.set(b"k", huge)
    with pytest.raises(StoreError, match="536870976 bytes, and the engine takes 536870912"):
        encode_writes(values.changes)


# --------------------------------------------------------------------------- rights
LIFETIMES = {
    "pexpire": Lifetime(b"PX", 10_000),
    "pexpireat": Lifetime(b"PXAT", 9_000_000_000_000),
    "pttl": Lifetime(b"KEEPTTL", 0),
}


@pytest.mark.parametrize("command", ["set", "rename", "persist", "pexpire", "pexpireat", "pttl"])
def test_who_lacks_a_command_changes_none_of_several_keys(running, engine, command):
    engine.do(*("ACL", "SETUSER", "lacking", "reset", "on", ">pw", "+@all", f"-{command}", "~*"))
    if command == "pttl":
        if engine.do("COMMAND", "INFO", "PEXPIRETIME") != [None]:
            engine.do("ACL", "SETUSER", "lacking", "-pexpiretime")
        engine.do("SET", "large", "", "EX", "1000")

    def change(values):
        values.set(b"small", SMALL)
        values.set_for(b"large", LARGE, LIFETIMES.get(command))

    user = Engine(running.path)
    user.do("AUTH", "lacking", "pw")
    before = engine.do("DUMP", "large")
    with pytest.raises(StoreError, match=r"^NOPERM"):
        write(user, change)

    assert engine.do("EXISTS", "small") == 0
    assert engine.do("DUMP", "large") == before
    assert not [key for key in engine.do("KEYS", "*") if b":tensorkeep:" in key]
    user.close()


@pytest.mark.parametrize(
    "value",
    [SMALL, LARGE, MODEL, SMALL_SCRIPT, LARGE_SCRIPT],
    ids=["small", "large", "model", "small script", "large script"],
)
def test_all_kinds_are_the_same_without_a_key_beside_theirs(engine, value):
    engine.do("SET", "k", "", "EX", "1000")
    writing = write(engine, lambda values: values.set(b"k", value), beside=False)

    assert len(writing.requests) == 1
    assert engine.do("TTL", "k") == -1
    direct = engine.do("GET" if isinstance(value, Tensor) else "HGETALL", "k")
    store(engine, (b"other", value))
    usual = engine.do("GET" if isinstance(value, Tensor) else "HGETALL", "other")
    assert without_id(direct) == without_id(usual)


def without_id(found):
    """Returns a hash without what each storing has of its own."""
    if not isinstance(found, list):
        return found
    pairs = dict(zip(found[::2], found[1::2], strict=True))
    return {name: value for name, value in pairs.items() if name != b"id"}


def test_a_model_larger_than_one_command_takes_waits_all_the_same(monkeypatch):
    monkeypatch.setattr("tensorkeep_valkey.writes._MOST_AT_ONCE", 1000)
    values = StoredValues()
    values.set(b"k", LARGE)

    assert encode_writes(values.changes, beside=False).beside


def test_a_full_engine_takes_no_model_that_the_script_is_given(running, engine):
    engine.do("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StoreError, match=r"^OOM "):
            write(engine, lambda values: values.set(b"k", LARGE_SCRIPT), beside=False)
    finally:
        engine.do("CONFIG", "SET", "maxmemory", "0")
    assert engine.do("EXISTS", "k") == 0


def test_a_large_tensor_is_sent_from_where_it_lies():
    blob = bytes(1 << 20)
    values = StoredValues()
    values.set(b"k", Tensor.from_blob(DType.UINT8, (1 << 20,), blob))
    setting, *_ = encode_writes(values.changes).requests
    assert any(getattr(word, "rest", None) is blob for word in setting)
