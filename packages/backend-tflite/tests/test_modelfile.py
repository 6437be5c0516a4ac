"""What is read of the format agrees with LiteRT's own description of it."""

import inspect
import re

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tensorkeep.tensor import DType
from tensorkeep_tflite import modelfile
from tensorkeep_tflite.flatbuffer import MalformedModel
from tensorkeep_tflite.modelfile import SLOTS, read_model
from tensorkeep_tflite.operands import FEWEST_INPUTS, OPTIONAL, RANKS, SAME_TYPE
from tensorkeep_tflite.operators import CALLS, COUNTS, LAST_KNOWN, SIZES, Op, name_of
from tensorkeep_tflite.tensors import BY_NUMBER

# The classes of options, and the fields that are looked at.
OPTIONS = {
    Op.IF: ("IfOptions", "ThenSubgraphIndex", "ElseSubgraphIndex"),
    Op.WHILE: ("WhileOptions", "CondSubgraphIndex", "BodySubgraphIndex"),
    Op.CALL_ONCE: ("CallOnceOptions", "InitSubgraphIndex"),
    Op.STABLEHLO_COMPOSITE: ("StableHLOCompositeOptions", "DecompositionSubgraphIndex"),
    Op.SPLIT: ("SplitOptions", "NumSplits"),
    Op.SPLIT_V: ("SplitVOptions", "NumSplits"),
    Op.UNPACK: ("UnpackOptions", "Num"),
    Op.CONV_2D: ("Conv2DOptions", "StrideW", "StrideH"),
    Op.DEPTHWISE_CONV_2D: ("DepthwiseConv2DOptions", "StrideW", "StrideH"),
    Op.TRANSPOSE_CONV: ("TransposeConvOptions", "StrideW", "StrideH"),
    Op.LOCAL_RESPONSE_NORMALIZATION: ("LocalResponseNormalizationOptions", "Radius"),
    Op.AVERAGE_POOL_2D: ("Pool2DOptions", "StrideW", "StrideH", "FilterWidth", "FilterHeight"),
    Op.L2_POOL_2D: ("Pool2DOptions", "StrideW", "StrideH", "FilterWidth", "FilterHeight"),
    Op.MAX_POOL_2D: ("Pool2DOptions", "StrideW", "StrideH", "FilterWidth", "FilterHeight"),
}


def slot(table, field):
    """Returns the slot of a field, and its default, as LiteRT's generated code has them."""
    adds = inspect.getsource(getattr(schema, f"{table}Add{field}"))
    number, default = re.search(r"Slot\((\d+), .*, (\S+)\)\n", adds).groups()
    return int(number), float(default)


def number_of(enum, name):
    return vars(getattr(schema, enum))[name]


@pytest.mark.parametrize("table", SLOTS)
def test_fields_have_the_slots_of_the_format(table):
    assert {field: slot(table, field)[0] for field in SLOTS[table]} == SLOTS[table]


@pytest.mark.parametrize("op", OPTIONS)
def test_options_have_the_slots_of_the_format(op):
    name, *fields = OPTIONS[op]
    found = (CALLS | COUNTS | SIZES)[op]
    union = "BuiltinOptions" if found.union == 1 else "BuiltinOptions2"

    assert found.kind == number_of(union, name)
    assert found.slots == tuple(slot(name, field)[0] for field in fields)
    assert {slot(name, field)[1] for field in fields} == {0}


def test_all_options_that_are_looked_at_are_among_those():
    assert (CALLS | COUNTS | SIZES).keys() == OPTIONS.keys()


def test_operators_have_the_codes_of_the_format():
    codes = {name: code for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}

    assert {op.name: op.value for op in Op}.items() <= codes.items()
    assert max(codes.values()) == LAST_KNOWN
    assert {*FEWEST_INPUTS, *OPTIONAL, *RANKS, *SAME_TYPE} <= {*codes.values()}


def test_types_have_the_numbers_of_the_format():
    names = {number: name for name, number in vars(schema.TensorType).items() if name.isupper()}
    ours = {"FLOAT32": "FLOAT", "FLOAT64": "DOUBLE"}

    assert {number: ours.get(names[number], names[number]) for number in BY_NUMBER} == {
        number: dtype.name for number, dtype in BY_NUMBER.items()
    }
    for name in ("INT32", "INT64", "STRING", "BOOL", "RESOURCE", "VARIANT"):
        assert getattr(modelfile, name) == number_of("TensorType", name)


def test_an_operator_that_has_no_name_here_is_called_by_its_code():
    assert name_of(Op.CONV_2D) == "CONV_2D"
    assert name_of(1234) == "code 1234"


# --------------------------------------------------------------------------- reading
def test_all_of_a_graph_is_read(graphs):
    graph = graphs.new().tensor("x", [1, 2], DType.INT8, scale=0.5).tensor("y", [1, 2])
    graph.constant("w", [[1, 2]], np.float32).tensor("s", [3], variable=True)
    graph.operator("MAX_POOL_2D", ["x", None], ["y"], kind="Pool2DOptions", strideW=2, strideH=-3)
    graph.last.intermediates = [3]

    found = read_model(graph.ends(["x"], ["y"]).blob)

    (main,) = found.subgraphs
    x, y, w, s = main.tensors
    assert (x.name, x.type, x.shape, x.buffer, x.variable) == ("x", 9, (1, 2), 0, False)
    assert (x.scales, x.zeros) == ((0.5,), (0,))
    assert (y.scales, s.variable, w.buffer) == ((), True, 1)
    (operator,) = main.operators
    assert (operator.code, operator.custom, operator.numbers) == (Op.MAX_POOL_2D, "", (2, -3, 0, 0))
    assert (operator.inputs, operator.outputs, operator.intermediates) == ((0, -1), (1,), (3,))
    assert (main.inputs, main.outputs) == ((0,), (1,))
    assert found.has_variables
    assert found.weights == 8
    assert [found.is_constant(each) for each in main.tensors] == [False, False, True, False]


def test_weights_behind_the_flatbuffer_are_found(graphs):
    graph = graphs.dense()
    graph.model.buffers[1].data = None
    graph.model.buffers[1].offset, graph.model.buffers[1].size = 5, 7

    assert read_model(graph.blob).buffers[1] == (5, 7)


def test_whatever_is_cut_off_or_damaged_reading_ends_with_an_answer_or_an_error(graphs):
    rng = np.random.default_rng(1)
    blob = graphs.counting().blob
    outcomes = set()
    for number in range(3000):
        damaged = bytearray(blob)
        for place in rng.integers(len(blob), size=rng.integers(1, 6)):
            damaged[place] = rng.integers(256)
        try:
            read_model(bytes(damaged[: rng.integers(8, len(blob))] if number % 3 == 0 else damaged))
            outcomes.add("read")
        except MalformedModel as error:
            outcomes.add(str(error))

    assert "read" in outcomes
    assert len(outcomes) > 3
