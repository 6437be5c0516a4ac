"""Maps from class labels to probabilities, of which tensors are made."""

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

from tensorkeep.errors import RunFailed
from tensorkeep.tensor import DType
from tensorkeep_onnx.rewriting import rewritten
from tensorkeep_onnx.zipmap import find_zip_maps

WORDS = {"classlabels_strings": ["cat", "dog", "bee"]}
NUMBERS = {"classlabels_int64s": [7, -1, 300]}
ROWS = [[0.5, 0.25, 0.25], [0.125, 0.5, 0.375]]


def maps_of(key):
    floats = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    return helper.make_sequence_type_proto(helper.make_map_type_proto(key, floats))


@pytest.fixture
def classifier(graphs):
    """Makes a model as converters of scikit-learn do: `classifier(labels, shape, between)`."""

    def classifier(labels, shape=(None, 3), between=None):
        key = TensorProto.STRING if "classlabels_strings" in labels else TensorProto.INT64
        nodes = [graphs.node("Neg", ["x"], ["minus"])]
        if between is not None:
            scaling = {"domain": "ai.onnx.ml", "norm": "L1"}
            nodes.append(graphs.node("Normalizer", ["x"], [between], **scaling))
        given = [between or "x"]
        nodes.append(graphs.node("ZipMap", given, ["probability"], domain="ai.onnx.ml", **labels))
        outputs = [graphs.value("minus"), helper.make_value_info("probability", maps_of(key))]
        return graphs.model(nodes, [graphs.value("x", "float", shape)], outputs)

    return classifier


def asked_directly(blob, rows):
    session = onnxruntime.InferenceSession(blob, providers=["CPUExecutionProvider"])
    return session.run(["probability"], {"x": np.array(rows, np.float32)})[0]


@pytest.mark.parametrize("labels", [WORDS, NUMBERS])
def test_probabilities_are_rows_in_the_order_of_the_labels(classifier, load, run, labels):
    blob = classifier(labels)
    model = load(blob)

    minus, found = run(model, ROWS)

    assert model.outputs == ("minus", "probability")
    assert (found.dtype, found.shape) == (DType.FLOAT, (2, 3))
    (order,) = labels.values()
    maps = asked_directly(blob, ROWS)
    assert found.numpy().tolist() == [[row[label] for label in order] for row in maps]
    assert minus.shape == (2, 3)


def test_they_are_found_wherever_they_come_from(classifier, load, run):
    for blob in (classifier(WORDS, between="p"), classifier(WORDS, None, between="p")):
        assert run(load(blob), ROWS)[1].numpy().tolist() == ROWS


def test_the_model_declares_that_there_may_be_any_number_of_rows(classifier):
    blob = classifier(NUMBERS, None, between="p")
    edited = b"".join(rewritten(blob, find_zip_maps(blob).edits))

    output = onnxruntime.InferenceSession(edited).get_outputs()[1]

    assert (output.name, output.type, output.shape) == ("probability", "tensor(float)", [None, 3])


@pytest.mark.parametrize("count", [1, 2, 200])
def test_any_number_of_classes_is_counted(classifier, load, run, count):
    for labels in (
        {"classlabels_strings": [f"label {number}" for number in range(count)]},
        {"classlabels_int64s": [number * 1000 - 5 for number in range(count)]},
    ):
        given = np.random.default_rng(0).random((4, count), np.float32)
        blob = classifier(labels, (None, count))
        assert np.array_equal(run(load(blob), given)[1].numpy(), given)


def test_one_row_without_a_second_axis_is_one_row(classifier, load, run):
    assert len(asked_directly(classifier(WORDS, (3,)), ROWS[0])) == 1
    for shape in ((3,), None):
        assert run(load(classifier(WORDS, shape)), ROWS[0])[1].numpy().tolist() == ROWS[:1]


def test_no_rows_are_no_rows(classifier, load, run):
    assert run(load(classifier(WORDS)), np.zeros((0, 3), np.float32))[1].shape == (0, 3)


def test_another_number_of_columns_than_labels_is_an_error_that_names_the_output(
    classifier, load, run
):
    blob = classifier(WORDS, None)
    with pytest.raises(Exception, match="classlabels"):
        asked_directly(blob, [[0.5, 0.5]])

    with pytest.raises(RunFailed, match="probability must have 3 columns, one for each class"):
        run(load(blob), [[0.5, 0.5]])


def test_beside_an_output_of_bfloat16_it_works_as_well(graphs, load, run):
    nodes = [
        graphs.node("ZipMap", ["x"], ["probability"], domain="ai.onnx.ml", **NUMBERS),
        graphs.node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16),
    ]
    outputs = [
        helper.make_value_info("probability", maps_of(TensorProto.INT64)),
        graphs.value("y", "bfloat16"),
    ]
    blob = graphs.model(nodes, [graphs.value("x", "float", [None, 3])], outputs)

    assert run(load(blob), ROWS)[0].numpy().tolist() == ROWS


def test_of_a_large_model_it_works_as_well(classifier, load, run, monkeypatch):
    monkeypatch.setattr("tensorkeep_onnx.model._COPIED", 0)

    assert run(load(classifier(WORDS)), ROWS)[1].numpy().tolist() == ROWS


def test_a_map_that_another_operator_takes_is_left_alone(graphs, classifier):
    model = ModelProto.FromString(classifier(WORDS))
    taking = graphs.node("SequenceLength", ["probability"], ["count"])
    model.graph.node.append(taking)

    assert find_zip_maps(model.SerializeToString()).classes == {}


def test_an_operator_of_that_name_elsewhere_is_left_alone(classifier):
    model = ModelProto.FromString(classifier(WORDS))
    model.graph.node[-1].domain = "local"

    assert find_zip_maps(model.SerializeToString()).classes == {}
