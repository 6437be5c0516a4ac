"""The example that scores payments: a script, a hash of features and a model, in one request."""

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import redis

FOLDER = Path(__file__).parents[1] / "examples/cards"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is tested on Python 3.11 only, see the noxfile",
)


@pytest.fixture(scope="module")
def example():
    """The example's modules, and what they say of some payments."""
    names = ("replay", "features", "payments")
    sys.path.insert(0, str(FOLDER))
    try:
        yield [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(str(FOLDER))
        for name in names:
            sys.modules.pop(name, None)


def test_the_script_computes_the_features_that_the_model_was_trained_with(client, example):
    replay, features, payments = example
    made = payments.payments(cards=6, seed=3)
    expected = features.features(made)
    session = onnxruntime.InferenceSession(
        (FOLDER / "cards.onnx").read_bytes(), providers=["CPUExecutionProvider"]
    )
    (scores,) = session.run(None, {"features": expected})
    replay.prepare(client)
    for payment, row, score in zip(made, expected, scores, strict=True):
        verdict = replay.score(client, payment)
        answer = client.execute_command("AI.TENSORGET", "features", "BLOB")
        assert np.frombuffer(answer, np.float32) == pytest.approx(row, rel=1e-5)
        assert verdict.score == pytest.approx(score[0], rel=1e-4, abs=1e-6)
    kept = client.hgetall(f"card:{made[0].card}")
    of_card = [payment for payment in made if payment.card == made[0].card]
    assert int(kept[b"count"]) == len(of_card)
    assert int(kept[b"total"]) == sum(payment.cents for payment in of_card)


def test_a_payment_that_comes_late_counts_as_made_with_the_one_before(client, example):
    replay, features, payments = example
    backwards = payments.payments(cards=2, seed=5)[::-1]
    replay.prepare(client)
    for payment, row in zip(backwards, features.features(backwards), strict=True):
        assert 0 <= replay.score(client, payment).score <= 1
        answer = client.execute_command("AI.TENSORGET", "features", "BLOB")
        assert np.frombuffer(answer, np.float32) == pytest.approx(row, rel=1e-5)


def test_a_payment_that_got_no_score_was_not_counted(client, example):
    replay, _, payments = example
    payment = payments.payments(cards=1, seed=3)[0]
    replay.prepare(client)
    client.delete("cards")
    with pytest.raises(redis.ResponseError, match="model key is empty"):
        replay.score(client, payment)
    assert not client.exists(f"card:{payment.card}")


def test_the_program_catches_thieves_and_says_so(serving):
    command = [sys.executable, str(FOLDER / "replay.py"), "--port", str(serving.port), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(ended.stdout)
    assert figures["stolen"] > 20
    assert figures["caught"] > 0.6 * figures["stolen"]
    assert figures["honest_but_suspected"] < 0.05 * figures["payments"]
