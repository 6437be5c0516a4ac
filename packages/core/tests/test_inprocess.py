"""Tensorkeep inside one program: synchronous calls and futures, from any thread."""

import gc
import json
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tensorkeep import Batching, DType, Tensor, Tensorkeep
from tensorkeep.backends import Backends
from tensorkeep.errors import (
    BackendNotInstalled,
    EngineClosed,
    InvalidDevice,
    InvalidValue,
    KeyMissing,
    ModelRejected,
    RunExpired,
    RunFailed,
    UnknownDType,
    WrongType,
)
from tensorkeep.testing.fake_backend import FakeBackend


def blob(op, **fields):
    return json.dumps({"op": op, **fields}).encode()


@pytest.fixture
def fake():
    return FakeBackend()


@pytest.fixture
def keep(fake):
    backends = Backends(installed=lambda: ())
    backends.add("FAKE", fake)
    with Tensorkeep(backends=backends) as made:
        made.model_store("double", blob("multiply", by=2), backend="fake")
        yield made


def test_a_model_runs_on_stored_tensors(keep):
    keep.tensor_set("x", [1.0, 2.0])
    keep.model_execute("double", ["x"], ["y"])
    assert keep.tensor_get("y").values() == [2, 4]
    assert sorted(keep.keys()) == ["double", "x", "y"]


def test_a_model_runs_on_tensors_at_hand_and_stores_nothing(keep):
    (result,) = keep.model_run("double", np.int32([3]))
    assert result.values() == [6]
    assert keep.keys() == ["double"]


def test_futures_from_many_threads_give_everyone_their_own_answer(keep):
    keep.model_store("batched", blob("multiply", by=3), backend="FAKE", batching=Batching(16))
    with ThreadPoolExecutor(8) as pool:
        for key, by in (("double", 2), ("batched", 3)):
            answers = pool.map(
                lambda n, key=key: keep.model_run(key, [[n]])[0].values(), range(200)
            )
            assert list(answers) == [[by * n] for n in range(200)]


def test_what_is_stored_does_not_change_with_the_array_it_came_from(keep):
    array = np.float32([1, 2])
    keep.tensor_set("x", array)
    array[0] = 99
    assert keep.tensor_get("x").values() == [1, 2]
    tensor = Tensor.from_values(DType.STRING, (1,), ["a"])
    keep.tensor_set("s", tensor)
    assert keep.tensor_get("s") is tensor


def test_mistakes_are_named(keep):
    keep.tensor_set("x", [1.0])
    with pytest.raises(KeyMissing, match="nothing"):
        keep.tensor_get("nothing")
    with pytest.raises(KeyMissing, match="nothing"):
        keep.model_execute("double", ["nothing"], ["y"])
    with pytest.raises(WrongType):
        keep.tensor_get("double")
    with pytest.raises(WrongType):
        keep.tensor_set("double", [1.0])
    with pytest.raises(WrongType):
        keep.model_run("x", [1.0])
    with pytest.raises(InvalidValue, match="inputs must be 1 tensors, not 2"):
        keep.model_run("double", [1.0], [2.0])
    with pytest.raises(InvalidValue, match="outputs must be 1 keys, not 2"):
        keep.model_execute("double", ["x"], ["y", "z"])
    with pytest.raises(UnknownDType):
        keep.tensor_set("x", np.array([1j]))


def test_a_signature_is_chosen_by_its_name():
    backends = Backends(installed=lambda: ())
    backends.add("SIGNED", FakeBackend(signatures=True))
    with Tensorkeep(backends=backends) as keep:
        double = blob("multiply", by=2)
        keep.model_store("m", double, backend="signed", signature="other")
        assert keep.model_run("m", np.int32([3]))[0].values() == [6]


def test_a_signature_of_a_backend_that_knows_none_is_refused(keep):
    with pytest.raises(ModelRejected, match="models of backend FAKE have no signatures"):
        keep.model_store("m", blob("identity"), backend="fake", signature="other")


def test_a_model_that_cannot_be_stored_changes_nothing(keep):
    for options, kind in (
        ({"backend": "FAKE", "device": "TPU"}, InvalidDevice),
        ({"backend": "FAKE"}, ModelRejected),
        ({"backend": "OTHER"}, BackendNotInstalled),
    ):
        with pytest.raises(kind):
            keep.model_store("double", b"not a model", **options)
    keep.tensor_set("x", [1.0])
    with pytest.raises(WrongType):
        keep.model_store("x", blob("identity"), backend="FAKE")
    assert keep.model_run("double", [2.0])[0].values() == [4]
    assert keep.tensor_get("x").values() == [1]


def test_an_output_key_of_another_type_stops_all_outputs(keep):
    keep.model_store("two", blob("identity", inputs=2), backend="FAKE")
    keep.tensor_set("x", [1.0])
    with pytest.raises(WrongType):
        keep.model_execute("two", ["x", "x"], ["first", "double"])
    with pytest.raises(KeyMissing):
        keep.tensor_get("first")


def test_a_failing_run_raises_and_stores_nothing(keep):
    keep.model_store("bad", blob("fail", text="broken pipe dream"), backend="FAKE")
    keep.tensor_set("x", [1.0])
    with pytest.raises(RunFailed, match="broken pipe dream"):
        keep.model_execute("bad", ["x"], ["y"])
    assert sorted(keep.keys()) == ["bad", "double", "x"]


def test_a_run_that_does_not_start_in_time_raises(keep, fake):
    keep.model_store("block", blob("block"), backend="FAKE")
    first = keep.submit_model_run("block", [1.0])
    fake.await_calls("model_run")
    with pytest.raises(RunExpired):
        keep.model_run("double", [1.0], timeout=0.01)
    fake.release()
    assert first.result()[0].values() == [1]


def test_keys_can_be_deleted(keep):
    assert keep.delete("double")
    assert not keep.delete("double")


def test_after_closing_nothing_hangs(fake):
    backends = Backends(installed=lambda: ())
    backends.add("FAKE", fake)
    keep = Tensorkeep(backends=backends)
    keep.model_store("block", blob("block"), backend="FAKE")
    running = keep.submit_model_run("block", [1.0])
    fake.await_calls("model_run")
    fake.release()
    keep.close()
    keep.close()
    assert running.result()[0].values() == [1]
    with pytest.raises(EngineClosed):
        keep.model_run("block", [1.0])


def test_what_is_not_done_when_the_grace_ends_raises(fake, monkeypatch):
    monkeypatch.setattr("tensorkeep.inprocess._GRACE", 0.01)
    backends = Backends(installed=lambda: ())
    backends.add("FAKE", fake)
    keep = Tensorkeep(backends=backends)
    creating = keep.submit_model_store("slow", blob("slow_create", seconds=30), backend="FAKE")
    fake.await_calls("model_create")
    keep.close()
    with pytest.raises(EngineClosed):
        creating.result()
    fake.hurry.set()


def test_a_closed_one_holds_no_models_although_a_run_has_ended_too_late(fake, monkeypatch):
    monkeypatch.setattr("tensorkeep.inprocess._GRACE", 0.01)
    backends = Backends(installed=lambda: ())
    backends.add("FAKE", fake)
    keep = Tensorkeep(backends=backends)
    keep.model_store("block", blob("block"), backend="FAKE")
    model = weakref.ref(keep._engine.catalog[b"block"])
    keep.submit_model_run("block", [1.0])
    fake.await_calls("model_run")
    keep.close()
    fake.release()
    del keep
    deadline = time.monotonic() + 30
    while model() is not None and time.monotonic() < deadline:  # its threads are ending
        time.sleep(0.01)
        gc.collect()
    assert model() is None


@pytest.mark.parametrize("given", [Path("model.onnx"), "model.onnx", 5, [1, 2], None, np.zeros(3)])
def test_what_is_no_bytes_is_not_taken_for_a_model(keep, given):
    with pytest.raises(TypeError, match="blob must be the bytes of a model, not"):
        keep.model_store("m", given, backend="fake")
    assert keep.keys() == ["double"]


@pytest.mark.parametrize("make", [bytearray, memoryview])
def test_a_model_may_lie_in_any_memory(keep, make):
    keep.model_store("m", make(blob("identity")), backend="fake")
    assert keep.model_run("m", [1.0])[0].values() == [1]


def test_a_future_that_is_cancelled_stops_nobody(keep, fake):
    keep.model_store("b", blob("block"), backend="fake")
    future = keep.submit_model_run("b", [1.0])
    assert future.cancel()
    fake.release()
    assert keep.model_run("double", [2.0])[0].values() == [4]


def test_a_callback_that_fails_stops_nobody(keep, caplog):
    def broken(_):
        raise RuntimeError("broken callback")

    keep.submit_model_run("double", [1.0]).add_done_callback(broken)
    assert keep.model_run("double", [2.0])[0].values() == [4]
    keep._loop.call_soon_threadsafe(broken, None)
    assert keep.model_run("double", [2.0])[0].values() == [4]


def test_a_deleted_model_is_freed_although_its_runs_failed(keep, fake):
    gc.collect()
    gc.disable()
    try:
        keep.model_store("f", blob("fail", text="no luck", steady=True), backend="fake")
        for _ in range(3):
            with pytest.raises(RunFailed, match="no luck"):
                keep.model_run("f", [1.0])
        keep.delete("f")
        fake.await_calls("model_free")
    finally:
        gc.enable()
