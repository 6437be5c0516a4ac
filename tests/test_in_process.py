"""Tensorkeep inside one program, with the real backend: no server, no socket."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest

from tensorkeep import Batching, EngineConfig, Tensor, Tensorkeep, TensorkeepError
from tensorkeep.errors import EngineClosed, KeyMissing, ModelRejected, RunExpired, RunFailed

AGREES = 1e-6


@pytest.fixture
def keep(digits):
    """A Tensorkeep with the network under `digits`."""
    with Tensorkeep() as keep:
        keep.model_store("digits", digits.blob, backend="ONNX")
        yield keep


def test_one_by_one_the_answers_are_those_of_onnx_runtime_and_97_percent_are_right(keep, digits):
    answers = np.concatenate(
        [keep.model_run("digits", picture[None])[0].numpy() for picture in digits.pictures]
    )

    assert abs(answers - digits.one_by_one).max() <= AGREES
    assert (answers.argmax(axis=1) == digits.labels).mean() >= 0.97


def test_as_one_batch_the_answers_are_those_of_onnx_runtime(keep, digits):
    (answers,) = keep.model_run("digits", digits.pictures)

    assert abs(answers.numpy() - digits.expected(digits.pictures)).max() <= AGREES


def test_a_stored_tensor_goes_in_and_the_answer_is_stored(keep, digits):
    keep.tensor_set("x", digits.pictures[:3])

    keep.model_execute("digits", ["x"], ["y"])

    assert abs(keep.tensor_get("y").numpy() - digits.expected(digits.pictures[:3])).max() <= AGREES
    assert sorted(keep.keys()) == ["digits", "x", "y"]
    assert keep.delete("x")
    assert not keep.delete("x")


@pytest.mark.parametrize("batching", [Batching(), Batching(16), Batching(16, 4, 20)])
def test_futures_from_several_threads_hold_the_answers_to_their_own_pictures(digits, batching):
    threads = 6

    with Tensorkeep(EngineConfig(threads_per_queue=2)) as keep:
        keep.model_store("digits", digits.blob, backend="ONNX", batching=batching)

        def ask_for_a_share(number):
            futures = [
                keep.submit_model_run("digits", picture[None])
                for picture in digits.pictures[number::threads]
            ]
            return [future.result()[0].numpy() for future in futures]

        with ThreadPoolExecutor(threads) as executor:
            shares = list(executor.map(ask_for_a_share, range(threads)))
    answers = np.empty_like(digits.one_by_one)
    for number, share in enumerate(shares):
        answers[number::threads] = np.concatenate(share)

    assert abs(answers - digits.one_by_one).max() <= AGREES


def test_sync_calls_from_several_threads_do_not_meet(keep, digits):
    def ask(number):
        key = f"thread:{number}"
        keep.tensor_set(key, digits.pictures[number][None])
        keep.model_execute("digits", [key], [f"{key}:y"])
        return keep.tensor_get(f"{key}:y").numpy()

    with ThreadPoolExecutor(8) as executor:
        answers = np.concatenate(list(executor.map(ask, range(100))))

    assert abs(answers - digits.one_by_one[:100]).max() <= AGREES


def test_while_a_model_counts_others_store_and_ask(keep, counting):
    keep.model_store("counting", counting, backend="ONNX")
    turns, one = np.array([1_000_000]), np.array([1], np.float32)

    future = keep.submit_model_run("counting", turns, one)
    keep.tensor_set("meanwhile", np.arange(3))

    assert keep.tensor_get("meanwhile").values() == [0, 1, 2]
    assert future.result()[0].values() == [1.0]


def test_errors_say_what_is_wrong(keep, digits):
    with pytest.raises(KeyMissing):
        keep.tensor_get("nowhere")
    with pytest.raises(ModelRejected, match="protobuf"):
        keep.model_store("bad", b"no model", backend="ONNX")
    with pytest.raises(RunFailed, match="Input images must be FLOAT, not DOUBLE"):
        keep.model_run("digits", digits.pictures[:1].astype(np.float64))
    with pytest.raises(TensorkeepError, match="inputs must be 1 tensors, not 2"):
        keep.model_run("digits", digits.pictures, digits.pictures)

    assert keep.keys() == ["digits"]


def test_a_run_that_cannot_start_in_time_expires(keep, digits, counting):
    keep.model_store("counting", counting, backend="ONNX")
    turns, one = np.array([1_000_000]), np.array([1], np.float32)

    first = keep.submit_model_run("counting", turns, one)
    second = keep.submit_model_run("digits", digits.pictures[:1], timeout=0.01)
    wait([first, second])

    assert isinstance(second.exception(), RunExpired)
    assert first.result()


def test_closing_waits_for_what_runs_and_takes_nothing_new(digits, counting):
    keep = Tensorkeep()
    keep.model_store("counting", counting, backend="ONNX")
    future = keep.submit_model_run("counting", np.array([500_000]), np.array([1], np.float32))

    keep.close()

    assert future.result()[0].values() == [1.0]
    with pytest.raises(EngineClosed):
        keep.tensor_set("late", 1)


def test_a_tensor_is_not_copied_on_its_way_in_and_out(keep):
    tensor = Tensor.from_numpy(np.arange(1_000_000, dtype=np.float32))

    keep.tensor_set("shared", tensor)

    assert np.shares_memory(keep.tensor_get("shared").numpy(), tensor.numpy())


def test_a_program_that_forgets_to_close_ends_all_the_same(digits, tmp_path):
    (tmp_path / "digits.onnx").write_bytes(digits.blob)
    program = """
from pathlib import Path
import numpy as np
from tensorkeep import Tensorkeep
keep = Tensorkeep()
keep.model_store("digits", Path("digits.onnx").read_bytes(), backend="ONNX")
(answer,) = keep.model_run("digits", np.zeros((1, 1, 8, 8), np.float32))
print(answer.shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "(1, 10)\n", "")
