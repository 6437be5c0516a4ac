"""COMMAND: the table as clients read it, and the table beside that of a real Redis."""

import shutil
import subprocess

import pytest

from tensorkeep_server.testing import Wire, WireError

TENSORSET = b"*10\r\n$12\r\nai.tensorset\r\n:-1\r\n"


def names(wire, *arguments):
    return {name.decode() for name in wire.read("COMMAND", "LIST", *arguments)}


def pairs(items):
    return dict(zip(items[::2], items[1::2], strict=True))


# ------------------------------------------------------------------------- COMMAND, INFO, COUNT
@pytest.mark.memory_store("COMMAND DOCS, LIST and INFO came with Redis 7.0", on=("redis-6.2",))
def test_every_command_is_described_once(wire):
    described = wire.read("COMMAND")
    assert all(len(each) == 10 for each in described)
    shown = [each[0].decode() for each in described]
    assert len(set(shown)) == len(shown) == wire.read("COMMAND", "COUNT")
    assert set(shown) == {name for name in names(wire) if "|" not in name}


@pytest.mark.memory_store("COMMAND DOCS, LIST and INFO came with Redis 7.0", on=("redis-6.2",))
def test_a_command_is_described_as_redis_does_in_resp2(wire):
    assert wire.ask("COMMAND", "INFO", "ping") == (
        b"*1\r\n*10\r\n$4\r\nping\r\n:-1\r\n*1\r\n+fast\r\n:0\r\n:0\r\n:0\r\n"
        b"*2\r\n+@fast\r\n+@connection\r\n"
        b"*2\r\n$25\r\nrequest_policy:all_shards\r\n$29\r\nresponse_policy:all_succeeded\r\n"
        b"*0\r\n*0\r\n"
    )


@pytest.mark.memory_store("the engine describes its commands")
def test_a_command_is_described_as_redis_does_in_resp3(wire):
    wire.ask("HELLO", "3")
    assert wire.ask("COMMAND", "INFO", "ping") == (
        b"*1\r\n*10\r\n$4\r\nping\r\n:-1\r\n~1\r\n+fast\r\n:0\r\n:0\r\n:0\r\n"
        b"~2\r\n+@fast\r\n+@connection\r\n"
        b"~2\r\n$25\r\nrequest_policy:all_shards\r\n$29\r\nresponse_policy:all_succeeded\r\n"
        b"~0\r\n~0\r\n"
    )


def test_an_ai_command_is_described_as_the_module_was(wire):
    assert wire.ask("COMMAND", "INFO", "AI.TENSORSET") == (
        b"*1\r\n" + TENSORSET + b"*3\r\n+write\r\n+denyoom\r\n+module\r\n:1\r\n:1\r\n:1\r\n"
        b"*2\r\n+@write\r\n+@tensor\r\n*0\r\n"
        b"*1\r\n*6\r\n$5\r\nflags\r\n*3\r\n+RW\r\n+access\r\n+update\r\n"
        b"$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n"
        b"$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n"
        b"$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n"
        b"$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n"
        b"*0\r\n"
    )


def test_a_run_command_says_that_its_keys_move(wire):
    ((_, arity, flags, *positions, _, _, _, _),) = wire.read("COMMAND", "INFO", "ai.modelexecute")
    assert arity == -1
    assert flags == ["write", "denyoom", "module", "movablekeys"]
    assert positions == [4, 4, 1]


@pytest.mark.memory_store("COMMAND DOCS, LIST and INFO came with Redis 7.0", on=("redis-6.2",))
def test_info_keeps_the_order_and_shows_nothing_for_what_is_not_there(wire):
    described = wire.read("COMMAND", "INFO", "nosuch", "client|id", "PING", "client|nosuch")
    assert [each and each[0] for each in described] == [None, b"client|id", b"ping", None]
    assert len(wire.read("COMMAND", "INFO")) == wire.read("COMMAND", "COUNT")


@pytest.mark.memory_store("COMMAND DOCS, LIST and INFO came with Redis 7.0", on=("redis-6.2",))
def test_a_container_is_described_with_its_subcommands(wire):
    ((*_, subcommands),) = wire.read("COMMAND", "INFO", "config")
    assert {b"config|get", b"config|set", b"config|help"} <= {sub[0] for sub in subcommands}


# ------------------------------------------------------------------------- LIST
@pytest.mark.memory_store("COMMAND DOCS, LIST and INFO came with Redis 7.0", on=("redis-6.2",))
def test_the_ai_commands_are_listed_as_the_module_ai(wire):
    listed = names(wire, "FILTERBY", "MODULE", "ai")
    assert {"ai.tensorset", "ai.modelexecute"} <= listed
    assert all(name.startswith("ai.") for name in listed)
    assert wire.ask("COMMAND", "LIST", "FILTERBY", "MODULE", "other") == b"*0\r\n"


@pytest.mark.memory_store("COMMAND DOCS, LIST and INFO came with Redis 7.0", on=("redis-6.2",))
def test_commands_are_listed_by_category(wire):
    listed = names(wire, "filterby", "aclcat", "connection")
    assert {"ping", "client|kill", "command|docs", "hello"} <= listed
    assert "client" not in listed
    assert wire.ask("COMMAND", "LIST", "FILTERBY", "ACLCAT", "nosuch") == b"*0\r\n"


@pytest.mark.memory_store("COMMAND DOCS, LIST and INFO came with Redis 7.0", on=("redis-6.2",))
def test_subcommands_are_listed_among_the_others(wire):
    listed = names(wire)
    assert {"client", "client|kill", "config|get", "ping"} <= listed
    assert {name.partition("|")[0] for name in listed} <= listed


@pytest.mark.memory_store("COMMAND DOCS, LIST and INFO came with Redis 7.0", on=("redis-6.2",))
def test_commands_are_listed_by_pattern(wire):
    assert names(wire, "FILTERBY", "PATTERN", "CONFIG*") == {
        *("config", "config|get", "config|help"),
        *("config|resetstat", "config|rewrite", "config|set"),
    }
    assert names(wire, "FILTERBY", "PATTERN", "p?n[a-g]") == {"ping"}


@pytest.mark.parametrize(
    "arguments",
    [("x",), ("FILTERBY",), ("FILTERBY", "x", "y"), ("FILTERBY", "PATTERN", "a", "b")],
)
def test_a_list_by_something_else_is_refused(wire, arguments):
    assert wire.ask("COMMAND", "LIST", *arguments) == b"-ERR syntax error\r\n"


# ------------------------------------------------------------------------- DOCS
@pytest.mark.memory_store("the engine describes its commands")
def test_docs_say_what_a_command_does_and_takes(wire):
    wire.ask("HELLO", "3")
    docs = wire.read("COMMAND", "DOCS", "PING", "nosuch")
    assert docs == {
        b"ping": {
            b"summary": b"Returns PONG, or the message that was sent.",
            b"since": b"1.0.0",
            b"group": b"connection",
            b"arguments": [{b"name": b"message", b"type": b"string", b"flags": ["optional"]}],
        }
    }


@pytest.mark.memory_store("the engine describes its commands")
def test_docs_are_flat_arrays_in_resp2(wire):
    name, docs = wire.read("COMMAND", "DOCS", "client|id")
    assert name == b"client|id"
    assert list(pairs(docs)) == [b"summary", b"since", b"group"]


@pytest.mark.memory_store("COMMAND DOCS, LIST and INFO came with Redis 7.0", on=("redis-6.2",))
def test_docs_of_an_ai_command_name_its_module(wire):
    wire.ask("HELLO", "3")
    docs = wire.read("COMMAND", "DOCS", "ai.tensorset")[b"ai.tensorset"]
    assert docs[b"group"] == b"module"
    assert docs[b"module"] == b"ai"
    *plain, data, condition, expiry = docs[b"arguments"]
    assert [each[b"token"] for each in condition[b"arguments"]] == [b"NX", b"XX"]
    times = [b"EX", b"PX", b"EXAT", b"PXAT", b"KEEPTTL"]
    assert [each[b"token"] for each in expiry[b"arguments"]] == times
    assert plain == [
        {b"name": b"key", b"type": b"string"},
        {b"name": b"type", b"type": b"string"},
        {b"name": b"dim", b"type": b"string", b"flags": ["optional", "multiple"]},
    ]
    assert data == {
        b"name": b"data | value",
        b"type": b"oneof",
        b"flags": ["optional"],
        b"arguments": [
            {b"name": b"data", b"type": b"string", b"token": b"BLOB"},
            {b"name": b"value", b"type": b"string", b"token": b"VALUES", b"flags": ["multiple"]},
        ],
    }


@pytest.mark.memory_store("COMMAND DOCS, LIST and INFO came with Redis 7.0", on=("redis-6.2",))
def test_docs_tell_words_to_be_typed_from_values(wire):
    wire.ask("HELLO", "3")
    (key, meta, data) = wire.read("COMMAND", "DOCS", "ai.tensorget")[b"ai.tensorget"][b"arguments"]
    assert key == {b"name": b"key", b"type": b"string"}
    assert meta == {
        b"name": b"meta",
        b"type": b"pure-token",
        b"token": b"META",
        b"flags": ["optional"],
    }
    assert [each[b"token"] for each in data[b"arguments"]] == [b"BLOB", b"VALUES"]


@pytest.mark.memory_store("COMMAND DOCS, LIST and INFO came with Redis 7.0", on=("redis-6.2",))
def test_docs_say_which_words_are_repeated_with_their_values(wire):
    wire.ask("HELLO", "3")
    *_, op = wire.read("COMMAND", "DOCS", "ai.dagexecute")[b"ai.dagexecute"][b"arguments"]
    assert op[b"token"] == b"|>"
    assert op[b"flags"] == ["multiple", "multiple_token"]


@pytest.mark.memory_store("COMMAND DOCS, LIST and INFO came with Redis 7.0", on=("redis-6.2",))
def test_docs_of_a_container_hold_those_of_its_subcommands(wire):
    wire.ask("HELLO", "3")
    docs = wire.read("COMMAND", "DOCS", "config")[b"config"]
    assert docs[b"subcommands"][b"config|get"][b"group"] == b"server"
    assert len(wire.read("COMMAND", "DOCS")) == wire.read("COMMAND", "COUNT")


def test_every_command_says_what_it_does_in_one_sentence(server):
    for item in server.commands:
        for each in (item, *item.subcommands):
            assert each.summary[0].isupper(), each.full_name
            assert each.summary.endswith("."), each.full_name


# ------------------------------------------------------------------------- GETKEYS
def test_keys_of_a_request_are_found_without_doing_it(wire):
    assert wire.read("COMMAND", "GETKEYS", "DEL", "a", "b\0", "c") == [b"a", b"b\0", b"c"]
    assert wire.read("COMMAND", "GETKEYS", "AI.TENSORGET", "t", "META") == [b"t"]
    long = "a" * 70_000  # kept as a view
    assert wire.read("COMMAND", "GETKEYS", "GET", long) == [long.encode()]
    assert wire.read("COMMAND", "GETKEYS", long, "a") == "ERR Invalid command specified"
    assert wire.read(
        *("COMMAND", "GETKEYS", "AI.MODELEXECUTE", "m", "INPUTS", 2, "a", "b", "OUTPUTS", 1, "c")
    ) == [b"m", b"a", b"b", b"c"]


@pytest.mark.memory_store("the engine's words")
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "ERR wrong number of arguments for 'command|getkeys' command"),
        (("ping",), "ERR wrong number of arguments for 'command|getkeys' command"),
        (("nosuch", "a"), "ERR Invalid command specified"),
        (("client", "nosuch"), "ERR Invalid command specified"),
        (("echo", "x"), "ERR The command has no key arguments"),
        (("config", "get", "x"), "ERR The command has no key arguments"),
        (("ai.config", "get", "x"), "ERR The command has no key arguments"),
        (("ai.modelexecute", "m"), "ERR Invalid arguments specified for command"),
        (("rename", "a"), "ERR Invalid number of arguments specified for command"),
        (("rename", "a", "b", "c"), "ERR Invalid number of arguments specified for command"),
    ],
)
def test_keys_that_cannot_be_found_are_an_error(wire, arguments, line):
    assert wire.read("COMMAND", "GETKEYS", *arguments) == WireError(line)


@pytest.mark.memory_store("the engine's words")
def test_help_names_every_subcommand(wire):
    lines = wire.read("COMMAND", "HELP")
    assert lines[0] == "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    assert "GETKEYS command [arg ...]" in lines


# ------------------------------------------------------------------------- beside a real Redis
@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    """A connection to a Redis 7.0 that knows nothing of us, in RESP3."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server on the PATH")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    if "v=7.0." not in version.stdout:
        pytest.skip("needs redis-server 7.0, whose table ours follows")
    folder = tmp_path_factory.mktemp("redis")
    path = folder / "redis.sock"
    arguments = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    with subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert any("ready to accept" in line for line in process.stdout)
            with Wire(str(path)) as wire:
                wire.ask("HELLO", "3")
                yield wire
        finally:
            process.terminate()


def table(wire):
    """What COMMAND says of each command: all but key specs, which ours derives."""
    return dict(_rows(wire.read("COMMAND")))


def _rows(described):
    for name, arity, flags, first, last, step, categories, tips, _, subcommands in described:
        yield name, (arity, set(flags), (first, last, step), set(categories), set(tips))
        yield from _rows(subcommands)


def documents(wire):
    return dict(_documents(wire.read("COMMAND", "DOCS")))


def _documents(docs):
    for name, fields in docs.items():
        yield name, (fields[b"group"], fields[b"since"])
        yield from _documents(fields.get(b"subcommands", {}))


@pytest.mark.memory_store("the engine describes its commands")
def test_plain_commands_are_described_as_in_a_real_redis(wire, redis):
    wire.ask("HELLO", "3")
    ours, theirs = table(wire), table(redis)
    both = ours.keys() & theirs.keys()
    assert {name: ours[name] for name in both} == {name: theirs[name] for name in both}


@pytest.mark.memory_store("the engine describes its commands")
def test_plain_commands_are_documented_as_in_a_real_redis(wire, redis):
    wire.ask("HELLO", "3")
    ours, theirs = documents(wire), documents(redis)
    both = ours.keys() & theirs.keys()
    assert {name: ours[name] for name in both} == {name: theirs[name] for name in both}


@pytest.mark.memory_store("the engine describes its commands")
def test_there_is_no_command_of_our_own_invention(wire, redis):
    wire.ask("HELLO", "3")
    invented = {name for name in table(wire).keys() - table(redis).keys() if b"ai." not in name}
    assert invented == {b"client|no-touch", b"client|setinfo"}  # which Redis 7.2 has
