"""All installed backends in one server: no clash, no flood of threads, memory of each by itself."""

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

from tensorkeep.backends import Backends

FOLDER = Path(__file__).parents[1] / "examples" / "digits"
OURS = [name for name in Backends().names() if name in {"ONNX", "TF", "TFLITE", "TORCH"}]
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \S+ (INFO|WARNING) tensorkeep\S*: |Tensorkeep \S+ is ready")


@pytest.fixture(scope="module")
def serving(start):
    with start(*(word for name in OURS for word in ("--load", name))) as serving:
        yield serving


def store(client):
    """Stores the network for each backend, for TF in two forms; returns the keys."""
    names = ["INPUTS", 1, "images", "OUTPUTS", 1, "probabilities"]
    keys = []
    for backend, words, file in (
        ("ONNX", [], "digits.onnx"),
        ("TF", names, "digits.pb"),
        ("TF", [], "digits_savedmodel.zip"),
        ("TFLITE", [], "digits.tflite"),
        ("TORCH", [], "digits.pt"),
    ):
        if backend in OURS:
            blob = (FOLDER / file).read_bytes()
            reply = client.execute_command(
                "AI.MODELSTORE", file, backend, "CPU", "BATCHSIZE", 8, *words, "BLOB", blob
            )
            assert reply == b"OK"
            keys.append(file)
    return keys


def answers(client, digits, keys):
    pictures = digits.pictures
    client.execute_command(
        "AI.TENSORSET", "x", "FLOAT", *pictures.shape, "BLOB", pictures.tobytes()
    )
    for key in keys:
        client.execute_command("AI.MODELEXECUTE", key, "INPUTS", 1, "x", "OUTPUTS", 1, "y")
        blob = client.execute_command("AI.TENSORGET", "y", "BLOB")
        yield np.frombuffer(blob, np.float32).reshape(len(pictures), 10)


def test_models_of_several_backends_answer_alike(client, digits):
    for found in answers(client, digits, store(client)):
        assert abs(found - digits.expected(digits.pictures)).max() <= 1e-5


def test_each_backend_tells_its_own_memory(client):
    keys = store(client)

    deadline = time.monotonic() + 10  # workers tell their figures by and by
    while time.monotonic() < deadline:
        info = client.info("modules")
        if all(info.get(f"ai_{name}_memory") for name in ("TensorFlow", "TensorFlowLite")):
            break
        time.sleep(0.01)

    assert info["ai_onnxruntime_memory"] > 150_000
    assert info["ai_TensorFlow_memory"] > 2 * 150_000
    assert info["ai_TensorFlowLite_memory"] > 150_000
    assert (info.get("ai_Torch_memory", 0) > 150_000) is ("digits.pt" in keys)


def test_threads_do_not_pile_up(serving, client, digits):
    def threads():
        return len(list(Path(f"/proc/{serving.process.pid}/task").iterdir()))

    keys = store(client)
    list(answers(client, digits, keys))
    first = threads()
    for _ in range(3):
        store(client)
        list(answers(client, digits, keys))

    assert threads() <= first + 2
    # Each framework has a pool as large as the machine, and some threads of its own.
    assert first <= len(OURS) * ((os.cpu_count() or 1) + 4) + 10


def test_nothing_is_printed_but_the_servers_own_log(serving, client, digits):
    list(answers(client, digits, store(client)))
    names = ["INPUTS", 1, "nothing", "OUTPUTS", 1, "nothing"]
    with pytest.raises(Exception, match="Input node named"):
        client.execute_command(
            "AI.MODELSTORE", "m", "TF", "CPU", *names, "BLOB", (FOLDER / "digits.pb").read_bytes()
        )

    lines = serving.log().splitlines()

    assert [line for line in lines if not LOG_LINE.match(line)] == []
