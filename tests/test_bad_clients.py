"""Clients that break the rules, lie, or vanish: they get a clear error or are let go of.

Whatever they did, after each test all others are served, and what was stored is what it was.
"""

import random
import re
import resource
import socket
import struct
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from counted import blocked, connected

from tensorkeep_server.testing import WireError, read_value, request

MEGABYTE = 1_000_000
PATIENCE = 15.0  # seconds
CLOSED = "closed"
OPEN = "open"


@pytest.fixture(scope="module")
def serving(start):
    """A server that lets a run of a second take as long as a busy machine needs for it."""
    with start("--model-execution-timeout", "60000") as serving:
        yield serving


@pytest.fixture(autouse=True)
def others_are_unharmed(serving, digits):
    """Stores a tensor and a model before the attack; asks for both afterwards.

    The connection that stored them is asked, and one that is opened after the attack.
    """
    tensor = np.arange(1000, dtype=np.float32).tobytes()
    picture = digits.pictures[:1]
    with serving.wire() as before:
        for command in (
            ("AI.TENSORSET", "kept", "FLOAT", 10, 100, "BLOB", tensor),
            ("AI.TENSORSET", "picture", "FLOAT", *picture.shape, "BLOB", picture.tobytes()),
            ("AI.MODELSTORE", "digits", "ONNX", "CPU", "BLOB", digits.blob),
        ):
            assert before.ask(*command) == b"+OK\r\n"
        yield
        with serving.wire() as after:
            for wire in (before, after):
                assert wire.read("AI.TENSORGET", "kept", "BLOB") == tensor
                assert wire.read("AI.MODELGET", "digits", "BLOB") == digits.blob
                assert wire.ask(*run("digits", ["picture"], ["answer"])) == b"+OK\r\n"
                answer = np.frombuffer(wire.read("AI.TENSORGET", "answer", "BLOB"), np.float32)
                assert abs(answer - digits.one_by_one[0]).max() <= 1e-6


def run(model, inputs, outputs):
    return (
        "AI.MODELEXECUTE", model, "INPUTS", len(inputs), *inputs, "OUTPUTS", len(outputs), *outputs
    )  # fmt: skip


def connect(serving):
    return socket.create_connection(("127.0.0.1", serving.port), timeout=PATIENCE)


def what_comes_back(serving, data):
    """Sends bytes and says that nothing follows; returns all that is answered.

    The server must close the connection then, or this waits in vain.
    """
    with connect(serving) as peer:
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: peer.recv(65536), b""))
        except (ConnectionResetError, BrokenPipeError):
            return b""  # it was closed while we were still sending


def vanish(peer):
    """Closes a connection as a crashed machine does: with a reset, and no goodbye."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def eventually(condition):
    """Waits until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


# ------------------------------------------------------------------ what breaks the protocol
STORE_ONE = request("AI.TENSORSET", "small", "FLOAT", 2, "BLOB", b"\0" * 8)


def test_a_request_cut_short_at_any_byte_is_forgotten(serving, wire):
    wire.ask("DEL", "small")
    for end in range(len(STORE_ONE)):
        assert what_comes_back(serving, STORE_ONE[:end]) == b""
    assert wire.read("EXISTS", "small") == 0


def test_a_request_that_comes_byte_by_byte_is_served(serving):
    with connect(serving) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in STORE_ONE:
            peer.sendall(bytes([byte]))
        assert peer.recv(100) == b"+OK\r\n"


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1048577\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*99999999999999999999\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n$x\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$-1\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$99999999999999999999\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n:1\r\n", b"-ERR Protocol error: expected '$', got ':'\r\n"),
        (b"*2\r\n$4\r\nPING\r\n*1\r\n", b"-ERR Protocol error: expected '$', got '*'\r\n"),
        (b'PING "x\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"x" * 70_000, b"-ERR Protocol error: too big inline request\r\n"),
        (b"*1" + b"0" * 70_000, b"-ERR Protocol error: too big mbulk count string\r\n"),
        (b"*1\r\n$1" + b"0" * 70_000, b"-ERR Protocol error: too big bulk count string\r\n"),
    ],
    ids=lambda value: repr(value[:24]),
)
def test_what_breaks_the_protocol_gets_an_error_and_the_connection_ends(serving, sent, answer):
    comes = what_comes_back(serving, request("ECHO", "first") + sent)

    # A reset can overtake the answer when the server has closed before it had read everything.
    assert comes == b"$5\r\nfirst\r\n" + answer or (not comes and len(sent) > 65536)


def test_ten_gigabytes_that_are_announced_are_refused_at_once(serving):
    before = serving.memory()
    announced = b"*6\r\n$12\r\nAI.TENSORSET\r\n$3\r\nbig\r\n$5\r\nFLOAT\r\n$10\r\n2500000000\r\n"

    with connect(serving) as peer:
        peer.sendall(announced + b"$4\r\nBLOB\r\n$10000000000\r\n")
        assert peer.recv(1000) == b"-ERR Protocol error: invalid bulk length\r\n"
        assert peer.recv(1000) == b""
    assert serving.memory() - before < 50 * MEGABYTE


def test_half_a_gigabyte_that_is_announced_and_never_sent_takes_no_memory(serving):
    before = serving.memory()
    with ExitStack() as stack:
        for _ in range(20):
            peer = stack.enter_context(connect(serving))
            peer.sendall(b"*2\r\n$4\r\nECHO\r\n$536870912\r\nand that is all")
        with serving.wire() as wire:
            eventually(lambda: connected(wire) >= 21)
            assert serving.memory() - before < 100 * MEGABYTE
    with serving.wire() as wire:
        eventually(lambda: connected(wire) <= 2)


def test_an_operator_can_lower_what_one_request_may_be(start):
    with start("--max-argument-bytes", "100000", "--max-request-bytes", "150000") as serving:
        fits = b"x" * 100_000
        answer = what_comes_back(
            serving, request("ECHO", fits) + b"*2\r\n$4\r\nECHO\r\n$100001\r\n"
        )
        assert answer.endswith(b"x\r\n-ERR Protocol error: invalid bulk length\r\n")
        with connect(serving) as peer:
            peer.sendall(b"*3\r\n$6\r\nEXISTS\r\n$100000\r\n" + fits + b"\r\n$100000\r\n")
            assert peer.recv(1000) == b"-ERR Protocol error: too big request\r\n"


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux")
def test_where_memory_ends_who_asks_for_it_is_told_and_the_others_are_served(start):
    with start() as serving, ExitStack() as stack, serving.wire() as wire:
        status = Path(f"/proc/{serving.process.pid}/status").read_text(encoding="ascii")
        in_use = int(re.search(r"VmSize:\s+(\d+) kB", status)[1]) * 1024
        limit = in_use + 1000 * MEGABYTE
        resource.prlimit(serving.process.pid, resource.RLIMIT_AS, (limit, limit))
        begun = b"and that is not all"
        for _ in range(3):
            peer = stack.enter_context(connect(serving))
            peer.sendall(b"*2\r\n$4\r\nECHO\r\n$536870912\r\n" + begun)
        reply = wire.read("AI.TENSORSET", "small", "FLOAT", 2, "VALUES", 1, 2)
        assert reply == "OK"
        rest = bytes(MEGABYTE)
        for start_of_piece in range(len(begun), 536870912, MEGABYTE):
            peer.sendall(rest[: 536870912 - start_of_piece])
        peer.sendall(b"\r\nPING\r\n")
        assert peer.recv(1000).startswith(b"-OOM not enough memory for this command\r\n")


def test_noise_is_answered_with_errors_or_not_at_all(serving):
    chance = random.Random(20)
    for _ in range(100):
        noise = chance.randbytes(chance.choice([1, 10, 1000, 20_000]))
        answer = what_comes_back(serving, noise)
        assert not answer or answer.startswith(b"-ERR "), noise


def test_requests_with_a_wrong_byte_do_no_harm(serving):
    chance = random.Random(21)
    for _ in range(200):
        damaged = bytearray(STORE_ONE)
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        answer = what_comes_back(serving, bytes(damaged))
        assert answer in {b"", b"+OK\r\n"} or answer.startswith(b"-"), bytes(damaged)


def test_a_browser_that_lost_its_way_changes_nothing(serving):
    answer = what_comes_back(
        serving, b"POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nAI.TENSORSET x FLOAT 1\r\n"
    )
    assert answer == b""
    with serving.wire() as wire:
        assert wire.read("EXISTS", "x") == 0


def test_a_million_arguments_are_counted_and_refused(serving, wire):
    count = 1024 * 1024
    began = time.perf_counter()
    with connect(serving) as peer:
        peer.sendall(b"*%d\r\n$12\r\nAI.TENSORSET\r\n" % count + b"$1\r\n1\r\n" * (count - 1))
        assert peer.recv(1000) == b"-ERR invalid data type\r\n"
    print(f"\n{time.perf_counter() - began:.1f} s")


def test_a_deep_pile_of_commands_is_worked_off_in_order(serving):
    count = 20_000
    data = b"".join(request("ECHO", number) for number in range(count))
    answers = what_comes_back(serving, data + request("QUIT"))
    assert answers.count(b"\r\n") == 2 * count + 1
    assert answers.endswith(b"$5\r\n19999\r\n+OK\r\n")


# ------------------------------------------------------------------ tensors that are none
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ("FLOAT", 2, "BLOB", b"1234567"),
            "ERR data length does not match tensor shape and type",
        ),
        (
            ("FLOAT", 2, "BLOB", b"123456789"),
            "ERR data length does not match tensor shape and type",
        ),
        (("FLOAT", 2, "BLOB", b""), "ERR data length does not match tensor shape and type"),
        (
            ("FLOAT", 1_000_000_000, "BLOB", b"1234"),
            "ERR data length does not match tensor shape and type",
        ),
        (("FLOAT", 0, "BLOB", b""), "ERR invalid or negative value found in tensor shape"),
        (("FLOAT", -1, "BLOB", b"1234"), "ERR invalid or negative value found in tensor shape"),
        (("FLOAT64", 1, "BLOB", b"12345678"), "ERR invalid data type"),
        (
            ("FLOAT", 3, "VALUES", 1, 2),
            "ERR wrong number of values was given in 'AI.TENSORSET' command",
        ),
        (("FLOAT", 1, "VALUES", "one"), "ERR invalid value"),
        (("INT8", 1, "VALUES", 1000), "ERR invalid value"),
        (("BOOL", 2, "BLOB", b"\x01\x02"), "ERR BOOL tensor elements must be 0 or 1"),
        (
            ("STRING", 2, "BLOB", b"only one\0"),
            "ERR Number of string elements in data blob does not match tensor length",
        ),
    ],
    ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, tuple) else None,
)
def test_a_wrong_tensor_is_refused_and_what_was_there_stays(wire, arguments, error):
    assert wire.read("AI.TENSORSET", "kept", *arguments) == WireError(error)


@pytest.mark.parametrize(
    "shape", [(2**62,), (2**32, 2**32), (2**31, 2**31, 4), (10**6,) * 30, (1,) * 100]
)
def test_a_shape_beyond_all_bounds_is_an_error_and_takes_no_memory(serving, wire, shape):
    before = serving.memory()

    reply = wire.read("AI.TENSORSET", "kept", "DOUBLE", *shape)

    assert isinstance(reply, WireError), reply
    assert serving.memory() - before < 50 * MEGABYTE


# ------------------------------------------------------------------ models that are none
def test_what_is_no_model_is_refused_in_onnx_runtimes_words(wire):
    for blob in (b"", b"x", b"\0" * 1000, random.Random(3).randbytes(100_000)):
        reply = wire.read("AI.MODELSTORE", "digits", "ONNX", "CPU", "BLOB", blob)
        assert isinstance(reply, WireError), blob[:20]
        assert "protobuf" in reply


def test_a_model_cut_short_is_refused_and_the_stored_one_stays(wire, digits):
    for size in (1, 100, len(digits.blob) // 2, len(digits.blob) - 1):
        reply = wire.read("AI.MODELSTORE", "digits", "ONNX", "CPU", "BLOB", digits.blob[:size])
        assert isinstance(reply, WireError), size
        assert "\n" not in reply


def test_models_with_a_wrong_bit_are_refused_or_run(wire, digits):
    chance = random.Random(4)
    # Most bytes are weights, which may be anything; what describes the network is harder to get
    # right. It stands before and between them.
    names = [match.start() for match in re.finditer(rb"conv|pool|relu|flatten|images", digits.blob)]
    for _ in range(300):
        damaged = bytearray(digits.blob)
        place = chance.choice(names) + chance.randrange(-10, 30)
        damaged[place] ^= 1 << chance.randrange(8)
        stored = wire.ask("AI.MODELSTORE", "damaged", "ONNX", "CPU", "BLOB", bytes(damaged))
        assert stored[:1] in {b"+", b"-"}
        if stored == b"+OK\r\n":
            assert wire.ask(*run("damaged", ["picture"], ["out"]))[:1] in {b"+", b"-"}


@pytest.mark.parametrize(
    ("dtype", "shape", "expected"),
    [
        ("FLOAT", (1, 1, 8, 9), "Got invalid dimensions for input"),
        ("FLOAT", (8, 8), "Invalid rank for input"),
        ("FLOAT", (1,), "Invalid rank for input"),
        ("DOUBLE", (1, 1, 8, 8), "Input images must be FLOAT, not DOUBLE"),
        ("UINT8", (1, 1, 8, 8), "Input images must be FLOAT, not UINT8"),
    ],
)
def test_a_run_on_the_wrong_input_says_what_is_wrong(wire, dtype, shape, expected):
    assert wire.ask("AI.TENSORSET", "wrong", dtype, *shape) == b"+OK\r\n"
    wire.ask("DEL", "nothing")

    reply = wire.read(*run("digits", ["wrong"], ["nothing"]))

    assert isinstance(reply, WireError)
    assert expected in reply
    assert "\n" not in reply
    assert wire.read("EXISTS", "nothing") == 0


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [
        (["picture"] * 2, ["out"], "Number of keys given as INPUTS here does not match model"),
        (["picture"], ["out"] * 2, "Number of keys given as OUTPUTS here does not match model"),
        (["nowhere"], ["out"], "tensor key is empty"),
        (["digits"], ["out"], "WRONGTYPE"),
    ],
)
def test_a_run_with_the_wrong_keys_says_what_is_wrong(wire, inputs, outputs, expected):
    reply = wire.read(*run("digits", inputs, outputs))

    assert isinstance(reply, WireError)
    assert expected in reply


# ------------------------------------------------------------------ clients that vanish
def known(wire, key):
    """Returns what AI.INFO tells of a model."""
    reply = wire.read("AI.INFO", key)
    return {name.decode(): value for name, value in zip(reply[::2], reply[1::2], strict=True)}


@pytest.fixture
def slow(wire, counting):
    """A model that counts for about a second."""
    assert wire.ask("AI.MODELSTORE", "slow", "ONNX", "CPU", "BLOB", counting) == b"+OK\r\n"
    wire.ask("AI.TENSORSET", "turns", "INT64", 1, "VALUES", 2_000_000)
    wire.ask("AI.TENSORSET", "one", "FLOAT", 1, "VALUES", 1)
    wire.ask("DEL", "out:a", "out:b", "out:c")
    return "slow"


@pytest.mark.parametrize("leave", [vanish, socket.socket.close])
def test_when_a_client_vanishes_its_run_is_ended_and_nothing_is_stored(serving, wire, slow, leave):
    wire.ask("AI.TENSORSET", "turns", "INT64", 1, "VALUES", 2**40)
    peer = connect(serving)
    peer.sendall(request(*run(slow, ["turns", "one"], ["out:a"])))
    eventually(lambda: blocked(wire) == 1)

    leave(peer)

    eventually(lambda: known(wire, slow)["calls"] == 1)
    assert known(wire, slow)["errors"] == 1
    assert wire.ask("PING") == b"+PONG\r\n"
    assert wire.read("EXISTS", "out:a") == 0


def test_when_a_client_vanishes_before_its_run_began_it_never_runs(serving, wire, slow, digits):
    assert wire.ask("AI.MODELSTORE", "queued", "ONNX", "CPU", "BLOB", digits.blob) == b"+OK\r\n"
    with serving.wire() as running, serving.wire() as waiting:
        running.send(*run(slow, ["turns", "one"], ["out:a"]))
        eventually(lambda: blocked(wire) == 1)
        peer = connect(serving)
        peer.sendall(request(*run("queued", ["picture"], ["out:b"])))
        eventually(lambda: blocked(wire) == 2)
        waiting.send(*run("queued", ["picture"], ["out:c"]))
        eventually(lambda: blocked(wire) == 3)

        vanish(peer)

        assert running.reply() == b"+OK\r\n"
        assert waiting.reply() == b"+OK\r\n"
    assert known(wire, "queued")["calls"] == 1
    assert wire.read("EXISTS", "out:a", "out:b", "out:c") == 2


@pytest.mark.memory_store("nobody is there whose rights would be used")
def test_when_a_client_vanishes_while_its_model_loads_the_model_is_stored(serving, wire, digits):
    wire.ask("DEL", "orphan")
    with connect(serving) as peer:
        peer.sendall(request("AI.MODELSTORE", "orphan", "ONNX", "CPU", "BLOB", digits.blob))
        eventually(lambda: blocked(wire) == 1 or wire.read("EXISTS", "orphan") == 1)
        vanish(peer)
    eventually(lambda: wire.read("EXISTS", "orphan") == 1)
    assert wire.ask(*run("orphan", ["picture"], ["out"])) == b"+OK\r\n"


def test_when_a_client_vanishes_in_the_middle_of_its_answers_the_rest_is_dropped(serving, wire):
    wire.ask("AI.TENSORSET", "large", "FLOAT", 1_000_000)
    for _ in range(5):
        peer = connect(serving)
        peer.sendall(request("AI.TENSORGET", "large", "BLOB") * 10)
        assert peer.recv(1000)
        vanish(peer)
    eventually(lambda: connected(wire) <= 2)


def test_a_client_that_reads_nothing_makes_nobody_else_wait_and_fills_no_memory(serving, wire):
    wire.ask("AI.TENSORSET", "large", "FLOAT", 1_000_000)  # 4 MB
    before = serving.memory()
    with connect(serving) as peer:
        peer.sendall(request("AI.TENSORGET", "large", "BLOB") * 200)
        longest = 0.0
        for _ in range(100):
            began = time.perf_counter()
            assert wire.ask("PING") == b"+PONG\r\n"
            longest = max(longest, time.perf_counter() - began)
            time.sleep(0.002)
        grown = serving.memory() - before

        assert longest < 0.5
        assert grown < 100 * MEGABYTE, f"{grown / MEGABYTE:.0f} MB of 800 MB wait to be read"


def sent_until_nobody_reads(peer):
    """Sends requests until the server reads no more; returns how many bytes, up to 200 MB."""
    peer.settimeout(0.3)
    piece = request("ECHO", b"x" * 60_000) * 100
    sent = 0
    while sent < 200 * MEGABYTE:
        try:
            sent += peer.send(piece)
        except TimeoutError:
            break
    return sent


def test_a_client_that_sends_and_never_reads_is_read_no_further(serving, wire):
    before = serving.memory()
    with connect(serving) as peer:
        assert sent_until_nobody_reads(peer) < 100 * MEGABYTE
        assert serving.memory() - before < 100 * MEGABYTE
        assert wire.ask("PING") == b"+PONG\r\n"
        vanish(peer)


def test_a_client_that_sends_and_never_stops_is_read_no_further_while_it_waits(serving, wire, slow):
    before = serving.memory()
    with connect(serving) as peer:
        peer.sendall(request(*run(slow, ["turns", "one"], ["out:a"])))
        eventually(lambda: blocked(wire) == 1)
        assert sent_until_nobody_reads(peer) < 100 * MEGABYTE
        assert serving.memory() - before < 100 * MEGABYTE
        vanish(peer)
    eventually(lambda: blocked(wire) == 0)


# ------------------------------------------------------------------ many clients
def test_a_thousand_clients_are_served_and_half_of_them_may_vanish(serving, digits):
    count = 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count + 200:
        if hard != resource.RLIM_INFINITY and hard < count + 200:
            pytest.skip(f"only {hard} open files are allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + 200, hard))
    with ExitStack() as stack:
        wires = [stack.enter_context(serving.wire()) for _ in range(count)]
        for number, wire in enumerate(wires):
            wire.send("ECHO", number)
            wire.send(*run("digits", ["picture"], [f"many:{number}"]))
        for number, wire in enumerate(wires):
            assert read_value(wire.reply()) == str(number).encode()
            assert wire.reply() == b"+OK\r\n"
        assert connected(wires[0]) >= count
        for wire in wires[1::2]:
            wire.send(*run("digits", ["picture"], ["many:odd"]))
            vanish(wire.socket)
        for wire in wires[::2]:
            wire.send("AI.TENSORGET", "kept", "META")
        for wire in wires[::2]:
            assert wire.reply().startswith(b"*4\r\n")
        answers = {wires[0].read("AI.TENSORGET", f"many:{n}", "BLOB") for n in range(count)}
        assert len(answers) == 1
