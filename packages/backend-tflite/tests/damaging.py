"""Damages models at random and uses what is left of them; the suite runs it as a process."""

from math import prod

import numpy as np
from conftest import Graphs
from test_soundness import detection, lstm

from tensorkeep.config import BackendOptions
from tensorkeep.model import ModelSpec
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing import ModelExample
from tensorkeep.testing.damage import damage_and_use, damaged_bytes
from tensorkeep_tflite import plugin
from tensorkeep_tflite.flatbuffer import MalformedModel
from tensorkeep_tflite.modelfile import read_model

LARGEST = 2**20  # elements of a tensor that is still worth computing


def models():
    """Gives one model of each kind that is easily damaged."""
    graphs = Graphs()
    yield graphs.dense()
    yield graphs.counting()
    yield graphs.binary("ADD", dtype=DType.INT8, scale=0.5)
    yield lstm(graphs)
    yield detection(graphs)
    yield graphs.new().constant("s", [b"one", b"", b"two"]).ends([], ["s"])
    split = graphs.new().constant("axis", 1, "int32").tensor("x", [1, 2]).tensor("y").tensor("z")
    split.operator("SPLIT", ["axis", "x"], ["y", "z"], kind="SplitOptions", numSplits=2)
    yield split.ends(["x"], ["y", "z"])
    picture = graphs.new().tensor("x", [1, 4, 4, 1]).tensor("c", [1, 4, 4, 2])
    picture.constant("w", np.ones((2, 3, 3, 1))).constant("b", [1, 2]).tensor("y", [1, 2, 2, 2])
    ones = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
    picture.operator("CONV_2D", ["x", "w", "b"], ["c"], kind="Conv2DOptions", **ones)
    twos = dict.fromkeys(["strideW", "strideH", "filterWidth", "filterHeight"], 2)
    picture.operator("MAX_POOL_2D", ["c"], ["y"], kind="Pool2DOptions", **twos)
    yield picture.ends(["x"], ["y"])


def is_small(blob):
    """Returns whether a model that can be read has no tensor that would fill the memory."""
    try:
        tensors = [each for graph in read_model(blob).subgraphs for each in graph.tensors]
    except MalformedModel:
        return True
    return all(abs(prod(each.shape)) <= LARGEST for each in tensors)


def examples():
    """Gives them with zeros of their own types and shapes."""
    for graph in models():
        model = plugin.model_create(ModelSpec("TFLITE"), graph.blob, BackendOptions())
        dtypes = [dtype for dtype, _ in model.native.takes]
        whole = read_model(graph.blob).subgraphs[0]
        shapes = [tuple(max(size, 1) for size in whole.tensors[i].shape) for i in whole.inputs]
        inputs = [Tensor.zeros(dtype, shape) for dtype, shape in zip(dtypes, shapes, strict=True)]
        yield ModelExample(graph.blob, tuple(inputs))


def damaged(blob, draw):
    changed = damaged_bytes(blob, draw)
    return changed if is_small(changed) else None


if __name__ == "__main__":
    damage_and_use(plugin, "TFLITE", examples(), damaged)
