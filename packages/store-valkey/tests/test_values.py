"""The values of a command: what was read is handed out, what it changes is noted."""

from typing import Any

import pytest

from tensorkeep.commands.set_options import Lifetime
from tensorkeep.errors import KeyMissing, NotStored, StoreError, WrongType
from tensorkeep.model import LoadedModel, Model, ModelSpec, Script
from tensorkeep.store import Record, Wanted
from tensorkeep.tensor import DType, Tensor
from tensorkeep_valkey.values import DROPPED, Change, StoredValues

NO_BACKEND: Any = None  # nothing is run

TENSOR = Tensor.from_values(DType.INT8, (1,), [1])
MODEL = Model(ModelSpec("FAKE"), b"", LoadedModel(None, (), ()), NO_BACKEND)
FOR_A_SECOND = Lifetime(b"PX", 1000)


def read(kind, value):
    return StoredValues({Wanted(b"k", kind): value})


def test_what_was_read_is_handed_out():
    values = read(Tensor, TENSOR)
    assert values.get(b"k") is TENSOR
    assert values.typed(b"k", Tensor) is TENSOR


def test_a_key_that_is_not_there_is_missing_as_what_was_wanted():
    values = read(Model, None)
    assert values.get(b"k") is None
    with pytest.raises(KeyMissing) as raised:
        values.typed(b"k", Model)
    assert (raised.value.key, raised.value.kind) == (b"k", Model)


def test_a_value_of_another_kind_is_there_but_cannot_be_had():
    values = read(Record, WrongType(b"k"))
    assert values.get(b"k") is not None
    assert not isinstance(values.get(b"k"), Record)
    with pytest.raises(WrongType):
        values.typed(b"k", Record)


def test_an_error_of_reading_is_raised_where_the_value_is_asked_for():
    values = read(Tensor, StoreError("NOPERM"))
    for ask in (lambda: values.get(b"k"), lambda: values.typed(b"k", Tensor)):
        with pytest.raises(StoreError, match="NOPERM"):
            ask()


def test_one_key_may_be_wanted_as_two_kinds():
    values = StoredValues({Wanted(b"k", Model): MODEL, Wanted(b"k", Tensor): WrongType(b"k")})
    assert values.get(b"k") is MODEL
    assert values.typed(b"k", Model) is MODEL
    with pytest.raises(WrongType):
        values.typed(b"k", Tensor)


def test_nobody_has_looked_at_what_was_not_wanted():
    values = read(Tensor, TENSOR)
    assert values.get(b"other") is None
    with pytest.raises(LookupError, match="not among what is wanted") as raised:
        values.typed(b"k", Model)
    assert not isinstance(raised.value, KeyMissing)


def test_changes_are_noted_with_what_was_expected():
    values = StoredValues()
    values.expect(b"a", Tensor)
    values.set(b"a", TENSOR)
    values.set_for(b"b", MODEL, FOR_A_SECOND, "new")
    values.expect(b"c", Script)
    assert values.drop(b"d", Model) is None
    assert values.changes == {
        b"a": Change(Tensor, TENSOR),
        b"b": Change(None, MODEL, FOR_A_SECOND),
        b"c": Change(Script),
        b"d": Change(Model, DROPPED),
    }


def test_what_is_set_and_dropped_is_seen_at_once():
    values = read(Tensor, None)
    values.set(b"k", TENSOR)
    assert values.get(b"k") is TENSOR
    assert values.typed(b"k", Tensor) is TENSOR
    values.expect(b"k", Tensor)
    with pytest.raises(WrongType):
        values.typed(b"k", Model)
    with pytest.raises(WrongType):
        values.expect(b"k", Model)
    with pytest.raises(WrongType):
        values.drop(b"k", Model)
    assert values.drop(b"k", Tensor) is TENSOR
    assert values.get(b"k") is None
    for ask in (values.typed, values.drop):
        with pytest.raises(KeyMissing):
            ask(b"k", Tensor)


def test_the_last_of_several_values_stays_and_so_does_the_first_expectation():
    values = StoredValues()
    values.expect(b"k", Tensor)
    values.set_for(b"k", MODEL, FOR_A_SECOND)
    values.set(b"k", TENSOR)
    assert values.changes == {b"k": Change(Tensor, TENSOR)}


@pytest.mark.parametrize("value", [b"text", None, 1, Record(ModelSpec("FAKE"), (), (), ())])
def test_only_tensors_models_and_scripts_can_be_stored(value):
    with pytest.raises(TypeError, match="a tensor, model or script can be stored"):
        StoredValues().set(b"k", value)


def test_whether_a_key_must_be_taken_is_noted_until_it_is_changed_and_then_known():
    values = StoredValues()
    values.expect(b"k", Tensor)
    values.expect(b"k", Tensor, present=False)
    values.expect(b"k", Tensor)
    values.set(b"k", TENSOR)
    assert values.changes == {b"k": Change(Tensor, TENSOR, present=False)}
    values.expect(b"k", Tensor, present=True)
    with pytest.raises(NotStored):
        values.expect(b"k", Tensor, present=False)
    values.drop(b"k", Tensor)
    with pytest.raises(NotStored):
        values.expect(b"k", Tensor, present=True)
