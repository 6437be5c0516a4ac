"""What is no graph, or names what is not in it, is refused with a text that can be read."""

import numpy as np
import pytest

from tensorkeep.errors import ModelRejected, RunFailed
from tensorkeep_tf.framework import tf

v1 = tf.compat.v1


@pytest.fixture
def refusal(load):
    def refusal(blob, inputs="x", outputs="y"):
        with pytest.raises(ModelRejected) as caught:
            load(blob, inputs, outputs)
        return str(caught.value)

    return refusal


@pytest.mark.parametrize("blob", [b"this is no graph", bytes(64), b"\xff" * 64, b"\x0a\x05x"])
def test_bytes_that_are_no_graph_are_refused(refusal, blob):
    assert refusal(blob) == "Invalid GraphDef"


OTHER_KINDS = {
    "nothing": b"",
    "ONNX": bytes.fromhex("0807") + b"\x42\x02\x10\x0d" + b"\x3a\x05\x12\x03abc",
    "a SavedModel's graph alone": b"\x08\x01\x12\x06\x0a\x04\x22\x02ab",
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(40),
    "TFLITE": b"\x1c\0\0\0TFL3" + bytes(24),
    "gzip": b"\x1f\x8b\x08\0" + bytes(16),
    "a pickle": b"\x80\x04\x95\x01\0\0\0\0\0\0\0N.",
    "an empty archive": b"PK\x05\x06" + bytes(18),
    "an archive cut short": b"PK\x03\x04" + bytes(26),
    "text": b'{"class_name": "Functional"}',
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_file_of_another_kind_is_an_invalid_graph(refusal, kind):
    assert "Invalid GraphDef" in refusal(OTHER_KINDS[kind])


def test_a_graph_that_was_cut_short_anywhere_is_refused(graphs, refusal):
    blob = graphs.product()

    for length in range(len(blob) - 10):  # behind it stand only versions
        assert refusal(blob[:length], "a b", "mul")


def test_an_input_that_is_no_placeholder_of_the_graph_is_refused(graphs, refusal):
    blob = graphs.product()

    for name in ("c", "mul", "mul:0", "a:1", "a:", ":0", ""):
        assert refusal(blob, f"a {name or '?'}", "mul") == (
            f'ERR Input node named "{name or "?"}" not found in TF graph.'
        )


@pytest.mark.parametrize(("inputs", "outputs"), [("a:0 b", "mul:0"), ("a b:0", "mul")])
def test_tensors_may_be_named_as_saved_model_cli_prints_them(graphs, load, run, inputs, outputs):
    model = load(graphs.product(), inputs, outputs)

    assert (model.inputs, model.outputs) == (tuple(inputs.split()), tuple(outputs.split()))
    assert run(model, [2], [3])[0].values() == [6]


def test_of_a_node_with_several_tensors_each_can_be_an_output(graphs, load, run):
    blob = graphs.graph(lambda: tf.unstack(graphs.given(shape=[3]), name="parts"))

    found = run(load(blob, "x", "parts:2 parts parts:1"), [1, 2, 3])

    assert [each.values() for each in found] == [[3], [1], [2]]


def test_an_output_that_its_node_does_not_have_is_refused(graphs, refusal):
    assert refusal(graphs.product(), "a b", "mul:1") == 'Output node "mul:1" gives no tensor'


def test_an_output_that_is_not_in_the_graph_is_refused(graphs, refusal):
    assert refusal(graphs.product(), "a b", "mul none") == (
        'ERR Output node named "none" not found in TF graph'
    )


def test_a_wrong_input_is_told_before_a_wrong_output(graphs, refusal):
    assert "Input node" in refusal(graphs.product(), "c", "none")


def test_a_graph_without_names_is_refused(graphs, refusal):
    assert refusal(graphs.product(), "", "") == (
        "A GraphDef needs the names of its inputs and outputs"
    )


def test_inputs_that_are_not_named_are_missing_when_the_graph_is_run(graphs, load, run):
    model = load(graphs.product(), "a", "mul")

    with pytest.raises(RunFailed, match="You must feed a value for placeholder tensor 'b'"):
        run(model, [1])


def test_an_input_that_the_outputs_do_not_need_is_taken(graphs, load, run):
    blob = graphs.graph(lambda: (graphs.given("x"), tf.negative(graphs.given("z"), name="y")))

    assert run(load(blob, "x z"), [1], [2])[0].values() == [-2]


@pytest.mark.parametrize("resource", [False, True])
def test_variables_that_were_not_frozen_are_refused(graphs, refusal, resource):
    def make():
        w = v1.Variable(2.0, name="weight", use_resource=resource)
        tf.multiply(graphs.given(), w, name="y")

    assert refusal(graphs.graph(make)).startswith('Variable "weight" was not frozen')


def test_an_output_may_be_asked_for_twice_but_no_input_given_twice(graphs, load, run, refusal):
    model = load(graphs.identity(), "x", "y y")

    assert model.outputs == ("y", "y")
    assert [each.values() for each in run(model, [1])] == [[1], [1]]
    assert "x" in refusal(graphs.identity(), "x x", "y")


def test_variables_that_the_outputs_do_not_need_are_cut_off(graphs, load, run):
    def make():
        v1.Variable(2.0)
        tf.negative(graphs.given(), name="y")

    assert run(load(graphs.graph(make)), [1])[0].values() == [-1]


def test_a_node_that_gives_no_tensor_is_no_output(graphs, refusal):
    blob = graphs.graph(lambda: (graphs.given(), tf.no_op("y")))

    assert refusal(blob) == 'Output node "y" gives no tensor'


def test_an_operator_that_is_not_known_is_refused_without_the_machines_name(graphs, refusal):
    definition = graphs.define(lambda: tf.identity(graphs.given(), name="y"))
    definition.node[1].op = "NoSuchOp"

    assert refusal(definition.SerializeToString()) == "Op type not registered 'NoSuchOp'"


@pytest.mark.parametrize("length", [4, 12])
def test_a_constant_of_too_few_or_too_many_values_is_refused(graphs, refusal, length):
    graph = graphs.define(lambda: tf.add(graphs.given(), [2.0, 3.0], name="y"))
    node = next(each for each in graph.node if each.name == "y/y")
    node.attr["value"].tensor.tensor_content = bytes(length)

    assert "Cannot parse tensor from proto" in refusal(graph.SerializeToString())


def test_a_graph_that_makes_no_sense_is_refused(graphs, refusal):
    definition = graphs.define(lambda: tf.identity(graphs.given(), name="y"))
    definition.node[1].input.append("x")

    assert "input" in refusal(definition.SerializeToString())


@pytest.mark.parametrize("gone", ["x", "weights"])
def test_a_graph_that_lacks_a_node_is_refused(graphs, refusal, gone):
    definition = graphs.define(
        lambda: tf.add(graphs.given(), tf.constant(1.0, name="weights"), name="y")
    )
    kept = [node for node in definition.node if node.name != gone]
    del definition.node[:]
    definition.node.extend(kept)

    assert f'"{gone}"' in refusal(definition.SerializeToString())


def test_the_name_of_a_node_may_be_any_text(graphs, load, run):
    definition = graphs.define(lambda: tf.negative(graphs.given(), name="a/b.c-d_1"))

    assert run(load(definition.SerializeToString(), "x", "a/b.c-d_1"), [1])[0].values() == [-1]


def test_a_graph_that_lacks_a_function_is_refused(graphs, refusal):
    definition = graphs.define(
        lambda: tf.identity(tf.function(tf.negative)(graphs.given()), name="y")
    )
    del definition.library.function[:]

    assert "is needed and not in the graph" in refusal(definition.SerializeToString())


def test_shapes_that_differ_from_the_declared_ones_are_tensorflows_business(graphs, load, run):
    blob = graphs.graph(lambda: tf.negative(graphs.given(shape=[1, 2]), name="y"))

    assert run(load(blob), [1, 2, 3])[0].values() == [-1, -2, -3]


def test_shapes_that_do_not_fit_fail_with_tensorflows_text(graphs, load, run):
    model = load(graphs.product(), "a b", "mul")

    with pytest.raises(RunFailed) as caught:
        run(model, np.ones(2, np.float32), np.ones((2, 2, 3), np.float32))

    # The server makes a blank of the newline, and clients look for just that.
    assert str(caught.value) == "Incompatible shapes: [2] vs. [2,2,3]\n\t [[{{node mul}}]]"
    assert run(model, [2], [3])[0].values() == [6]


def test_a_wrong_type_fails_with_tensorflows_text(graphs, load, run):
    model = load(graphs.product(), "a b", "mul")

    with pytest.raises(RunFailed, match=r"Type mismatch: actual int8 vs\. expect float"):
        run(model, np.array([1], np.int8), [1])


def test_a_wrong_number_of_inputs_is_told(graphs, load, run):
    with pytest.raises(RunFailed, match="Expected 2 inputs but got 1"):
        run(load(graphs.product(), "a b", "mul"), [1])


def test_where_a_graph_was_trained_does_not_matter(graphs, load, run):
    def make():
        with tf.device("/job:worker/replica:3/device:GPU:7"):
            x = graphs.given()
        with v1.colocate_with(x):
            tf.negative(x, name="y")

    assert run(load(graphs.graph(make)), [1])[0].values() == [-1]


def test_nothing_is_printed_about_graphs_that_fail(graphs, load, run, refusal, capfd):
    refusal(b"this is no graph")
    with pytest.raises(RunFailed):
        run(load(graphs.fill(), "size"), np.array([-1], np.int64))
    with pytest.raises(RunFailed):
        run(load(graphs.fill(), "size"), np.array([2**50], np.int64))

    assert capfd.readouterr() == ("", "")
