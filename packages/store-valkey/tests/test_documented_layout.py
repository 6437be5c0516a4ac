"""What the pages say of the layout, and of the rights that a client needs, is so."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from tensorkeep.commands.set_options import Lifetime
from tensorkeep.device import Device
from tensorkeep.model import LoadedModel, Model, ModelSpec, Script, ScriptSpec
from tensorkeep.store import Record, Wanted
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing.opened_store import BACKEND, OpenedStore
from tensorkeep.testing.strategies import tensors
from tensorkeep_valkey.layout import decode_tensor, encode_tensor
from tensorkeep_valkey.record_layout import CONTENT, FIELDS, MOST_PIECES, PIECE, encode_fields
from tensorkeep_valkey.store import open_store

DOCS = Path(__file__).parents[3] / "docs"
LAYOUT = (DOCS / "layout.md").read_text("utf-8")
DOUBLE = b'{"op": "multiply", "by": 2}'


@pytest.fixture(scope="module")
def page():
    """What the page defines."""
    defined = {}
    for block in re.findall(r"^```python\n(.*?)^```$", LAYOUT, re.DOTALL | re.MULTILINE):
        exec(block, defined)  # noqa: S102 - our own page
    return defined


@given(tensors())
def test_the_page_reads_tensors(page, tensor):
    array = page["read_tensor"](encode_tensor(tensor))
    assert array.shape == tensor.shape
    if tensor.dtype is DType.STRING:
        assert array.reshape(-1).tolist() == tensor.strings()
    else:
        assert array.dtype == tensor.dtype.numpy
        assert array.tobytes() == bytes(tensor.blob)


@given(tensors().filter(lambda tensor: tensor.dtype is not DType.STRING))
def test_the_page_writes_tensors(page, tensor):
    value = page["write_tensor"](tensor.numpy())
    assert value == encode_tensor(tensor)
    assert decode_tensor(b"k", value) == tensor


def test_the_page_reads_models(page, engine):
    opened = OpenedStore(lambda host: open_store(engine.unix, host))
    try:
        client = opened.client()
        model = opened.model(ModelSpec(BACKEND), DOUBLE)
        client.change(lambda values: values.set(b"m", model))
        flat = client.command(b"HGETALL", b"m")
    finally:
        opened.close()
    fields = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
    assert page["read_model"](fields) == DOUBLE


def test_the_page_names_each_field():
    named = {
        name.encode() for row in re.findall(r"^\| (`.*?) \|", LAYOUT, re.MULTILINE)
        for name in re.findall(r"`([a-z_:0-9]+)`", row)
    }  # fmt: skip
    model = Model(ModelSpec("A"), b"", LoadedModel(None, (), ()), None)
    script = Script(ScriptSpec("A", Device.parse("CPU")), b"", None, None)
    written = {*encode_fields(model, b""), *encode_fields(script, b"")}
    assert named == {*written, b"blob:0", b"blob:1"}
    assert written == {*FIELDS, b"source"}
    assert named <= {*FIELDS, *CONTENT}
    assert f"pieces of {PIECE >> 20} MB but for the last; at most {MOST_PIECES}" in LAYOUT


def rights(purpose):
    """The commands that the page says a client needs for something."""
    text = (DOCS / "data.md").read_text("utf-8")
    (item,) = re.findall(rf"^- {purpose}(.*?)(?:\.|;)$", text, re.DOTALL | re.MULTILINE)[:1]
    return [f"+{name.lower()}" for name in re.findall(r"`([A-Z]+)`", item)]


def test_who_has_exactly_the_rights_of_the_page_may_do_all(each_engine):
    opened = OpenedStore(lambda host: open_store(each_engine.unix, host))
    try:
        admin = opened.client()
        admin.command(b"FLUSHALL")
        needed = {*rights("to read"), *rights("to write"), *rights("for `AI._MODELSCAN`")}
        words = [b"user", b"on", b">secret", b"~a:*", b"resetchannels"]
        admin.command(b"ACL", b"SETUSER", *words, *(word.encode() for word in needed))
        client = opened.remote_client()
        assert client.relay(b"AUTH", b"user", b"secret") == b"+OK\r\n"
        values = {
            b"a:small": Tensor.from_values(DType.INT8, (1,), [1]),
            b"a:large": Tensor.from_numpy(np.zeros(100_000)),
            b"a:model": opened.model(ModelSpec(BACKEND), DOUBLE),
            b"a:script": opened.script(ScriptSpec(BACKEND), b"sum"),
        }

        def store(found, lifetime=None):
            for key, value in values.items():
                found.expect(key, type(value))
                found.set_for(key, value, lifetime)

        for word, number in ((b"PXAT", 2 * 10**12), (b"PX", 1000_000), (b"KEEPTTL", 0)):
            client.change(lambda found: store(found, Lifetime(word, number)))  # noqa: B023 - called at once
        client.change(store)
        for key, value in values.items():
            found = client.read(Wanted(key, type(value)), Wanted(b"a:model", Record))
            assert found.typed(key, type(value)) == value
            assert found.typed(b"a:model", Record).spec == ModelSpec(BACKEND)
        listed = opened.wait(lambda done: opened.remote.catalog(Model, client.session, done))
        assert listed == [(b"a:model", "")]
        for key, value in values.items():
            client.change(lambda found: found.drop(key, type(value)))  # noqa: B023 - called at once
        assert admin.command(b"DBSIZE") == 0
    finally:
        opened.close()
