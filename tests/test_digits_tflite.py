"""The digits network as TFLITE over the wire: as right as it is, and what LiteRT itself answers."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import ai_edge_litert
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

FOLDER = Path(__file__).parents[1] / "examples/digits"


@dataclass(frozen=True)
class Network:
    """The network in one of its two forms, and what LiteRT answers without us."""

    name: str
    blob: bytes

    @cached_property
    def interpreter(self):
        return Interpreter(model_content=self.blob)

    def expected(self, pictures):
        """Returns what LiteRT itself answers to a batch of pictures."""
        interpreter = self.interpreter
        (given,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.resize_tensor_input(given["index"], pictures.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], pictures)
        interpreter.invoke()
        return interpreter.get_tensor(returned["index"])

    def one_by_one(self, pictures):
        """Returns what LiteRT itself answers to each picture alone."""
        return np.concatenate([self.expected(picture[None]) for picture in pictures])


@pytest.fixture(scope="module", params=["digits", "digits_int8"])
def network(request, serving):
    """The network, stored under its name."""
    network = Network(request.param, (FOLDER / f"{request.param}.tflite").read_bytes())
    with serving.client() as client:
        assert store(client, network.name, network) == b"OK"
    return network


def store(client, key, network, *options):
    return client.execute_command(
        "AI.MODELSTORE", key, "TFLITE", "CPU", *options, "BLOB", network.blob
    )


def ask(client, key, pictures, mark=""):
    """Asks for the probabilities of some pictures in one round trip, under keys of its own."""
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command(
        "AI.TENSORSET", f"x{mark}", "FLOAT", *pictures.shape, "BLOB", pictures.tobytes()
    )
    pipeline.execute_command(
        "AI.MODELEXECUTE", key, "INPUTS", 1, f"x{mark}", "OUTPUTS", 1, f"y{mark}"
    )
    pipeline.execute_command("AI.TENSORGET", f"y{mark}", "META", "BLOB")
    *done, (_, dtype, _, shape, _, blob) = pipeline.execute()
    assert done == [b"OK", b"OK"]
    assert (dtype, shape) == (b"FLOAT", [len(pictures), 10])
    return np.frombuffer(blob, np.float32).reshape(shape)


def test_one_by_one_the_answers_are_those_of_litert_and_97_percent_are_right(
    client, network, digits
):
    assert len(digits.pictures) == 360
    answers = np.concatenate(
        [ask(client, network.name, picture[None]) for picture in digits.pictures]
    )

    assert np.array_equal(answers, network.one_by_one(digits.pictures))
    assert (answers.argmax(axis=1) == digits.labels).mean() >= 0.97


def test_as_one_batch_the_answers_are_those_of_litert_and_97_percent_are_right(
    client, network, digits
):
    answers = ask(client, network.name, digits.pictures)

    assert np.array_equal(answers, network.expected(digits.pictures))
    assert (answers.argmax(axis=1) == digits.labels).mean() >= 0.97


def test_floats_answer_as_onnx_does_and_integers_nearly_so(client, network, digits):
    answers = ask(client, network.name, digits.pictures)

    apart = abs(answers - digits.expected(digits.pictures)).max()
    assert apart <= (1e-5 if network.name == "digits" else 0.1)


@pytest.mark.parametrize("options", [(), ("BATCHSIZE", 16)])
def test_clients_that_ask_at_once_get_the_answers_to_their_own_pictures(
    start, network, digits, options
):
    clients = 6
    answers = np.empty((len(digits.pictures), 10), np.float32)

    def ask_for_a_share(serving, number):
        with serving.client() as client:
            share = digits.pictures[number::clients]
            return [ask(client, "shared", picture[None], f":{number}") for picture in share]

    with start("--threads-per-queue", "2") as serving, ThreadPoolExecutor(clients) as threads:
        with serving.client() as client:
            store(client, "shared", network, *options)
        asked = [threads.submit(ask_for_a_share, serving, number) for number in range(clients)]
        for number, share in enumerate(asked):
            answers[number::clients] = np.concatenate(share.result())

    # A picture in a batch is computed with others: the last bits of floats may differ.
    assert abs(answers - network.one_by_one(digits.pictures)).max() <= 1e-6


def test_a_flat_picture_of_another_rank_is_taken(client, network, digits):
    picture = digits.pictures[:1]
    client.execute_command("AI.TENSORSET", "flat", "FLOAT", 64, "BLOB", picture.tobytes())

    client.execute_command("AI.MODELEXECUTE", network.name, "INPUTS", 1, "flat", "OUTPUTS", 1, "y")

    blob = client.execute_command("AI.TENSORGET", "y", "BLOB")
    assert np.array_equal(np.frombuffer(blob, np.float32), network.expected(picture)[0])


def test_the_network_comes_back_byte_for_byte_and_names_its_ends(client, network):
    reply = client.execute_command("AI.MODELGET", network.name)
    known = dict(zip(reply[::2], reply[1::2], strict=True))

    assert known[b"blob"] == network.blob
    assert (known[b"inputs"], known[b"outputs"]) == ([b"images"], [b"probabilities"])


def test_information_tells_the_version_and_the_memory_of_models_that_are_there(start, network):
    def memory(client):
        return client.info("everything").get("ai_TensorFlowLite_memory", 0)

    with start() as serving, serving.client() as client:
        assert "ai_TensorFlowLite_version" not in client.info("everything")
        store(client, "m", network)
        version = client.info("everything")["ai_TensorFlowLite_version"]
        assert version == ai_edge_litert.__version__
        deadline = time.monotonic() + 10  # workers tell their figures by and by
        while not memory(client) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert 30_000 < memory(client) < len(network.blob)

        client.execute_command("AI.MODELDEL", "m")

        deadline = time.monotonic() + 10  # models are freed by and by as well
        while memory(client) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert memory(client) == 0


def test_what_litert_prints_is_not_for_the_terminal(start, network, digits):
    for level, heard in (("info", False), ("debug", True)):
        with start("--load", "TFLITE", "--log-level", level) as serving:
            with serving.client() as client:
                store(client, "m", network)
                ask(client, "m", digits.pictures[:1])
            if heard:
                serving.wait_for_log("XNNPACK")
            log = serving.log()
        assert ("XNNPACK" in log) is heard
        assert "\nINFO:" not in log
