"""Damages models at random and uses what is left of them in workers; the suite runs this."""

import tempfile
from pathlib import Path

import numpy as np
from conftest import Affine, Graphs, zipped

from tensorkeep.backends import Backends
from tensorkeep.isolation import WorkerOptions
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing import ModelExample
from tensorkeep.testing.damage import (
    damage_and_use,
    damage_message,
    damaged_archive,
    damaged_bytes,
)
from tensorkeep_tf.framework import SavedModelProto, tf

DIGITS = Path(__file__).parents[3] / "examples" / "digits" / "digits.pb"
OPERATORS = sorted(name for name in dir(tf.raw_ops) if name[0].isupper())


def examples():
    """Gives one model of each kind that is easily damaged."""
    graphs = Graphs()
    picture = Tensor.from_numpy(np.load(DIGITS.with_name("heldout.npz"))["images"][:1, ..., None])
    image = Tensor.from_numpy(picture.numpy().reshape(1, 8, 8, 1).astype(np.float32) / 16)
    numbers = Tensor.from_values(DType.FLOAT, (2, 2), [1, 2, 3, 4])
    words = Tensor.from_values(DType.STRING, (2,), ["one", "zwö"])
    named = {"input_names": ("x",), "output_names": ("y",)}

    def counting():
        x = graphs.given(shape=[2, 2])
        _, y = tf.while_loop(
            lambda turn, _: turn < 3,
            lambda turn, value: (turn + 1, tf.matmul(value, value)),
            [tf.constant(0), x],
        )
        tf.identity(tf.reduce_sum(tf.transpose(y), axis=[0], keepdims=True), name="y")

    def joining():
        # Not split: a few of TensorFlow's kernels believe every number, that for ragged rows too.
        x = graphs.given(dtype="string")
        joined = tf.strings.join([tf.strings.upper(x), x], separator="-")
        tf.reshape(tf.strings.substr(joined, 1, 4), [-1, 1], name="y")

    yield ModelExample(
        DIGITS.read_bytes(),
        (image,),
        input_names=("images",),
        output_names=("probabilities",),
    )
    yield ModelExample(graphs.graph(counting), (numbers,), **named)
    yield ModelExample(graphs.graph(joining), (words,), **named)
    with tempfile.TemporaryDirectory() as folder:
        module = Affine()
        tf.saved_model.save(module, folder, signatures={"serving_default": module.serve})
        yield ModelExample(zipped(folder), (Tensor.from_values(DType.FLOAT, (2,), [1, 2]),))


def damaged(blob, draw):
    if draw.random() < 0.1:
        return damaged_bytes(blob, draw)
    if blob.startswith(b"PK"):
        return damaged_archive(blob, draw, damaged_member)
    return changed(tf.compat.v1.GraphDef, blob, draw)


def damaged_member(name, content, draw):
    return (
        changed(SavedModelProto, content, draw)
        if name.endswith(".pb")
        else damaged_bytes(content, draw)
    )


def changed(kind, blob, draw):
    message = kind.FromString(blob)
    damage_message(message, draw, OPERATORS)
    return message.SerializeToString(deterministic=True)


if __name__ == "__main__":
    workers = Backends().start_workers(WorkerOptions(load_timeout=5))
    try:
        damage_and_use(workers.plugin("TF"), "TF", examples(), damaged)
    finally:
        workers.close()
