"""Damages models at random and uses what is left of them; whatever is wrong, this must not crash.

Run by test_damage.py as a process of its own: `python damaging.py SEED ROUNDS FILE`. What is about
to be used is written to FILE first, so that it is there when the process has died of it.
"""

import random
import sys
from math import prod
from pathlib import Path

import numpy as np
from conftest import Graphs
from test_soundness import detection, lstm

from tensorkeep.config import BackendOptions
from tensorkeep.device import CPU
from tensorkeep.errors import ModelRejected, RunFailed
from tensorkeep.hookspecs import RunContext
from tensorkeep.model import ModelSpec
from tensorkeep.tensor import DType, Tensor
from tensorkeep_tflite import plugin
from tensorkeep_tflite.flatbuffer import MalformedModel
from tensorkeep_tflite.modelfile import read_model

WORDS = (0, 1, 2, 3, 5, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
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


def damaged(blob, draw):
    """Returns a model of which something was changed or is missing."""
    kind = draw.randrange(4)
    if kind == 0:
        return blob[: draw.randrange(len(blob))]
    changed = bytearray(blob)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        place = draw.randrange(len(blob))
        if kind == 1:
            changed[place] ^= 1 << draw.randrange(8)
        elif kind == 2:
            changed[place] = draw.randrange(256)
        else:
            place -= place % 4
            word = draw.choice(WORDS) if draw.random() < 0.7 else draw.randrange(64)
            changed[place : place + 4] = word.to_bytes(4, "little")
    return bytes(changed)


def is_small(blob):
    """Returns whether a model that can be read has no tensor that would fill the memory."""
    try:
        tensors = [each for graph in read_model(blob).subgraphs for each in graph.tensors]
    except MalformedModel:
        return True
    return all(abs(prod(each.shape)) <= LARGEST for each in tensors)


def use(blob):
    """Creates a model and runs it with its own shapes; returns how far that went."""
    try:
        model = plugin.model_create(ModelSpec("TFLITE"), blob, BackendOptions())
    except ModelRejected:
        return "rejected"
    graph = read_model(blob).subgraphs[0]
    shapes = [tuple(max(size, 1) for size in graph.tensors[i].shape) for i in graph.inputs]
    dtypes = [dtype for dtype, _ in model.native.takes]
    inputs = [Tensor.zeros(dtype, shape) for dtype, shape in zip(dtypes, shapes, strict=True)]
    try:
        plugin.model_run(model, inputs, RunContext(CPU))
    except RunFailed:
        return "failed"
    return "run"


def main(seed, rounds, file):
    """Damages and uses every model so many times, and prints how often it went how far."""
    draw = random.Random(seed)
    outcomes = {"rejected": 0, "failed": 0, "run": 0}
    for graph in models():
        assert use(graph.blob) == "run", "a model that nobody damaged"
        for _ in range(int(rounds)):
            blob = damaged(graph.blob, draw)
            if is_small(blob):
                Path(file).write_bytes(blob)
                outcomes[use(blob)] += 1
    print(outcomes)


if __name__ == "__main__":
    main(*sys.argv[1:])
