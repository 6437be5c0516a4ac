"""What TFLITE files say of axis 0."""

from tensorkeep.batch_axis import POSSIBLE, BatchAxis


def signed(graph, *sizes):
    """Says which sizes of the last tensor may be any."""
    graph.model.subgraphs[-1].tensors[-1].shapeSignature = [*sizes]
    return graph


def test_one_row_may_stand_for_any_number_of_them(graphs, load):
    assert load(graphs.dense()).batch_axis == POSSIBLE
    assert load(graphs.unary(shape=(1, 3))).batch_axis == POSSIBLE


def test_several_rows_are_fixed_unless_the_file_says_that_they_may_be_any(graphs, load):
    found = load(graphs.unary(shape=(3, 2))).batch_axis
    assert found.reason == "input 'x' is [3, 2], of a fixed first size"
    graph = signed(graphs.new().tensor("x", (3, 2)), -1, 2)
    graph = signed(graph.tensor("y", (3, 2)), -1, 2)
    assert load(graph.operator("SQRT", ["x"], ["y"]).ends(["x"], ["y"])).batch_axis == POSSIBLE


def test_one_row_is_fixed_where_the_file_says_so(graphs, load):
    graph = signed(graphs.new().tensor("x", (1, 2)), 1, -1)
    graph = graph.tensor("y", (1, 2)).operator("SQRT", ["x"], ["y"]).ends(["x"], ["y"])
    assert load(graph).batch_axis.reason == "input 'x' is [1, ?], of a fixed first size"


def test_weights_that_are_returned_are_no_batch(graphs, load):
    graph = graphs.new().tensor("x", (1, 2)).constant("w", [[1.0, 2.0]]).tensor("y", (1, 2))
    graph = graph.operator("ADD", ["x", "w"], ["y"]).ends(["x"], ["y", "w"])
    assert load(graph).batch_axis == BatchAxis.none("output 'w' is the same for any batch")


def test_what_values_decide_is_no_batch(graphs, load):
    found = load(graphs.counting()).batch_axis
    assert found == BatchAxis.none("values may decide sizes in it")
