"""Runs that take long, as clients with redis-py's own settings meet them."""

import re
import time

import pytest
import redis

ENDLESS = 2**40  # turns of the model that counts


@pytest.fixture(scope="module")
def serving(start, digits, counting):
    with start("--load", "ONNX") as serving:
        with serving.client() as client:
            digits.store(client)
            client.execute_command("AI.MODELSTORE", "endless", "ONNX", "CPU", "BLOB", counting)
            client.execute_command("AI.TENSORSET", "turns", "INT64", 1, "VALUES", ENDLESS)
            client.execute_command("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 1)
            picture = digits.pictures[:1]
            client.execute_command(
                "AI.TENSORSET", "picture", "FLOAT", *picture.shape, "BLOB", picture.tobytes()
            )
        yield serving


def test_the_error_comes_before_the_client_gives_up_and_others_are_served_meanwhile(serving):
    run = ("AI.MODELEXECUTE", "endless", "INPUTS", 2, "turns", "x", "OUTPUTS", 1, "y")
    waits = []
    with redis.Redis(port=serving.port) as client, serving.wire() as endless:
        endless.send(*run)
        started = time.monotonic()
        while time.monotonic() - started < 1.0:
            before = time.monotonic()
            client.execute_command(
                "AI.MODELEXECUTE", "digits", "INPUTS", 1, "picture", "OUTPUTS", 1, "answer"
            )
            waits.append(time.monotonic() - before)
        assert endless.reply().startswith(b"-")
        assert max(waits) < 2.0, "it waited for 0.1 s, and for the machine"

        # With the settings that redis-py has of itself: 5 s, and ten more tries from version 8 on.
        with pytest.raises(redis.ResponseError, match=r"longer than 4 s, the MODEL_"):
            client.execute_command(*run)
        info = client.execute_command("AI.INFO", "endless")
        info = info if isinstance(info, dict) else dict(zip(info[::2], info[1::2], strict=True))
        assert info[b"calls"] == 2, "each was sent once"
    serving.wait_for_log("a run of the model endless on CPU was ended after", times=2)
    ended = re.findall(r"a run of the model endless on CPU was ended after (\S+) s", serving.log())
    assert len(ended) == 2
