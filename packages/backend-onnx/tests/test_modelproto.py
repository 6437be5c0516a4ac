"""The walk over a model finds what it asks for, wherever the format allows it."""

import contextlib
import time

import numpy as np
import onnx
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from tensorkeep_onnx.modelproto import CHILDREN, survey, tiny_model
from tensorkeep_onnx.protobuf import MalformedModel


def test_the_way_to_tensors_and_nodes_is_the_one_of_the_format():
    # Everything below a model, from onnx's own description.
    messages, todo = {}, [onnx.ModelProto.DESCRIPTOR]
    while todo:
        message = todo.pop()
        if message.name not in messages:
            messages[message.name] = {
                field.number: field.message_type.name
                for field in message.fields
                if field.type == FieldDescriptor.TYPE_MESSAGE
            }
            todo += [each.message_type for each in message.fields if each.message_type]
    # Only what can hold a tensor or a node at some depth.
    leading = {"TensorProto", "NodeProto"}
    while True:
        more = {name for name, fields in messages.items() if leading & {*fields.values()}}
        if more <= leading:
            break
        leading |= more
    expected = {
        name: {number: child for number, child in messages[name].items() if child in leading}
        for name in leading
    }

    assert expected == CHILDREN


def test_the_numbers_of_the_fields_that_are_read_are_those_of_the_format():
    def number(message, field):
        return message.DESCRIPTOR.fields_by_name[field].number

    node = helper.make_node("Tile", [], [], domain="mine")
    assert number(onnx.NodeProto, "op_type") == 4
    assert number(onnx.NodeProto, "domain") == 7
    assert number(onnx.TensorProto, "data_location") == 14
    assert node.SerializeToString() == b"\x22\x04Tile\x3a\x04mine"


def test_the_tiny_model_is_one_that_onnx_accepts():
    model = onnx.load_from_string(tiny_model())

    onnx.checker.check_model(model, full_check=True)
    assert model.graph.node[0].op_type == "Add"
    assert not survey(tiny_model()).external
    assert survey(tiny_model()).steady


def test_a_message_of_another_kind_has_no_graph(graphs):
    assert survey(graphs.identity()).graph
    assert not survey(b"").graph
    assert not survey(onnx.OperatorSetIdProto(domain="d", version=1).SerializeToString()).graph


def test_weights_are_counted_wherever_they_are(graphs):
    constant = graphs.constant("c", np.zeros(1000))
    nodes = [graphs.node("Constant", [], ["y"], value=constant)]
    blob = graphs.model(nodes, [], [graphs.value("y")], [graphs.constant("w", np.zeros(500))])

    assert 1500 * 4 <= survey(blob).weights <= 1500 * 4 + 100
    assert survey(graphs.identity()).weights == 0


def inner(graphs):
    return helper.make_graph([graphs.node("Identity", ["x"], ["y"])], "inner", [], [])


@pytest.mark.parametrize("op", ["Loop", "If", "Scan", "SequenceMap", "ADecoderOfTomorrow"])
def test_an_operator_with_a_graph_of_its_own_is_not_steady(graphs, op):
    one = graphs.node(op, ["x"], ["y"], body=inner(graphs))
    many = graphs.node(op, ["x"], ["y"], bodies=[inner(graphs)])

    for node in (one, many):
        assert not survey(graphs.model([node], [], [])).steady


@pytest.mark.parametrize("op", ["Expand", "Range", "ConstantOfShape", "Tile"])
def test_an_operator_whose_output_is_as_large_as_a_value_says_is_not_steady(graphs, op):
    assert not survey(graphs.identity(op=op)).steady


def test_an_operator_that_is_not_known_is_not_steady(graphs):
    for domain in ("com.microsoft", "local"):
        node = graphs.node("Gelu", ["x"], ["y"], domain=domain)
        assert not survey(graphs.model([node], [], [])).steady


@pytest.mark.parametrize("op", ["MatMul", "Conv", "Softmax", "NonZero", "NonMaxSuppression"])
def test_other_operators_are_steady(graphs, op):
    assert survey(graphs.identity(op=op)).steady


def test_what_is_only_named_like_such_an_operator_is_steady(graphs):
    node = graphs.node("Add", ["Loop", "Expand"], ["Range"], name="Tile", doc_string="If")
    ml = graphs.node("Scaler", ["x"], ["y"], domain="ai.onnx.ml")

    assert survey(graphs.model([node, ml], [graphs.value("Loop")], [])).steady


@given(
    st.lists(st.floats(width=32)),
    st.lists(st.integers(-(2**63), 2**63 - 1)),
    st.lists(st.text()),
)
def test_lists_of_numbers_are_passed_over(floats, integers, texts):
    node = helper.make_node("Constant", [], ["y"], domain="d")
    node.attribute.add(name="all", floats=floats, ints=integers, strings=[*map(str.encode, texts)])
    tensor = onnx.TensorProto(name="w", data_location=onnx.TensorProto.EXTERNAL)
    node.attribute[0].tensors.append(tensor)
    blob = helper.make_model(helper.make_graph([node], "g", [], [])).SerializeToString()

    found = survey(blob)

    assert [blob[slice(*each.place)] for each in found.external] == [tensor.SerializeToString()]
    assert found.operators == {(b"d", b"Constant")}


def test_a_forest_of_trees_is_passed_over_quickly():
    count = 300_000
    node = helper.make_node("TreeEnsembleClassifier", ["x"], ["y"], domain="ai.onnx.ml")
    node.attribute.add(name="values", floats=[1.5] * count)
    node.attribute.add(name="nodes", ints=[*range(count)])
    blob = helper.make_model(helper.make_graph([node], "g", [], [])).SerializeToString()
    plain = helper.make_node("TreeEnsembleClassifier", ["x"], ["y"], domain="ai.onnx.ml")
    # Of 15,000 fields.
    fields = helper.make_model(helper.make_graph([plain] * 3000, "g", [], [])).SerializeToString()

    def least(blob):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            survey(blob)
            times.append(time.perf_counter() - start)
        return min(times)

    assert least(blob) < 10 * least(fields)  # 40 times as many, and one by one 40 times as long


@given(st.binary(max_size=200))
def test_bytes_that_mean_nothing_end_in_an_answer(blob):
    with contextlib.suppress(MalformedModel):
        assert survey(blob).weights >= 0


@given(st.data())
def test_whatever_protobuf_reads_with_external_data_is_found(data):
    tensor = onnx.TensorProto(name="w", data_location=onnx.TensorProto.EXTERNAL)
    constant = helper.make_node("Constant", [], ["y"], value=tensor)
    graph = helper.make_graph([constant], "graph", [], [], [tensor])
    blob = bytearray(helper.make_model(graph).SerializeToString())
    for _ in range(data.draw(st.integers(0, 4))):
        position = data.draw(st.integers(0, len(blob) - 1))
        blob[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    try:
        model = onnx.load_from_string(bytes(blob))
    except Exception:  # noqa: BLE001 - onnx.load may raise what protobuf raises: then nobody reads it
        return
    tensors = [*model.graph.initializer]
    tensors += [each.t for node in model.graph.node for each in node.attribute]
    if any(each.data_location for each in tensors):
        with contextlib.suppress(MalformedModel):  # refused all the same
            assert survey(bytes(blob)).external


def number(value, length):
    """Writes a number in more bytes than it needs, which every reader of protobuf takes."""
    parts = [value >> shift & 0x7F | 0x80 for shift in range(0, 7 * length, 7)]
    return bytes([*parts[:-1], parts[-1] & 0x7F])


def test_numbers_that_are_longer_than_they_need_to_be_hide_nothing():
    for location in (number(1, 10), number(1 + 2**32, 10), number(1 + 2**40, 6)):
        for tag in (b"\x70", number(0x70, 5), number(0x70 + 2**32, 5)):
            tensor = tag + location
            graph = number(5 << 3 | 2, 3) + number(len(tensor), 5) + tensor
            blob = number(7 << 3 | 2, 2) + number(len(graph), 4) + graph

            assert survey(blob).external


@pytest.mark.parametrize(
    "blob",
    [
        b"\x3a\x7f",  # longer than the file
        b"\x3a\x04\x2a\x08\x70\x01\x70\x01",  # longer than the message around it
        b"\x3b\x70\x01\x3c",  # a group
        b"\x3e",  # no wire type at all
        b"\x02\x00",  # field 0
        b"\x08" + b"\xff" * 11,  # a number without end
        b"\x08\x80",  # a number that is cut off
        b"\x09\x00",  # eight bytes that are one
        b"\x0d\x00",  # four bytes that are one
    ],
)
def test_what_protobuf_does_not_read_is_refused(blob):
    with pytest.raises(MalformedModel):
        survey(blob)
