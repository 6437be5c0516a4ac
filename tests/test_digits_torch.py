"""The digits network as TorchScript and as an archive of torch.export, and scripts around it.

In one process with torch, which is imported when the first of these tests needs it.
"""

import importlib
import io
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tensorkeep import Batching, Tensorkeep

FOLDER = Path(__file__).parents[1] / "examples" / "digits"
SCRIPTED, EXPORTED = "digits.pt", "digits.pt2"
AGREES = 1e-6
NEAR = 1e-5  # to what another framework computes

pytestmark = pytest.mark.skipif(
    find_spec("torch") is None, reason="torch is tested on Python 3.11 only, see the noxfile"
)

SCRIPT = """
def prepare(tensors: List[Tensor], keys: List[str], args: List[str]):
    return (tensors[0].to(torch.float32) / 16.0).reshape(-1, 1, 8, 8)

def digit(tensors: List[Tensor], keys: List[str], args: List[str]):
    return torch.argmax(tensors[0], 1)
"""


@pytest.fixture(scope="module")
def keep():
    with Tensorkeep() as keep:
        yield keep


@pytest.fixture(scope="module")
def direct():
    """Gives what torch itself answers: `direct(name)(pictures)`."""
    torch = importlib.import_module("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.load(io.BytesIO((FOLDER / SCRIPTED).read_bytes()))
    exported = torch.export.load(io.BytesIO((FOLDER / EXPORTED).read_bytes())).module()
    modules = {SCRIPTED: scripted, EXPORTED: exported}

    def answers(name):
        def ask(pictures):
            with torch.inference_mode():
                return modules[name](torch.from_numpy(pictures)).numpy()

        return ask

    return answers


@pytest.fixture(scope="module", params=[SCRIPTED, EXPORTED])
def name(request, keep):
    """The file of a form of the network, which is also the key that it is stored under."""
    keep.model_store(request.param, (FOLDER / request.param).read_bytes(), backend="TORCH")
    return request.param


def ask(keep, name, pictures):
    (answers,) = keep.model_run(name, pictures)
    return answers.numpy()


def test_one_by_one_the_answers_are_those_of_torch_and_97_percent_are_right(
    keep, name, digits, direct
):
    answers = np.concatenate([ask(keep, name, picture[None]) for picture in digits.pictures])
    expected = np.concatenate([direct(name)(picture[None]) for picture in digits.pictures])

    assert len(answers) == 360
    assert abs(answers - expected).max() <= AGREES
    assert (answers.argmax(axis=1) == digits.labels).mean() >= 0.97


def test_as_one_batch_the_answers_are_those_of_torch_and_of_onnx_runtime(
    keep, name, digits, direct
):
    answers = ask(keep, name, digits.pictures)

    assert abs(answers - direct(name)(digits.pictures)).max() <= AGREES
    assert abs(answers - digits.expected(digits.pictures)).max() <= NEAR
    assert (answers.argmax(axis=1) == digits.labels).mean() >= 0.97


def test_threads_that_ask_at_once_share_runs_and_get_their_own_answers(keep, name, digits):
    key = f"shared {name}"
    blob = (FOLDER / name).read_bytes()
    keep.model_store(key, blob, backend="TORCH", batching=Batching(size=16))
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda picture: ask(keep, key, picture[None]), digits.pictures))

    assert abs(np.concatenate(answers) - digits.one_by_one).max() <= NEAR


# ---------------------------------------------------------------- over a socket, with scripts
def test_scripts_prepare_raw_pictures_and_name_the_digits_in_one_request(client, digits):
    with np.load(FOLDER / "heldout.npz") as held_out:
        raw, labels = held_out["images"], held_out["labels"]
    entry = ("ENTRY_POINTS", 2, "prepare", "digit")
    client.execute_command("AI.SCRIPTSTORE", "around", "CPU", *entry, "SOURCE", SCRIPT)
    blob = (FOLDER / SCRIPTED).read_bytes()
    client.execute_command("AI.MODELSTORE", "network", "TORCH", "CPU", "BLOB", blob)
    found = []
    steps = (
        "|> AI.SCRIPTEXECUTE around prepare INPUTS 1 raw OUTPUTS 1 x"
        " |> AI.MODELEXECUTE network INPUTS 1 x OUTPUTS 1 y"
        " |> AI.SCRIPTEXECUTE around digit INPUTS 1 y OUTPUTS 1 d |> AI.TENSORGET d VALUES"
    )
    for picture in raw:
        *done, answer = client.execute_command(
            *("AI.DAGEXECUTE", "ROUTING", "around"),
            *("|>", "AI.TENSORSET", "raw", "UINT8", 8, 8, "BLOB", picture.tobytes()),
            *steps.split(),
        )
        assert done == [b"OK"] * 4
        found += answer

    assert found == digits.one_by_one.argmax(axis=1).tolist()
    assert (np.array(found) == labels).mean() >= 0.97
