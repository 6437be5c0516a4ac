"""Damages models at random and uses what is left of them in workers; the suite runs this."""

import numpy as np
from conftest import Graphs

from tensorkeep.backends import Backends
from tensorkeep.config import BackendOptions
from tensorkeep.isolation import WorkerOptions
from tensorkeep.model import ModelSpec
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing import ModelExample
from tensorkeep.testing.damage import damage_and_use, damaged_bytes
from tensorkeep_tflite import plugin

damaged = damaged_bytes  # there are no parts of the format that would be damaged one by one


def models():
    """Gives one model of each kind that is easily damaged."""
    graphs = Graphs()
    yield graphs.dense()
    yield graphs.counting()
    yield graphs.binary("ADD", dtype=DType.INT8, scale=0.5)
    yield graphs.lstm()
    yield graphs.detection()
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


def examples():
    """Gives them with zeros of their own types and shapes."""
    for graph in models():
        model = plugin.model_create(ModelSpec("TFLITE"), graph.blob, BackendOptions())
        dtypes = [dtype for dtype, _ in model.native.takes]
        first = graph.model.subgraphs[0]
        shapes = [tuple(max(size, 1) for size in first.tensors[i].shape) for i in first.inputs]
        inputs = [Tensor.zeros(dtype, shape) for dtype, shape in zip(dtypes, shapes, strict=True)]
        yield ModelExample(graph.blob, tuple(inputs))


if __name__ == "__main__":
    workers = Backends().start_workers(WorkerOptions(load_timeout=5))
    try:
        damage_and_use(workers.plugin("TFLITE"), "TFLITE", examples(), damaged)
    finally:
        workers.close()
