"""COMMAND, INFO, HELLO and MODULE over an engine: what it says, as it says it, and ours."""

import pytest

from tensorkeep.backends import Backends
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of, read_value, running_server
from tensorkeep_valkey.testing import PRESENT, running_engine


@pytest.fixture(scope="module", params=PRESENT)
def engine(request):
    with running_engine(request.param) as engine:
        yield engine


@pytest.fixture(scope="module")
def server(engine):
    none = Backends(installed=lambda: ())
    with running_server(Settings(store=engine.unix), none) as server:
        yield server


@pytest.fixture(params=[2, 3])
def both(request, server, engine):
    """A connection to our server and one to its engine, which speak the same version."""
    with Wire(port_of(server)) as ours, Wire(engine.port) as theirs:
        for wire in (ours, theirs):
            wire.ask("HELLO", request.param)
        yield ours, theirs


def parts(wire, *words):
    """Returns the encoded elements of an array or map."""
    wire.send(*words)
    head = wire._file.readline()
    count = int(head[1:]) * (2 if head.startswith(b"%") else 1)
    return [wire.reply() for _ in range(count)]


@pytest.mark.parametrize("words", [["COMMAND"], ["COMMAND", "INFO"]])
def test_the_engines_commands_are_described_as_it_does_and_ours_behind_them(both, words):
    ours, theirs = both
    mine, other = parts(ours, *words), parts(theirs, *words)
    if not other:  # Redis 6.2 wants names behind COMMAND INFO
        assert not mine
        return
    # The order of sets within differs from one reply of the engine's to the next.
    names = [read_value(each)[0] for each in mine]

    assert sorted(names[: len(other)]) == sorted(read_value(each)[0] for each in other)
    assert set(map(len, mine[: len(other)])) == set(map(len, other))
    assert names[len(other) :]
    assert all(name.startswith(b"ai.") for name in names[len(other) :])
    assert ours.read("COMMAND", "COUNT") == len(mine)


def test_named_commands_are_described_in_their_order(both):
    ours, theirs = both
    mine = parts(ours, "COMMAND", "INFO", "get", "ai.tensorset", "nosuch", "ai.nosuch", "set")
    other = parts(theirs, "COMMAND", "INFO", "get", "nosuch", "nosuch", "set")

    assert [mine[0], *mine[2:]] == other
    assert read_value(mine[1])[0] == b"ai.tensorset"
    assert b"+write\r\n" in mine[1]


def test_documentation_is_the_engines_and_then_ours(both):
    ours, theirs = both
    if read_value(theirs.ask("COMMAND", "DOCS", "get")) is None or theirs.ask(
        "COMMAND", "DOCS", "get"
    ).startswith(b"-"):
        pytest.skip("this engine has no COMMAND DOCS")
    mine = parts(ours, "COMMAND", "DOCS", "get", "ai.tensorset")

    assert mine[:2] == parts(theirs, "COMMAND", "DOCS", "get")
    assert read_value(mine[2]) == b"ai.tensorset"
    assert len(mine) == 4
    assert len(parts(ours, "COMMAND", "DOCS")) > len(parts(theirs, "COMMAND", "DOCS"))


def test_what_the_engine_refuses_is_refused_in_its_words(both):
    ours, theirs = both
    for words in (["COMMAND", "NOSUCH"], ["COMMAND", "GETKEYS"], ["INFO", "nosuch"]):
        assert ours.ask(*words) == theirs.ask(*words)


def test_the_commands_list_has_the_engines_and_ours(both):
    ours, theirs = both
    if theirs.ask("COMMAND", "LIST").startswith(b"-"):
        pytest.skip("this engine has no COMMAND LIST")
    mine, other = ours.read("COMMAND", "LIST"), theirs.read("COMMAND", "LIST")

    assert set(mine) > set(other)
    assert b"ai.modelexecute" in mine
    only = ours.read("COMMAND", "LIST", "FILTERBY", "PATTERN", "ai.tensor*")
    assert sorted(only) == [b"ai.tensorget", b"ai.tensorset"]


def test_our_module_is_one_more(both):
    ours, theirs = both
    names = [
        each[b"name"]
        if isinstance(each, dict)
        else dict(zip(each[::2], each[1::2], strict=True))[b"name"]
        for each in ours.read("MODULE", "LIST")
    ]
    assert names[-1] == b"ai"
    assert len(names) == len(theirs.read("MODULE", "LIST")) + 1


def test_info_has_the_engines_sections_and_ours(both):
    ours, theirs = both
    text = ours.read("INFO").decode()

    titles = [line for line in text.splitlines() if line.startswith("# ")]
    assert {
        line for line in theirs.read("INFO").decode().splitlines() if line.startswith("# ")
    } <= set(titles)
    assert "# Store" in titles
    assert len(titles) == len(set(titles))
    assert "redis_version:" in text
    assert "# Store" in ours.read("INFO", "store").decode()
    assert "# Store" not in ours.read("INFO", "clients").decode()
