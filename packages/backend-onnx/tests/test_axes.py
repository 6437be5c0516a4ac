"""What ONNX files say of axis 0, and what of it is believed."""

import numpy as np
import pytest
from onnx import helper

from tensorkeep.batch_axis import DECLARED, POSSIBLE, AxisKind


@pytest.fixture
def axis(graphs, load):
    """Returns what is known of axis 0 of a model of nodes, from `x` to `y`."""

    def axis(nodes, x=("n", 3), y=("n", 3), constants=(), dtype="float", **more):
        inputs = [graphs.value("x", shape=x)]
        inputs += [graphs.value(name, shape=shape) for name, shape in more.items()]
        outputs = [graphs.value("y", dtype, y)]
        return load(graphs.model(nodes, inputs, outputs, constants)).batch_axis

    return axis


def branches(helper_node, *names):
    """Returns graphs of one node each, for an If."""
    return {
        name: helper.make_graph(
            [helper_node(op, ["x"], [f"{name}_y"])],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}_y", 1, None)],
        )
        for name, op in zip(("then_branch", "else_branch"), names, strict=True)
    }


def test_one_symbol_in_front_is_a_declaration_where_no_value_decides(graphs, axis):
    assert axis([graphs.node("Relu", ["x"], ["y"])]) == DECLARED


def test_other_symbols_and_none_are_possible(graphs, axis):
    relu = [graphs.node("Relu", ["x"], ["y"])]
    assert axis(relu, ("x_dynamic_axes_1", 3), ("y_dynamic_axes_1", 3)) == POSSIBLE
    assert axis(relu, (None, 3), (None, 3)) == POSSIBLE
    assert axis(relu, None, None) == POSSIBLE


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        ((2, 3), (2, 3), "input 'x' is [2, 3], of a fixed first size"),
        ((), (), "input 'x' has no axes"),
    ],
)
def test_fixed_first_sizes_are_no_batch(graphs, axis, x, y, reason):
    assert axis([graphs.node("Relu", ["x"], ["y"])], x, y).reason == reason


def test_a_transposed_output_is_no_batch(graphs, axis):
    found = axis([graphs.node("Transpose", ["x"], ["y"])], ("n", "m"), ("m", "n"))
    assert found.reason == "output 'y' begins with m, which is another axis of an input"


def test_labels_are_no_batch(graphs, load):
    nodes = [graphs.node("Relu", ["x"], ["y"]), graphs.node("Identity", ["c"], ["labels"])]
    outputs = [graphs.value("y", shape=("n", 3)), graphs.value("labels", shape=(2,))]
    model = graphs.model(
        nodes, [graphs.value("x", shape=("n", 3))], outputs, [graphs.constant("c", [1, 2])]
    )
    assert load(model).batch_axis.reason == "output 'labels' is [2], of a fixed first size"


@pytest.mark.parametrize("declared", ["n", None])
@pytest.mark.parametrize("op", ["NonZero", "Unique", "Compress"])
def test_rows_that_values_count_are_no_batch_whatever_is_declared(graphs, axis, declared, op):
    inputs = ["x", "b"] if op == "Compress" else ["x"]
    dtype = "int64" if op == "NonZero" else "float"
    nodes = [
        graphs.node("Greater", ["x", "x"], ["g"]),
        graphs.node("Reshape", ["g", "minus"], ["b"]),
        graphs.node(op, inputs, ["y"]),
    ]
    minus = graphs.constant("minus", [-1], np.int64)
    found = axis(nodes, (declared, 1), (declared,), [minus], dtype)
    assert found.reason == f"its operator {op} returns as many rows as values say"


def test_sizes_that_values_decide_leave_a_declaration_alone_and_nothing_possible(graphs, axis):
    nodes = [
        graphs.node("Cast", ["s"], ["sizes"], to=7),
        graphs.node("Reshape", ["x", "sizes"], ["y"]),
    ]
    assert axis(nodes, s=("n",)) == DECLARED
    found = axis(nodes, y=(None, 3), s=(None,))
    assert found.reason == "values decide sizes in its operator Reshape"


def test_sizes_that_follow_from_shapes_and_constants_are_possible(graphs, axis):
    nodes = [
        graphs.node("Shape", ["x"], ["shape"]),
        graphs.node("Gather", ["shape", "zero"], ["n"]),
        graphs.node("Concat", ["n", "three"], ["sizes"], axis=0),
        graphs.node("Reshape", ["x", "sizes"], ["r"]),
        graphs.node("ReduceMean", ["r", "one"], ["y"]),
    ]
    constants = [
        graphs.constant(name, [value], np.int64)
        for name, value in (("zero", 0), ("three", 3), ("one", 1))
    ]
    assert axis(nodes, (None, 3), (None, 1), constants) == POSSIBLE


def test_a_branch_by_values_is_no_batch_and_one_by_shapes_is(graphs, axis):
    by_values = [
        graphs.node("ReduceSum", ["x"], ["sum"], keepdims=0),
        graphs.node("Cast", ["sum"], ["c"], to=9),
        graphs.node("If", ["c"], ["y"], **branches(graphs.node, "Relu", "Neg")),
    ]
    assert axis(by_values).reason == ("its operator If decides by values what to do for all rows")
    by_shapes = [
        graphs.node("Size", ["x"], ["size"]),
        graphs.node("Greater", ["size", "few"], ["c"]),
        graphs.node("If", ["c"], ["y"], **branches(graphs.node, "Relu", "Neg")),
    ]
    few = [graphs.constant("few", 5, np.int64)]
    assert axis(by_shapes, constants=few) == DECLARED
    assert axis(by_shapes, (None, 3), (None, 3), few) == POSSIBLE


def test_what_is_hidden_in_a_branch_is_found(graphs, axis):
    nodes = [
        graphs.node("Size", ["x"], ["size"]),
        graphs.node("Greater", ["size", "few"], ["c"]),
        graphs.node("If", ["c"], ["y"], **branches(graphs.node, "Relu", "Unique")),
    ]
    found = axis(nodes, ("n",), ("n",), [graphs.constant("few", 5, np.int64)])
    assert found.reason == "its operator Unique returns as many rows as values say"


@pytest.mark.parametrize(("go_on", "known"), [("going", True), ("more", False)])
def test_a_loop_is_followed_where_shapes_say_how_often_it_is_run(graphs, axis, go_on, known):
    body = helper.make_graph(
        [
            graphs.node("Neg", ["value"], ["next"]),
            graphs.node("ReduceSum", ["value"], ["sum"], keepdims=0),
            graphs.node("Cast", ["sum"], ["more"], to=9),
            graphs.node("Identity", [go_on], ["go"]),
        ],
        "body",
        [
            graphs.value("turn", "int64", []),
            graphs.value("going", "bool", []),
            graphs.value("value"),
        ],
        [graphs.value("go", "bool", []), graphs.value("next")],
    )
    nodes = [
        graphs.node("Size", ["x"], ["turns"]),
        graphs.node("Loop", ["turns", "", "x"], ["y"], body=body),
    ]
    found = axis(nodes)
    assert (found == DECLARED) is known
    assert known or "Loop decides by values" in found.reason


def test_operators_of_others_leave_a_declaration_alone_and_nothing_possible(graphs, axis):
    nodes = [graphs.node("Gelu", ["x"], ["y"], domain="com.microsoft")]
    assert axis(nodes) == DECLARED
    found = axis(nodes, (None, 3), (None, 3))
    assert found.reason == "its operator com.microsoft.Gelu is not known"
    assert found.kind is AxisKind.NONE


def test_outputs_that_are_no_tensors_are_optional(graphs, load):
    nodes = [graphs.node("Relu", ["x"], ["y"]), graphs.node("SequenceConstruct", ["x"], ["s"])]
    outputs = [graphs.value("y", shape=("n", 3)), graphs.sequence("s")]
    model = load(graphs.model(nodes, [graphs.value("x", shape=("n", 3))], outputs))
    assert model.optional_outputs == (1,)
