"""What is special about the backend NUMPY."""

import runpy
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from tensorkeep_backend_numpy import plugin
from tensorkeep_backend_numpy.layers import Dense, load, save

from tensorkeep import Tensor
from tensorkeep.config import BackendOptions
from tensorkeep.device import CPU
from tensorkeep.hookspecs import ENTRY_POINT_GROUP, BackendHooks, RunContext
from tensorkeep.model import ModelSpec

checked: BackendHooks = plugin  # a type checker compares every hook with the contract


def layer(inputs, outputs, activation="relu"):
    return Dense(np.ones((inputs, outputs), np.float32), np.zeros(outputs, np.float32), activation)


def create(blob):
    return plugin.model_create(ModelSpec("NUMPY"), blob, BackendOptions())


def run(array, context=None):
    model = create(save([layer(2, 3, "softmax")]))
    return plugin.model_run(model, [Tensor.from_numpy(array)], context or RunContext(CPU))


def test_the_installed_distribution_names_the_plugin():
    (point,) = entry_points(group=ENTRY_POINT_GROUP, name="NUMPY")
    assert point.load() is plugin


def test_rows_of_a_softmax_sum_to_one():
    (output,) = run(np.array([[1, 2], [1000, -1000]], np.float32))
    assert np.allclose(output.numpy().sum(axis=1), 1)


@pytest.mark.parametrize("array", [np.ones((1, 3), np.float32), np.ones((1, 2)), np.float32(1)])
def test_an_input_of_another_shape_or_type_is_refused(array):
    with pytest.raises(ValueError, match=r"must be FLOAT of shape \[rows, 2\], not Tensor"):
        run(array)


def test_a_cancelled_run_stops_before_the_next_layer():
    context = RunContext(CPU)
    context.cancel()
    with pytest.raises(RuntimeError, match="the run was cancelled"):
        run(np.ones((1, 2), np.float32), context)


def test_a_nan_warns_nobody():
    (output,) = run(np.array([[np.nan, np.inf]], np.float32))
    assert np.isnan(output.numpy()).all()


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ([], "the model has no layers"),
        ([layer(2, 3), layer(2, 3)], "as many inputs as the one before has outputs"),
    ],
)
def test_layers_that_do_not_make_a_model_are_refused(layers, text):
    with pytest.raises(ValueError, match=text):
        create(save(layers))


def test_a_file_of_other_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.ones(1), b=np.ones(1), c=np.ones(1))
    with pytest.raises(ValueError, match=r"not an \.npz file of dense layers: .*0\.weights"):
        create((tmp_path / "other.npz").read_bytes())


def test_a_layer_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="float32 weights"):
        Dense(np.ones((2, 2)), np.ones(2), "relu")
    with pytest.raises(ValueError, match=r"one of \['relu', 'softmax'\], not 'tanh'"):
        layer(1, 1, "tanh")


def test_a_self_check_notices_a_numpy_that_cannot_multiply(monkeypatch):
    monkeypatch.setattr(plugin, "model_run", lambda *_: [])
    with pytest.raises(RuntimeError, match="NumPy cannot multiply"):
        plugin.self_check()


def test_the_example_can_be_tried_and_writes_its_model(capsys, monkeypatch, tmp_path):
    path = tmp_path / "model.npz"
    monkeypatch.setattr(sys, "argv", ["try_it.py", str(path)])
    runpy.run_path(str(Path(__file__).parents[1] / "try_it.py"))
    assert capsys.readouterr().out.startswith("Tensor(FLOAT, shape=[1, 2]) [0.1")
    assert len(load(path.read_bytes())) == 2
