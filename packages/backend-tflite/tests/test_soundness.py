"""What LiteRT takes for granted of a graph is checked before it sees one."""

import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from tensorkeep.tensor import DType
from tensorkeep_tflite.modelfile import read_model
from tensorkeep_tflite.operators import DETECTION
from tensorkeep_tflite.soundness import UnsoundModel, check


@pytest.fixture
def fault():
    """Returns why a graph is refused; nothing when it is not."""

    def fault(graph):
        blob = graph.blob
        try:
            check(read_model(blob), blob)
        except UnsoundModel as error:
            return str(error)
        return ""

    return fault


# --------------------------------------------------------------------------- the graph
def test_graphs_that_make_sense_are_taken(graphs, fault):
    for graph in (
        graphs.dense(),
        graphs.unary(),
        graphs.binary(),
        graphs.identity(DType.STRING),
        graphs.counting(),
        graphs.new().constant("w", [1, 2]).ends([], ["w"]),
        graphs.new().constant("s", [b"one", b"", b"two"]).ends([], ["s"]),
    ):
        assert not fault(graph)


@pytest.mark.parametrize("part", ["subgraphs", "buffers"])
def test_a_model_without_a_graph_is_refused(graphs, fault, part):
    graph = graphs.dense()
    setattr(graph.model, part, [])

    assert fault(graph) == "there is no graph in it"


def test_weights_behind_the_end_of_the_model_are_refused(graphs, fault):
    graph = graphs.dense()
    graph.model.buffers[1].data = None
    graph.model.buffers[1].offset, graph.model.buffers[1].size = 100, 2**40

    assert fault(graph) == "weights lie behind the end of the model"


@pytest.mark.parametrize("part", ["inputs", "outputs"])
@pytest.mark.parametrize("index", [-1, 3, 2**31 - 1])
def test_inputs_and_outputs_must_be_tensors_that_exist(graphs, fault, part, index):
    graph = graphs.dense()
    setattr(graph.model.subgraphs[0], part, [index])

    assert fault(graph) == f"an {part[:-1]} is a tensor that does not exist"


def test_an_input_that_is_a_constant_or_given_twice_is_refused(graphs, fault):
    # Setting it would write into the stored model.
    for inputs in (["w"], ["x", "x"]):
        graph = graphs.dense().ends(inputs, ["y"])
        assert fault(graph) == "an input is a constant or given twice"


def test_an_output_that_is_never_computed_is_refused(graphs, fault):
    graph = graphs.dense().tensor("z").ends(["x"], ["z"])

    assert fault(graph) == "an output is never computed"


def test_operators_must_stand_in_the_order_in_which_they_run(graphs, fault):
    graph = graphs.new()
    for name in "xyz":
        graph.tensor(name)
    graph.operator("SQRT", ["y"], ["z"]).operator("SQRT", ["x"], ["y"]).ends(["x"], ["z"])

    assert fault(graph) == "operator 0 (SQRT) takes a tensor that is not computed before"


@pytest.mark.parametrize("output", ["x", "w", "y"])
def test_nothing_may_be_computed_into_a_tensor_that_has_values(graphs, fault, output):
    graph = graphs.dense().operator("SQRT", ["y"], ["y"])
    graph.last.outputs = [[each.name for each in graph.model.subgraphs[0].tensors].index(output)]

    assert fault(graph) == "operator 1 (SQRT) computes a tensor that has values already"


@pytest.mark.parametrize("part", ["inputs", "outputs", "intermediates"])
def test_operands_must_be_tensors_that_exist(graphs, fault, part):
    graph = graphs.unary()
    setattr(graph.last, part, [7])

    assert fault(graph).endswith("is a tensor that does not exist")


def test_a_tensor_whose_buffer_does_not_exist_is_refused(graphs, fault):
    graph = graphs.dense()
    graph["w"].buffer = 9

    assert fault(graph) == "a tensor has a buffer that the model does not have"


def test_sparse_weights_are_refused(graphs, fault):
    # LiteRT does not check where their values are said to belong.
    graph = graphs.dense()
    graph["w"].sparsity = schema.SparsityParametersT()

    assert fault(graph) == "sparse weights are not supported"


def test_a_constant_without_values_is_no_constant_unless_it_needs_none(graphs, fault):
    graph = graphs.dense()
    graph["w"].buffer = 0
    assert "is not computed before" in fault(graph)

    empty = graphs.new().tensor("x", [1]).tensor("y", []).tensor("shape", [0], DType.INT32)
    assert not fault(empty.operator("RESHAPE", ["x", "shape"], ["y"]).ends(["x"], ["y"]))


@pytest.mark.parametrize("word", range(5))
def test_strings_must_lie_within_their_buffer(graphs, fault, word):
    graph = graphs.new().constant("s", [b"one", b"", b"two"]).ends([], ["s"])
    graph.model.buffers[1].data[4 * word] += 40

    assert fault(graph) == "strings are not whole"


def test_there_must_be_as_many_strings_as_elements(graphs, fault):
    graph = graphs.new().constant("s", [b"one", b"two"]).ends([], ["s"])
    graph["s"].shape = [3]

    assert fault(graph) == "strings are not whole"


# --------------------------------------------------------------------------- subgraphs
def test_a_subgraph_may_be_called_once_to_initialise(graphs, fault, load, run):
    graph = graphs.unary().operator(
        "CALL_ONCE", [], [], kind="CallOnceOptions", initSubgraphIndex=1
    )
    graph.subgraph()

    assert not fault(graph)
    assert run(load(graph), [[1, 4, 9]])[0].values() == [1, 2, 3]


def test_a_subgraph_that_calls_itself_is_refused(graphs, fault):
    graph = graphs.counting()
    graph.model.subgraphs[0].operators[0].builtinOptions.bodySubgraphIndex = 0
    graph.model.subgraphs[0].operators[0].builtinOptions.condSubgraphIndex = 0
    assert fault(graph) == "WHILE calls a subgraph that does not fit it"

    looped = graphs.new().tensor("c", [], DType.BOOL).tensor("x").tensor("y")
    looped.operator(
        "IF", ["c", "x"], ["y"], kind="IfOptions", thenSubgraphIndex=1, elseSubgraphIndex=1
    ).ends(["c", "x"], ["y"])
    looped.subgraph().tensor("x").constant("c", 1, bool).tensor("y")
    looped.operator(
        "IF", ["c", "x"], ["y"], kind="IfOptions", thenSubgraphIndex=1, elseSubgraphIndex=1
    ).ends(["x"], ["y"])
    assert fault(looped) == "a subgraph calls itself"


def test_a_subgraph_that_does_not_exist_is_refused(graphs, fault):
    graph = graphs.counting()
    graph.model.subgraphs[0].operators[0].builtinOptions.bodySubgraphIndex = 3

    assert fault(graph) == "WHILE calls a subgraph that does not exist"


def test_a_condition_must_be_a_condition(graphs, fault):
    graph = graphs.counting()
    first = graph.model.subgraphs[0].operators[0].builtinOptions
    first.condSubgraphIndex, first.bodySubgraphIndex = 2, 1

    assert fault(graph) == "WHILE calls a subgraph that does not fit it"


def test_a_composite_must_have_the_types_of_its_decomposition(graphs, fault):
    def composite(dtype):
        options = {"name": "my.own", "decompositionSubgraphIndex": 1, "kind": "StableHLOComposite"}
        options["kind"] += "Options"
        graph = graphs.unary("STABLEHLO_COMPOSITE", **options)
        graph.subgraph().tensor("x", dtype=dtype).tensor("y", dtype=dtype)
        return graph.operator("ABS", ["x"], ["y"]).ends(["x"], ["y"])

    assert not fault(composite(DType.FLOAT))
    assert fault(composite(DType.INT32)) == (
        "STABLEHLO_COMPOSITE calls a subgraph that does not fit it"
    )


def test_what_is_wrong_in_a_subgraph_says_in_which(graphs, fault):
    graph = graphs.counting()
    graph["next"].type = schema.TensorType.FLOAT32

    assert fault(graph) == "operator 0 of subgraph 2 (ADD) returns another type than it takes"


# --------------------------------------------------------------------------- operators
@pytest.mark.parametrize("op", ["VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"])
def test_variables_are_refused(graphs, fault, op):
    assert fault(graphs.unary(op)).endswith(
        "keeps a variable from one run to the next, which is not supported"
    )


@pytest.mark.parametrize("code", [schema.BuiltinOperator.STABLEHLO_SCATTER, 210, 1000])
def test_operators_that_are_not_safe_or_not_known_are_refused(graphs, fault, code):
    graph = graphs.unary()
    graph.model.operatorCodes[0].builtinCode = code
    graph.model.operatorCodes[0].deprecatedBuiltinCode = 127

    assert "is not supported: " in fault(graph)


def test_options_that_name_subgraphs_outputs_or_sizes_must_be_there(graphs, fault):
    for op in ("IF", "WHILE", "SPLIT", "CONV_2D", "MAX_POOL_2D"):
        graph = graphs.unary(op)
        graph.last.inputs = [0] * 3
        assert fault(graph) == f"operator 0 ({op}) lacks its options"
        graph.last.builtinOptionsType = schema.BuiltinOptions.AddOptions
        graph.last.builtinOptions = schema.AddOptionsT()
        assert fault(graph) == f"operator 0 ({op}) lacks its options"


@pytest.mark.parametrize("splits", [0, 1, 3, -1])
def test_a_split_must_have_as_many_outputs_as_it_says(graphs, fault, splits):
    graph = graphs.new().constant("axis", 1, "int32").tensor("x", [1, 2]).tensor("y").tensor("z")
    options = {"kind": "SplitOptions", "numSplits": splits}
    graph.operator("SPLIT", ["axis", "x"], ["y", "z"], **options).ends(["x"], ["y", "z"])

    assert "another number of outputs than its options say" in fault(graph)
    graph.last.builtinOptions.numSplits = 2
    assert not fault(graph)


@pytest.mark.parametrize("size", [0, -1, -(2**31), 2**31 - 1])
@pytest.mark.parametrize("option", ["strideW", "strideH", "filterWidth", "filterHeight"])
def test_windows_and_strides_must_make_sense(graphs, fault, option, size):
    options = dict.fromkeys(["strideW", "strideH", "filterWidth", "filterHeight"], 1)
    graph = graphs.unary("MAX_POOL_2D", (1, 2, 2, 1), kind="Pool2DOptions", **options)
    assert not fault(graph)

    setattr(graph.last.builtinOptions, option, size)

    assert fault(graph) == (
        "operator 0 (MAX_POOL_2D) has a size among its options that makes no sense"
    )


def test_an_operator_needs_its_inputs(graphs, fault):
    graph = graphs.binary()
    graph.last.inputs = [0]

    assert fault(graph) == "operator 0 (ADD) has too few inputs"


def test_only_what_can_be_left_out_may_be(graphs, fault):
    assert not fault(graphs.dense())
    graph = graphs.dense()
    graph.last.inputs = [-1, 2, -1]
    assert fault(graph) == (
        "what operator 0 (FULLY_CONNECTED) takes is a tensor that does not exist"
    )


def lstm(graphs, *, without=()):
    """Makes a model with the operator LSTM, whose 24 inputs are all there but some."""
    graph = graphs.new().tensor("x", [1, 3]).tensor("y", [1, 4])
    names = ["x"]
    for position in range(1, 24):
        if position in {1, 2, 3, 4}:
            graph.constant(f"{position}", [[0.1] * 3] * 4)
        elif position in {5, 6, 7, 8}:
            graph.constant(f"{position}", [[0.1] * 4] * 4)
        elif position in {12, 13, 14, 15}:
            graph.constant(f"{position}", [0.1] * 4)
        elif position in {18, 19}:
            graph.tensor(f"{position}", [1, 4], variable=True)
        else:
            names.append(None)
            continue
        names.append(None if position in without else f"{position}")
    return graph.operator("LSTM", names, ["y"], kind="LSTMOptions", fusedActivationFunction=4).ends(
        ["x"], ["y"]
    )


def test_a_gate_is_left_out_as_a_whole_or_not_at_all(graphs, fault, load, run):
    assert not fault(lstm(graphs))
    assert not fault(lstm(graphs, without=(1, 5, 12)))
    assert "that does not exist" in fault(lstm(graphs, without=(12,)))
    assert len(run(load(lstm(graphs, without=(1, 5, 12))), [[1, 2, 3]])[0].values()) == 4


def test_operators_return_the_type_that_they_take(graphs, fault):
    graph = graphs.unary()
    graph["y"].type = schema.TensorType.INT64

    assert fault(graph) == "operator 0 (SQRT) returns another type than it takes"


def test_strings_are_returned_only_by_operators_that_can(graphs, fault):
    for op in ("SOFTMAX", "CAST", "IF"):
        graph = graphs.unary(op)
        if op == "IF":
            graph = graphs.new().tensor("c", [], DType.BOOL).tensor("y", dtype=DType.STRING)
            options = {"kind": "IfOptions", "thenSubgraphIndex": 1, "elseSubgraphIndex": 1}
            graph.operator("IF", ["c"], ["y"], **options).ends(["c"], ["y"])
        graph["y"].type = schema.TensorType.STRING
        assert fault(graph) == f"operator 0 ({op}) can return nothing but numbers"


def test_weights_must_have_as_many_axes_as_their_operator_reads(graphs, fault):
    graph = graphs.dense()
    graph["w"].shape = [4]

    assert fault(graph) == "operator 0 (FULLY_CONNECTED) takes a tensor of 1 axes instead of 2"


def test_weights_that_are_unpacked_keep_their_shape(graphs, fault):
    graph = graphs.new().constant("w", [[1, 2]], "float16").tensor("y", [2, 1])
    graph.operator("DEQUANTIZE", ["w"], ["y"]).ends([], ["y"])

    assert fault(graph) == "operator 0 (DEQUANTIZE) returns another shape than it takes"
    graph["y"].shape = [1, 2]
    assert not fault(graph)


def test_arithmetic_takes_no_tensor_without_elements(graphs, fault):
    graph = graphs.binary("ADD", (0,))

    assert fault(graph) == "operator 0 (ADD) takes a tensor without elements"


@pytest.mark.parametrize("op", ["DIV", "FLOOR_DIV", "FLOOR_MOD"])
def test_integers_are_divided_only_by_constants_that_cannot_end_the_process(graphs, fault, op):
    def divided(values, dtype):
        graph = graphs.new().tensor("a", [1, 2], dtype).tensor("y", [1, 2], dtype)
        if values is None:
            graph.tensor("b", [1, 2], dtype)
        else:
            graph.constant("b", [values], dtype.numpy)
        inputs = ["a"] if values else ["a", "b"]
        return graph.operator(op, ["a", "b"], ["y"]).ends(inputs, ["y"])

    for dtype in (DType.INT32, DType.INT64):
        assert not fault(divided([2, -3], dtype))
        for values in (None, [1, 0], [-1, 1]):
            assert "divides integers by 0, -1 or what" in fault(divided(values, dtype))
    assert not fault(divided(None, DType.FLOAT))


# --------------------------------------------------------------------------- quantised
@pytest.mark.parametrize("scale", [0, -1, 1e-38, 1e38, float("inf"), float("nan")])
def test_a_scale_must_make_sense(graphs, fault, scale):
    assert not fault(graphs.unary("RELU", dtype=DType.INT8))
    graph = graphs.binary("MUL", dtype=DType.INT8, scale=0.5)
    graph["y"].quantization.scale = [scale]

    assert fault(graph) == "a tensor has a scale that makes no sense"


@pytest.mark.parametrize(
    ("dtype", "zero"),
    [(DType.INT8, 128), (DType.INT8, -129), (DType.UINT8, -1), (DType.INT16, 2**40)],
)
def test_a_zero_must_be_a_value_of_its_type(graphs, fault, dtype, zero):
    graph = graphs.binary("MUL", dtype=dtype, scale=0.5)
    graph["a"].quantization.zeroPoint = [zero]

    assert fault(graph) == "a tensor has a zero that its type cannot hold"


def test_channels_have_as_many_zeros_as_scales(graphs, fault):
    graph = graphs.unary("CAST", dtype=DType.INT8)
    graph["x"].quantization = schema.QuantizationParametersT()
    graph["x"].quantization.scale = [1, 0, 2]  # a channel of zeros has no scale
    graph["x"].quantization.zeroPoint = [0, 0]

    assert fault(graph) == "a tensor has another number of zeros than of scales"
    graph["x"].quantization.zeroPoint = [0, 0, 0]
    assert not fault(graph)


@pytest.mark.parametrize("op", ["ADD", "SUB"])
def test_quantised_arithmetic_needs_scales(graphs, fault, op):
    assert not fault(graphs.binary(op, dtype=DType.INT8, scale=0.5))
    assert not fault(graphs.binary(op, dtype=DType.INT32))

    assert "of a scale that it cannot have" in fault(graphs.binary(op, dtype=DType.INT8))


def test_quantised_sums_must_not_be_much_finer_than_what_is_added(graphs, fault):
    graph = graphs.binary("ADD", dtype=DType.INT16, scale=1.0)
    graph["y"].quantization.scale = [2.0**-13]
    assert not fault(graph)

    graph["y"].quantization.scale = [2.0**-14]

    assert fault(graph) == (
        "operator 0 (ADD) takes or returns elements of a scale that it cannot have"
    )


# --------------------------------------------------------------------------- detection
def detection(graphs, **changed):
    """Makes a model with the operator that picks objects out of boxes."""
    settings = {
        "max_detections": 2,
        "max_classes_per_detection": 1,
        "num_classes": 2,
        "nms_score_threshold": 0.0,
        "nms_iou_threshold": 0.5,
        "y_scale": 10.0,
        "x_scale": 10.0,
        "h_scale": 5.0,
        "w_scale": 5.0,
    } | changed
    builder = flexbuffers.Builder()
    with builder.Map():
        for name, value in settings.items():
            if value is not None:
                builder.Key(name)
                (builder.Float if isinstance(value, float) else builder.Int)(value)
    graph = graphs.new().tensor("boxes", [1, 3, 4]).tensor("scores", [1, 3, 3])
    graph.constant("anchors", [[0.5, 0.5, 1, 1], [0.5, 0.5, 1.1, 1.1], [9, 9, 1, 1]])
    graph.tensor("where", [1, 2, 4]).tensor("what", [1, 2]).tensor("sure", [1, 2]).tensor("many")
    outputs = ["where", "what", "sure", "many"]
    inputs = ["boxes", "scores", "anchors"]
    graph.operator(DETECTION, inputs, outputs, settings=bytes(builder.Finish()))
    return graph.ends(inputs[:2], outputs)


def test_the_operator_that_finds_objects_is_taken(graphs, load, run):
    model = load(detection(graphs))
    scores = [[[0, 0.9, 0], [0, 0.8, 0], [0, 0, 0.7]]]

    _, what, sure, many = run(model, [[[0, 0, 0, 0]] * 3], scores)

    assert many.values() == [2]
    assert what.values() == [0, 1]
    assert sure.values() == pytest.approx([0.9, 0.7])
    assert not model.steady


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"num_classes": None}, "lacks its options"),
        ({"num_classes": 0}, "has a num_classes that makes no sense"),
        ({"max_detections": 10**9}, "has a max_detections that makes no sense"),
        ({"y_scale": 0.0}, "has a y_scale that makes no sense"),
        ({"w_scale": float("nan")}, "has a w_scale that makes no sense"),
        ({"detections_per_class": -1}, "has a detections_per_class that makes no sense"),
    ],
)
def test_what_that_operator_is_told_must_make_sense(graphs, fault, changed, text):
    assert fault(detection(graphs, **changed)) == f"operator 0 (CUSTOM) {text}"


def test_options_of_that_operator_that_are_not_whole_are_refused(graphs, fault):
    graph = detection(graphs)
    whole = graph.last.customOptions
    for length in range(len(whole)):
        graph.last.customOptions = whole[:length]
        assert fault(graph), length
