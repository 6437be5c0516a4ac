"""The digits network as GraphDef and as SavedModel: what TensorFlow itself answers, and right.

In one process with TensorFlow, which is imported when the first of these tests needs it.
"""

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tensorkeep import Batching, Tensorkeep

FOLDER = Path(__file__).parents[1] / "examples" / "digits"
GRAPH, SAVED_MODEL = "digits.pb", "digits_savedmodel.zip"
NAMES = {GRAPH: {"inputs": ["images"], "outputs": ["probabilities"]}, SAVED_MODEL: {}}
AGREES = 1e-6
NEAR = 1e-5  # to what another framework computes


@pytest.fixture(scope="module")
def tensorflow():
    from tensorkeep_tf.framework import tf  # noqa: PLC0415 - it takes seconds

    return tf


@pytest.fixture(scope="module")
def keep():
    with Tensorkeep() as keep:
        yield keep


@pytest.fixture(scope="module")
def direct(tensorflow, digits, tmp_path_factory):
    """Gives what TensorFlow itself answers: `direct(name)(pictures)`."""
    definition = tensorflow.compat.v1.GraphDef.FromString((FOLDER / GRAPH).read_bytes())
    with tensorflow.Graph().as_default() as graph:
        tensorflow.graph_util.import_graph_def(definition, name="")
    session = tensorflow.compat.v1.Session(graph=graph)
    folder = tmp_path_factory.mktemp("saved")
    with zipfile.ZipFile(io.BytesIO((FOLDER / SAVED_MODEL).read_bytes())) as archive:
        archive.extractall(folder)
    model = tensorflow.saved_model.load(str(folder))
    serve = model.signatures["serving_default"]
    ways = {
        GRAPH: lambda pictures: session.run("probabilities:0", {"images:0": pictures}),
        SAVED_MODEL: lambda pictures: serve(images=tensorflow.constant(pictures))[
            "probabilities"
        ].numpy(),
    }
    yield ways.__getitem__
    session.close()


@pytest.fixture(scope="module", params=[GRAPH, SAVED_MODEL])
def name(request, keep, direct):
    """The file of a form of the network, which is also the key that it is stored under."""
    blob = (FOLDER / request.param).read_bytes()
    keep.model_store(request.param, blob, backend="TF", **NAMES[request.param])
    return request.param


def ask(keep, name, pictures, mark=""):
    """Asks for the probabilities of some pictures, under keys of its own."""
    keep.tensor_set(f"x{mark}", pictures)
    keep.model_execute(name, [f"x{mark}"], [f"y{mark}"])
    return keep.tensor_get(f"y{mark}").numpy()


def test_one_by_one_the_answers_are_those_of_tensorflow_and_97_percent_are_right(
    keep, name, digits, direct
):
    answers = np.concatenate([ask(keep, name, picture[None]) for picture in digits.pictures])
    expected = np.concatenate([direct(name)(picture[None]) for picture in digits.pictures])

    assert len(answers) == 360
    assert abs(answers - expected).max() <= AGREES
    assert (answers.argmax(axis=1) == digits.labels).mean() >= 0.97


def test_as_one_batch_the_answers_are_those_of_tensorflow_and_of_onnx_runtime(
    keep, name, digits, direct
):
    answers = ask(keep, name, digits.pictures)

    assert abs(answers - direct(name)(digits.pictures)).max() <= AGREES
    assert abs(answers - digits.expected(digits.pictures)).max() <= NEAR
    assert (answers.argmax(axis=1) == digits.labels).mean() >= 0.97


def test_threads_that_ask_at_once_share_runs_and_get_their_own_answers(keep, name, digits):
    blob = (FOLDER / name).read_bytes()
    key = f"shared {name}"
    keep.model_store(key, blob, backend="TF", batching=Batching(size=16), **NAMES[name])

    def ask_for_a_share(number):
        share = digits.pictures[number::8]
        return [ask(keep, key, picture[None], f"{name}{number}") for picture in share]

    with ThreadPoolExecutor(8) as threads:
        shares = list(threads.map(ask_for_a_share, range(8)))
    answers = np.empty_like(digits.one_by_one)
    for number, share in enumerate(shares):
        answers[number::8] = np.concatenate(share)

    assert abs(answers - digits.one_by_one).max() <= NEAR
