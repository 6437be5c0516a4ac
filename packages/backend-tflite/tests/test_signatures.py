"""Models with several signatures, each of a subgraph of its own: the one that is chosen is run."""

import numpy as np
import pytest

from tensorkeep.errors import ModelRejected, RunFailed
from tensorkeep.tensor import DType, Tensor


@pytest.fixture
def several(graphs):
    """A model that takes the root of `x`, or multiplies rows of `a` with weights and adds `b`."""
    weights = np.array([[2, 0], [0, 3]], np.float32)
    graph = graphs.unary()
    graph.subgraph().tensor("b", [1, 2]).tensor("a", [1, 2]).constant("w", weights)
    graph.tensor("rows", [1, 2]).tensor("sum", [1, 2])
    graph.operator("FULLY_CONNECTED", ["a", "w", None], ["rows"], kind="FullyConnectedOptions")
    graph.operator("ADD", ["rows", "b"], ["sum"], kind="AddOptions")
    graph.ends(["b", "a"], ["sum", "rows"])
    graph.signature({"x": "x"}, {"y": "root"}, "root")
    graph.signature({"a": "rows", "b": "more"}, {"sum": "all", "rows": "part"}, "mix", 1)
    return graph


def test_without_a_choice_the_first_subgraph_is_run(several, load, run):
    model = load(several)

    assert (model.inputs, model.outputs) == (("x",), ("root",))
    assert run(model, [[4, 9, 1]])[0].values() == [2, 3, 1]


def test_a_signature_is_chosen_by_its_name(several, load, run):
    model = load(several, signature="mix")

    assert (model.inputs, model.outputs) == (("more", "rows"), ("all", "part"))
    for _ in range(2):
        all_, part = run(model, [[10, 20]], [[1, 2]])
        assert (all_.values(), part.values()) == ([12, 26], [2, 6])
    all_, _ = run(model, [[0, 0], [1, 1]], [[1, 2], [3, 4]])  # of another shape
    assert all_.shape == (2, 2)
    assert all_.values() == [2, 6, 7, 13]


def test_the_first_subgraph_may_be_chosen_too(several, load, run):
    assert run(load(several, signature="root"), [[4, 9, 1]])[0].values() == [2, 3, 1]


def test_what_a_run_takes_is_checked_against_the_signature_that_was_chosen(several, load, run):
    model = load(several, signature="mix")

    with pytest.raises(RunFailed, match="Inconsistent number of inputs"):
        run(model, [[1, 2]])
    with pytest.raises(RunFailed, match="Input tensor type doesn't match"):
        run(model, [[1, 2]], np.array([[1, 2]]))


def test_large_tensors_come_back_as_well(graphs, load, run):
    graph = graphs.unary()
    graph.subgraph().tensor("x", [1, 2]).tensor("y", [1, 2])
    graph.operator("SQRT", ["x"], ["y"]).ends(["x"], ["y"])
    model = load(graph.signature({"x": "x"}, {"y": "y"}, "other", 1), signature="other")
    given = np.arange(2**18, dtype=np.float32).reshape(-1, 2)

    for _ in range(3):  # from the second run on it is known to be large
        (found,) = run(model, given)
        assert np.allclose(found.numpy(), np.sqrt(given))


def test_a_signature_that_is_not_there_is_refused_with_those_that_are(several, graphs, load):
    with pytest.raises(ModelRejected) as caught:
        load(several, signature="none")
    assert str(caught.value) == 'The model has no signature "none" (signatures: mix, root)'

    with pytest.raises(ModelRejected, match=r"\(signatures: none\)"):
        load(graphs.unary(), signature="serving_default")


def test_a_signature_of_a_subgraph_that_is_not_there_is_refused(several, load):
    several.model.signatureDefs[1].subgraphIndex = 7

    with pytest.raises(ModelRejected, match="no signature"):
        load(several, signature="mix")


# ------------------------------------------------------------------ outputs without rows
@pytest.fixture
def finding(graphs):
    """A model that returns where `x` is true, and what is in `v` there; twice."""
    graph = graphs.new()
    for number in range(2):
        graph = graph.subgraph() if number else graph
        graph.tensor("x", [1], DType.BOOL).tensor("v", [1, 2]).tensor("at", [1, 1], DType.INT64)
        graph.tensor("index", [1], DType.INT64).tensor("found", [1, 2])
        graph.operator("WHERE", ["x"], ["at"])
        graph.constant("flat", [-1], np.int32)
        graph.operator("RESHAPE", ["at", "flat"], ["index"])
        graph.operator("GATHER", ["v", "index"], ["found"], kind="GatherOptions")
        graph.ends(["x", "v"], ["at", "found"])
    return graph.signature({"x": "x", "v": "v"}, {"at": "at", "found": "found"}, "second", 1)


@pytest.mark.parametrize("signature", ["", "second"])
def test_outputs_without_rows_are_empty_tensors(finding, load, run, signature):
    model = load(finding, signature=signature)
    values = np.arange(6, dtype=np.float32).reshape(3, 2)

    for truths in ([True, False, True], [False] * 3, [False, True, False], [False] * 3):
        at, found = run(model, np.array(truths), values)
        rows = np.flatnonzero(truths)
        assert (at.dtype, at.shape) == (DType.INT64, (len(rows), 1))
        assert at.values() == rows.tolist()
        assert found == Tensor.from_numpy(values[rows])
