"""Events on keys: what a setting means, and what is told of tensors, models and scripts.

What Redis' own commands tell is compared with a real Redis in the oracle's tests.
"""

import json

import pytest

from tensorkeep_server import notifications
from tensorkeep_server.testing import read_value

ECHO = json.dumps({"op": "identity"})


# --------------------------------------------------------------------------- deciding
@pytest.mark.parametrize(
    ("word", "shown"),
    [
        (b"", ""),
        (b"KEA", "AKE"),
        (b"EKlg", "glKE"),
        (b"g$lshzxetd", "A"),
        (b"KEAmn", "AKEm"),
        (b"mnK", "nKm"),
    ],
)
def test_a_setting_is_shown_in_order(word, shown):
    assert notifications.show_classes(notifications.read_classes(word)) == shown


@pytest.mark.parametrize("word", [b"q", b"KE A", b"\xff", b"k"])
def test_a_letter_without_a_meaning_is_refused(word):
    with pytest.raises(ValueError, match="Invalid event class character"):
        notifications.read_classes(word)


@pytest.mark.parametrize(
    ("word", "silent"), [(b"", True), (b"KE", True), (b"A", True), (b"Kx", False), (b"Em", False)]
)
def test_without_channels_or_classes_nobody_is_told(word, silent):
    assert notifications.is_silent(notifications.read_classes(word)) is silent


def test_an_event_is_told_under_the_key_and_under_its_own_name():
    classes = notifications.read_classes(b"KEA")
    assert notifications.messages(classes, 3, "set", b"a\0") == [
        (b"__keyspace@3__:a\0", b"set"),
        (b"__keyevent@3__:set", b"a\0"),
    ]
    assert notifications.messages("$E", 0, "set", b"a") == [(b"__keyevent@0__:set", b"a")]
    assert notifications.messages("gKE", 0, "set", b"a") == []


def test_an_event_that_nobody_has_classified_is_a_mistake():
    with pytest.raises(KeyError):
        notifications.messages("AKE", 0, "nosuch", b"a")


# --------------------------------------------------------------------------- over a socket
class Ears:
    """A subscriber to all events."""

    def __init__(self, wire):
        self.wire = wire
        wire.ask("PSUBSCRIBE", "__keyspace@*")

    def heard(self):
        """Returns what was heard since the last time: the events, each with its key."""
        got = [self.wire.read("PING", "end")]
        while got[-1] != [b"pong", b"end"]:
            got.append(read_value(self.wire.reply()))
        return [
            (message.decode(), channel.partition(b":")[2].decode())
            for _, _, channel, message in got[:-1]
        ]


@pytest.fixture
def ears(wire, connect):
    assert wire.ask("CONFIG", "SET", "notify-keyspace-events", "KAnm") == b"+OK\r\n"
    return Ears(connect())


def test_nothing_is_told_unless_it_is_asked_for(wire, connect):
    ears = Ears(connect())
    wire.ask("SET", "k", "v")
    wire.ask("CONFIG", "SET", "notify-keyspace-events", "KA")
    wire.ask("SET", "k", "v")
    wire.ask("CONFIG", "SET", "notify-keyspace-events", "")
    wire.ask("SET", "k", "v")
    assert ears.heard() == [("set", "k")]


@pytest.mark.memory_store("events tell of what the engine is asked for")
def test_a_tensor_is_new_each_time_it_is_stored(wire, ears):
    for _ in range(2):
        wire.ask("AI.TENSORSET", "t", "FLOAT", 1, "VALUES", 1)
    assert ears.heard() == [("new", "t"), ("new", "t")]
    wire.ask("RENAME", "t", "u")
    wire.ask("DEL", "u")
    assert ears.heard() == [("new", "u"), ("rename_from", "t"), ("rename_to", "u"), ("del", "u")]


@pytest.mark.memory_store("events tell of what the engine is asked for")
def test_outputs_of_runs_are_new_and_deleted_models_are_not_told(wire, ears):
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 1)
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", ECHO)
    assert wire.ask("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y") == b"+OK\r\n"
    dag = "AI.DAGEXECUTE LOAD 1 x PERSIST 1 z |> AI.MODELEXECUTE m INPUTS 1 x OUTPUTS 1 z"
    assert wire.ask(*dag.split()) == b"*1\r\n+OK\r\n"
    wire.ask("AI.MODELDEL", "m")
    assert ears.heard() == [("new", key) for key in "xmyz"]


@pytest.mark.memory_store("events tell of what the engine is asked for")
def test_reading_what_is_not_there_is_told_and_looking_before_writing_is_not(wire, ears):
    wire.ask("AI.TENSORGET", "t")
    wire.ask("AI.MODELGET", "m")
    wire.ask("AI.MODELEXECUTE", "m2", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    wire.ask("GET", "k")
    assert ears.heard() == [("keymiss", key) for key in ("t", "m", "m2", "k")]
    wire.ask("AI.TENSORSET", "t", "FLOAT", 1, "VALUES", 1)
    wire.ask("INCR", "i")
    wire.ask("WATCH", "none")
    wire.ask("EXPIRE", "none", 1)
    wire.ask("OBJECT", "ENCODING", "none")
    assert ears.heard() == [("new", "t"), ("new", "i"), ("incrby", "i")]


@pytest.mark.memory_store("the class n came with Redis 7.0", on=("redis-6.2",))
def test_what_a_transaction_does_is_told_in_order(wire, ears):
    wire.ask("MULTI")
    for queued in (("RPUSH", "l", "a"), ("GET", "none"), ("LPOP", "l")):
        wire.ask(*queued)
    wire.ask("EXEC")
    assert ears.heard() == [
        *(("new", "l"), ("rpush", "l"), ("keymiss", "none"), ("lpop", "l"), ("del", "l")),
    ]


def test_events_name_the_database_and_stay_with_its_number(wire, connect):
    wire.ask("CONFIG", "SET", "notify-keyspace-events", "K$")
    ears = connect()
    ears.ask("SUBSCRIBE", "__keyspace@5__:k")
    wire.ask("SET", "k", "0")
    wire.ask("SWAPDB", 0, 5)
    wire.ask("SELECT", 5)
    wire.ask("SET", "k", "5")
    assert read_value(ears.reply()) == [b"message", b"__keyspace@5__:k", b"set"]
    assert ears.read("PING") == [b"pong", b""]


@pytest.mark.memory_store("Redis 6.2 has fewer options and other words", on=("redis-6.2",))
def test_a_setting_that_means_nothing_changes_nothing(wire):
    wire.ask("CONFIG", "SET", "notify-keyspace-events", "Kx")
    assert wire.ask("CONFIG", "SET", "notify-keyspace-events", "q") == (
        b"-ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') -"
        b" Invalid event class character. Use 'Ag$lshzxeKEtmdn'.\r\n"
    )
    assert wire.read("CONFIG", "GET", "notify-keyspace-events") == [
        *(b"notify-keyspace-events", b"xK"),
    ]
