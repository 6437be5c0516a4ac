"""A real network through the TORCH backend, in both formats: what torch itself answers."""

import io
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tensorkeep import Batching, EngineConfig, Tensorkeep

torch = pytest.importorskip("torch", reason="torch is not installed: its backend is not tested")

AGREES = 1e-6
BATCHING = [Batching(), Batching(16), Batching(16, 4, 20)]


def torchscript(blob):
    return torch.jit.load(io.BytesIO(blob))


def export(blob):
    return torch.export.load(io.BytesIO(blob)).module()


class Network:
    """The network in one of torch's formats, and what torch itself answers with it."""

    def __init__(self, blob, read, outputs):
        self.blob = blob
        self.outputs = outputs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about itself
            self._module = read(blob)

    def expected(self, pictures):
        with torch.no_grad():
            return self._module(torch.from_numpy(pictures)).numpy()


@pytest.fixture(
    scope="module",
    params=[("digits.pt", torchscript, [b""]), ("digits.pt2", export, [b"softmax"])],
    ids=["torchscript", "export"],
)
def network(request, digits_folder):
    name, read, outputs = request.param
    return Network((digits_folder / name).read_bytes(), read, outputs)


@pytest.fixture
def keep(network):
    """A Tensorkeep with the network under `digits`."""
    with Tensorkeep() as keep:
        keep.model_store("digits", network.blob, backend="TORCH")
        yield keep


def test_one_by_one_the_answers_are_those_of_torch_and_97_percent_are_right(keep, network, digits):
    assert len(digits.pictures) == 360
    answers = [keep.model_run("digits", each[None])[0].numpy() for each in digits.pictures]
    expected = [network.expected(each[None]) for each in digits.pictures]

    assert abs(np.concatenate(answers) - np.concatenate(expected)).max() <= AGREES
    assert (np.concatenate(answers).argmax(axis=1) == digits.labels).mean() >= 0.97


def test_as_one_batch_the_answers_are_those_of_torch_and_of_onnx_runtime(keep, network, digits):
    (answers,) = keep.model_run("digits", digits.pictures)

    assert abs(answers.numpy() - network.expected(digits.pictures)).max() <= AGREES
    assert abs(answers.numpy() - digits.expected(digits.pictures)).max() <= 1e-5
    assert (answers.numpy().argmax(axis=1) == digits.labels).mean() >= 0.97


@pytest.mark.parametrize("batching", BATCHING)
def test_futures_from_several_threads_hold_the_answers_to_their_own_pictures(
    network, digits, batching
):
    threads = 6
    with Tensorkeep(EngineConfig(threads_per_queue=2)) as keep:
        keep.model_store("digits", network.blob, backend="TORCH", batching=batching)

        def ask_for_a_share(number):
            futures = [
                keep.submit_model_run("digits", picture[None])
                for picture in digits.pictures[number::threads]
            ]
            return [future.result()[0].numpy() for future in futures]

        with ThreadPoolExecutor(threads) as pool:
            shares = list(pool.map(ask_for_a_share, range(threads)))
    answers = np.empty((360, 10), np.float32)
    for number, share in enumerate(shares):
        answers[number::threads] = np.concatenate(share)

    assert abs(answers - network.expected(digits.pictures)).max() <= 1e-5


def test_over_the_wire_the_network_answers_and_names_its_ends(client, network, digits):
    client.execute_command("AI.MODELSTORE", "n", "TORCH", "CPU", "BLOB", network.blob)
    pictures = digits.pictures[:7]
    client.execute_command(
        "AI.TENSORSET", "x", "FLOAT", *pictures.shape, "BLOB", pictures.tobytes()
    )
    client.execute_command("AI.MODELEXECUTE", "n", "INPUTS", 1, "x", "OUTPUTS", 1, "y")

    answers = np.frombuffer(client.execute_command("AI.TENSORGET", "y", "BLOB"), np.float32)
    reply = client.execute_command("AI.MODELGET", "n")
    known = dict(zip(reply[::2], reply[1::2], strict=True))

    assert abs(answers.reshape(7, 10) - network.expected(pictures)).max() <= AGREES
    assert known[b"blob"] == network.blob
    assert (known[b"inputs"], known[b"outputs"]) == ([b"images"], network.outputs)


def test_a_torch_model_that_is_none_is_refused_over_the_wire(client):
    with pytest.raises(Exception, match="Neither a TorchScript archive nor one of torch"):
        client.execute_command("AI.MODELSTORE", "bad", "TORCH", "CPU", "BLOB", b"no model")
