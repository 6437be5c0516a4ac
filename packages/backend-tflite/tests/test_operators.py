"""Operators that LiteRT has, each with the values that it gives when it is called directly."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tensorkeep.errors import ModelRejected
from tensorkeep.tensor import DType


def test_a_gate_of_a_recurrent_operator_may_be_left_out(graphs, load, run):
    for without in ((), (1, 5, 12)):
        assert len(run(load(graphs.lstm(without=without)), [[1, 2, 3]])[0].values()) == 4


def test_the_operator_that_finds_objects_is_taken(graphs, load, run):
    model = load(graphs.detection())
    scores = [[[0, 0.9, 0], [0, 0.8, 0], [0, 0, 0.7]]]

    _, what, sure, many = run(model, [[[0, 0, 0, 0]] * 3], scores)

    assert many.values() == [2]
    assert what.values() == [0, 1]
    assert sure.values() == pytest.approx([0.9, 0.7])
    assert not model.steady


def test_a_subgraph_may_be_called_once_to_initialise(graphs, load, run):
    graph = graphs.unary().operator(
        "CALL_ONCE", [], [], kind="CallOnceOptions", initSubgraphIndex=1
    )
    graph.subgraph()

    assert run(load(graph), [[1, 4, 9]])[0].values() == [1, 2, 3]


def variable(graph):
    """Adds what stands for a variable, `v`."""
    graph.tensor("v", [], schema.TensorType.RESOURCE)
    return graph.operator("VAR_HANDLE", [], ["v"], kind="VarHandleOptions", sharedName="v")


def test_variables_keep_their_values_from_one_run_to_the_next(graphs, load, run):
    graph = graphs.new().operator("CALL_ONCE", [], [], kind="CallOnceOptions", initSubgraphIndex=1)
    variable(graph).tensor("x", [1]).tensor("old", [1]).tensor("new", [1])
    graph.operator("READ_VARIABLE", ["v"], ["old"])
    graph.operator("ADD", ["old", "x"], ["new"], kind="AddOptions")
    graph.operator("ASSIGN_VARIABLE", ["v", "new"], []).ends(["x"], ["new"])
    variable(graph.subgraph()).constant("start", [10.0])
    graph.operator("ASSIGN_VARIABLE", ["v", "start"], []).ends([], [])
    model = load(graph)

    assert [run(model, [2.0])[0].values() for _ in range(2)] == [[12], [14]]
    assert not model.steady


def test_sparse_weights_are_taken(graphs, load, run):
    graph = graphs.new().tensor("x", [1, 2]).tensor("y", [1, 2]).tensor("w", [2, 2])
    graph.constant("sparse", [5.0, 7.0])
    sparse = graph["sparse"]
    sparse.shape, sparse.sparsity = [2, 2], schema.SparsityParametersT()
    sparse.sparsity.traversalOrder = [0, 1]
    rows, columns = schema.DimensionMetadataT(), schema.DimensionMetadataT()
    rows.format, rows.denseSize = schema.DimensionType.DENSE, 2
    columns.format = schema.DimensionType.SPARSE_CSR
    for name, values in (("arraySegments", [0, 1, 2]), ("arrayIndices", [1, 0])):
        vector = schema.Int32VectorT()
        vector.values = values
        setattr(columns, f"{name}Type", schema.SparseIndexVector.Int32Vector)
        setattr(columns, name, vector)
    sparse.sparsity.dimMetadata = [rows, columns]
    graph.operator("DENSIFY", ["sparse"], ["w"], kind="DensifyOptions")
    graph.operator("FULLY_CONNECTED", ["x", "w", None], ["y"], kind="FullyConnectedOptions")

    # The weights are [[0, 5], [7, 0]].
    assert run(load(graph.ends(["x"], ["y"])), [[1, 2]])[0].values() == [10, 7]


def test_sequences_of_lengths_that_a_run_gives_are_reversed(graphs, load, run):
    graph = graphs.new().tensor("x", [2, 3]).tensor("n", [2], DType.INT32).tensor("y", [2, 3])
    options = {"kind": "ReverseSequenceOptions", "seqDim": 1, "batchDim": 0}
    graph.operator("REVERSE_SEQUENCE", ["x", "n"], ["y"], **options).ends(["x", "n"], ["y"])

    found = run(load(graph), [[1, 2, 3], [4, 5, 6]], np.array([2, 3], np.int32))

    assert found[0].values() == [2, 1, 3, 6, 5, 4]


@pytest.mark.parametrize(("op", "expected"), [("DIV", [-3, 2]), ("FLOOR_DIV", [-4, 2])])
def test_integers_are_divided_by_what_a_run_gives(graphs, load, run, op, expected):
    graph = graphs.new()
    for name in "aby":
        graph.tensor(name, [1, 2], DType.INT32)
    graph.operator(op, ["a", "b"], ["y"]).ends(["a", "b"], ["y"])
    given = (np.array([[-7, 4]], np.int32), np.array([[2, 2]], np.int32))

    assert run(load(graph), *given)[0].values() == expected


def test_random_numbers_are_drawn(graphs, load, run):
    graph = graphs.new().tensor("shape", [1], DType.INT32).tensor("y", [1])
    graph.operator("RANDOM_UNIFORM", ["shape"], ["y"], kind="RandomOptions", seed=1, seed2=2)
    model = load(graph.ends(["shape"], ["y"]))

    (found,) = run(model, np.array([100], np.int32))

    assert found.shape == (100,)
    assert 0 <= min(found.values()) < max(found.values()) < 1
    assert not model.steady


def test_the_sum_of_weighted_embeddings_is_looked_up(graphs, load, run):
    graph = graphs.new().tensor("ids", [3], DType.INT32)
    graph.constant("at", [[0, 0], [0, 1], [1, 0]], np.int32)
    graph.constant("size", [2, 2], np.int32)
    graph.constant("weights", [1.0, 2.0, 3.0]).constant("table", [[1, 2], [10, 20], [100, 200]])
    graph.tensor("y", [2, 2])
    inputs = ["ids", "at", "size", "weights", "table"]
    graph.operator("EMBEDDING_LOOKUP_SPARSE", inputs, ["y"], kind="EmbeddingLookupSparseOptions")

    found = run(load(graph.ends(["ids"], ["y"])), np.array([0, 1, 2], np.int32))

    assert found[0].values() == [21, 42, 300, 600]


# --------------------------------------------------------------------------- what there is not
def test_operators_of_tensorflow_are_refused_in_litert_words(graphs, load):
    with pytest.raises(ModelRejected, match=r"^Failed to allocate tensors: Select TensorFlow op"):
        load(graphs.unary("FlexMatrixInverse"))


def test_custom_operators_are_named(graphs, load):
    with pytest.raises(ModelRejected, match=r"unresolved custom op: MyOwn\."):
        load(graphs.unary("MyOwn"))
