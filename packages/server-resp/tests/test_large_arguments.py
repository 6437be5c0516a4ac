"""Large arguments are views of memory of their own: every command takes one in any place."""

import re

import pytest

from tensorkeep_memory.store import MemoryStore
from tensorkeep_server.codec import LARGE
from tensorkeep_server.commands import with_commands_of
from tensorkeep_server.testing import request

COMMANDS = with_commands_of(MemoryStore())

# They end the connection or the server, or change what all later replies look like.
LEFT_OUT = {
    *("shutdown", "quit", "reset", "hello", "monitor", "multi", "flushall", "flushdb"),
    *("subscribe", "psubscribe", "ssubscribe"),
}
LARGES = (b"x" * LARGE, b"1" * LARGE)


def every_command():
    for command in COMMANDS:
        if command.name not in LEFT_OUT:
            yield (command.name,), command
            for sub in command.subcommands:
                yield (command.name, sub.name), sub


def requests_with(large, name, command):
    """Requests with one large argument each, among words that the command knows."""
    words = [word if word.isupper() else "1" for word in re.findall(r"[\w.:-]+", command.syntax)]
    least = max(abs(command.arity) - len(name), 1)
    for count in {least, max(len(words), least)}:
        for place in range(count):
            arguments = (words + ["k"] * count)[:count]
            arguments[place] = large
            yield (*name, *arguments)


@pytest.mark.parametrize("large", LARGES, ids=["text", "digits"])
@pytest.mark.parametrize("before", [(), ("COMMAND", "GETKEYS")], ids=["done", "asked for its keys"])
def test_no_command_fails_over_a_large_argument(wire, large, before):
    wire.ask("CONFIG", "SET", "slowlog-log-slower-than", 0)
    for name, command in every_command():
        for asked in requests_with(large, name, command):
            shown = [argument if len(argument) < LARGE else "LARGE" for argument in asked]
            wire.socket.sendall(request(*before, *asked) + request("ECHO", "end"))
            replies = [wire.reply()]
            while replies[-1] != b"$3\r\nend\r\n":
                replies.append(wire.reply())
            assert not any(b"internal error" in reply for reply in replies), (before, shown)


@pytest.mark.parametrize("head", [("COMMAND", "GETKEYS"), ("COMMAND", "INFO"), ("COMMAND", "DOCS")])
def test_the_name_of_a_command_that_is_asked_about_may_be_large(wire, head):
    reply = wire.ask(*head, LARGES[0], "k", "v")
    assert b"internal error" not in reply
    assert wire.ask("PING") == b"+PONG\r\n"


def test_keys_may_be_large_and_are_told_whole(wire):
    key = LARGES[0]
    assert wire.read("COMMAND", "GETKEYS", "SET", key, "v") == [key]
    assert wire.read("COMMAND", "GETKEYS", "AI.MODELEXECUTE", "m", "INPUTS", 1, key, "OUTPUTS") == [
        b"m"
    ]
    assert wire.ask("COMMAND", "GETKEYS", key, key) == b"-ERR Invalid command specified\r\n"
