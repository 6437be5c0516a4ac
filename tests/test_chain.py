"""One request through all four frameworks, with scripts between, as the four called directly."""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from tensorkeep.backends import Backends

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "digits"
CHAIN = ("ONNX", "TORCH", "TF", "TFLITE")

pytestmark = pytest.mark.skipif(
    not set(CHAIN) <= set(Backends().names()),
    reason="not all four backends are installed: torch is tested on Python 3.11 only",
)

# How the next picture is made of a picture and what a network said of it.
SCRIPT = """
def blend(tensors: List[Tensor], keys: List[str], args: List[str]):
    sure = torch.max(tensors[1], 1)[0].reshape(-1, 1, 1, 1)
    return tensors[0] * sure

def best(tensors: List[Tensor], keys: List[str], args: List[str]):
    return torch.argmax(tensors[0], 1)
"""


def blend(picture, answer):
    return picture * answer.max(axis=1).reshape(-1, 1, 1, 1)


@pytest.fixture
def forms(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield import_module("frameworks").FORMS
    for name in ("frameworks", "contenders", "figures", "servers", "load", "models"):
        sys.modules.pop(name, None)


def test_a_chain_of_four_frameworks_answers_as_the_four_called_directly(client, digits, forms):
    entry = ("ENTRY_POINTS", 2, "blend", "best")
    client.execute_command("AI.SCRIPTSTORE", "between", "CPU", *entry, "SOURCE", SCRIPT)
    for name in CHAIN:
        blob = (FOLDER / forms[name].file).read_bytes()
        client.execute_command("AI.MODELSTORE", name, name, "CPU", *forms[name].names, "BLOB", blob)
    pictures = digits.pictures[:24]
    request = ["AI.DAGEXECUTE", "ROUTING", "r"]
    request += ["|>", "AI.TENSORSET", "x", "FLOAT", *pictures.shape, "BLOB", pictures.tobytes()]
    for name in CHAIN:
        request += ["|>", "AI.MODELEXECUTE", name, "INPUTS", 1, "x", "OUTPUTS", 1, "y"]
        if name != CHAIN[-1]:
            words = "|> AI.SCRIPTEXECUTE between blend INPUTS 2 x y OUTPUTS 1 x"
            request += words.split()
    end = (
        "|> AI.SCRIPTEXECUTE between best INPUTS 1 y OUTPUTS 1 digit"
        " |> AI.TENSORGET y BLOB |> AI.TENSORGET digit BLOB"
    )
    request += end.split()

    *done, answers, best = client.execute_command(*request)

    assert done == [b"OK"] * 9
    expected = np.zeros((0, 10), np.float32)
    calls = {name: forms[name].open(FOLDER / forms[name].file) for name in CHAIN}
    for picture in pictures:
        x = picture[None]
        for name in CHAIN:
            y = calls[name](x)
            x = blend(x, y)
        expected = np.concatenate([expected, y])
    found = np.frombuffer(answers, np.float32).reshape(-1, 10)
    assert abs(found - expected).max() < 1e-4
    assert np.frombuffer(best, np.int64).tolist() == expected.argmax(axis=1).tolist()
