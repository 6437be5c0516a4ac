"""The server with one backend and nothing else, or with none, as somebody has just installed it.

The variable TENSORKEEP_ALONE names the backend that its environment was given; it may be empty.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import redis

BACKEND = os.environ["TENSORKEEP_ALONE"].upper()
FRAMEWORKS = {
    "ONNX": "onnxruntime",
    "TF": "tensorflow",
    "TFLITE": "ai_edge_litert",
    "TORCH": "torch",
}
# And what some of them could bring along.
OTHERS = {*FRAMEWORKS.values(), "onnx", "tflite_runtime"} - {FRAMEWORKS.get(BACKEND)}
ABSENT = sorted({*FRAMEWORKS} - {BACKEND})
NAMES = ("INPUTS", 1, "images", "OUTPUTS", 1, "probabilities")
TELLING = Path(__file__).parents[2] / "tests/telling.py"
# Prints a module, and the version of the distribution that brings it, for each that is installed.
PROBE = """
import json, sys
from importlib import metadata
brings = metadata.packages_distributions()
there = [module for module in sys.argv[1:] if module in brings]
print(json.dumps({module: metadata.version(brings[module][0]) for module in there}))
"""

with_backend = pytest.mark.skipif(not BACKEND, reason="the server was installed without a backend")


@pytest.fixture
def client(port):
    with redis.Redis(port=port, socket_timeout=60) as client:
        client.flushall()
        yield client


@pytest.fixture
def tensorkeep(server_python):
    """Runs the installed command and returns what it prints."""

    def tensorkeep(*arguments):
        return subprocess.run(
            [Path(server_python).with_name("tensorkeep"), *arguments],
            env=os.environ | {"COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    return tensorkeep


@pytest.fixture(scope="module")
def installed(server_python):
    """The versions of what is installed of ours and of the frameworks, by module."""
    command = [server_python, "-c", PROBE, "tensorkeep", *FRAMEWORKS.values(), *OTHERS]
    return json.loads(subprocess.check_output(command, text=True))


def store(client, backend, blob):
    names = NAMES if backend == "TF" else ()
    return client.execute_command("AI.MODELSTORE", "m", backend, "CPU", *names, "BLOB", blob)


def ask(client, pictures):
    """Asks the stored network for the probabilities of some pictures."""
    blob = pictures.tobytes()
    client.execute_command("AI.TENSORSET", "x", "FLOAT", *pictures.shape, "BLOB", blob)
    client.execute_command("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    blob = client.execute_command("AI.TENSORGET", "y", "BLOB")
    return np.frombuffer(blob, np.float32).reshape(len(pictures), 10)


# ------------------------------------------------------------------ what is there
def test_no_other_framework_is_installed(installed):
    assert installed.keys() == {"tensorkeep", *([FRAMEWORKS[BACKEND]] if BACKEND else [])}


def test_the_backend_is_listed_with_version_and_devices_and_no_other(tensorkeep, installed):
    found = json.loads(tensorkeep("plugins", "--json"))["backends"]

    assert [each["name"] for each in found] == ([BACKEND] if BACKEND else [])
    for each in found:
        assert each["works"]
        assert each["distribution"] == f"tensorkeep-{BACKEND.lower()} {installed['tensorkeep']}"
        assert each["framework_version"] == installed[FRAMEWORKS[BACKEND]]
        assert each["devices"][0]["name"] == "CPU"
        assert "FLOAT" in each["devices"][0]["dtypes"]


def test_the_memory_store_is_listed_and_no_other(tensorkeep):
    (store,) = json.loads(tensorkeep("plugins", "--json"))["stores"]

    assert (store["schemes"], store["works"]) == (["memory"], True)


def test_the_list_for_people_says_the_same(tensorkeep):
    shown = tensorkeep("plugins")

    if not BACKEND:
        assert shown.startswith("No backend is installed.\n")
    for name in FRAMEWORKS:
        assert (f" {name} " in shown) is (name == BACKEND)
    assert ("CPU (" in shown) is bool(BACKEND)
    assert shown.count(" works ") == 1 + bool(BACKEND)  # the memory store, too


# ------------------------------------------------------------------ a server
def test_a_server_keeps_tensors(client, digits):
    pictures = digits.pictures
    blob = pictures.tobytes()

    assert client.execute_command("AI.TENSORSET", "x", "FLOAT", *pictures.shape, "BLOB", blob)
    assert client.execute_command("AI.TENSORGET", "x", "BLOB") == blob
    assert client.type("x") == b"AI_TENSOR"


# What the server itself imports: nothing that runs in processes of its own.
IN_THE_SERVER = {
    "auto": {FRAMEWORKS["ONNX"]} & {FRAMEWORKS.get(BACKEND)},
    "none": {FRAMEWORKS.get(BACKEND)},
}


@with_backend
@pytest.mark.parametrize("isolate", IN_THE_SERVER)
def test_a_model_is_stored_and_run_and_only_its_framework_is_imported(
    start, digits, tmp_path, isolate
):
    file = tmp_path / "modules.json"
    with (
        start("--isolate", isolate, program=(str(TELLING), str(file))) as port,
        redis.Redis(port=port, socket_timeout=60) as client,
    ):
        assert store(client, BACKEND, getattr(digits, BACKEND.lower())) == b"OK"
        assert digits.read_well(ask(client, digits.pictures))

    modules = set(json.loads(file.read_text()))

    assert modules & {*FRAMEWORKS.values(), *OTHERS} == IN_THE_SERVER[isolate]


@pytest.mark.parametrize("backend", ABSENT)
def test_a_model_for_a_backend_that_is_not_there_is_refused_in_the_originals_words(
    client, digits, backend
):
    with pytest.raises(redis.ResponseError, match=r"^Could not load backend$"):
        store(client, backend, getattr(digits, backend.lower()))

    assert client.exists("m") == 0
    assert client.ping()


@pytest.mark.skipif(BACKEND == "TORCH", reason="scripts work with TORCH")
def test_a_script_without_torch_is_refused_in_the_originals_words(client):
    words = ("ENTRY_POINTS", 1, "f", "SOURCE", "def f(x):\n    return x")

    with pytest.raises(redis.ResponseError, match=r"^Could not load backend$"):
        client.execute_command("AI.SCRIPTSTORE", "s", "CPU", *words)
