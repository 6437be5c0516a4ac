"""Every command of the table with arguments that nobody sends on purpose: none meets a bug.

Arguments follow what the table says of a command, with odd words among them, and some are spoilt.
Whatever the reply is, there is one: an exception that nobody foresaw would be logged with its
traceback. The seed of `random` stands at the head of a run of pytest; the variable ODD_REQUESTS
says how many are sent.
"""

import os
import random
from collections import Counter

import pytest

from tensorkeep.commands.command import MODULE
from tensorkeep_memory.store import MemoryStore
from tensorkeep_server.commands import with_commands_of
from tensorkeep_server.syntax import read_syntax
from tensorkeep_server.testing import Wire, port_of

COMMANDS = with_commands_of(MemoryStore())

REQUESTS = int(os.environ.get("ODD_REQUESTS", "5000"))
PER_CONNECTION = 50  # then the keys are made anew
MODEL = '{"op": "identity"}'
KEYS = {
    "string": ("string", "number"),
    "list": ("list",),
    "hash": ("hash",),
    "set": ("set", "integers"),
    "sorted-set": ("zset",),
    "ai.model": ("model",),
    "ai.script": ("script",),
    "ai.tensor": ("tensor", "words"),
    "ai.dag": ("tensor",),
}
ANY_KEY = sorted({key for keys in KEYS.values() for key in keys} | {"none"})
ODD = (
    *("", "\0", " ", "\n", "1 2", "1 ", " 1", "-1", "0", "1", "2", "1.5", "-0", "+1", "01", "1\0"),
    *(
        "1e400",
        "1e-400",
        "1e",
        "1e+",
        "1.",
        ".",
        "+",
        "-",
        "nan",
        "-nan",
        "inf",
        "-inf",
        "Infinity",
    ),
    *("0x", "0x1p", "0x1p3", "0x1p5000", "1_000", "1,5", "½", "١٢", "1" * 400, "9" * 5000),
    *(2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1),
    *(b"\xff\xfe", b"\xc3(", "*", "[", "[^", "\\", "(1", "[a", "%s%n", "{}", "$-1\r\n", "|>"),
    "a" * 70_000,  # so long that it is kept as a view
)
FEW = ("0", "1", "2", "3", "-1")
# By what the table calls an argument. Others stand for words such as FIELDS.
MEANT = {
    **dict.fromkeys(
        ("index", "start", "stop", "offset", "cursor", "count", "n", "rank", "len"), FEW
    ),
    **dict.fromkeys(
        ("increment", "decrement", "score", "min", "max", "weight", "limit", "db"), FEW
    ),
    **dict.fromkeys(("index1", "index2", "ms", "seconds", "end", "destination-db"), FEW),
    "type": ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "INT8", "UINT64", "BOOL", "STRING", "int32"),
    "dim": ("1", "2", "1", "0", "-1", 2**31, 2**62, 2**63, "x", ""),
    "value": ("0", "1", "1.5", "-1", "a", ""),
    "data": ("", "\0", b"\1", b"\xff", "12345678", "a\0b\0", MODEL),
    "backend": ("ONNX", "onnx", "TORCH", "NONE"),
    "device": ("CPU", "CPU:1", "cpu", "GPU", "CPU:", "CPU:x", "CPU:99999999999999999999"),
    "function": ("identity", "no_such"),
    "name": ("identity", "x"),
    "protover": ("2", "3", "4"),
    "pattern": ("*", "**", "?", "[a", "\\"),
}
FIELDS = ("a", "b", "f", "g", "1", "")
COUNTED = {"count", "numkeys"}
# They end the connection or the server, keep replies back, or send without an end.
LEFT_OUT = {"shutdown", "quit", "monitor", "client|reply", "client|kill", "config|set"}


def askable():
    for command in COMMANDS:
        yield from command.subcommands or (command,)


class Author:
    """Writes requests of one command, keys of its kind preferred."""

    def __init__(self, command):
        self.command = command
        self.parameters = read_syntax(command.syntax)
        self.keys = ANY_KEY
        for kind, keys in KEYS.items():
            if kind == command.group or command.name.startswith(kind):
                self.keys = keys

    def request(self):
        words = [*self.command.full_name.upper().split("|"), *self.row(self.parameters)]
        if self.command.name == "ai.tensorset" and random.random() < 0.5:
            dtype = random.choice(MEANT["type"])
            values = [self.word("value") for _ in range(2)]
            words = [words[0], self.word("key"), dtype, 2, "VALUES", *values]
        if "MINBATCHSIZE" in words:  # with a larger one, runs wait for others
            words[words.index("MINBATCHSIZE") + 1] = "1"
        return spoilt(words) if random.random() < 0.3 else words

    def row(self, parameters):
        """Writes arguments from right to left, so that a count can say how many there are."""
        words = []
        counted = 0
        for parameter in reversed(parameters):
            more = self.expand(parameter, counted)
            words = [*more, *words]
            counted = len(more) if parameter.multiple or parameter.name == "key" else 0
        return words

    def expand(self, parameter, counted):
        if parameter.optional and random.random() < 0.5:
            return []
        words = []
        for turn in range(random.choice((1, 1, 2, 3)) if parameter.multiple else 1):
            if parameter.token and (turn == 0 or parameter.repeats_token):
                words.append(parameter.token)
            if parameter.kind == "oneof":
                words += self.expand(random.choice(parameter.arguments), 0)
            elif parameter.kind == "block":
                words += self.row(parameter.arguments)
            elif parameter.name == "op":
                words += random.choice(OPERATIONS).request()
            elif parameter.name in COUNTED and counted and random.random() < 0.9:
                words.append(str(counted))
            elif parameter.kind != "pure-token":
                words.append(self.word(parameter.name))
        return words

    def word(self, name):
        if random.random() < 0.05:
            return random.choice(ODD)
        if name in {"input", "output"}:
            return "tensor"
        if name in MEANT:
            return random.choice(MEANT[name])
        if name == "source" and MODULE in self.command.flags:
            return random.choice(("identity", "identity sum execute", "no_such"))
        if "key" in name or name in {"source", "destination", "src", "dst"}:
            return random.choice(self.keys if random.random() < 0.8 else ANY_KEY)
        return random.choice(FIELDS)


OPERATIONS = [
    Author(command)
    for command in COMMANDS
    if command.name in {"ai.tensorset", "ai.tensorget", "ai.modelexecute", "ai.scriptexecute"}
]


def spoilt(words):
    """Puts an odd word in, or in place of another, or leaves one out, or repeats one."""
    head, *rest = words
    if not rest:
        return [head, random.choice(ODD)]
    at = random.randrange(len(rest))
    kept = random.choice(((), (random.choice(ODD),), (rest[at], random.choice(ODD)), rest[at:]))
    return [head, *rest[:at], *kept, *rest[at + 1 :]]


def fill(wire):
    for request in (
        ("FLUSHALL",),
        ("SET", "string", "text"),
        ("SET", "number", "7"),
        ("RPUSH", "list", "a", "b", "7"),
        ("HSET", "hash", "f", "v", "g", "7"),
        ("SADD", "set", "a", "b", ""),
        ("SADD", "integers", "1", "2", "3"),
        ("ZADD", "zset", "1", "a", "2", "b", "-inf", ""),
        ("AI.TENSORSET", "tensor", "FLOAT", "2", "VALUES", "1", "2"),
        ("AI.TENSORSET", "words", "STRING", "2", "VALUES", "a", ""),
        ("AI.MODELSTORE", "model", "ONNX", "CPU", "BLOB", MODEL),
        ("AI.SCRIPTSTORE", "script", "CPU", "ENTRY_POINTS", 1, "identity", "SOURCE", "identity"),
    ):
        assert not wire.ask(*request).startswith(b"-"), request


@pytest.fixture
def backends(backends, fake):
    """ONNX for models, TORCH for scripts."""
    backends.add("TORCH", fake)
    return backends


def test_odd_arguments_meet_no_bug(server, caplog):
    authors = [Author(each) for each in askable() if each.full_name not in LEFT_OUT]
    replied = Counter()
    for _ in range(0, REQUESTS, PER_CONNECTION):
        with Wire(port_of(server)) as wire:
            fill(wire)
            for author in random.sample(authors, PER_CONNECTION):
                request = author.request()
                wire.send(*request)
                wire.send("DISCARD")  # of a transaction that would keep what follows waiting
                wire.send("PING", "end")
                replies = [wire.reply()]
                while not replies[-1].endswith(b"$3\r\nend\r\n"):
                    replies.append(wire.reply())
                unforeseen = [record for record in caplog.records if record.exc_info]
                assert not unforeseen, (request, unforeseen[0].exc_info)
                replied[author.command.full_name, replies[0][:1] == b"-"] += 1
    assert len(replied) > 300  # most commands were done as well as refused
