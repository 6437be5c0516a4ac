"""Replies at the edges, through a socket: nothing, almost nothing, what is no number, and too much.

What Redis itself answers is asked of a real one.
"""

import random
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

MIB = 1024 * 1024
ODD = b"\xff\0\r\n\xc3 *$"  # what no text is made of
# A double with the sign bit set that is not a number is what processors make of 0 / 0.
EDGES = {
    np.float32: {
        0x00000001: b"1.4012984643248171e-45",
        0x807FFFFF: b"-1.1754942106924411e-38",
        0x7F7FFFFF: b"3.4028234663852886e+38",
        0x3DCCCCCD: b"0.10000000149011612",
        0x80000000: b"-0",
        0x00000000: b"0",
        0x7F800000: b"inf",
        0xFF800000: b"-inf",
        0x7FC00000: b"nan",
        0xFFC00000: b"-nan",
    },
    np.float64: {
        0x0000000000000001: b"4.9406564584124654e-324",
        0x800FFFFFFFFFFFFF: b"-2.2250738585072009e-308",
        0x7FEFFFFFFFFFFFFF: b"1.7976931348623157e+308",
        0x3FB999999999999A: b"0.10000000000000001",
        0x8000000000000000: b"-0",
        0x0000000000000000: b"0",
        0x7FF0000000000000: b"inf",
        0xFFF0000000000000: b"-inf",
        0x7FF8000000000000: b"nan",
        0xFFF8000000000000: b"-nan",
    },
}
NAMES = {np.float32: b"FLOAT", np.float64: b"DOUBLE"}
EMPTY = (  # of what is not there
    "GET none", "GETDEL none", "GETEX none", "SUBSTR none 0 -1", "STRLEN none", "MGET none no",
    "SET none x XX", "SET none x XX GET", "LRANGE none 0 -1", "LPOP none", "LPOP none 0",
    "LPOP none 3", "RPOP none 3", "LINDEX none 0", "LPOS none x", "LPOS none x COUNT 0",
    "LMOVE none no LEFT RIGHT", "RPOPLPUSH none no", "HGET none f", "HGETALL none", "HKEYS none",
    "HVALS none", "HMGET none f g", "HRANDFIELD none", "HRANDFIELD none 2",
    "HRANDFIELD none 2 WITHVALUES", "HSCAN none 0", "SMEMBERS none", "SMISMEMBER none a b",
    "SPOP none", "SPOP none 2", "SRANDMEMBER none", "SRANDMEMBER none -2", "SINTER none no",
    "SUNION none", "SDIFF none", "SSCAN none 0", "KEYS none*", "SCAN 0 MATCH none*", "RANDOMKEY",
    "TYPE none", "TTL none", "EXPIRETIME none", "OBJECT ENCODING none", "OBJECT FREQ none",
    "MEMORY USAGE none", "CONFIG GET none*", "PUBSUB CHANNELS none*", "PUBSUB NUMSUB",
    "PUBSUB SHARDCHANNELS none*", "SLOWLOG GET 0", "COMMAND INFO none", "COMMAND DOCS none",
    "COMMAND LIST FILTERBY PATTERN none*", "LATENCY LATEST", "LATENCY HISTORY none",
    "CLIENT GETNAME", "CLIENT LIST ID 999999", "CLIENT TRACKINGINFO", "CLIENT GETREDIR",
    "CLIENT UNBLOCK 999999",
)  # fmt: skip
OF_SOME = (
    *("LPOP list 0", "LRANGE list 5 9", "LINDEX list 9", "LPOS list x", "LPOS list x COUNT 0"),
    *("SRANDMEMBER set 0", "SPOP set 0", "SDIFF set set", "HRANDFIELD hash 0", "HGET hash none"),
    *("GETRANGE text 5 9", "HMGET hash none no"),
)
LARGEST = (
    ("SET n 9223372036854775807", "INCR n", "DECR n", "INCRBY n -9223372036854775808", "GET n"),
    ("SET n -9223372036854775808", "DECR n", "INCR n", "DECRBY n -9223372036854775808", "STRLEN n"),
    ("HSET h f 9223372036854775807", "HINCRBY h f 1", "HINCRBY h f -1", "HVALS h"),
    ("SET n 9223372036854775808", "INCR n", "INCRBYFLOAT n 0", "GET n"),
    ("SET n 1e308", "INCRBYFLOAT n 1e308", "INCRBYFLOAT n -1", "GET n"),
    ("SET n 5e-324", "INCRBYFLOAT n 0", "INCRBYFLOAT n inf", "HINCRBYFLOAT h f nan"),
    (
        "SADD s 9223372036854775807 -9223372036854775808",
        "SISMEMBER s 9223372036854775807",
        "OBJECT ENCODING s",
    ),
    ("EXPIRE n 9223372036854775807", "PEXPIRE n -9223372036854775808", "EXISTS n"),
)


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def version(request):
    return request.param


@pytest.fixture
def edge(serving, version):
    """A raw connection in each version of the protocol, to a server without keys."""
    with serving.wire() as wire:
        wire.ask("HELLO", version)
        wire.ask("FLUSHALL")
        yield wire


def built(*nodes, takes=TensorProto.FLOAT, gives=TensorProto.FLOAT):
    """Returns a model from `x` to `y`, both of one dimension, by way of some nodes."""
    value = helper.make_tensor_value_info
    zero = numpy_helper.from_array(np.array([0]), "zero")
    inputs, outputs = [value("x", takes, [None])], [value("y", gives, [None])]
    graph = helper.make_graph([*nodes], "graph", inputs, outputs, [zero])
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


def nothing_of(kind=TensorProto.FLOAT):
    """Returns a model that answers with the first none of its elements."""
    slicing = helper.make_node("Slice", ["x", "zero", "zero"], ["y"])
    return built(slicing, takes=kind, gives=kind)


NEGATIVE = built(helper.make_node("Neg", ["x"], ["y"]))


def store(wire, key, *pieces, options=()):
    assert wire.ask("AI.MODELSTORE", key, "ONNX", "CPU", *options, "BLOB", *pieces) == b"+OK\r\n"


def run(wire, key, x, y):
    return wire.ask("AI.MODELEXECUTE", key, "INPUTS", 1, x, "OUTPUTS", 1, y)


# ------------------------------------------------------------------ nothing
def test_nothing_is_told_as_a_real_redis_tells_it(ours, theirs, version):
    for side in (ours, theirs):
        side.begin(version)
    said = {words: (ours.ask(words.split()), theirs.ask(words.split())) for words in EMPTY}
    for side in (ours, theirs):
        for words in ("RPUSH list a", "SADD set a", "HSET hash f v", "SET text abc"):
            side.ask(words.split())
    said |= {words: (ours.ask(words.split()), theirs.ask(words.split())) for words in OF_SOME}
    assert {words: replies for words, replies in said.items() if len(set(replies)) > 1} == {}


def test_a_transaction_of_nothing_and_one_that_failed_are_not_the_same(ours, theirs, version):
    for side in (ours, theirs):
        side.begin(version)
        side.ask(["MULTI"])
        assert side.ask(["EXEC"]) == b"*0\r\n"
        side.ask(["WATCH", "k"])
        side.ask(["SET", "k", "v"])
        side.ask(["MULTI"])
        assert side.ask(["EXEC"]) == (b"*-1\r\n" if version == 2 else b"_\r\n")


def test_an_unknown_setting_of_the_module_is_null(edge, version):
    null = b"$-1\r\n" if version == 2 else b"_\r\n"
    assert edge.ask("AI.CONFIG", "GET", "nothing") == null
    edge.ask("MULTI")
    edge.ask("AI.CONFIG", "GET", "nothing")
    edge.ask("AI._MODELSCAN")
    assert edge.ask("EXEC") == b"*2\r\n" + null + b"*0\r\n"


# ------------------------------------------------------------------ numbers
def test_the_largest_numbers_are_counted_as_a_real_redis_counts_them(ours, theirs, version):
    for story in LARGEST:
        for side in (ours, theirs):
            side.begin(version)
        for words in story:
            assert ours.ask(words.split()) == theirs.ask(words.split()), words


@pytest.mark.parametrize("kind", EDGES, ids=NAMES.get)
def test_what_is_hardly_a_number_is_shown_as_c_shows_it(edge, version, kind):
    bits = np.array([*EDGES[kind]], np.uint32 if kind is np.float32 else np.uint64)
    blob, texts = bits.tobytes(), [*EDGES[kind].values()]
    assert edge.ask("AI.TENSORSET", "x", NAMES[kind], len(bits), "BLOB", blob) == b"+OK\r\n"
    assert edge.read("AI.TENSORGET", "x", "BLOB") == blob
    form = b"$%d\r\n%b\r\n" if version == 2 else b",%b\r\n"
    shown = [form % ((len(text), text) if version == 2 else text) for text in texts]
    values = b"*%d\r\n" % len(bits) + b"".join(shown)
    assert edge.ask("AI.TENSORGET", "x", "VALUES") == values
    assert edge.ask("AI.TENSORGET", "x", "META", "VALUES").endswith(b"$6\r\nvalues\r\n" + values)
    dag = ("AI.DAGEXECUTE_RO", "LOAD", 1, "x", "|>", "AI.TENSORGET", "x", "VALUES")
    assert edge.ask(*dag) == b"*1\r\n" + values


@pytest.mark.parametrize("kind", EDGES, ids=NAMES.get)
def test_what_is_shown_of_a_number_makes_the_same_number_again(edge, version, kind):
    numbers = np.random.default_rng(version).integers(0, 2**64, 500, np.uint64).view(kind)
    numbers = numbers[np.isfinite(numbers)]
    edge.ask("AI.TENSORSET", "x", NAMES[kind], len(numbers), "BLOB", numbers.tobytes())
    shown = edge.read("AI.TENSORGET", "x", "VALUES")
    again = [value if version == 2 else b"%.17g" % value for value in shown]
    edge.ask("AI.TENSORSET", "y", NAMES[kind], len(numbers), "VALUES", *again)
    assert edge.read("AI.TENSORGET", "y", "BLOB") == numbers.tobytes()


def test_what_a_model_makes_of_zero_by_zero_is_shown_as_c_shows_it(edge, version):
    nodes = helper.make_node("Sub", ["x", "x"], ["z"]), helper.make_node("Div", ["z", "z"], ["y"])
    store(edge, "model", built(*nodes))
    edge.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 1)
    assert run(edge, "model", "x", "y") == b"+OK\r\n"
    (made,) = np.frombuffer(edge.read("AI.TENSORGET", "y", "BLOB"), np.float32)
    assert np.isnan(made)
    text = b"-nan" if np.signbit(made) else b"nan"
    shown = b"$%d\r\n%b\r\n" % (len(text), text) if version == 2 else b",%b\r\n" % text
    assert edge.ask("AI.TENSORGET", "y", "VALUES") == b"*1\r\n" + shown


def test_integers_go_to_their_limits(edge):
    limits = np.array([-(2**63), -1, 0, 2**63 - 1])
    edge.ask("AI.TENSORSET", "x", "INT64", 4, "BLOB", limits.tobytes())
    assert edge.ask("AI.TENSORGET", "x", "VALUES") == (
        b"*4\r\n:-9223372036854775808\r\n:-1\r\n:0\r\n:9223372036854775807\r\n"
    )
    assert edge.ask("AI.TENSORSET", "y", "INT64", 1, "VALUES", 2**63 - 1) == b"+OK\r\n"
    assert edge.read("AI.TENSORGET", "y", "VALUES") == [2**63 - 1]
    assert edge.ask("AI.TENSORSET", "y", "INT64", 1, "VALUES", 2**63) == b"-ERR invalid value\r\n"
    assert edge.read("AI.TENSORGET", "y", "VALUES") == [2**63 - 1]


@pytest.mark.parametrize("kind", ["UINT32", "UINT64", "FLOAT16", "BFLOAT16"])
def test_types_that_redisai_has_not_go_in_and_out_of_models(edge, kind):
    number = TensorProto.DataType.Value(kind)
    store(edge, "to", built(helper.make_node("Cast", ["x"], ["y"], to=number), gives=number))
    edge.ask("AI.TENSORSET", "x", "FLOAT", 2, "VALUES", 1, 2)
    assert run(edge, "to", "x", "y") == b"+OK\r\n"
    shown = edge.read("AI.TENSORGET", "y", "META", "VALUES")
    assert shown[1] == kind.encode()
    assert [float(value) for value in shown[-1]] == [1, 2]
    back = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    store(edge, "from", built(back, takes=number))
    edge.ask("AI.TENSORSET", "given", kind, 2, "VALUES", 3, 4)
    assert run(edge, "from", "given", "z") == b"+OK\r\n"
    assert [float(value) for value in edge.read("AI.TENSORGET", "z", "VALUES")] == [3, 4]
    to = ("AI.MODELEXECUTE", "to", "INPUTS", 1, "x", "OUTPUTS", 1, "y", "|>")
    again = ("AI.MODELEXECUTE", "from", "INPUTS", 1, "y", "OUTPUTS", 1, "z", "|>")
    dag = edge.read("AI.DAGEXECUTE", "LOAD", 1, "x", "|>", *to, *again, "AI.TENSORGET", "z")
    assert np.frombuffer(dag[-1][-1], np.float32).tolist() == [1, 2]


# ------------------------------------------------------------------ names that are no text
def test_names_and_tags_are_any_bytes(edge):
    model, x, y = (ODD + name for name in (b"m", b"x", b"y"))
    store(edge, model, NEGATIVE, options=("TAG", ODD))
    edge.ask("AI.TENSORSET", x, "FLOAT", 1, "VALUES", 2)
    assert run(edge, model, x, y) == b"+OK\r\n"
    assert [float(value) for value in edge.read("AI.TENSORGET", y, "VALUES")] == [-2]
    meta = edge.read("AI.MODELGET", model, "META")
    assert dict(zip(meta[::2], meta[1::2], strict=True))[b"tag"] == ODD
    info = edge.read("AI.INFO", model)
    info = dict(zip(info[::2], info[1::2], strict=True))
    assert (info[b"key"], info[b"tag"], info[b"calls"]) == (model, ODD, 1)
    assert edge.read("AI._MODELSCAN") == [[model, ODD]]
    request = ("AI.MODELEXECUTE", model, "INPUTS", 1, x, "OUTPUTS", 1, y)
    assert edge.read("COMMAND", "GETKEYS", *request) == [model, x, y]
    assert sorted(edge.read("KEYS", b"\xff?\r*")) == sorted([model, x, y])
    assert edge.read("AI.DAGEXECUTE", "LOAD", 1, x, "|>", "AI.TENSORGET", x, "META") == [
        [b"dtype", b"FLOAT", b"shape", [1]]
    ]
    assert edge.ask("RENAME", x, ODD) == b"+OK\r\n"
    assert edge.read("AI.TENSORGET", ODD, "META") == [b"dtype", b"FLOAT", b"shape", [1]]


@pytest.mark.memory_store("Redis 6.2 has other words", on=("redis-6.2",))
def test_errors_repeat_bytes_that_are_no_text_on_one_line(edge):
    store(edge, "m", NEGATIVE)
    edge.ask("AI.TENSORSET", "x", "FLOAT", 1)
    request = ("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y", b"\xff\r\n\xc3")
    assert edge.ask(*request) == b"-Invalid argument: \xff  \xc3\r\n"
    assert edge.ask(b"\xffNO\r\n", b"\xc3") == (
        b"-ERR unknown command '\xffNO  ', with args beginning with: '\xc3' \r\n"
    )


def test_strings_of_a_tensor_are_any_bytes(edge):
    words = [b"\xff\xfe", b"\r\n", b"\xc3\x28", b"$-1\r\n"]
    edge.ask("AI.TENSORSET", "x", "STRING", 4, "VALUES", *words)
    assert edge.read("AI.TENSORGET", "x", "VALUES") == words
    assert edge.read("AI.TENSORGET", "x", "BLOB") == b"".join(word + b"\0" for word in words)


# ------------------------------------------------------------------ tensors without elements
@pytest.mark.parametrize("data", [(), ("BLOB", ""), ("VALUES",), ("VALUES", 1)])
def test_a_tensor_without_elements_cannot_be_set(edge, data):
    line = b"-ERR invalid or negative value found in tensor shape\r\n"
    assert edge.ask("AI.TENSORSET", "x", "FLOAT", 0, *data) == line
    assert edge.ask("AI.TENSORSET", "x", "STRING", 2, 0, *data) == line
    assert edge.ask("EXISTS", "x") == b":0\r\n"


@pytest.mark.parametrize(("kind", "data"), [("FLOAT", (1, 2)), ("STRING", ("a", "b"))])
def test_a_tensor_without_elements_comes_of_a_model_and_can_be_read(edge, kind, data):
    store(edge, "nothing", nothing_of(TensorProto.DataType.Value(kind)))
    edge.ask("AI.TENSORSET", "x", kind, 2, "VALUES", *data)
    assert run(edge, "nothing", "x", "y") == b"+OK\r\n"
    meta = b"$5\r\ndtype\r\n$%d\r\n%b\r\n$5\r\nshape\r\n*1\r\n:0\r\n" % (len(kind), kind.encode())
    assert edge.ask("AI.TENSORGET", "y") == b"*6\r\n" + meta + b"$4\r\nblob\r\n$0\r\n\r\n"
    assert edge.ask("AI.TENSORGET", "y", "META") == b"*4\r\n" + meta
    assert edge.ask("AI.TENSORGET", "y", "BLOB") == b"$0\r\n\r\n"
    assert edge.ask("AI.TENSORGET", "y", "VALUES") == b"*0\r\n"
    whole = b"*6\r\n" + meta + b"$6\r\nvalues\r\n*0\r\n"
    assert edge.ask("AI.TENSORGET", "y", "META", "VALUES") == whole


@pytest.mark.parametrize("options", [(), ("BATCHSIZE", 4), ("BATCHSIZE", 4, "MINBATCHSIZE", 2)])
def test_a_tensor_without_elements_goes_through_a_model(edge, options):
    store(edge, "nothing", nothing_of())
    store(edge, "negative", NEGATIVE, options=options)
    edge.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 2)
    run(edge, "nothing", "x", "y")
    assert run(edge, "negative", "y", "z") == b"+OK\r\n"
    assert edge.read("AI.TENSORGET", "z") == [b"dtype", b"FLOAT", b"shape", [0], b"blob", b""]
    dag = ("AI.DAGEXECUTE", "LOAD", 1, "y", "PERSIST", 1, "kept", "|>")
    model = ("AI.MODELEXECUTE", "negative", "INPUTS", 1, "y", "OUTPUTS", 1, "kept", "|>")
    assert edge.read(*dag, *model, "AI.TENSORGET", "kept", "VALUES") == ["OK", []]
    assert edge.read("AI.TENSORGET", "kept", "VALUES") == []
    info = edge.read("AI.INFO", "negative")
    info = dict(zip(info[::2], info[1::2], strict=True))
    assert (info[b"calls"], info[b"samples"], info[b"errors"]) == (2, 0, 0)
    assert edge.ask("MEMORY", "USAGE", "z").startswith(b":")


# ------------------------------------------------------------------ models in pieces
def test_a_model_is_stored_in_any_pieces_and_shown_in_equal_ones(edge):
    blob = built(helper.make_node("Neg", ["x"], ["y"], name="n" * 900))
    draw = random.Random(7)
    usual = edge.read("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE")
    assert usual == 511 * MIB
    try:
        for size in (256, 257, len(blob) // 2, len(blob) - 1, len(blob), len(blob) + 1):
            cuts = [0, *sorted(draw.choices(range(len(blob) + 1), k=5)), len(blob)]
            pieces = [blob[start:end] for start, end in pairwise(cuts)]
            store(edge, "m", *pieces)
            assert edge.ask("AI.CONFIG", "MODEL_CHUNK_SIZE", size) == b"+OK\r\n"
            chunks = [blob[at * size : (at + 1) * size] for at in range(len(blob) // size + 1)]
            bulks = b"".join(b"$%d\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
            shown = bulks if len(chunks) == 1 else b"*%d\r\n" % len(chunks) + bulks
            assert edge.ask("AI.MODELGET", "m", "BLOB") == shown
            for words in ((), ("META", "BLOB")):
                assert edge.ask("AI.MODELGET", "m", *words).endswith(b"$4\r\nblob\r\n" + shown)
    finally:
        edge.ask("AI.CONFIG", "MODEL_CHUNK_SIZE", usual)


def test_a_client_stores_a_model_in_the_pieces_that_the_server_wants(serving, version, digits):
    with serving.client(protocol=version) as client:
        usual = client.execute_command("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE")
        client.execute_command("AI.CONFIG", "MODEL_CHUNK_SIZE", 40_000)
        try:
            size = client.execute_command("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE")
            pieces = [digits.blob[at : at + size] for at in range(0, len(digits.blob), size)]
            client.execute_command("AI.MODELSTORE", "pieces", "ONNX", "CPU", "BLOB", *pieces)
            got = client.execute_command("AI.MODELGET", "pieces", "META", "BLOB")
        finally:
            client.execute_command("AI.CONFIG", "MODEL_CHUNK_SIZE", usual)
        assert len(pieces) > 3
        assert got[-1] == pieces
        picture = digits.pictures[:1]
        words = ("AI.TENSORSET", "x", "FLOAT", *picture.shape, "BLOB", picture.tobytes())
        client.execute_command(*words)
        client.execute_command("AI.MODELEXECUTE", "pieces", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
        answer = np.frombuffer(client.execute_command("AI.TENSORGET", "y", "BLOB"), np.float32)
        np.testing.assert_allclose(answer, digits.one_by_one[0], atol=1e-6)


# ------------------------------------------------------------------ as much as goes in
@pytest.mark.memory_store("on its way it is in memory twice")
@pytest.mark.slow
def test_a_tensor_of_511_mib_goes_there_and_back_and_is_kept_once(start):
    """One test of this size: the client holds what it sends and what it gets, the server one."""
    size = 511 * MIB
    blob = np.random.default_rng(3).bytes(MIB) * 511
    with start() as serving, serving.client() as client:
        before = serving.memory()
        words = ("AI.TENSORSET", "x", "UINT8", size, "BLOB", blob)
        assert client.execute_command(*words) in {b"OK", "OK"}
        got = client.execute_command("AI.TENSORGET", "x", "BLOB")
        assert got == blob
        del got
        assert peak(serving) - before < size + 32 * MIB
        assert client.delete("x") == 1
        assert serving.memory() - before < 32 * MIB


def peak(serving):
    """Returns the most bytes of memory that the server has had in use."""
    status = Path(f"/proc/{serving.process.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def test_a_string_of_512_mib_is_the_longest(edge, serving, version):
    limit = 512 * MIB
    too_long = b"-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"
    setting = edge.read("CONFIG", "GET", "proto-max-bulk-len")
    assert b"%d" % limit in (setting if version == 2 else setting.values())
    # Zeros that nobody wrote take no memory.
    assert edge.ask("SETRANGE", "s", limit - 1, "x") == b":%d\r\n" % limit
    assert edge.ask("APPEND", "s", "y") == too_long
    assert edge.ask("SETRANGE", "s", limit, "y") == too_long
    assert edge.ask("SETRANGE", "none", limit, "y") == too_long
    assert edge.ask("SETRANGE", "none", limit, "") == b":0\r\n"
    assert edge.ask("STRLEN", "s") == b":%d\r\n" % limit
    assert edge.read("GETRANGE", "s", -2, -1) == b"\0x"
    assert edge.ask("DEL", "s") == b":1\r\n"
    with serving.wire() as other:
        other.socket.sendall(b"*2\r\n$3\r\nGET\r\n$%d\r\n" % (limit + 1))
        assert other.reply() == b"-ERR Protocol error: invalid bulk length\r\n"
        with pytest.raises(EOFError):
            other.reply()
