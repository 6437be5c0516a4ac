"""A client's values over a real engine: what other clients and other servers see, and faults."""

import asyncio

import numpy as np
import pytest

from tensorkeep.batching import Batching
from tensorkeep.errors import KeyMissing, ModelRejected, StoreError, WrongType
from tensorkeep.model import Model, ModelSpec
from tensorkeep.store import Record, Step, Wanted
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing.opened_store import BACKEND, OpenedStore
from tensorkeep_valkey.store import open_store

SPEC = ModelSpec(BACKEND)
DOUBLE = b'{"op": "multiply", "by": 2}'
TRIPLE = b'{"op": "multiply", "by": 3}'
SMALL = Tensor.from_values(DType.INT8, (3,), [1, 2, 3])
LARGE = Tensor.from_numpy(np.arange(30_000, dtype=np.int64))


@pytest.fixture
def servers(engine):
    """Two servers on one engine."""
    opened = [OpenedStore(lambda host: open_store(engine.unix, host)) for _ in range(2)]
    opened[0].client().command(b"FLUSHALL")
    yield opened
    for each in opened:
        each.close()


@pytest.fixture
def here(servers):
    return servers[0]


@pytest.fixture
def there(servers):
    return servers[1]


def store(client, *items):
    def change(values):
        for key, value in items:
            values.expect(key, type(value))
            values.set(key, value)

    client.change(change)


def model_at(client, key):
    return client.read(Wanted(key, Model)).typed(key, Model)


def test_a_model_that_another_server_has_stored_is_built_once(here, there):
    store(here.client(), (b"m", here.model(SPEC, DOUBLE)))
    first, second = there.client(), there.client()
    built = model_at(first, b"m")
    assert built.blob == DOUBLE
    assert model_at(second, b"m") is built
    assert there.engine.catalog[b"m"] is built


def test_a_model_that_another_server_has_replaced_is_another_at_the_next_reading(here, there):
    store(here.client(), (b"m", here.model(SPEC, DOUBLE)))
    client = there.client()
    held = model_at(client, b"m")
    store(here.client(), (b"m", here.model(SPEC, TRIPLE)))
    assert model_at(client, b"m").blob == TRIPLE
    assert held.blob == DOUBLE


def test_clients_that_come_at_once_wait_for_the_same_model(here, there):
    store(here.client(), (b"m", here.model(SPEC, DOUBLE)))
    clients = [there.remote_client() for _ in range(5)]

    def begin(done):
        results = []

        def came(result):
            results.append(result)
            if len(results) == len(clients):
                done(lambda: results)

        for client in clients:
            client.session.read([Wanted(b"m", Model)], came)

    results = there.wait(begin)
    assert len({id(result().typed(b"m", Model)) for result in results}) == 1


def test_a_model_that_cannot_be_built_here_says_why_to_who_reads_it(here, there):
    broken = here.model(SPEC, DOUBLE)
    store(here.client(), (b"m", broken), (b"t", SMALL))
    here.client().command(b"HSET", b"m", b"blob:0", b"no model")
    values = there.client().read(Wanted(b"m", Model), Wanted(b"t", Tensor))
    assert values.typed(b"t", Tensor) == SMALL
    with pytest.raises(ModelRejected):
        values.typed(b"m", Model)


def test_a_model_that_was_stored_just_after_nobody_had_found_it_is_there(here):
    client, other = here.remote_client(), here.client()
    model = here.model(SPEC, DOUBLE)
    exchange = client.session.exchange

    def exchange_and_store(requests, done, **how):
        """Stores the model between the first reading and the next."""
        client.session.exchange = exchange
        values = other.session.values()
        values.set(b"m", model)
        exchange(
            requests,
            lambda replies: other.session.write(values, lambda _: done(replies)),
            **how,
        )

    client.session.exchange = exchange_and_store
    assert model_at(client, b"m") is model


def test_the_record_of_what_is_not_built_is_read_and_nothing_is_built(here, there):
    spec = ModelSpec(BACKEND, tag="v1", batching=Batching(4))
    store(here.client(), (b"m", here.model(spec, DOUBLE)))
    found = there.client().read(Wanted(b"m", Record), Wanted(b"none", Record))
    record = found.typed(b"m", Record)
    assert (record.spec, b"".join(record.content)) == (spec, DOUBLE)
    assert not there.engine.catalog
    with pytest.raises(KeyMissing):
        found.typed(b"none", Record)


def test_a_client_may_go_away_while_its_model_is_built(here, there):
    store(here.client(), (b"m", here.model(SPEC, DOUBLE)))
    gone, other = there.remote_client(), there.client()

    def begin(done):
        gone.session.read([Wanted(b"m", Model)], lambda _: done(lambda: pytest.fail("it came")))
        asyncio.get_running_loop().call_soon(gone.session.close)
        asyncio.get_running_loop().call_later(0.05, done, lambda: None)

    there.wait(begin)
    assert model_at(other, b"m").blob == DOUBLE


def test_what_another_program_writes_in_the_layout_is_a_tensor(here):
    client = here.client()
    client.command(b"SET", b"t", b"TENSOR/1 INT8 3".ljust(63) + b"\n" + b"\1\2\3")
    assert client.read(Wanted(b"t", Tensor)).typed(b"t", Tensor) == SMALL


def test_reading_nothing_and_changing_nothing_need_no_engine(here):
    client = here.client()
    assert client.read().get(b"k") is None
    client.change(lambda values: None)


def test_nothing_waits_once_something_was_written_or_refused(here):
    client = here.client()
    client.command(b"SET", b"text", b"text")
    store(client, (b"t", LARGE), (b"m", here.model(SPEC, DOUBLE)))
    with pytest.raises(WrongType):
        store(client, (b"u", LARGE), (b"text", LARGE))
    assert sorted(client.command(b"KEYS", b"*")) == [b"m", b"t", b"text"]


def test_an_engine_that_has_forgotten_the_script_is_told_it_again(here):
    client = here.client()
    store(client, (b"t", SMALL))
    client.command(b"SCRIPT", b"FLUSH")
    store(client, (b"t", LARGE), (b"m", here.model(SPEC, DOUBLE)))
    assert client.read(Wanted(b"t", Tensor)).typed(b"t", Tensor) == LARGE


# --------------------------------------------------------------------------- transactions
def step(session, change=None, wanted=(), make=lambda read: b"+%d\r\n" % bool(read())):
    values = None
    if change is not None:
        values = session.values()
        change(values)
    return Step([Wanted(*each) for each in wanted], values, make)


def test_what_is_wrong_in_a_transaction_is_an_element_of_its_reply(here):
    client = here.remote_client()
    client.command(b"SET", b"text", b"text")
    seen = []

    def make(read):
        try:
            read()
        except (WrongType, KeyMissing, StoreError) as error:
            seen.append(error)
        return b"$-1\r\n"

    def expect(values):
        values.expect(b"text", Tensor)
        values.set(b"text", LARGE)

    client.relay(b"MULTI")
    client.enqueue(step(client.session, expect, make=make))
    client.enqueue(step(client.session, lambda values: values.drop(b"none", Model), make=make))
    client.relay(b"GET", b"text")
    assert client.relay(b"EXEC") == b"*3\r\n$-1\r\n$-1\r\n$4\r\ntext\r\n"
    assert [type(error) for error in seen] == [WrongType, KeyMissing]


def test_a_model_stored_in_a_transaction_need_not_be_built_again(here):
    client = here.remote_client()
    stored = here.model(SPEC, DOUBLE)
    records = []

    def make(read):
        records.append(read().typed(b"m", Record))
        return b"+read\r\n"

    client.relay(b"MULTI")
    client.enqueue(
        step(client.session, lambda values: values.set(b"m", stored), make=lambda _: b"+OK\r\n")
    )
    client.enqueue(step(client.session, wanted=[(b"m", Record)], make=make))
    assert client.relay(b"EXEC") == b"*2\r\n+OK\r\n+read\r\n"
    assert b"".join(records[0].content) == DOUBLE
    assert model_at(client, b"m") is stored


# --------------------------------------------------------------------------- building all at start
def test_all_that_is_stored_may_be_built_at_the_start(here, engine, caplog):
    client = here.client()
    models = [here.model(SPEC, DOUBLE) for _ in range(3)]
    store(client, *((b"m%d" % number, model) for number, model in enumerate(models)))
    store(client, (b"t", SMALL))
    client.command(b"SELECT", b"9")
    store(client, (b"far", here.model(SPEC, TRIPLE)))
    client.command(b"SELECT", b"0")
    client.command(b"HSET", b"m1", b"blob:0", b"no model")
    client.command(b"HSET", b"other", b"tensorkeep", b"else")
    caplog.set_level("INFO", "tensorkeep_valkey")

    def open_preloading(host):
        return open_store(engine.unix, host._replace(options={"preload": "yes"}))

    opened = OpenedStore(open_preloading)
    try:
        assert sorted(opened.engine.catalog) == [b"far", b"m0", b"m2"]
        built = opened.engine.catalog[b"m0"]
        assert model_at(opened.client(), b"m0") is built
    finally:
        opened.close()
    assert "b'm1' cannot be built: " in caplog.text
    assert "2 of 3 models and scripts are built" in caplog.text
