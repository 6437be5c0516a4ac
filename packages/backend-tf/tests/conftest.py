"""Graphs, made with TensorFlow, and the plugin's hooks called as the engine calls them."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tensorkeep.config import BackendOptions
from tensorkeep.device import Device
from tensorkeep.hookspecs import RunContext
from tensorkeep.model import ModelSpec
from tensorkeep.tensor import DType, Tensor
from tensorkeep_tf import plugin
from tensorkeep_tf.framework import tf

v1 = tf.compat.v1


class Graphs:
    """Makes serialized GraphDefs; `float32`, `string` and so on name TensorFlow's types."""

    @staticmethod
    def define(make):
        """Returns the GraphDef of what a function adds to an empty graph."""
        with tf.Graph().as_default() as graph:
            make()
        return graph.as_graph_def()

    @staticmethod
    def parse(blob):
        return v1.GraphDef.FromString(blob)

    def graph(self, make):
        return self.define(make).SerializeToString()

    @staticmethod
    def given(name="x", dtype="float32", shape=None):
        """Declares an input; without a shape it may have any."""
        return v1.placeholder(dtype, shape, name)

    def identity(self, dtype="float32", op=tf.identity):
        """Makes a graph that returns its input `x` as `y`, or does one thing to it."""
        return self.graph(lambda: op(self.given(dtype=dtype), name="y"))

    def product(self):
        """Makes the graph of two inputs that RedisAI's own tests use."""
        return self.graph(lambda: tf.multiply(self.given("a"), self.given("b"), name="mul"))

    def endless(self, *, functional=False):
        """Makes a graph that counts for longer than anyone lives; loops have two forms."""

        def make():
            x = self.given()
            _, y = tf.while_loop(
                lambda turn, _: turn >= 0,
                lambda turn, value: ((turn + 1) % 1000, tf.identity(value)),
                [tf.constant(0), x],
            )
            tf.identity(y, name="y")

        if functional:
            return self.graph(make)
        v1.disable_control_flow_v2()
        try:
            return self.graph(make)
        finally:
            v1.enable_control_flow_v2()

    def fill(self):
        """Makes a graph that returns as many floats as its input `size` says."""
        return self.graph(lambda: tf.fill(self.given("size", "int64", [1]), 1.0, name="y"))

    def weighty(self, count):
        """Makes a graph with that many bytes of weights."""

        def make():
            weights = tf.constant(np.zeros(count, np.uint8))
            tf.add(weights[0], self.given(dtype="uint8"), name="y")

        return self.graph(make)


class Affine(tf.Module):  # type: ignore[misc] # TensorFlow brings no types
    """A model with variables of one name, as training programs make them: y = x * w + b."""

    def __init__(self, w=2.0, b=1.0):
        super().__init__()
        self.w, self.b = tf.Variable(w), tf.Variable(b)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def serve(self, x):
        return {"y": x * self.w + self.b}


def zipped(folder, prefix="", method=zipfile.ZIP_DEFLATED):
    """Packs a folder as one zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for path in sorted(each for each in Path(folder).rglob("*") if each.is_file()):
            archive.write(path, f"{prefix}{path.relative_to(folder)}")
    return file.getvalue()


@pytest.fixture
def graphs():
    return Graphs()


@pytest.fixture
def pack():
    """Packs a folder: `pack(folder, prefix="", method=ZIP_DEFLATED)`."""
    return zipped


@pytest.fixture
def affine():
    """The class of a module that computes x * w + b: `affine(w=2.0, b=1.0)`."""
    return Affine


@pytest.fixture
def saved(tmp_path):
    """Saves a module and returns the folder; without a module, one that computes 2x + 1."""

    def saved(module=None, **signatures):
        module = module or Affine()
        folder = tmp_path / f"saved{len(list(tmp_path.iterdir()))}"
        tf.saved_model.save(
            module, str(folder), signatures=signatures or {"serving_default": module.serve}
        )
        return folder

    return saved


@pytest.fixture
def load():
    """Creates a model: `load(blob, "x y", "z", device="CPU", **options)`; names default to x, y."""

    def load(blob, inputs="x", outputs="y", device="CPU", signature="", **options):
        spec = ModelSpec(
            "TF",
            Device.parse(device),
            inputs=tuple(inputs.split()),
            outputs=tuple(outputs.split()),
            signature=signature,
        )
        return plugin.model_create(spec, blob, BackendOptions(**options))

    return load


@pytest.fixture
def unpack(load):
    """Creates a model from an archive, with the names that it brings: `unpack(blob)`."""
    return lambda blob, **options: load(blob, "", "", **options)


@pytest.fixture
def served(saved, pack, unpack):
    """Saves a module, packs it and creates the model: `served(module, **signatures)`."""
    return lambda *module, **signatures: unpack(pack(saved(*module, **signatures)))


@pytest.fixture
def run():
    """Runs a model and returns its outputs: `run(model, x, ...)`; a list is one of floats."""

    def tensor(given):
        if isinstance(given, list):
            given = np.array(given, np.float32)
        return given if isinstance(given, Tensor) else Tensor.from_numpy(given)

    def run(model, *inputs, context=None):
        tensors = [tensor(each) for each in inputs]
        return plugin.model_run(model, tensors, context or RunContext(Device.parse("CPU")))

    return run


@pytest.fixture
def strings():
    """Makes a STRING tensor: `strings(["a", b"b"])`."""
    return lambda values: Tensor.from_values(DType.STRING, (len(values),), values)


@pytest.fixture
def configs(monkeypatch):
    """Collects the settings of the sessions that are opened."""
    seen = []

    class Session(v1.Session):
        def __init__(self, graph, config):
            seen.append(config)
            super().__init__(graph=graph, config=config)

    monkeypatch.setattr(v1, "Session", Session)
    return seen
