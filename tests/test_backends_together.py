"""All installed backends in one server: no clash, no flood of threads, memory of each by itself."""

import os
import re
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
    """Stores the network for ONNX and, in two forms, for TF; returns the keys."""
    names = ["INPUTS", 1, "images", "OUTPUTS", 1, "probabilities"]
    for key, backend, words, file in (
        ("o", "ONNX", [], "digits.onnx"),
        ("g", "TF", names, "digits.pb"),
        ("s", "TF", [], "digits_savedmodel.zip"),
    ):
        blob = (FOLDER / file).read_bytes()
        reply = client.execute_command(
            "AI.MODELSTORE", key, backend, "CPU", "BATCHSIZE", 8, *words, "BLOB", blob
        )
        assert reply == b"OK"
    return "ogs"


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
    store(client)

    info = client.info("modules")

    assert info["ai_onnxruntime_memory"] > 150_000
    assert info["ai_TensorFlow_memory"] > 2 * 150_000


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


def test_clients_get_the_texts_that_they_look_for(wire):
    def error(*request):
        return wire.ask(*request).decode().removeprefix("-").removesuffix("\r\n")

    blob = (FOLDER / "digits.pb").read_bytes()
    model = ["AI.MODELSTORE", "m", "TF", "CPU"]
    names = ["INPUTS", 1, "images", "OUTPUTS", 1, "probabilities"]

    assert error(*model, "BLOB", blob) == "ERR INPUTS not specified for TF"
    assert error(*model, "INPUTS", 1, "x", "OUTPUTS", 1, "probabilities", "BLOB", blob) == (
        'ERR Input node named "x" not found in TF graph.'
    )
    assert error(*model, "INPUTS", 1, "images", "OUTPUTS", 1, "y", "BLOB", blob) == (
        'ERR Output node named "y" not found in TF graph'
    )
    assert error(*model, *names, "BLOB", "no graph") == "Invalid GraphDef"
    assert wire.ask(*model, *names, "BLOB", blob) == b"+OK\r\n"
    assert wire.ask("AI.TENSORSET", "x", "FLOAT", 3) == b"+OK\r\n"
    assert error("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y") == (
        "Input to reshape is a tensor with 3 values, but the requested shape requires a multiple"
        " of 64 \t [[{{node channels_last}}]]"
    )
