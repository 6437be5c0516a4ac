"""Where a server runs models that are known to be harmless, and others; and the page on them."""

import importlib.util
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from tensorkeep.backends import Backends

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "examples" / "digits"


def dividing():
    """Makes a model that divides whole numbers by others, both from clients."""
    values = [helper.make_tensor_value_info(name, TensorProto.INT32, ["n"]) for name in "xyz"]
    graph = helper.make_graph(
        [helper.make_node("Div", ["x", "y"], ["z"])], "g", values[:2], values[2:]
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


@pytest.mark.skipif("ONNX" not in Backends().names(), reason="needs the backend ONNX")
def test_a_harmless_model_runs_in_the_server_and_a_division_of_whole_numbers_in_a_worker(start):
    with start("--isolate", "auto") as serving, serving.client() as client:
        digits = (DIGITS / "digits.onnx").read_bytes()
        client.execute_command("AI.MODELSTORE", "digits", "ONNX", "CPU", "BLOB", digits)
        client.execute_command("AI.MODELSTORE", "div", "ONNX", "CPU", "BLOB", dividing())
        models = client.info("models")
        assert models["model_digits"]["where"] == "here"
        assert models["model_div"]["where"] == "isolated"
        client.execute_command("AI.TENSORSET", "least", "INT32", 1, "VALUES", -(2**31))
        client.execute_command("AI.TENSORSET", "minus", "INT32", 1, "VALUES", -1)
        with pytest.raises(Exception, match="ended its worker process: signal 8"):
            client.execute_command(
                "AI.MODELEXECUTE", "div", "INPUTS", 2, "least", "minus", "OUTPUTS", 1, "z"
            )
        client.execute_command("AI.TENSORSET", "x", "FLOAT", 1, 1, 8, 8)
        assert client.execute_command(
            "AI.MODELEXECUTE", "digits", "INPUTS", 1, "x", "OUTPUTS", 1, "y"
        )


@pytest.mark.skipif("TORCH" not in Backends().names(), reason="needs the backend TORCH")
def test_a_harmless_model_of_torch_runs_in_the_server_where_torch_is_loaded(start):
    with start("--isolate", "auto", "--load", "TORCH") as serving, serving.client() as client:
        blob = (DIGITS / "digits.pt").read_bytes()
        client.execute_command("AI.MODELSTORE", "digits", "TORCH", "CPU", "BLOB", blob)
        assert client.info("models")["model_digits"]["where"] == "here"


@pytest.mark.skipif(
    not {"ONNX", "TORCH"} <= {*Backends().names()}, reason="the page has the lists of both"
)
def test_the_page_on_harmless_models_has_the_lists_of_the_backends():
    program = ROOT / "docs/render_harmless.py"
    spec = importlib.util.spec_from_file_location("render_harmless", program)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = (ROOT / "docs" / module.PAGE).read_text(encoding="utf-8")
    assert written == module.render(written), "run python docs/render_harmless.py"
