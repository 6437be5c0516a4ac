"""Models and scripts are built once for all clients, tried again, and freed with their keys."""

import asyncio
from typing import Any
from weakref import WeakValueDictionary

import pytest

from tensorkeep.errors import KeyMissing, ModelRejected, StoreError, WrongType
from tensorkeep.model import LoadedModel, Model, ModelSpec, Script, ScriptSpec
from tensorkeep_valkey import known_models
from tensorkeep_valkey.built_models import Place
from tensorkeep_valkey.known_models import KnownModels
from tensorkeep_valkey.reads import Storing
from tensorkeep_valkey.record_layout import CONTENT, FIELDS, encode_fields, pieces_of

NO_BACKEND: Any = None  # nothing is run

PLACE = Place(3, b"m")
ONE = Storing(b"1", Model)


class Engine:
    """Notes what is to be built, and builds it when it is told to."""

    def __init__(self):
        self.catalog = WeakValueDictionary()
        self.building = []
        self.now = 100.0

    def time(self):
        return self.now

    def create_model(self, spec, content, created):
        self.building.append((spec, b"".join(content), created))

    def create_script(self, spec, source, created):
        self.building.append((spec, source, created))

    def enter(self, key, runnable, what="stored"):
        assert what in {"built", "stored"}
        self.catalog[key] = runnable

    def retire(self, key, runnable):
        if self.catalog.get(key) is runnable:
            del self.catalog[key]

    def finish(self, error=None):
        spec, content, created = self.building.pop(0)
        runnable = None if error else model(spec, content)
        created(runnable, error)
        return runnable


class Connections:
    """Stands for the connections to all databases; replies come when they are given."""

    def __init__(self):
        self.asked = []
        self.two = asyncio.Event()

    def connect(self, database):
        self.database = database
        return self

    def exchange(self, requests, done):
        self.asked.append((self.database, requests, done))
        if len(self.asked) > 1:
            self.two.set()

    def reply(self, *replies):
        database, requests, done = self.asked.pop(0)
        done(list(replies))
        return database, requests


def model(spec=None, blob=b"blob"):
    return Model(spec or ModelSpec("FAKE"), blob, LoadedModel(None, (), ()), NO_BACKEND)


def stored(runnable, identity):
    """The replies to the question for all of it."""
    fields = encode_fields(runnable, identity)
    if isinstance(runnable, Model):
        pieces = pieces_of(runnable.blob, 3)
        fields[b"pieces"] = b"%d" % len(pieces)
        fields |= {b"blob:%d" % number: bytes(piece) for number, piece in enumerate(pieces)}
    return [fields.get(name) for name in (*FIELDS, *CONTENT)], 1


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def connections():
    return Connections()


@pytest.fixture
def known(engine, connections):
    return KnownModels(engine, connections.connect)


def build(known, engine, connections, place=PLACE, identity=b"1"):
    got = []
    known.build(place, Storing(identity, Model), got.append)
    connections.reply(*stored(model(), identity))
    built = engine.finish()
    assert got == [built]
    return built


def test_a_model_is_built_from_what_is_stored_and_known_from_then_on(known, engine, connections):
    got = []
    assert known.find(PLACE, b"1") is None
    known.build(PLACE, ONE, got.append)
    database, requests = connections.reply(*stored(model(blob=b"a longer blob"), b"1"))
    assert database == 3
    assert [request[:2] for request in requests] == [(b"HMGET", b"m"), (b"EXISTS", b"m")]
    assert engine.building[0][:2] == (ModelSpec("FAKE"), b"a longer blob")
    assert not got
    built = engine.finish()
    assert got == [built]
    assert known.find(PLACE, b"1") is built
    assert engine.catalog[b"m"] is built


def test_a_script_is_built_from_its_source(known, engine, connections):
    spec = ScriptSpec("FAKE", tag="v2")
    known.build(PLACE, Storing(b"1", Script), [].append)
    connections.reply(*stored(Script(spec, b"source", None, None), b"1"))
    assert engine.building[0][:2] == (spec, b"source")


def test_all_who_come_meanwhile_wait_for_the_same(known, engine, connections):
    got = [[], [], []]
    known.build(PLACE, ONE, got[0].append)
    known.build(Place(3, b"copy"), ONE, got[1].append)
    connections.reply(*stored(model(), b"1"))
    known.build(PLACE, ONE, got[2].append)
    assert not connections.asked
    built = engine.finish()
    assert not engine.building
    assert got == [[built]] * 3


def test_what_cannot_be_built_is_told_to_all_and_tried_again_later(known, engine, connections):
    got, error = [], ModelRejected("no model")
    for _ in range(2):
        known.build(PLACE, ONE, got.append)
    connections.reply(*stored(model(), b"1"))
    engine.finish(error)
    assert got == [error, error]
    known.build(PLACE, ONE, got.append)
    assert got.pop() is error
    assert not connections.asked
    engine.now += 60
    known.build(PLACE, ONE, got.append)
    connections.reply(*stored(model(), b"1"))
    assert got.pop() is not engine.finish()


def test_what_was_replaced_before_it_was_fetched_is_built_as_it_is_now(known, engine, connections):
    got = []
    known.build(PLACE, ONE, got.append)
    connections.reply(*stored(model(blob=b"new"), b"2"))
    known.build(PLACE, Storing(b"2", Model), got.append)
    assert not connections.asked
    built = engine.finish()
    assert got == [built, built]
    assert built.blob == b"new"
    assert known.find(PLACE, b"2") is built
    assert known.find(PLACE, b"1") is None


def test_what_replaced_it_may_be_built_already_or_be_being_built(known, engine, connections):
    got = []
    known.build(PLACE, ONE, got.append)
    built = model()
    known.note(PLACE, b"2", built)
    connections.reply(*stored(model(), b"2"))
    assert got == [built]
    known.build(PLACE, Storing(b"3", Model), got.append)
    known.build(PLACE, Storing(b"4", Model), got.append)
    connections.reply(*stored(model(), b"4"))
    connections.reply(*stored(model(), b"4"))
    assert len(engine.building) == 1
    assert not got[1:]
    assert [engine.finish()] * 2 == got[1:]


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        (([None] * (len(FIELDS) + len(CONTENT)), 0), KeyMissing),
        (([None] * (len(FIELDS) + len(CONTENT)), 1), WrongType),
        ((StoreError("WRONGTYPE Operation against a key"), 1), WrongType),
        ((StoreError("ERR the connection was lost"), StoreError("ERR")), StoreError),
        (stored(Script(ScriptSpec("FAKE"), b"", None, NO_BACKEND), b"2"), WrongType),
    ],
)
def test_what_is_gone_meanwhile_is_told_and_not_remembered(known, connections, replies, error):
    got = []
    known.build(PLACE, ONE, got.append)
    connections.reply(*replies)
    assert [type(each) for each in got] == [error]
    known.build(PLACE, ONE, got.append)
    assert connections.asked


def test_what_this_server_has_stored_is_not_built(known, connections):
    stored_here = model()
    known.note(PLACE, b"1", stored_here)
    assert known.find(PLACE, b"1") is stored_here
    assert not connections.asked


def test_a_renamed_model_is_the_one_that_was_built(known, engine, connections):
    built = build(known, engine, connections)
    other = Place(3, b"other")
    assert known.find(other, b"1") is built
    assert engine.catalog[b"other"] is built
    known.forget(PLACE)
    assert known.find(other, b"1") is built


def test_a_replaced_model_is_freed(known, engine, connections):
    build(known, engine, connections)
    known.note(PLACE, b"2", model())
    assert known.find(PLACE, b"1") is None
    assert len(known) == 1


def test_a_removed_model_is_freed_and_leaves_the_catalog(known, engine, connections):
    held = build(known, engine, connections)
    known.forget(PLACE)
    assert len(known) == 0
    assert engine.catalog.get(b"m") is None
    assert held is not None


async def test_models_whose_keys_are_gone_are_freed_after_a_while(
    known, engine, connections, monkeypatch
):
    monkeypatch.setattr(known_models, "_LOOK_EVERY", 0.0)
    for number in range(3):
        build(known, engine, connections, Place(number % 2, b"%d" % number), b"id%d" % number)
    known.start()
    await connections.two.wait()
    known.close()
    database, requests = connections.reply(b"id0", None)
    assert (database, requests) == (0, [(b"HGET", b"0", b"id"), (b"HGET", b"2", b"id")])
    database, requests = connections.reply(b"another")
    assert (database, requests) == (1, [(b"HGET", b"1", b"id")])
    assert sorted(engine.catalog) == [b"0"]
    assert len(known) == 1
