"""A real network over the wire: as right as it is, and what ONNX Runtime itself answers."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

AGREES = 1e-6


@pytest.fixture(scope="module")
def model(serving, digits):
    """The key of the stored network."""
    with serving.client() as client:
        assert digits.store(client, "digits") == b"OK"
    return "digits"


def ask(client, model, pictures, mark=""):
    """Asks for the probabilities of some pictures in one round trip, under keys of its own."""
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command(
        "AI.TENSORSET", f"x{mark}", "FLOAT", *pictures.shape, "BLOB", pictures.tobytes()
    )
    pipeline.execute_command(
        "AI.MODELEXECUTE", model, "INPUTS", 1, f"x{mark}", "OUTPUTS", 1, f"y{mark}"
    )
    pipeline.execute_command("AI.TENSORGET", f"y{mark}", "META", "BLOB")
    *done, (_, dtype, _, shape, _, blob) = pipeline.execute()
    assert done == [b"OK", b"OK"]
    assert (dtype, shape) == (b"FLOAT", [len(pictures), 10])
    return np.frombuffer(blob, np.float32).reshape(shape)


def test_one_by_one_the_answers_are_those_of_onnx_runtime_and_97_percent_are_right(
    client, model, digits
):
    assert len(digits.pictures) == 360
    answers = np.concatenate([ask(client, model, picture[None]) for picture in digits.pictures])

    assert abs(answers - digits.one_by_one).max() <= AGREES
    assert (answers.argmax(axis=1) == digits.labels).mean() >= 0.97


def test_as_one_batch_the_answers_are_those_of_onnx_runtime_and_97_percent_are_right(
    client, model, digits
):
    answers = ask(client, model, digits.pictures)

    assert abs(answers - digits.expected(digits.pictures)).max() <= AGREES
    assert (answers.argmax(axis=1) == digits.labels).mean() >= 0.97


@pytest.mark.parametrize(
    "options", [(), ("BATCHSIZE", 16), ("BATCHSIZE", 16, "MINBATCHSIZE", 4, "MINBATCHTIMEOUT", 20)]
)
def test_clients_that_ask_at_once_get_the_answers_to_their_own_pictures(serving, digits, options):
    clients = 8

    def ask_for_a_share(number):
        with serving.client() as client:
            share = digits.pictures[number::clients]
            return [ask(client, "shared", picture[None], f":{number}") for picture in share]

    with serving.client() as client, ThreadPoolExecutor(clients) as threads:
        digits.store(client, "shared", *options)
        shares = list(threads.map(ask_for_a_share, range(clients)))
    answers = np.empty_like(digits.one_by_one)
    for number, share in enumerate(shares):
        answers[number::clients] = np.concatenate(share)

    assert abs(answers - digits.one_by_one).max() <= AGREES


def test_values_say_the_same_as_the_blob(client, model, digits):
    answer = ask(client, model, digits.pictures[:1], mark=":values")

    values = client.execute_command("AI.TENSORGET", "y:values", "VALUES")

    assert np.array_equal(np.array(values, np.float32), answer[0])


def test_a_picture_sent_as_values_gets_the_answer_of_its_blob(client, model, digits):
    picture = digits.pictures[7][None]
    values = [float(value) for value in picture.flat]
    client.execute_command("AI.TENSORSET", "x:v", "FLOAT", *picture.shape, "VALUES", *values)
    client.execute_command("AI.MODELEXECUTE", model, "INPUTS", 1, "x:v", "OUTPUTS", 1, "y:v")

    blob = client.execute_command("AI.TENSORGET", "y:v", "BLOB")

    assert abs(np.frombuffer(blob, np.float32) - digits.one_by_one[7]).max() <= AGREES


def test_the_stored_network_comes_back_byte_for_byte_and_names_its_ends(client, model, digits):
    reply = client.execute_command("AI.MODELGET", model)
    known = dict(zip(reply[::2], reply[1::2], strict=True))

    assert known[b"blob"] == digits.blob
    assert (known[b"inputs"], known[b"outputs"]) == ([b"images"], [b"probabilities"])


def test_every_picture_is_counted_once(client, digits):
    digits.store(client, "counted")
    ask(client, "counted", digits.pictures[:1])
    ask(client, "counted", digits.pictures[:5])

    reply = client.execute_command("AI.INFO", "counted")
    known = dict(zip(reply[::2], reply[1::2], strict=True))

    assert (known[b"calls"], known[b"samples"], known[b"errors"]) == (2, 6, 0)
    assert known[b"duration"] > 0
