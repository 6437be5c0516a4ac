"""The program that sends damaged models, in small; `nox -s damage` sends thousands."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from damage_campaign import Found, outcome, read_back, table

from tensorkeep_server.testing import WireError


@pytest.mark.parametrize(
    ("reply", "when", "what"),
    [
        ("OK", "stored", ""),
        ("OK", "run", "run"),
        (
            WireError("ERR building it ended its worker process: signal 8"),
            "stored",
            "crashed when stored",
        ),
        (WireError("ERR the model m ended its worker process: code 3"), "run", "crashed when run"),
        (WireError("The run was ended: it took longer than 4 s"), "run", "ended when run"),
        (WireError("ERR building it took longer than 10 s"), "stored", "ended when stored"),
        (WireError("No such operator"), "stored", "refused"),
        (WireError("Shapes differ"), "run", "failed"),
    ],
)
def test_what_became_of_a_model_is_read_out_of_the_reply(reply, when, what):
    assert outcome(reply, when) == what


@pytest.mark.parametrize("spoilt", ["errors", "wrong", "keys", "failure", "idle"])
def test_whatever_somebody_else_felt_is_unsound(spoilt):
    found = Found("ONNX")
    found.beside.runs.count = 10
    assert found.sound

    match spoilt:
        case "errors":
            found.beside.pings.errors["ERR"] = 1
        case "wrong":
            found.beside.runs.wrong = 1
        case "keys":
            found.keys_lost = 1
        case "failure":
            found.failure = "it ended"
        case "idle":
            found.beside.runs.count = 0
    assert not found.sound
    assert table([found]).row_count


@pytest.mark.skipif(find_spec("ai_edge_litert") is None, reason="LiteRT is not installed")
def test_damaged_models_cost_others_nothing():
    program = Path(__file__).with_name("damage_campaign.py")
    options = ("--models", "40", "--backends", "TFLITE", "--seed", "1", "--json")
    done = subprocess.run(
        [sys.executable, program, *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    (found,) = (read_back(json.dumps(each)) for each in json.loads(done.stdout))
    assert found.models > 30
    assert found.outcomes["refused"]
    assert found.beside.pings.count
