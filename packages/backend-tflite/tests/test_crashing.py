"""Models with which LiteRT 2.3 ends its process cost an error each, and nothing else.

LiteRT checks that a model is a whole flatbuffer, and takes much of what its graph says for granted.
"""

import numpy as np
import pytest

from tensorkeep.errors import WorkerDied
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing.isolated_plugin import isolated_plugin
from tensorkeep.testing.subject import Subject

ROW = np.ones((1, 3), np.float32)


# What ends the process, as a model and inputs of it.
def subgraph_that_calls_itself(graphs):
    graph = graphs.new()
    options = {"kind": "IfOptions", "thenSubgraphIndex": 1, "elseSubgraphIndex": 1}
    graph.tensor("c", [], DType.BOOL).tensor("x").tensor("y")
    graph.operator("IF", ["c", "x"], ["y"], **options).ends(["c", "x"], ["y"])
    graph.subgraph().tensor("x").constant("c", 1, bool).tensor("y")
    graph.operator("IF", ["c", "x"], ["y"], **options).ends(["x"], ["y"])
    return graph, np.array(True), ROW[0, :1]


def part_of_a_gate(graphs):
    return graphs.lstm(without=(12,)), ROW


def more_outputs_than_there_are(graphs):
    graph = graphs.new().constant("axis", 1, "int32").tensor("x", [1, 2]).tensor("y").tensor("z")
    options = {"kind": "SplitOptions", "numSplits": 2000}
    graph.operator("SPLIT", ["axis", "x"], ["y", "z"], **options)
    return graph.ends(["x"], ["y", "z"]), ROW[:, :2]


def quantised_numbers_without_a_scale(graphs):
    given = np.ones((1, 3), np.int8)
    return graphs.binary("ADD", dtype=DType.INT8), given, given


def fewer_random_numbers_than_none(graphs):
    graph = graphs.new().tensor("shape", [1], DType.INT32).tensor("y", [1])
    graph.operator("RANDOM_UNIFORM", ["shape"], ["y"], kind="RandomOptions")
    return graph.ends(["shape"], ["y"]), np.array([-3], np.int32)


@pytest.mark.parametrize(
    "make",
    [
        subgraph_that_calls_itself,
        part_of_a_gate,
        more_outputs_than_there_are,
        quantised_numbers_without_a_scale,
        fewer_random_numbers_than_none,
    ],
)
def test_a_model_that_ends_its_worker_costs_one_error(graphs, make):
    subject = Subject(isolated_plugin("TFLITE"), "TFLITE", "CPU")

    def use(graph, *given):
        with subject.loaded(graph.blob, (), ()) as model:
            return subject.run(model, [Tensor.from_numpy(each) for each in given])

    with pytest.raises(WorkerDied):
        use(*make(graphs))

    assert use(graphs.unary(), ROW * 4)[0].values() == [2, 2, 2]
