"""What is stored of models and scripts."""

import dataclasses
import gc
import weakref

import pytest

from tensorkeep.batching import UNBATCHED
from tensorkeep.device import CPU
from tensorkeep.model import LoadedModel, Model, ModelSpec, Script, ScriptSpec
from tensorkeep.stats import SCRIPT_SAMPLES, RunStats

LOADED = LoadedModel(object(), ("x",), ("y",))


def model():
    return Model(ModelSpec("ONNX"), b"blob", LOADED, None)


def script():
    return Script(ScriptSpec(), b"source", object(), None)


@pytest.mark.parametrize("value", [ModelSpec("ONNX"), ScriptSpec(), LOADED, model(), script()])
def test_nothing_of_a_model_can_be_changed(value):
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, None)
    with pytest.raises((AttributeError, TypeError)):
        value.anything_else = None


def test_a_spec_says_little_unless_told():
    spec = ModelSpec("ONNX")
    assert (spec.device, spec.tag, spec.batching) == (CPU, "", UNBATCHED)
    assert (spec.inputs, spec.outputs) == ((), ())
    assert (ScriptSpec().backend, ScriptSpec().device, ScriptSpec().entry_points) == (
        "TORCH", CPU, ()
    )  # fmt: skip


def test_a_model_is_not_steady_unless_its_backend_says_so():
    assert not LOADED.steady


def test_each_stored_model_is_itself_and_has_its_own_counters():
    first, second = model(), model()
    assert first != second
    assert len({first, second}) == 2
    assert first.stats is not second.stats
    assert first.stats == RunStats()


def test_counters_of_a_script_count_no_rows():
    assert script().stats == RunStats(samples=SCRIPT_SAMPLES)


@pytest.mark.parametrize("make", [model, script])
def test_the_end_of_a_model_can_be_watched(make):
    value = make()
    reference = weakref.ref(value)
    del value
    gc.collect()
    assert reference() is None
