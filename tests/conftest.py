"""A real server in a process of its own, with the installed backends, and the model to ask it for.

Every server that a test gets is ended with SIGTERM. It must have lived until then, must end with
exit code 0, and must not have logged a failure that nobody foresaw.
"""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import redis
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tensorkeep.backends import Backends
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, running_server
from tensorkeep_server.testing import port_of as listening

ROOT = Path(__file__).parents[1]
LISTENS = re.compile(r"is ready on .*?127\.0\.0\.1:(\d+)")
UNFORESEEN = re.compile(r"Traceback|unexpectedly|Exception in|never awaited")
START_LIMIT, STOP_LIMIT = 90.0, 30.0  # seconds; a busy machine needs 40 to load four frameworks


@dataclass(frozen=True)
class Serving:
    """A running server."""

    process: subprocess.Popen
    port: int
    log_file: Path

    def log(self):
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def wait_for_log(self, text, times=1):
        """Waits until the log tells something so often: a thread of its own writes it."""
        deadline = time.monotonic() + START_LIMIT
        while self.log().count(text) < times:
            assert time.monotonic() < deadline, f"the log does not tell {text!r}:\n{self.log()}"
            time.sleep(0.01)

    def wire(self):
        """Opens a raw connection."""
        return Wire(self.port)

    def client(self, **options):
        """Makes a client of redis-py that never waits for ever."""
        return redis.Redis(port=self.port, socket_timeout=30, **options)

    def memory(self):
        """Returns the bytes of memory that the process has in use."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


@contextmanager
def serve(folder, *options):
    """Runs `tensorkeep serve` on a free port."""
    log_file = folder / "server.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tensorkeep_server", "serve", "--port", "0", *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={k: v for k, v in os.environ.items() if not k.startswith("TENSORKEEP_")},
        )
    serving = Serving(process, 0, log_file)
    try:
        yield Serving(process, port_of(serving), log_file)
        assert process.poll() is None, f"the server ended by itself:\n{serving.log()}"
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_LIMIT)
        assert process.returncode == 0, serving.log()
        assert not UNFORESEEN.search(serving.log()), serving.log()
    finally:
        process.kill()  # does nothing when it has ended
        process.wait()


def port_of(serving):
    """Waits until the server says where it listens."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        ready = LISTENS.search(serving.log())
        if ready:
            return int(ready[1])
        assert serving.process.poll() is None, f"the server did not start:\n{serving.log()}"
        time.sleep(0.01)
    raise TimeoutError(f"the server did not start within {START_LIMIT} s:\n{serving.log()}")


@pytest.fixture(scope="session")
def start(tmp_path_factory, new_store):
    """Starts a server of a test's own: `with start("--threads-per-queue", "2") as serving`."""

    @contextmanager
    def start(*options):
        with (
            new_store() as url,
            serve(tmp_path_factory.mktemp("server"), "--store", url, *options) as serving,
        ):
            yield serving

    return start


@pytest.fixture(scope="module")
def serving(start):
    """The server that the tests of a module share; each test uses keys of its own."""
    with start() as serving:
        yield serving


@pytest.fixture
def wire(serving):
    """A raw connection."""
    with serving.wire() as wire:
        yield wire


@pytest.fixture
def client(serving):
    """A plain client of redis-py."""
    with serving.client() as client:
        yield client


@dataclass(frozen=True)
class Digits:
    """The network of examples/digits and the pictures that it was not trained with."""

    blob: bytes
    pictures: np.ndarray
    labels: np.ndarray

    @cached_property
    def session(self):
        """The network in ONNX Runtime, without us."""
        return onnxruntime.InferenceSession(self.blob, providers=["CPUExecutionProvider"])

    def expected(self, pictures):
        """Returns what ONNX Runtime itself answers to a batch of pictures."""
        return self.session.run(None, {"images": pictures})[0]

    @cached_property
    def one_by_one(self):
        """What ONNX Runtime itself answers to each picture alone."""
        return np.concatenate([self.expected(picture[None]) for picture in self.pictures])

    def store(self, client, key="digits", *options):
        """Stores the network with any client of redis-py."""
        return client.execute_command(
            "AI.MODELSTORE", key, "ONNX", "CPU", *options, "BLOB", self.blob
        )


@pytest.fixture(scope="session")
def digits():
    folder = ROOT / "examples/digits"
    with np.load(folder / "heldout.npz") as held_out:
        pictures = (held_out["images"][:, None] / 16).astype(np.float32)
        return Digits((folder / "digits.onnx").read_bytes(), pictures, held_out["labels"])


@pytest.fixture(scope="session")
def counting():
    """A model that takes `turns` and `x`, counts to `turns` and returns `x`.

    Two million turns take about a second.
    """
    value = helper.make_tensor_value_info
    turns, x, y = (
        value("turns", TensorProto.INT64, [1]),
        value("x", TensorProto.FLOAT, [1]),
        value("y", TensorProto.FLOAT, [1]),
    )
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["go"]),
            helper.make_node("Identity", ["value"], ["same"]),
        ],
        "body",
        [
            value("turn", TensorProto.INT64, []),
            value("going", TensorProto.BOOL, []),
            value("value", TensorProto.FLOAT, [1]),
        ],
        [value("go", TensorProto.BOOL, []), value("same", TensorProto.FLOAT, [1])],
    )
    loop = helper.make_node("Loop", ["turns", "yes", "x"], ["y"], body=body)
    yes = numpy_helper.from_array(np.array(True), "yes")
    graph = helper.make_graph([loop], "counting", [turns, x], [y], [yes])
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


@pytest.fixture(scope="session")
def tool():
    """Gives the path of one of Redis' own programs, or skips the test."""

    def find(name):
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed (Debian: apt-get install redis-tools)")
        return path

    return find


@pytest.fixture
def redis_cli(serving, tool):
    """Runs redis-cli: `redis_cli("PING")` gives what it prints; `stdin` is what it reads.

    It must end with `code`, and write `stderr` and nothing else beside what it prints.
    """
    program = tool("redis-cli")

    def redis_cli(*arguments, stdin=b"", code=0, stderr=""):
        done = subprocess.run(
            [program, "-p", str(serving.port), *map(str, arguments)],
            input=stdin,
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == code, done
        assert done.stderr.decode() == stderr
        return done.stdout.decode()

    return redis_cli


@pytest.fixture(scope="session")
def redis_cli_version(tool):
    """The version of redis-cli, such as (7, 0)."""
    command = [tool("redis-cli"), "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[1]
    return tuple(map(int, shown.split(".")[:2]))


@pytest.fixture
def redis_cli_7(redis_cli_version):
    """Skips the test where redis-cli is too old to ask for COMMAND DOCS, or for `-e`, `--json`."""
    if redis_cli_version < (7, 0):
        pytest.skip("this redis-cli is older than 7.0, which brought COMMAND DOCS, -e and --json")


# ------------------------------------------------------------------ beside a real Redis
class Author:
    """Writes requests, always the same ones for a seed.

    Args:
        seed: Of the randomness.
        requests: One template a line, behind a number that says how often it is wanted. A word in
            it stands for one of those under its name, or for itself in some case; a word with a
            star for none or some.
        words: What a word may stand for: some words, or a function that is given the author and
            returns any number of words.
    """

    def __init__(self, seed, requests, words):
        self.random = random.Random(seed)
        lines = [line.split(None, 1) for line in requests.strip().splitlines()]
        self.weights = [int(weight) for weight, _ in lines]
        self.templates = [template for _, template in lines]
        self.words = words

    def request(self):
        """Returns the words of a request; sometimes there is one too many, or too few."""
        draw = self.random
        words = self.expand(*draw.choices(self.templates, self.weights))
        if draw.random() < 0.1 and len(words) > 1 and words[0].upper() != "STORE":
            words = words[:-1] if draw.random() < 0.5 else [*words, "bogus"]
        return words

    def expand(self, template):
        words = []
        for word in template.split():
            for _ in range(self.random.choice((0, 0, 1, 1, 2)) if word.endswith("*") else 1):
                words += self.choose(word.rstrip("*"))
        return words

    def choose(self, word):
        draw = self.random
        known = self.words.get(word, (word, word.lower(), word.capitalize()))
        return known(self) if callable(known) else [draw.choice(known)]


def requests(templates, words):
    """Returns a strategy for requests.

    Args:
        templates: One template a line, behind a number that says how often it is wanted. A word in
            it stands for what its strategy draws, or for itself in some case; a word with a star
            for none or some. Now and then there is one word too many, or too few.
        words: Strategies by the words that stand for them; each draws one word or a list.
    """

    def word(name):
        if name.endswith("*"):
            return st.lists(word(name[:-1]), max_size=3)
        return words.get(name, st.sampled_from((name, name, name.lower(), name.capitalize())))

    def flat(items):
        return [w for item in items for w in (flat(item) if isinstance(item, list) else [item])]

    def spoilt(drawn):
        whole, end = drawn
        return {"less": whole[:-1] or whole, "more": [*whole, "bogus"]}.get(end, whole)

    lines = [line.split() for line in templates.strip().splitlines()]
    each = [st.tuples(*map(word, names)).map(flat) for n, *names in lines for _ in range(int(n))]
    ends = st.sampled_from(("as it is",) * 18 + ("more", "less"))
    return st.tuples(st.one_of(each), ends).map(spoilt)


class Side:
    """A connection to one of two servers that are to answer the same.

    There is no command yet that stores the same value in both: where one keeps a tensor, the other
    keeps a string.

    Args:
        port: Where the server listens.
        type_name: The type of the values that it stores.
        store: Words before and after the key of the command that stores one.
    """

    def __init__(self, port, type_name, store):
        self.wire = Wire(port)
        self.port = port
        self.type_name = type_name
        self._store = store

    def another(self):
        """Returns another connection to the same server."""
        return Side(self.port, self.type_name, self._store)

    def begin(self, version):
        """Makes server and connection what they were in the beginning."""
        self.wire.ask("RESET")
        self.wire.ask("HELLO", version)
        self.wire.ask("FLUSHALL")

    def ask(self, words):
        """Sends a request and returns the reply's bytes; `STORE key` stores a value."""
        if words[0].upper() == "STORE":
            before, after = self._store
            words = [*before, *words[1:], *after]
        return self.wire.ask(*words)


@pytest.fixture
def author():
    """Makes an `Author`."""
    return Author


@pytest.fixture(scope="session")
def request_strategy():
    """Makes a strategy for requests, see `requests`."""
    return requests


# Redis keeps a string of this length as `raw` and shares it with nothing.
REDIS_SIDE = ("string", (["SET"], ["x" * 100]))


@pytest.fixture(scope="module")
def ours(new_store, new_engine):
    """Our server, without backends; over an engine it stores what that would."""
    none = Backends(installed=lambda: ())
    with new_store() as url, running_server(Settings(store=url), none) as server:
        kind = REDIS_SIDE if new_engine else ("AI_TENSOR", (["AI.TENSORSET"], ["INT8", "1"]))
        side = Side(listening(server), *kind)
        yield side
        side.wire.close()


@pytest.fixture(scope="module")
def theirs(request, new_engine):
    """A real Redis, which knows nothing of us; the same engine, where ours has one."""
    if new_engine is None:
        yield request.getfixturevalue("redis_7")
        return
    with new_engine() as engine:
        side = Side(engine.port, *REDIS_SIDE)
        yield side
        side.wire.close()


@pytest.fixture(scope="module")
def redis_7(tmp_path_factory, tool):
    """The Redis that the commands of the memory store are like."""
    program, folder = tool("redis-server"), tmp_path_factory.mktemp("redis")
    process, port = started_redis(program, folder)
    try:
        side = Side(port, *REDIS_SIDE)
        about = side.wire.read("INFO", "server")
        if b"redis_version:7.0." not in about:
            pytest.skip("redis-server is not 7.0, whose replies are the pattern")
        yield side
        side.wire.close()
    finally:
        process.terminate()
        process.wait(STOP_LIMIT)


def started_redis(program, folder):
    """Starts a redis-server; returns its process and its port.

    It cannot choose a free port itself, and the one that is chosen for it may be taken by others
    before it listens there: then it ends, and another one is tried.
    """
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        log_file = folder / f"{port}.log"
        options = ("--save", "", "--appendonly", "no", "--dir", folder, "--logfile", log_file)
        words = [program, "--port", str(port), "--bind", "127.0.0.1", *map(str, options)]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        while process.poll() is None and time.monotonic() < end:
            if log_file.exists() and "Ready to accept connections" in log_file.read_text():
                return process, port
            time.sleep(0.01)
        process.kill()
        process.wait()
    raise TimeoutError(f"redis-server does not start within {START_LIMIT} s")
