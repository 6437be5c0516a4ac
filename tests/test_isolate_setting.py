"""`--isolate` and `--load`, as a user gives them: which models run in the server, and which not."""

from pathlib import Path

import pytest

from tensorkeep.backends import Backends

DIGITS = Path(__file__).parent.parent / "examples" / "digits"
# Frameworks that are imported in a moment: what is decided is the same for the others.
FILES = {"ONNX": "digits.onnx", "TFLITE": "digits.tflite"}
SCRIPT = (
    "def add(tensors: List[Tensor], keys: List[str], args: List[str]):\n    return tensors[0]\n"
)

pytestmark = pytest.mark.skipif(
    not {*FILES} <= {*Backends().names()}, reason="needs the backends ONNX and TFLITE"
)


def stored(client):
    """Stores a model of each backend, runs it, and returns where it ran."""
    client.execute_command("AI.TENSORSET", "x", "FLOAT", 1, 1, 8, 8)
    for backend, file in FILES.items():
        blob = (DIGITS / file).read_bytes()
        client.execute_command("AI.MODELSTORE", backend, backend, "CPU", "BLOB", blob)
        client.execute_command("AI.MODELEXECUTE", backend, "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    models = client.info("models")
    return {backend: models[f"model_{backend}"]["where"] for backend in FILES}


@pytest.mark.parametrize(
    ("setting", "onnx", "tflite"),
    [
        ("auto", "here", "isolated"),
        ("all", "isolated", "isolated"),
        ("none", "here", "here"),
        ("onnx", "isolated", "here"),
    ],
)
def test_the_setting_says_which_models_are_isolated(start, setting, onnx, tflite):
    with start("--isolate", setting) as serving, serving.client() as client:
        assert stored(client) == {"ONNX": onnx, "TFLITE": tflite}
        workers = [name for name in client.info("isolation") if name.startswith("worker_")]
        assert len(workers) == (onnx, tflite).count("isolated")
        assert client.info("isolation")["isolation_setting"] == setting


def test_backends_are_loaded_at_the_start_where_their_models_usually_run(start):
    with start("--load", "ONNX", "--load", "TFLITE") as serving, serving.client() as client:
        backends = client.info("backends")
        assert backends["backend_ONNX"]["where"] == "here"
        assert backends["backend_TFLITE"]["where"] == "isolated"


@pytest.mark.skipif("TORCH" not in Backends().names(), reason="needs the backend TORCH")
def test_scripts_are_isolated_and_a_client_has_no_heavy_framework_imported_into_the_server(start):
    with start() as serving, serving.client() as client:
        client.execute_command("AI.CONFIG", "LOADBACKEND", "TORCH", "torch.so")
        assert client.info("backends")["backend_TORCH"]["where"] == "isolated"
        client.execute_command(
            "AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, "add", "SOURCE", SCRIPT
        )
        assert client.info("models")["script_s"]["where"] == "isolated"
        assert client.info("backends")["backend_TORCH"]["where"] == "isolated"
