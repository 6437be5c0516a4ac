"""redis-py 4, 5 and 8: what is stored and read, alone, in pipelines and in transactions.

What a call should answer is known without the server: from its own arguments, from arithmetic, or
from the labels of the pictures.
"""

import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from redis.exceptions import ExecAbortError, LockError, ResponseError, WatchError

# The newer the client, the more of what Redis has kept for decades it would rather not send.
DEPRECATIONS = pytest.mark.filterwarnings("ignore:.*is deprecated", "ignore:Call to deprecated")
UNIFIED_FROM = 8  # the first version that can answer the same in both protocols
SCRIPT = """
def scale(tensors: List[Tensor], keys: List[str], args: List[str]):
    redis.execute("SET", [keys[0], args[0]])
    return tensors[0] * int(args[0])
"""
RUN = ("AI.MODELEXECUTE", "digits", "INPUTS", 1, "pictures", "OUTPUTS", 1)


def put(commands, key, array):
    """Stores an array by a client or a pipeline."""
    return commands.execute_command(
        "AI.TENSORSET", key, "FLOAT", *array.shape, "BLOB", array.astype(np.float32).tobytes()
    )


def get(commands, key):
    """Asks for all that is known of a tensor."""
    return commands.execute_command("AI.TENSORGET", key, "META", "BLOB")


def array_of(reply):
    """Makes an array of a reply to `get`."""
    dtype, shape, blob = reply[1::2]
    assert dtype == b"FLOAT"
    return np.frombuffer(blob, np.float32).reshape(shape)


@pytest.fixture
def stored(client, digits):
    """A client, with the network at `digits` and the pictures at `pictures`."""
    assert client.execute_command(
        "AI.MODELSTORE", "digits", "ONNX", "CPU", "TAG", "v1", "BLOB", digits.onnx
    ) in {b"OK", "OK"}
    put(client, "pictures", digits.pictures)
    return client


# ------------------------------------------------------------------ tensors and models
@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_a_blob_may_be_any_bytes_of_python(client, kind):
    sent = np.arange(6000, dtype=np.int16)
    blob = kind(sent.view(np.uint8))
    assert client.execute_command("AI.TENSORSET", "x", "INT16", 6000, "BLOB", blob) == b"OK"
    got = client.execute_command("AI.TENSORGET", "x", "BLOB")
    np.testing.assert_array_equal(np.frombuffer(got, np.int16), sent)


def test_words_may_be_text_bytes_and_numbers(client):
    assert client.execute_command(
        b"ai.tensorset", b"x", "float", 2, b"2", "values", 1, 2.5, "3", -4
    )
    assert client.execute_command("AI.TENSORGET x META") == [b"dtype", b"FLOAT", b"shape", [2, 2]]
    assert array_of(get(client, "x")).tolist() == [[1, 2.5], [3, -4]]


def test_values_are_doubles_or_their_text(client, protocol):
    words = ("0.1", "-0", "inf", "-inf", "5e-324", "1e300")
    client.execute_command("AI.TENSORSET", "x", "DOUBLE", len(words), "VALUES", *words)
    got = client.execute_command("AI.TENSORGET", "x", "VALUES")
    assert {type(value) for value in got} == {float if protocol == 3 else bytes}
    assert [float(value) for value in got] == [float(word) for word in words]
    assert np.signbit(float(got[1]))
    client.execute_command("AI.TENSORSET", "x", "DOUBLE", 1, "BLOB", np.array([np.nan]).tobytes())
    (got,) = client.execute_command("AI.TENSORGET", "x", "VALUES")
    assert np.isnan(float(got))


def test_the_network_reads_the_pictures(stored, digits, named):
    assert stored.execute_command(*RUN, "answers") == b"OK"
    assert digits.read_well(array_of(get(stored, "answers")))
    meta = stored.execute_command("AI.MODELGET", "digits", "META")
    assert named(meta) == {
        b"backend": b"ONNX",
        b"device": b"CPU",
        b"tag": b"v1",
        b"batchsize": 0,
        b"minbatchsize": 0,
        b"inputs": [b"images"],
        b"outputs": [b"probabilities"],
        b"minbatchtimeout": 0,
    }
    assert stored.execute_command("AI.MODELGET", "digits", "BLOB") == digits.onnx
    assert stored.execute_command("AI._MODELSCAN") == [[b"digits", b"v1"]]
    info = named(stored.execute_command("AI.INFO", "digits"))
    assert (info[b"calls"], info[b"samples"], info[b"errors"]) == (1, len(digits.pictures), 0)


def test_a_model_comes_back_in_pieces(stored, digits):
    size = stored.execute_command("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE")
    assert size == 511 * 1024 * 1024
    stored.execute_command("AI.CONFIG", "MODEL_CHUNK_SIZE", 60_000)
    try:
        pieces = stored.execute_command("AI.MODELGET", "digits", "BLOB")
    finally:
        stored.execute_command("AI.CONFIG", "MODEL_CHUNK_SIZE", size)
    assert [len(piece) for piece in pieces[:-1]] == [60_000] * (len(digits.onnx) // 60_000)
    assert b"".join(pieces) == digits.onnx
    stored.execute_command("AI.MODELSTORE", "whole", "ONNX", "CPU", "BLOB", *pieces)
    assert stored.execute_command("AI.MODELGET", "whole", "BLOB") == digits.onnx


def test_a_script_computes_with_tensors_keys_and_arguments(client):
    stored = ("AI.SCRIPTSTORE", "script", "CPU", "TAG", "v2", "ENTRY_POINTS", 1, "scale", "SOURCE")
    assert client.execute_command(*stored, SCRIPT) == b"OK"
    put(client, "x", np.array([1.0, 2.0]))
    called = ("AI.SCRIPTEXECUTE", "script", "scale", "KEYS", 1, "factor", "INPUTS", 1, "x")
    assert client.execute_command(*called, "ARGS", 1, "3", "OUTPUTS", 1, "y") == b"OK"
    assert array_of(get(client, "y")).tolist() == [3, 6]
    assert client.get("factor") == b"3"
    assert client.execute_command("AI.SCRIPTGET", "script") == [
        *(b"device", b"CPU", b"tag", b"v2", b"Entry Points", [b"scale"]),
        *(b"source", SCRIPT.encode()),
    ]


def test_a_dag_sets_runs_and_gets(stored, digits):
    replies = stored.execute_command(
        *("AI.DAGEXECUTE", "LOAD", 1, "pictures", "PERSIST", 1, "kept", "|>"),
        *("AI.MODELEXECUTE", "digits", "INPUTS", 1, "pictures", "OUTPUTS", 1, "kept", "|>"),
        *("AI.TENSORSET", "x", "INT64", 1, "VALUES", 7, "|>", "AI.TENSORGET", "x", "VALUES", "|>"),
        *("AI.TENSORGET", "kept", "META", "BLOB"),
    )
    assert replies[:3] == [b"OK", b"OK", [7]]
    assert digits.read_well(array_of(replies[3]))
    assert digits.read_well(array_of(get(stored, "kept")))
    assert stored.exists("x") == 0


def test_an_error_is_raised_with_its_text(stored):
    with pytest.raises(ResponseError, match=r"^tensor key is empty or in a different shard$"):
        get(stored, "nothing")
    with pytest.raises(ResponseError, match=r"^WRONGTYPE Operation against a key"):
        get(stored, "digits")
    with pytest.raises(ResponseError, match=r"^Number of keys given as INPUTS here does not match"):
        stored.execute_command(
            "AI.MODELEXECUTE", "digits", "INPUTS", 2, "pictures", "pictures", "OUTPUTS", 1, "y"
        )
    with pytest.raises(ResponseError, match=r"^unknown command 'NO\.SUCH', with args beginning"):
        stored.execute_command("NO.SUCH", "word")
    assert stored.ping() is True


def test_decoded_replies_are_text(connect, client):
    client = connect(decode_responses=True)
    assert client.execute_command("AI.TENSORSET", "ключ", "STRING", 2, "VALUES", "é", "十") == "OK"
    assert client.execute_command("AI.TENSORGET", "ключ", "META", "VALUES") == [
        *("dtype", "STRING", "shape", [2], "values", ["é", "十"]),
    ]
    assert client.type("ключ") == "AI_TENSOR"
    assert client.keys() == ["ключ"]
    assert client.hset("hash", mapping={"é": "日"}) == 1
    assert client.hgetall("hash") == {"é": "日"}
    client.set("raw", b"\xff")
    with pytest.raises(UnicodeDecodeError):
        client.get("raw")
    assert client.ping()
    lenient = connect(decode_responses=True, encoding="latin-1")
    assert lenient.get("raw") == "ÿ"


# ------------------------------------------------------------------ keys
def test_keys_are_typed_renamed_copied_moved_and_deleted(client, connect):
    put(client, "x", np.ones(3))
    client.set("text", "abc")
    assert client.type("x") == b"AI_TENSOR"
    assert (client.exists("x", "x", "no"), client.touch("x", "no")) == (2, 1)
    assert client.rename("x", "y") is True
    assert client.renamenx("y", "text") is False
    assert client.copy("text", "copied") is True
    with pytest.raises(ResponseError, match="not supported for this module key"):
        client.copy("y", "z")
    assert client.move("copied", 5) is True
    other = connect(db=5)
    assert other.keys() == [b"copied"]
    assert client.swapdb(0, 5) is True
    assert client.dbsize() == 1
    assert client.randomkey() == b"copied"
    assert client.select(5) is True
    assert other.flushdb() is True
    assert client.unlink("copied") == 0
    assert client.delete("y", "text", "no") == 0


def test_keys_expire_at_the_times_of_python(client):
    soon = (datetime.now(UTC) + timedelta(minutes=5)).replace(microsecond=0)
    for key in "abcd":
        client.set(key, 1)
    assert client.ttl("a") == -1
    assert client.expire("a", timedelta(seconds=90)) is True
    assert client.pexpire("b", 90_000, nx=True) is True
    assert client.expireat("c", soon, gt=True) is False  # no expiry is the latest of all
    assert client.pexpireat("d", soon) is True
    assert 80 < client.ttl("a") <= 90
    assert 80_000 < client.pttl("b") <= 90_000
    assert client.expiretime("d") == int(soon.timestamp())
    assert client.pexpiretime("d") == int(soon.timestamp()) * 1000
    assert client.persist("a") is True
    assert (client.ttl("a"), client.ttl("no")) == (-1, -2)


def test_keys_fields_and_members_are_found_by_iteration(client):
    names = {b"scan:%d" % number for number in range(300)}
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            put(pipe, name, np.zeros(1))
        pipe.execute()
    client.hset("hash", mapping=dict.fromkeys(names, 1))
    client.sadd("set", *names)
    assert set(client.scan_iter("scan:*", count=17)) == names
    assert set(client.scan_iter(_type="AI_TENSOR")) == names
    assert set(client.scan_iter(_type="hash")) == {b"hash"}
    client.zadd("sorted", dict.fromkeys(names, 1.5))
    assert dict(client.zscan_iter("sorted", "*99")) == dict.fromkeys(
        (b"scan:99", b"scan:199", b"scan:299"), 1.5
    )
    assert dict(client.hscan_iter("hash", "scan:?", 10)) == {
        b"scan:%d" % n: b"1" for n in range(10)
    }
    assert set(client.sscan_iter("set", "*99")) == {b"scan:99", b"scan:199", b"scan:299"}
    cursor, page = client.scan(0, count=5)
    assert cursor != 0
    assert len(page) >= 5
    assert client.hscan("no") == (0, {})
    assert client.sscan("no") == (0, [])
    assert sorted(client.keys("scan:29?")) == [b"scan:29%d" % digit for digit in range(10)]


def test_objects_are_looked_into(client):
    client.set("number", 12)
    client.set("text", "word")
    put(client, "x", np.zeros(1000))
    assert client.object("ENCODING", "number") == b"int"
    assert client.object("ENCODING", "text") == b"embstr"
    assert client.object("REFCOUNT", "x") == 1
    assert client.object("IDLETIME", "x") < 100
    assert 4000 < client.memory_usage("x") < 6000
    assert client.memory_usage("no") is None


# ------------------------------------------------------------------ strings, lists, hashes, sets
@DEPRECATIONS
def test_strings(client):
    assert client.set("s", "abc", ex=100, nx=True) is True
    assert client.set("s", "x", nx=True) is None
    assert client.set("s", "abcd", get=True, keepttl=True) == b"abc"
    assert 0 < client.ttl("s") <= 100
    assert client.getex("s", persist=True) == b"abcd"
    assert client.append("s", "e") == client.strlen("s") == 5
    assert (client.getrange("s", 1, -2), client.substr("s", 0, 1)) == (b"bcd", b"ab")
    assert client.setrange("s", 7, "!") == 8
    assert client.getset("s", "new") == b"abcde\0\0!"
    assert client.getdel("s") == b"new"
    assert client.get("s") is None
    assert client.setex("t", 100, "x") is True
    assert client.psetex("t", 100_000, "x") is True
    assert client.setnx("t", "y") is False
    assert client.mset({"a": 1, "b": "two"}) is True
    assert client.msetnx({"b": 1, "c": 2}) is False
    assert client.mget(["a", "b", "c"]) == [b"1", b"two", None]
    assert [client.incr("a"), client.incrby("a", 40), client.decr("a"), client.decrby("a", 9)] == [
        *(2, 42, 41, 32),
    ]
    assert client.incrbyfloat("a", 0.5) == 32.5
    assert client.incrby("big", 2**63 - 1) == 2**63 - 1
    with pytest.raises(ResponseError, match="overflow"):
        client.incr("big")


@DEPRECATIONS
def test_lists(client):
    assert client.rpush("l", "a", "b", "c", "b") == 4
    assert client.lpush("l", "z") == 5
    assert (client.lpushx("no", "x"), client.rpushx("l", "end")) == (0, 6)
    assert client.lrange("l", 1, 3) == [b"a", b"b", b"c"]
    assert (client.lindex("l", -1), client.lindex("l", 99)) == (b"end", None)
    assert (client.lpos("l", "b", rank=-1), client.lpos("l", "b", count=0)) == (4, [2, 4])
    assert client.lpos("l", "no") is None
    assert client.linsert("l", "before", "c", "y") == 7
    assert client.lset("l", 0, "x") is True
    assert client.lrem("l", -1, "b") == 1
    assert client.ltrim("l", 1, -2) is True
    assert client.lmove("l", "m", "LEFT", "RIGHT") == b"a"
    assert client.rpoplpush("l", "m") == b"c"
    assert client.lrange("m", 0, -1) == [b"c", b"a"]
    assert client.lpop("l", 9) == [b"b", b"y"]
    assert client.rpop("m") == b"a"
    assert (client.lpop("l"), client.lpop("l", 2), client.llen("l")) == (None, None, 0)


@DEPRECATIONS
def test_hashes(client):
    assert client.hset("h", mapping={"a": 1, "b": "two", b"\xff": b"\xfe"}) == 3
    assert (client.hset("h", "a", 2), client.hsetnx("h", "a", 3)) == (0, False)
    assert client.hgetall("h") == {b"a": b"2", b"b": b"two", b"\xff": b"\xfe"}
    assert client.hmget("h", ["a", "no"]) == [b"2", None]
    assert (client.hget("h", "b"), client.hget("h", "no")) == (b"two", None)
    assert client.hincrby("h", "a", 40) == 42
    assert client.hincrbyfloat("h", "a", 0.5) == 42.5
    assert client.hkeys("h") == [b"a", b"b", b"\xff"]
    assert client.hvals("h") == [b"42.5", b"two", b"\xfe"]
    assert (client.hstrlen("h", "b"), client.hlen("h"), client.hexists("h", "no")) == (3, 3, False)
    assert client.hrandfield("h", 9) == [b"a", b"b", b"\xff"]
    got = client.hrandfield("h", 1, withvalues=True)
    assert len(got[0] if isinstance(got[0], list) else got) == 2
    assert client.hdel("h", "a", "b", "no") == 2
    assert client.hgetall("no") == {}
    assert client.hmset("h", {"x": 1}) is True


def test_sets(client):
    assert client.sadd("s", "a", "b", "c") == 3
    assert client.sadd("t", "c", "d") == 2
    assert client.smembers("s") == {b"a", b"b", b"c"}
    assert client.smembers("no") == set()
    assert bool(client.sismember("s", "a")) is True
    assert client.smismember("s", ["a", "d"]) == [1, 0]
    assert set(client.sinter("s", "t")) == {b"c"}
    assert set(client.sunion("s", "t")) == {b"a", b"b", b"c", b"d"}
    assert set(client.sdiff("s", "t")) == {b"a", b"b"}
    assert client.sintercard(2, ["s", "t"]) == 1
    assert client.sinterstore("i", "s", "t") == 1
    assert client.sdiffstore("d", "s", "t") == 2
    assert client.sunionstore("u", "s", "t") == client.scard("u") == 4
    assert client.smove("t", "s", "d") == 1
    assert set(client.srandmember("s", 2)) < {b"a", b"b", b"c", b"d"}
    assert client.srem("s", "a", "no") == 1
    assert set(client.spop("s", 9)) == {b"b", b"c", b"d"}
    assert client.spop("s") is None


def scored(reply):
    """Returns members with their scores, which come in pairs or in a row."""
    flat = [word for item in reply for word in (item if isinstance(item, list | tuple) else [item])]
    return [(member, float(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]


@DEPRECATIONS
def test_sorted_sets(client):
    assert client.zadd("z", {"a": 1, "b": 2.5, "c": float("inf")}) == 3
    assert client.zadd("z", {"a": 0, "d": 4}, gt=True, ch=True) == 1
    assert client.zadd("z", {"a": 0.5}, incr=True) == 1.5
    assert client.zadd("z", {"a": 1}, nx=True, incr=True) is None
    assert client.zincrby("z", -0.5, "a") == 1.0
    assert (client.zcard("z"), client.zscore("z", "b"), client.zscore("z", "no")) == (4, 2.5, None)
    assert client.zmscore("z", ["c", "no"]) == [float("inf"), None]
    assert (client.zrank("z", "b"), client.zrevrank("z", "b"), client.zrank("z", "no")) == (
        *(1, 2, None),
    )
    assert (client.zcount("z", "(1", 4), client.zcount("no", 0, 1)) == (2, 0)
    got = client.zrange("z", 0, 1, withscores=True)
    assert scored(got) == [(b"a", 1.0), (b"b", 2.5)]
    assert {type(score) for _, score in got} == {float}
    assert client.zrange("z", 0, 1, desc=True) == client.zrevrange("z", 0, 1) == [b"c", b"d"]
    assert client.zrange("z", 1, 3, byscore=True, offset=1, num=5) == [b"b"]
    assert scored(client.zrangebyscore("z", 2, 4, withscores=True)) == [(b"b", 2.5), (b"d", 4.0)]
    assert client.zrevrangebyscore("z", "inf", "-inf", start=1, num=2) == [b"d", b"b"]
    assert client.zrangestore("r", "z", 0, 1) == 2
    assert client.zrandmember("z") in {b"a", b"b", b"c", b"d"}
    assert sorted(scored(client.zrandmember("r", 9, withscores=True))) == [(b"a", 1.0), (b"b", 2.5)]
    assert scored(client.zscan("r")[1]) == [(b"a", 1.0), (b"b", 2.5)]
    assert scored(client.zpopmin("z")) == [(b"a", 1.0)]
    assert scored(client.zpopmax("z", 2)) == [(b"c", float("inf")), (b"d", 4.0)]
    assert (client.zrem("z", "b", "no"), client.exists("z")) == (1, 0)


def test_members_of_one_score_are_in_the_order_of_their_bytes(client):
    client.zadd("w", dict.fromkeys("dbca", 0))
    assert client.zrangebylex("w", "[b", "(d") == [b"b", b"c"]
    assert client.zrevrangebylex("w", "+", "-", start=1, num=2) == [b"c", b"b"]
    assert client.zlexcount("w", "-", "[c") == 3
    assert client.zremrangebylex("w", "[c", "+") == 2
    assert client.zremrangebyrank("w", 0, 0) == 1
    assert client.zremrangebyscore("w", "-inf", 0) == 1
    assert client.exists("w") == 0


def test_sorted_sets_are_combined(client):
    client.zadd("p", {"a": 1, "b": 2})
    client.zadd("q", {"b": 10, "c": 3})
    assert client.zunion(["p", "q"]) == [b"a", b"c", b"b"]
    assert scored(client.zunion({"p": 10, "q": 1}, aggregate="MAX", withscores=True)) == [
        *((b"c", 3.0), (b"a", 10.0), (b"b", 20.0)),
    ]
    assert scored(client.zinter(["p", "q"], withscores=True)) == [(b"b", 12.0)]
    assert scored(client.zdiff(["p", "q"], withscores=True)) == [(b"a", 1.0)]
    assert client.zintercard(2, ["p", "q"]) == 1
    assert client.zunionstore("u", ["p", "q"]) == 3
    assert client.zinterstore("i", {"p": 2, "q": 1}, aggregate="MIN") == 1
    assert client.zdiffstore("d", ["p", "q"]) == 1
    assert client.zscore("i", "b") == 4


def test_both_protocols_answer_the_same_if_that_is_wanted(connect, client, version):
    if version < UNIFIED_FROM:
        pytest.skip("this redis-py answers as the protocol does")
    client.hset("h", mapping={"a": 1})
    client.sadd("s", "a")
    client.rpush("l", "a")
    client.zadd("z", {"a": 1.5})

    def answers(protocol):
        own = connect(protocol=protocol, legacy_responses=False)
        return [
            *(own.hgetall("h"), own.hrandfield("h", 2, withvalues=True), own.hscan("h")),
            *(own.smembers("s"), own.sunion("s"), own.sscan("s"), own.spop("none", 2)),
            *(own.zrange("z", 0, 0, withscores=True), own.zscan("z"), own.zscore("z", "a")),
            *(own.zrandmember("z", 2, withscores=True), own.zpopmin("none"), own.zrank("z", "a")),
            *(own.lpos("l", "a", count=0), own.lpop("none", 2), own.incrbyfloat("n", 0)),
            *(own.config_get("maxclients"), own.command_getkeys("GET", "k")),
            *(own.module_list(), own.pubsub_numsub("a"), own.client_getname()),
            *(own.client_trackinginfo(), own.command_list(pattern="ai.*"), own.get("none")),
        ]

    assert answers(2) == answers(3)


# ------------------------------------------------------------------ pipelines and transactions
def test_a_pipeline_answers_in_order_with_errors_in_their_places(stored):
    with stored.pipeline(transaction=False) as pipe:
        for number in range(200):
            pipe.execute_command("AI.TENSORSET", f"p:{number}", "INT64", 1, "VALUES", number)
        get(pipe, "nothing")
        pipe.execute_command(*RUN, "answers").hset("h", "a", 1).hgetall("h")
        for number in range(200):
            pipe.execute_command("AI.TENSORGET", f"p:{number}", "VALUES")
        assert len(pipe) == 404
        replies = pipe.execute(raise_on_error=False)
    assert replies[:200] == [b"OK"] * 200
    assert isinstance(replies[200], ResponseError)
    assert replies[201:204] == [b"OK", 1, {b"a": b"1"}]
    assert replies[204:] == [[number] for number in range(200)]


def test_a_pipeline_is_a_transaction_unless_told_otherwise(stored):
    with stored.pipeline() as pipe:
        put(pipe, "x", np.array([1.0, 2.0]))
        get(pipe, "x")
        pipe.execute_command(*RUN, "answers").expire("x", 100).smembers("no")
        replies = pipe.execute(raise_on_error=False)
    assert array_of(replies[1]).tolist() == [1, 2]
    assert str(replies[2]).endswith(
        "Cannot run RedisAI command within a transaction or a LUA script"
    )
    assert replies[3:] == [True, set()]


def test_a_command_that_cannot_be_queued_aborts_the_transaction(client):
    with client.pipeline() as pipe:
        pipe.set("a", 1).execute_command("NO.SUCH")
        with pytest.raises((ResponseError, ExecAbortError), match="unknown command"):
            pipe.execute()
    assert client.exists("a") == 0


def test_a_watched_key_that_changed_is_an_error_and_a_retry_counts_right(client, connect):
    with client.pipeline() as pipe:
        pipe.watch("n")
        client.incr("n")
        pipe.multi()
        pipe.delete("n")
        with pytest.raises(WatchError):
            pipe.execute()
        pipe.watch("n")
        client.incr("n")
        pipe.unwatch()
        pipe.multi()
        pipe.get("n")
        assert pipe.execute() == [b"2"]

    def step(pipe):
        value = int(pipe.get("n"))
        pipe.multi()
        pipe.set("n", value + 1)

    def count():
        own = connect()
        for _ in range(20):
            own.transaction(step, "n")

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get("n") == b"62"


# ------------------------------------------------------------------ locks
def test_a_lock_is_taken_and_to_give_it_back_is_refused_clearly(client):
    """The client gives locks back by scripts of Lua, which this server does not have."""
    lock = client.lock("lock", timeout=100, blocking_timeout=0.1)
    assert lock.acquire() is True
    assert lock.locked() is True
    assert lock.owned() is True
    assert 0 < client.ttl("lock") <= 100
    assert client.lock("lock").acquire(blocking=False) is False
    for change in (lock.release, lock.reacquire, lambda: lock.extend(10)):
        with pytest.raises(ResponseError, match=r"^unknown command 'EVALSHA'") as caught:
            change()
        assert not isinstance(caught.value, LockError)
        lock.local.token = client.get("lock")  # `release` forgets it, whatever the answer is
    with pytest.raises(ResponseError, match=r"^unknown command 'EVAL'"):
        client.eval("return 1", 0)
    assert client.delete("lock") == 1
    assert lock.locked() is False
