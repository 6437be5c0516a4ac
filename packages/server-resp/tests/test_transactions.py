"""MULTI, EXEC, DISCARD, WATCH and UNWATCH, over a socket."""

import math
import select
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tensorkeep.commands.command import NO_MULTI
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep_server.commands.ai.catalog import model_scan, script_scan
from tensorkeep_server.testing import read_value, request

OK = b"+OK\r\n"
QUEUED = b"+QUEUED\r\n"
PONG = b"+PONG\r\n"
NULL = b"$-1\r\n"
NOTHING_DONE = b"*-1\r\n"
ABORTED = b"-EXECABORT Transaction discarded because of previous errors.\r\n"
CANNOT_RUN = b"-ERR Cannot run RedisAI command within a transaction or a LUA script\r\n"
WRONG_TYPE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
CANNOT_LOAD = b"-ERR error loading backend\r\n"
NO_BACKEND = b"-ERR unsupported backend\r\n"
EXEC_ARITY = (
    "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"
)

IDENTITY = '{"op":"identity"}'
BLOCK = '{"op":"block"}'
SLOW = '{"op":"slow_create","seconds":60}'  # unless FakeBackend.hurry is set


def words(command):
    return command.split() if isinstance(command, str) else command


def ask(wire, *commands):
    """Sends commands, each as one text, and returns the reply to the last one."""
    return [wire.ask(*words(command)) for command in commands][-1]


def queue(wire, *commands):
    assert wire.ask("MULTI") == OK
    for command in commands:
        assert wire.ask(*words(command)) == QUEUED, command


def transact(wire, *commands):
    """Does commands in a transaction and returns EXEC's reply."""
    queue(wire, *commands)
    return wire.ask("EXEC")


def array(*replies):
    return b"*%d\r\n" % len(replies) + b"".join(replies)


def error(line):
    return f"-{line}\r\n".encode()


def store(key, model=IDENTITY):
    return f"AI.MODELSTORE {key} ONNX CPU BLOB {model}"


def put(key, *values):
    return f"AI.TENSORSET {key} FLOAT {len(values)} VALUES {' '.join(map(str, values))}"


def values(*numbers):
    return array(*(b"$%d\r\n%d\r\n" % (len(str(number)), number) for number in numbers))


def answered(wire):
    return bool(select.select([wire.socket], [], [], 0)[0])


def eventually(condition):
    """Waits for what another thread does; up to a limit, in small steps."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def no_slow_creation_outlives_a_test(server, fake):
    yield
    fake.hurry.set()
    fake.release(math.inf)


# ------------------------------------------------------------------ queueing and doing
def test_what_is_queued_is_done_at_exec(wire, connect):
    other = connect()
    assert ask(wire, "MULTI") == OK
    assert ask(wire, put("k", 1)) == QUEUED
    assert ask(wire, "AI.TENSORGET k VALUES") == QUEUED
    assert ask(other, "EXISTS k") == b":0\r\n"
    assert ask(wire, "EXEC") == array(OK, values(1))
    assert ask(other, "EXISTS k") == b":1\r\n"
    assert ask(wire, "EXISTS k") == b":1\r\n"


def test_an_empty_transaction_answers_an_empty_array(wire):
    assert transact(wire) == b"*0\r\n"


def test_names_are_known_in_any_case(wire):
    assert ask(wire, "Multi", "pInG") == QUEUED
    assert ask(wire, "exec") == array(PONG)
    assert ask(wire, "multi", "ping", "Discard") == OK


def test_a_failing_command_does_not_hold_up_the_others(wire):
    assert transact(
        wire,
        put("k", 1),
        "AI.TENSORGET none VALUES",
        "AI.TENSORSET k FLOAT 1 VALUES x",
        "AI.TENSORSET k FLOAT",
        "RENAME none k",
        "PING a b",
        "AI.TENSORGET k VALUES",
    ) == array(
        OK,
        error("ERR tensor key is empty or in a different shard"),
        error("ERR invalid value"),
        error("ERR wrong number of arguments for 'AI.TENSORSET' command"),
        error("ERR no such key"),
        error("ERR wrong number of arguments for 'ping' command"),
        values(1),
    )


def test_a_large_tensor_goes_in_and_out(wire):
    blob = bytes(range(256)) * 4096
    head = ("AI.TENSORSET", "k", "UINT8", len(blob), "BLOB")
    assert transact(wire, (*head, blob), "AI.TENSORGET k BLOB", "PING") == array(
        OK, b"$%d\r\n%b\r\n" % (len(blob), blob), PONG
    )


def test_a_transaction_works_in_a_pipeline(wire):
    commands = ("MULTI", put("k", 1), "AI.TENSORGET k VALUES", "EXEC", "PING")
    wire.socket.sendall(b"".join(request(*words(command)) for command in commands))
    assert [wire.reply() for _ in commands] == [OK, QUEUED, QUEUED, array(OK, values(1)), PONG]


def test_a_database_selected_inside_stays_selected(wire):
    assert transact(wire, put("k", 1), "SELECT 3", "EXISTS k", put("l", 1)) == array(
        OK, OK, b":0\r\n", OK
    )
    assert ask(wire, "EXISTS l") == b":1\r\n"
    assert ask(wire, "SELECT 0", "EXISTS k l") == b":1\r\n"


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_resp3_has_its_own_nulls_and_maps(wire, connect):
    ask(wire, "HELLO 3", "WATCH k")
    assert transact(wire, "OBJECT ENCODING k", "COMMAND DOCS nosuch") == array(b"_\r\n", b"%0\r\n")
    ask(wire, "WATCH k")
    ask(connect(), put("k", 1))
    assert transact(wire, "PING") == b"_\r\n"


def test_each_reply_is_in_the_version_of_its_time(wire):
    null = "OBJECT ENCODING k"
    reply = transact(wire, null, "HELLO 3", null, "HELLO 2", null, "HELLO 3", null)
    assert reply.startswith(b"*7\r\n$-1\r\n%7\r\n")
    assert b"_\r\n*14\r\n" in reply
    assert b"$-1\r\n%7\r\n" in reply[20:]
    assert reply.endswith(b"_\r\n")


# ------------------------------------------------------------------ errors
@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("EXEC", "ERR EXEC without MULTI"),
        ("DISCARD", "ERR DISCARD without MULTI"),
        ("MULTI x", "ERR wrong number of arguments for 'multi' command"),
        ("DISCARD x", "ERR wrong number of arguments for 'discard' command"),
        ("WATCH", "ERR wrong number of arguments for 'watch' command"),
        ("UNWATCH x", "ERR wrong number of arguments for 'unwatch' command"),
        ("EXEC x", EXEC_ARITY),
    ],
)
def test_outside_of_a_transaction_redis_refuses(wire, command, line):
    assert ask(wire, command) == error(line)
    assert ask(wire, "PING") == PONG


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("nosuch a", "ERR unknown command 'nosuch', with args beginning with: 'a' "),
        ("CLIENT nosuch", "ERR unknown subcommand 'nosuch'. Try CLIENT HELP."),
        ("TYPE", "ERR wrong number of arguments for 'type' command"),
        ("CLIENT ID x", "ERR wrong number of arguments for 'client|id' command"),
        ("MULTI x", "ERR wrong number of arguments for 'multi' command"),
        ("DISCARD x", "ERR wrong number of arguments for 'discard' command"),
        ("WATCH", "ERR wrong number of arguments for 'watch' command"),
        ("SHUTDOWN NOSAVE", "ERR Command not allowed inside a transaction"),
    ],
)
def test_a_command_that_cannot_be_queued_spoils_the_transaction(wire, command, line):
    queue(wire, put("k", 1))
    assert ask(wire, command) == error(line)
    assert ask(wire, "PING") == QUEUED
    assert ask(wire, "EXEC") == ABORTED
    assert ask(wire, "EXISTS k") == b":0\r\n"
    assert ask(wire, "EXEC") == error("ERR EXEC without MULTI")


def test_a_spoilt_transaction_can_be_discarded(wire):
    ask(wire, "MULTI", "nosuch")
    assert ask(wire, "DISCARD") == OK
    assert transact(wire, "PING") == array(PONG)


def test_exec_with_arguments_ends_the_transaction_at_once(wire):
    queue(wire, put("k", 1))
    assert ask(wire, "EXEC x") == error(EXEC_ARITY)
    assert ask(wire, "EXEC") == error("ERR EXEC without MULTI")
    assert ask(wire, "EXISTS k") == b":0\r\n"


@pytest.mark.memory_store(
    "Valkey's words",
    on=(
        "valkey-8.1",
        "valkey-9.1",
    ),
)
@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("MULTI", "ERR MULTI calls can not be nested"),
        ("WATCH k", "ERR WATCH inside MULTI is not allowed"),
    ],
)
def test_multi_and_watch_inside_are_refused_and_spoil_nothing(wire, command, line):
    queue(wire, put("k", 1))
    assert ask(wire, command) == error(line)
    assert ask(wire, "EXEC") == array(OK)


@pytest.mark.memory_store("the engine counts the errors of all its clients")
def test_errors_of_a_transaction_are_counted_one_by_one(wire):
    ask(wire, "CONFIG RESETSTAT")
    transact(wire, "RENAME none k", put("k", 1), store("k"), "MOVE k 0")
    ask(wire, "MULTI", "nosuch", "EXEC")
    counted = read_value(ask(wire, "INFO errorstats")).decode().split()
    assert sorted(counted) == [
        "#",
        "Errorstats",
        "errorstat_ERR:count=3",
        "errorstat_EXECABORT:count=1",
        "errorstat_WRONGTYPE:count=1",
    ]


# ------------------------------------------------------------------ what ends a transaction
@pytest.mark.parametrize("end", ["DISCARD", "RESET"])
def test_discard_and_reset_drop_the_transaction_and_the_watched_keys(wire, connect, end):
    ask(wire, "WATCH k")
    queue(wire, put("l", 1))
    ask(wire, end)
    ask(connect(), put("k", 1))
    assert ask(wire, "EXISTS l") == b":0\r\n"
    assert ask(wire, "EXEC") == error("ERR EXEC without MULTI")
    assert transact(wire, "PING") == array(PONG)


def test_quit_is_done_at_once_and_drops_the_transaction(wire, connect):
    queue(wire, put("k", 1))
    assert ask(wire, "QUIT") == OK
    assert wire.socket.recv(1) == b""
    assert ask(connect(), "EXISTS k") == b":0\r\n"


@pytest.mark.memory_store("the engine watches the keys")
def test_who_goes_away_leaves_nothing_behind(server, wire, connect):
    ask(wire, "WATCH k")
    queue(wire, put("l", 1))
    wire.close()
    eventually(lambda: not server.clients)
    assert not server.databases[0].watches
    assert ask(connect(), "EXISTS l") == b":0\r\n"


@pytest.mark.memory_store("the engine watches the keys")
@pytest.mark.parametrize("ending", ["EXEC", "DISCARD", "EXEC x"])
def test_after_it_nothing_is_watched_any_more(server, wire, ending):
    ask(wire, "WATCH k l", "MULTI", ending)
    assert not server.databases[0].watches


# ------------------------------------------------------------------ WATCH
READY = (
    put("tensor", 1),
    put("volatile", 1),
    "EXPIRE volatile 100",
    store("model"),
    "SELECT 1",
    put("away", 1),
    "SELECT 0",
)
RUN = "AI.MODELEXECUTE model INPUTS 1 tensor OUTPUTS 1"
DAG = "AI.DAGEXECUTE LOAD 1 tensor PERSIST 1 {} |> AI.MODELEXECUTE model INPUTS 1 tensor OUTPUTS 1"


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("tensor", put("tensor", 1)),
        ("tensor", "AI.TENSORSET tensor FLOAT 1 BLOB abcd"),
        ("missing", put("missing", 1)),
        ("tensor", f"{RUN} tensor"),
        ("missing", f"{RUN} missing"),
        ("missing", f"{DAG.format('missing')} missing"),
        ("missing", "AI.MODELRUN model INPUTS tensor OUTPUTS missing"),
        ("model", store("model")),
        ("missing", store("missing")),
        ("model", f"AI.MODELSET model ONNX CPU BLOB {IDENTITY}"),
        ("model", "AI.MODELDEL model"),
        ("model", "DEL model"),
        ("tensor", "UNLINK missing tensor"),
        ("tensor", "RENAME tensor other"),
        ("tensor", "RENAME model tensor"),
        ("missing", "RENAMENX tensor missing"),
        ("tensor", "EXPIRE tensor 100"),
        ("tensor", "PEXPIREAT tensor 1"),
        ("volatile", "EXPIRE volatile 100"),
        ("volatile", "PERSIST volatile"),
        ("tensor", "MOVE tensor 1"),
        ("tensor", "FLUSHDB"),
        ("tensor", "FLUSHALL"),
        ("tensor", "SWAPDB 0 1"),
        ("away", "SWAPDB 1 0"),
        ("away", "SWAPDB 0 1"),
    ],
)
def test_nothing_is_done_when_a_watched_key_was_changed(wire, connect, key, change):
    ask(wire, *READY, f"WATCH other {key} none")
    assert ask(connect(), change)[:1] in b"+:*"
    assert transact(wire, put("done", 1)) == NOTHING_DONE
    assert ask(wire, "EXISTS done") == b":0\r\n"
    assert transact(wire, put("done", 1)) == array(OK)  # it watches no more


@pytest.mark.parametrize(
    ("key", "event"),
    [
        ("tensor", "AI.TENSORGET tensor"),
        ("tensor", "TOUCH tensor"),
        ("tensor", "AI.TENSORSET tensor FLOAT 1 VALUES x"),
        ("tensor", store("tensor")),
        ("model", put("model", 1)),
        ("model", "AI.MODELGET model"),
        ("model", store("model", "nonsense")),
        ("model", f"{RUN} model"),
        ("tensor", f"{RUN} other"),
        ("tensor", "COPY tensor tensor"),
        ("tensor", "RENAME tensor tensor"),
        ("tensor", "RENAMENX model tensor"),
        ("tensor", "EXPIRE tensor 100 XX"),
        ("volatile", "EXPIRE volatile 100 NX"),
        ("tensor", "PERSIST tensor"),
        ("tensor", "MOVE away 1"),
        ("missing", "DEL missing"),
        ("missing", "FLUSHALL"),
        ("missing", "SWAPDB 0 1"),
        ("tensor", "SWAPDB 0 0"),
        ("tensor", "SWAPDB 1 2"),
        ("missing", "PING"),
    ],
)
def test_all_is_done_when_no_watched_key_was_changed(wire, connect, key, event):
    ask(wire, *READY, f"WATCH {key}")
    ask(connect(), event)
    assert transact(wire, "PING") == array(PONG)


def test_a_change_of_ones_own_counts_too(wire):
    ask(wire, "WATCH k", put("k", 1))
    assert transact(wire, "PING") == NOTHING_DONE


def test_what_the_transaction_itself_changes_does_not_count(wire):
    ask(wire, "WATCH k")
    assert transact(wire, put("k", 1), "DEL k", put("k", 2)) == array(OK, b":1\r\n", OK)


def test_a_change_counts_although_all_is_as_it_was_again(wire, connect):
    ask(wire, put("k", 1), "WATCH k l")
    ask(connect(), put("l", 1), "DEL l")
    assert transact(wire, "PING") == NOTHING_DONE


def test_a_change_while_commands_are_queued_counts(wire, connect):
    ask(wire, "WATCH k")
    queue(wire, "PING")
    ask(connect(), put("k", 1))
    assert ask(wire, "PING") == QUEUED
    assert ask(wire, "EXEC") == NOTHING_DONE


def test_a_spoilt_transaction_says_so_although_a_key_changed(wire, connect):
    ask(wire, "WATCH k", "MULTI", "nosuch")
    ask(connect(), put("k", 1))
    assert ask(wire, "EXEC") == ABORTED


def test_unwatch_forgets_what_was_changed(wire, connect):
    ask(wire, "WATCH k l")
    ask(connect(), put("k", 1))
    assert ask(wire, "UNWATCH") == OK
    ask(connect(), put("l", 1))
    assert transact(wire, "PING") == array(PONG)


def test_unwatch_inside_comes_too_late(wire, connect):
    ask(wire, "WATCH k")
    queue(wire, "UNWATCH")
    ask(connect(), put("k", 1))
    assert ask(wire, "EXEC") == NOTHING_DONE
    assert transact(wire, "UNWATCH", "PING") == array(OK, PONG)


def test_further_keys_can_be_watched(wire, connect):
    ask(wire, "WATCH k", "WATCH l k")
    ask(connect(), put("k", 1))
    assert ask(wire, "WATCH m") == OK
    assert transact(wire, "PING") == NOTHING_DONE


def test_a_key_is_watched_in_the_database_of_that_time(wire, connect):
    other = connect()
    ask(wire, "SELECT 1", "WATCH k", "SELECT 0")
    ask(other, put("k", 1))
    assert transact(wire, "PING") == array(PONG)
    ask(wire, "SELECT 1", "WATCH k", "SELECT 0")
    ask(other, "SELECT 1", put("k", 1))
    assert transact(wire, "PING") == NOTHING_DONE


def test_a_watch_stays_with_the_number_of_the_database(wire, connect):
    other = connect()
    ask(wire, "WATCH k")
    ask(other, "SWAPDB 0 1", "SELECT 1", put("k", 1))
    assert transact(wire, "PING") == array(PONG)
    ask(wire, "FLUSHALL", "WATCH k")
    ask(other, "SWAPDB 0 1", "SELECT 0", put("k", 1))
    assert transact(wire, "PING") == NOTHING_DONE


@pytest.mark.parametrize("seconds", [0.001, 0.3], ids=["not found out", "removed"])
def test_a_watched_key_that_expires_has_changed(wire, seconds):
    for milliseconds in (2, 20, 200, 2000):  # a slow machine may be too late to watch it
        ask(wire, "UNWATCH", put("k", 1), f"PEXPIRE k {milliseconds}", "WATCH k")
        if wire.read("PTTL", "k") > 0:
            break
    time.sleep(milliseconds / 1000 + seconds)
    assert transact(wire, put("done", 1)) == NOTHING_DONE


@pytest.mark.memory_store("Redis 6.2 takes an expired key for a changed one", on=("redis-6.2",))
@pytest.mark.parametrize("seconds", [0, 0.3], ids=["at once", "after it was removed"])
def test_a_key_that_had_expired_when_it_was_watched_was_missing(wire, seconds):
    ask(wire, put("k", 1), "PEXPIRE k 1")
    time.sleep(0.005)
    ask(wire, "WATCH k")
    time.sleep(seconds)
    assert transact(wire, "EXISTS k") == array(b":0\r\n")


def test_each_of_several_watchers_is_told(wire, connect):
    others = [connect() for _ in range(3)]
    for each in others:
        ask(each, "WATCH k")
    ask(others[2], "UNWATCH")
    ask(wire, put("k", 1))
    assert [transact(each, "PING") for each in others] == [
        NOTHING_DONE, NOTHING_DONE, array(PONG),
    ]  # fmt: skip


# ------------------------------------------------------------------ in one go
def test_of_two_writers_a_reader_never_sees_half(connect):
    def write(number):
        wire = connect()
        return [transact(wire, put("a", number), put("b", number)) for _ in range(100)]

    def read(_):
        wire = connect()
        return [
            transact(wire, "AI.TENSORGET a VALUES", "AI.TENSORGET b VALUES") for _ in range(200)
        ]

    write(0)
    with ThreadPoolExecutor(4) as pool:
        writing, reading = pool.map(write, (1, 2)), pool.map(read, range(2))
        seen = {reply for replies in reading for reply in replies}
        assert {reply for replies in writing for reply in replies} == {array(OK, OK)}
    assert seen <= {array(values(n), values(n)) for n in range(3)}


def test_optimistic_counting_loses_nothing(connect):
    def count(_):
        wire, done = connect(), 0
        while done < 25:
            ask(wire, "WATCH n")
            [number] = wire.read("AI.TENSORGET", "n", "VALUES")
            done += transact(wire, put("n", int(number) + 1)) == array(OK)

    ask(connect(), put("n", 0))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert ask(connect(), "AI.TENSORGET n VALUES") == values(100)


@pytest.mark.memory_store(
    "time goes on within a transaction of this engine", on=("redis-6.2", "redis")
)
def test_time_stands_still_inside(wire):
    waiting = ["PING"] * 20_000  # takes longer than the key has to live
    sent = ["MULTI", put("k", 1), "PEXPIRE k 1", "PTTL k", *waiting, "PTTL k", "EXISTS k", "EXEC"]
    wire.socket.sendall(b"".join(request(*words(command)) for command in sent))
    *_, reply = [wire.reply() for _ in sent]
    replies = read_value(reply)
    assert replies[2] == replies[-2] == replies[-1] == 1
    time.sleep(0.002)
    assert ask(wire, "EXISTS k") == b":0\r\n"


# ------------------------------------------------------------------ runs
@pytest.mark.parametrize(
    "name",
    [
        *("AI.MODELEXECUTE", "AI.MODELRUN", "AI.DAGEXECUTE", "AI.DAGEXECUTE_RO"),
        *("AI.DAGRUN", "AI.DAGRUN_RO"),
    ],
)
def test_runs_are_queued_and_refused_before_any_look_at_them(wire, name):
    commands = (name, f"{name} m", f"{name} m INPUTS 1 a OUTPUTS 1 b", "PING")
    assert transact(wire, *commands) == array(CANNOT_RUN, CANNOT_RUN, CANNOT_RUN, PONG)


@pytest.mark.memory_store("INFO waits for the engine")
def test_every_command_that_may_answer_later_says_what_a_transaction_does(server):
    everything = [each for item in server.commands for each in (item, *item.subcommands)]
    later = [
        item
        for item in everything
        if "Later" in getattr(item.handle, "func", item.handle).__annotations__["return"]
        and item.handle not in {model_scan, script_scan}  # at once, but for stores in engines
    ]
    assert len(later) > 4
    for item in later:
        assert (
            item.runs or item.prepare is not None or NO_MULTI in item.flags or item.name == "exec"
        ), item.full_name


@pytest.mark.memory_store("a model is built before it is queued")
def test_a_run_of_another_client_stores_before_or_after_but_not_within(wire, connect, fake):
    other = connect()
    ask(wire, put("x", 1), put("y", 0), store("m", BLOCK))
    other.send(*words("AI.MODELEXECUTE m INPUTS 1 x OUTPUTS 1 y"))
    fake.await_calls("model_run")
    show = "AI.TENSORGET y VALUES"
    queue(wire, show, store("slow", SLOW), show)
    wire.send("EXEC")
    fake.await_calls("model_create", 2)
    fake.release()
    assert other.reply() == OK
    assert not answered(wire)
    fake.hurry.set()
    assert wire.reply() == array(values(1), OK, values(1))


# ------------------------------------------------------------------ storing models
def test_a_model_is_stored_at_its_place(wire):
    assert transact(
        wire, "EXISTS m", store("m"), "EXISTS m", "AI.MODELGET m BLOB", "AI.MODELDEL m", "EXISTS m"
    ) == array(b":0\r\n", OK, b":1\r\n", b"$17\r\n%b\r\n" % IDENTITY.encode(), OK, b":0\r\n")


@pytest.mark.memory_store("a model is built before it is queued")
def test_others_are_served_while_models_are_built_and_see_nothing_yet(wire, connect, fake):
    other = connect()
    queue(wire, put("k", 1), store("m", SLOW), store("n", SLOW), "EXISTS k m n")
    wire.socket.sendall(request("EXEC") + request("ECHO", "behind"))
    fake.await_calls("model_create", 1)
    assert ask(other, "EXISTS k m n") == b":0\r\n"
    assert ask(other, put("k", 2)) == OK
    assert ask(other, "AI.TENSORGET k VALUES") == values(2)
    assert not answered(wire)
    assert len(fake.calls_of("model_create")) == 1  # one after another
    fake.hurry.set()
    assert wire.reply() == array(OK, OK, OK, b":3\r\n")
    assert wire.reply() == b"$6\r\nbehind\r\n"
    assert ask(other, "AI.TENSORGET k VALUES") == values(1)


def test_a_stored_model_can_be_run_afterwards(wire):
    assert transact(wire, put("x", 3), store("m")) == array(OK, OK)
    assert ask(wire, "AI.MODELEXECUTE m INPUTS 1 x OUTPUTS 1 y") == OK
    assert ask(wire, "AI.TENSORGET y VALUES") == values(3)


def test_mistakes_of_a_store_stand_at_its_place(wire):
    assert transact(
        wire,
        put("k", 1),
        "AI.MODELSTORE",
        "AI.MODELSTORE m ONNX CPU TAG",
        "AI.MODELSTORE m NOSUCH CPU BLOB x",
        "AI.MODELSTORE m TFLITE CPU BLOB x",
        "AI.MODELSTORE m ONNX CPU TAG t NOBLOB x",
        "AI.MODELSTORE m ONNX GPU BLOB x",
        store("k", "no-json"),
        store("k"),
        "AI.MODELSET k ONNX CPU",
        "AI.MODELSET m ONNX NPU BLOB x",
        "PING",
    ) == array(
        OK,
        error("ERR wrong number of arguments for 'AI.MODELSTORE' command"),
        error("ERR wrong number of arguments for 'AI.MODELSTORE' command"),
        NO_BACKEND,
        error("ERR Could not load backend"),
        error("ERR Invalid argument, expected BLOB"),
        error("ERR GPU requested but ONNX couldn't find CUDA"),
        error(
            "the blob of a fake model must be a JSON object:"
            " Expecting value: line 1 column 1 (char 0)"
        ),
        WRONG_TYPE,
        error("ERR Insufficient arguments, missing model BLOB"),
        error("ERR unsupported device"),
        PONG,
    )
    assert ask(wire, "EXISTS m") == b":0\r\n"


def test_the_key_is_judged_at_its_place(wire):
    ask(wire, put("k", 1), store("m"))
    assert transact(
        wire, store("k"), "DEL k", store("k"), "DEL m", put("m", 1), store("m"), "AI.MODELDEL k"
    ) == array(WRONG_TYPE, b":1\r\n", OK, b":1\r\n", OK, WRONG_TYPE, OK)


def test_a_model_is_stored_in_the_database_selected_at_its_place(wire):
    assert transact(wire, store("m"), "SELECT 2", store("n"), "SWAPDB 2 3", "EXISTS n") == array(
        OK, OK, OK, OK, b":0\r\n"
    )
    assert ask(wire, "SELECT 3", "EXISTS n") == b":1\r\n"
    assert ask(wire, "SELECT 0", "EXISTS m n") == b":1\r\n"


def test_a_model_can_be_stored_twice(wire):
    other = '{"op":"multiply","by":2}'
    commands = (store("m"), "AI.MODELGET m BLOB", store("m", other), "AI.MODELGET m BLOB")
    first, shown, second, shown_then = read_value(transact(wire, *commands))
    assert (first, second) == ("OK", "OK")
    assert (shown.decode(), shown_then.decode()) == (IDENTITY, other)


@pytest.mark.memory_store("a model is built before it is queued")
def test_keys_are_watched_until_the_models_are_built(wire, connect, fake):
    ask(wire, "WATCH k")
    queue(wire, store("m", SLOW), store("n"), put("done", 1))
    wire.send("EXEC")
    fake.await_calls("model_create")
    ask(connect(), put("k", 1))
    fake.hurry.set()
    assert wire.reply() == NOTHING_DONE
    assert ask(wire, "EXISTS m n done") == b":0\r\n"
    fake.await_calls("model_free")
    assert len(fake.calls_of("model_create")) == 1  # the second one was not begun any more
    assert fake.backend_stats()["models"] == 0


@pytest.mark.memory_store("a model is built before it is queued")
def test_a_watched_key_that_expires_while_models_are_built_has_changed(wire, fake):
    ask(wire, put("k", 1), "PEXPIRE k 500", "WATCH k")
    queue(wire, store("m", SLOW))
    wire.send("EXEC")
    fake.await_calls("model_create")
    time.sleep(0.51)
    fake.hurry.set()
    assert wire.reply() == NOTHING_DONE


@pytest.mark.memory_store("a model is built before it is queued")
def test_nothing_is_built_when_a_key_has_changed_already(wire, fake):
    ask(wire, "WATCH k", put("k", 1))
    assert transact(wire, store("m", SLOW)) == NOTHING_DONE
    ask(wire, put("k", 1), "PEXPIRE k 500", "WATCH k")
    queue(wire, store("m", SLOW))
    time.sleep(0.51)
    assert ask(wire, "EXEC") == NOTHING_DONE
    assert not fake.calls_of("model_create")


@pytest.mark.memory_store("a model is built before it is queued")
def test_a_transaction_is_done_although_the_client_did_not_wait(wire, connect, fake, server):
    other = connect()
    queue(wire, put("k", 1), store("m", SLOW), "CLIENT KILL TYPE normal SKIPME no")
    wire.send("EXEC")
    fake.await_calls("model_create")
    wire.close()
    eventually(lambda: len(server.clients) == 1)
    assert ask(other, "EXISTS k m") == b":0\r\n"
    fake.hurry.set()
    eventually(lambda: not server.clients)  # the transaction has killed the other one too
    assert ask(connect(), "EXISTS k m") == b":2\r\n"


@pytest.mark.memory_store("a model is built before it is queued")
def test_a_changed_key_stops_also_a_transaction_whose_client_did_not_wait(
    wire, connect, fake, server
):
    other = connect()
    ask(wire, "WATCH k")
    queue(wire, store("m", SLOW))
    wire.send("EXEC")
    fake.await_calls("model_create")
    wire.close()
    eventually(lambda: len(server.clients) == 1)
    ask(other, put("k", 1))
    fake.hurry.set()
    fake.await_calls("model_free")
    assert ask(other, "EXISTS m") == b":0\r\n"
    assert not server.databases[0].watches


# ------------------------------------------------------------------ backends and settings
@pytest.fixture
def backends(backends):
    backends.add("OTHER", FakeBackend())
    return backends


def test_a_backend_is_loaded_at_most_once(wire):
    assert transact(
        wire,
        "AI.CONFIG LOADBACKEND OTHER path",
        "AI.CONFIG LOADBACKEND other path",
        "AI.CONFIG LOADBACKEND TF path",
        "AI.CONFIG LOADBACKEND NOSUCH path",
        "AI.CONFIG LOADBACKEND OTHER",
        "AI.CONFIG",
    ) == array(
        OK,
        CANNOT_LOAD,
        CANNOT_LOAD,
        NO_BACKEND,
        error("ERR wrong number of arguments for 'AI.CONFIG' command"),
        error("ERR wrong number of arguments for 'AI.CONFIG' command"),
    )


def test_storing_a_model_loads_its_backend_before_the_next_command_asks_for_it(wire):
    assert transact(wire, store("m"), "AI.CONFIG LOADBACKEND ONNX x") == array(OK, CANNOT_LOAD)


@pytest.mark.memory_store("AI.CONFIG is done when it is queued")
def test_settings_change_at_their_place(wire):
    ask(wire, "WATCH k", put("k", 1))
    change = ("AI.CONFIG MODEL_CHUNK_SIZE 300", "AI.CONFIG GET MODEL_CHUNK_SIZE")
    assert transact(wire, *change) == NOTHING_DONE
    assert ask(wire, "AI.CONFIG GET MODEL_CHUNK_SIZE") != b":300\r\n"
    blob, size = b'{"op":"multiply","by":2.%b}' % (b"0" * 400), b":300\r\n"
    stored = f"AI.MODELSTORE m ONNX CPU BLOB {blob.decode()}"
    bulks = [b"$%d\r\n%b\r\n" % (len(part), part) for part in (blob, blob[:300], blob[300:])]
    assert transact(wire, stored, "AI.MODELGET m BLOB", *change, "AI.MODELGET m BLOB") == array(
        OK, bulks[0], OK, size, array(*bulks[1:])
    )


# ------------------------------------------------------------------ commands on the connection
@pytest.mark.memory_store("CLIENT REPLY takes effect at once")
def test_a_mode_of_replying_set_inside_holds_for_the_whole_reply(wire):
    queue(wire, "CLIENT REPLY SKIP", "PING")
    wire.send("EXEC")  # skipped
    wire.send("ECHO", "the next one")  # skipped as well
    assert ask(wire, "ECHO x") == b"$1\r\nx\r\n"
    queue(wire, "PING", "CLIENT REPLY OFF")
    wire.send("EXEC")
    wire.send("PING")
    assert ask(wire, "CLIENT REPLY ON") == OK
    for command in ("CLIENT REPLY OFF", "MULTI", "CLIENT REPLY ON", "PING"):
        wire.send(*words(command))
    assert ask(wire, "EXEC") == array(OK, PONG)


@pytest.mark.memory_store("only the client's connection to the engine is closed")
@pytest.mark.parametrize("model", [IDENTITY, ""], ids=["that waited", "that did not wait"])
def test_who_ends_its_own_connection_gets_the_reply_first(wire, model):
    stores = [store("m", model)] if model else []
    replies = transact(wire, *stores, "CLIENT KILL TYPE normal SKIPME no", "PING")
    assert replies == array(*[OK for _ in stores], b":1\r\n", PONG)
    assert wire.socket.recv(1) == b""


@pytest.mark.memory_store("the engine shows its own connection")
def test_client_list_shows_transactions_and_changed_keys(wire, connect):
    other = connect()
    number = wire.read("CLIENT", "ID")

    def shown():
        fields = other.read("CLIENT", "LIST", "ID", number).decode().split()
        return [field for field in fields if field.startswith(("flags=", "multi="))]

    ask(wire, "WATCH k")
    assert shown() == ["flags=N", "multi=-1"]
    ask(wire, "MULTI")
    assert shown() == ["flags=x", "multi=0"]
    ask(wire, "PING", "PING")
    assert shown() == ["flags=x", "multi=2"]
    ask(other, put("k", 1))
    ask(wire, "PING")  # not kept: it would not be done
    assert shown() == ["flags=xd", "multi=2"]
    ask(wire, "DISCARD")
    assert shown() == ["flags=N", "multi=-1"]
    [info] = read_value(transact(wire, "CLIENT INFO"))
    assert b" flags=x " in info
    assert b" multi=1 " in info
    assert b" cmd=exec " in info


@pytest.mark.memory_store("a model is built before it is queued")
def test_a_client_whose_models_are_built_counts_as_blocked(wire, connect, fake):
    other = connect()
    queue(wire, store("m", SLOW))
    wire.send("EXEC")
    fake.await_calls("model_create")
    assert b"blocked_clients:1\r\n" in ask(other, "INFO clients")
    assert b" flags=xb " in ask(other, "CLIENT LIST")
    fake.hurry.set()
    assert wire.reply() == array(OK)
    assert b"blocked_clients:0\r\n" in ask(other, "INFO clients")
