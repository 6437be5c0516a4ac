"""Which models may run in the server's process, and why others may not."""

import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tensorkeep.device import Device
from tensorkeep.model import ModelSpec
from tensorkeep_onnx.harmless import LIGHT, why_isolated
from tensorkeep_onnx.harmless_operators import HARMLESS

EXAMPLES = Path(__file__).parents[3] / "examples"
CPU = ModelSpec("ONNX")


def model(nodes, inputs=None, constants=None, outputs=("y",), opset=17, **changes):
    """Makes a model of nodes `(operator, inputs, outputs, attributes)`, of floats."""
    inputs = {"x": ["n", 4]} if inputs is None else inputs
    graph = helper.make_graph(
        [helper.make_node(name, ins, outs, **more) for name, ins, outs, more in nodes],
        "graph",
        [_value(name, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [
            onnx.numpy_helper.from_array(np.asarray(array), name)
            for name, array in (constants or {}).items()
        ],
    )
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9, **changes
    )
    return made.SerializeToString()


def _value(name, shape):
    dtype = TensorProto.FLOAT
    if isinstance(shape, tuple):
        dtype, shape = shape
    return helper.make_tensor_value_info(name, dtype, shape)


def floats(*shape):
    return np.ones(shape, np.float32)


def why(*args, **options):
    return why_isolated(CPU, model(*args, **options))


def test_it_says_that_the_runtime_is_imported_without_keeping_others_waiting():
    assert LIGHT is True


def test_to_ask_imports_no_framework():
    code = (
        "import sys, tensorkeep_onnx.harmless;"
        "assert not {'onnxruntime', 'tensorkeep_onnx.plugin'} & {*sys.modules};"
        "maps = open('/proc/self/maps').read() if sys.platform == 'linux' else '';"
        "assert 'onnxruntime' not in maps"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("path", ["digits/digits.onnx", "cards/cards.onnx", "flow/subgrid.onnx"])
def test_the_models_of_the_examples_are_harmless(path):
    assert why_isolated(CPU, (EXAMPLES / path).read_bytes()) == ""


def test_a_model_on_another_device_is_not():
    blob = (EXAMPLES / "digits/digits.onnx").read_bytes()
    spec = ModelSpec("ONNX", Device.parse("GPU"))
    assert why_isolated(spec, blob) == "the operators were tested on the CPU only"


def test_the_first_operator_that_is_not_listed_is_named():
    reason = why([("NonZero", ["x"], ["a"], {}), ("Relu", ["a"], ["y"], {})])
    assert reason == "NonZero: it is not on the list of operators known to be harmless"


@pytest.mark.parametrize(
    ("operator", "attributes", "constants"),
    [
        ("LayerNormalization", {}, {"c": floats(5)}),
        ("LayerNormalization", {"axis": 7}, {"c": floats(4)}),
        ("LayerNormalization", {"epsilon": float("nan")}, {"c": floats(4)}),
        ("GatherND", {}, {"c": np.array([[-9]], np.int64)}),
        ("DFT", {}, {"c": np.array(0, np.int64)}),
        ("Reshape", {}, {"c": np.array([-1, -1], np.int64)}),
        ("Reshape", {}, {"c": np.array([2**62, 2**62], np.int64)}),
        ("Resize", {}, {"c": floats(2)}),
        ("Tile", {}, {"c": np.array([2**40, 1], np.int64)}),
        ("Gather", {}, {"c": np.array([9], np.int64)}),
        # Ends the process where a client sends no rows.
        ("InstanceNormalization", {}, {"c": floats(4), "d": floats(4)}),
    ],
)
def test_odd_constants_and_attributes_are_isolated(operator, attributes, constants):
    assert why([(operator, ["x", *constants], ["y"], attributes)], constants=constants).startswith(
        f"{operator}: "
    )


@pytest.mark.parametrize("operator", ["Div", "Mod", "Pow"])
@pytest.mark.parametrize("dtype", [TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8])
def test_what_divides_whole_numbers_that_clients_send_is_isolated(operator, dtype):
    inputs = {"x": (dtype, ["n"]), "z": (dtype, ["n"])}
    reason = why([(operator, ["x", "z"], ["y"], {})], inputs)
    assert reason.startswith(f"{operator}: ")


def test_a_norm_with_an_input_that_has_no_name_is_isolated():
    """ONNX Runtime reads what is not there."""
    nodes = [("LayerNormalization", ["x", "c", ""], ["y"], {})]
    assert why(nodes, constants={"c": floats(4)}).startswith("LayerNormalization: ")
    assert why([("LayerNormalization", ["x", "c"], ["y"], {})], constants={"c": floats(4)}) == ""


@pytest.mark.parametrize("shape", [["n", 16, 3, "w"], ["n", 16, "h", 3]])
@pytest.mark.parametrize(
    "node",
    [
        ("GlobalMaxPool", ["x"], ["y"], {}),
        ("GlobalAveragePool", ["x"], ["y"], {}),
        ("MaxPool", ["x"], ["y"], {"kernel_shape": [2, 2]}),
        ("Conv", ["x", "c"], ["y"], {}),
    ],
)
def test_pictures_of_a_size_that_clients_choose_are_isolated(shape, node):
    """It may be 0, by which ONNX Runtime divides."""
    constants = {"c": floats(16, 16, 1, 1)} if node[0] == "Conv" else {}
    assert why([node], {"x": ["n", 16, 3, 3]}, constants) == ""
    assert (
        why([node], {"x": shape}, constants) == f"{node[0]}: it is given sizes that are not known"
    )


def test_division_of_floats_is_harmless():
    inputs = {"x": ["n", 4], "z": ["n", 4]}
    assert why([("Div", ["x", "z"], ["y"], {})], inputs) == ""


def test_a_shape_that_a_client_sends_is_isolated():
    inputs = {"x": ["n"], "z": (TensorProto.INT64, [2])}
    assert why([("Reshape", ["x", "z"], ["y"], {})], inputs).startswith("Reshape: ")


def test_what_grows_faster_than_its_input_is_isolated():
    turned = ("Transpose", ["x"], ["t"], {})
    reason = why([turned, ("MatMul", ["x", "t"], ["y"], {})])
    assert reason == "MatMul: it can get larger than the inputs times a number"
    reason = why([("Add", ["x", "z"], ["y"], {})], {"x": ["n", 1], "z": [1, "n"]})
    assert reason == "Add: it can get larger than the inputs times a number"


def test_what_doubles_over_and_over_is_isolated():
    names = [f"v{number}" for number in range(40)]
    nodes = [("Concat", [a, a], [b], {"axis": 1}) for a, b in pairwise(["x", *names, "y"])]
    assert why([*nodes[:5], ("Relu", ["v4"], ["y"], {})]) == ""
    assert why(nodes) == "Concat: a small input can fill the memory"
    nodes = [("Concat", [a, a], [b], {"axis": 0}) for a, b in pairwise(["c", *names, "y"])]
    assert why(nodes, constants={"c": floats(4)}) == "Concat: it computes with constants only"


def test_rows_that_may_or_may_not_be_as_many_are_harmless():
    inputs = {"x": ["n", 4], "z": ["m", 4]}
    nodes = [("Add", ["x", "z"], ["a"], {}), ("MatMul", ["a", "w"], ["y"], {})]
    assert why(nodes, inputs, {"w": floats(4, 9)}) == ""


def test_subgraphs_are_isolated(graphs):
    assert "not tested" in why_isolated(CPU, graphs.endless())


def test_functions_are_isolated():
    made = onnx.ModelProto.FromString(model([("Relu", ["x"], ["y"], {})]))
    calls = [helper.make_node("f", ["x"], ["y"], domain="own")]
    made.functions.append(
        helper.make_function("own", "f", ["x"], ["y"], calls, [helper.make_opsetid("own", 1)])
    )
    assert why_isolated(CPU, made.SerializeToString()) != ""


def test_operators_of_other_domains_are_isolated():
    made = onnx.ModelProto.FromString(model([("Relu", ["x"], ["y"], {})]))
    made.graph.node[0].domain = "com.microsoft"
    assert why_isolated(CPU, made.SerializeToString()) == "Relu is of the domain com.microsoft"


def test_weights_in_files_are_isolated():
    made = onnx.ModelProto.FromString(
        model([("Add", ["x", "c"], ["y"], {})], constants={"c": floats(4)})
    )
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    assert why_isolated(CPU, made.SerializeToString()) == "its weights lie in a file"
    assert why_isolated(CPU, b"PK\3\4") == "its weights lie in files of an archive"


@pytest.mark.parametrize("opset", [1, 10, 99])
def test_versions_of_the_operators_that_were_not_tested_are_isolated(opset):
    reason = why([("Relu", ["x"], ["y"], {})], opset=opset)
    assert reason == f"version {opset} of the operators was not tested"


def change(edit):
    made = onnx.ModelProto.FromString(
        model(
            [("Conv", ["x", "w"], ["a"], {"pads": [1, 1, 1, 1]}), ("Relu", ["a"], ["y"], {})],
            {"x": ["n", 1, 4, 4]},
            {"w": floats(2, 1, 3, 3)},
        )
    )
    edit(made)
    return why_isolated(CPU, made.SerializeToString())


def _dims(made, *dims):
    del made.graph.initializer[0].dims[:]
    made.graph.initializer[0].dims.extend(dims)


@pytest.mark.parametrize(
    "edit",
    [
        lambda made: _dims(made, 2, 1, 3, 4),
        lambda made: _dims(made, 2, 1, -3, -3),
        lambda made: _dims(made, 2, 1, 0, 3),
        lambda made: _dims(made, 2**40, 2**40, 3, 3),
        lambda made: setattr(made.graph.initializer[0], "raw_data", b"1234"),
        lambda made: setattr(made.graph.initializer[0], "data_type", TensorProto.STRING),
        lambda made: made.graph.node[0].attribute[0].ints.append(2**62),
        lambda made: made.graph.node[0].attribute[0].ints.__setitem__(0, -1),
        lambda made: made.graph.node[0].attribute[0].ints.__setitem__(0, 2**62),
        lambda made: setattr(made.graph.node[0].attribute[0], "type", 5),
        lambda made: made.graph.node[0].attribute.append(helper.make_attribute("group", 0)),
        lambda made: made.graph.node[0].attribute.append(
            helper.make_attribute("dilations", [0, 1])
        ),
        lambda made: made.graph.node[0].attribute.append(helper.make_attribute("strides", [0, 1])),
        lambda made: made.graph.node[0].attribute.append(helper.make_attribute("auto_pad", "UP")),
        lambda made: made.graph.node[0].output.append("more"),
        lambda made: made.graph.node[1].output.__setitem__(0, "a"),
        lambda made: made.graph.node.reverse(),
        lambda made: made.graph.node[1].input.__setitem__(0, "y"),
        lambda made: made.graph.initializer.append(made.graph.initializer[0]),
        lambda made: made.graph.input.append(_value("w", [2, 1, 3, 3])),
        lambda made: made.graph.input[0].type.tensor_type.shape.dim[1].__setattr__("dim_value", -1),
        lambda made: made.graph.input[0].type.tensor_type.ClearField("shape"),
        lambda made: made.graph.value_info.append(_value("a", ["n", 2, 9, 9])),
        lambda made: made.graph.value_info.append(_value("a", (TensorProto.INT64, None))),
        lambda made: setattr(made, "ir_version", 3),
        lambda made: made.ClearField("graph"),
        lambda made: made.ClearField("opset_import"),
        lambda made: made.opset_import.append(helper.make_opsetid("", 11)),
        lambda made: made.training_info.add(),
    ],
)
def test_what_is_not_written_as_exporters_write_it_is_isolated(edit):
    assert change(lambda made: None) == ""
    assert change(edit) != ""


@given(st.data())
def test_whatever_bytes_are_changed_there_is_an_answer(data):
    blob = bytearray(
        (EXAMPLES / "digits/digits.onnx").read_bytes()[: data.draw(st.integers(0, 999))]
    )
    for _ in range(data.draw(st.integers(0, 3))):
        if blob:
            blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(why_isolated(CPU, bytes(blob)), str)


@given(st.binary(max_size=200))
def test_what_is_no_model_is_isolated(blob):
    assert why_isolated(CPU, blob) != ""


@pytest.mark.parametrize("what", ["composed", "damaged"])
def test_what_is_called_harmless_ends_no_process(what, tmp_path):
    program = Path(__file__).with_name("attack_onnx.py")
    figures = tmp_path / "figures"
    command = [sys.executable, program, what, "--count", "60", "--seed", "suite", "--out", figures]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for name, found in json.loads(figures.read_text()).items():
        assert found["killers"] == [], name
        assert found["run"] > 5, name


def test_the_weights_of_a_large_model_are_not_looked_at():
    weights = {f"w{number}": np.zeros((2048, 2048), np.float32) for number in range(10)}
    names = ["x", *(f"v{number}" for number in range(9)), "y"]
    nodes = [
        ("MatMul", [a, w], [b], {}) for (a, b), w in zip(pairwise(names), weights, strict=True)
    ]
    blob = model(nodes, {"x": ["n", 2048]}, weights)
    began = time.process_time()
    assert why_isolated(CPU, blob) == ""
    assert time.process_time() - began < 0.5  # some 1 ms; to touch 160 MB takes longer


def test_a_model_of_many_nodes_is_harmless_and_of_too_many_is_not():
    def chain(count):
        names = ["x", *(f"v{number}" for number in range(count - 1)), "y"]
        return why([("Relu", [a], [b], {}) for a, b in pairwise(names)])

    assert chain(1_000) == ""
    assert chain(5_001) == "it has more than 5000 nodes"


def test_the_list_has_no_operator_whose_safety_hangs_on_values():
    assert not {"Mod", "GatherND", "DFT", "Resize", "NonZero", "Loop", "If", "Scan"} & {*HARMLESS}
