"""Doing a batch: what becomes of outputs that do not have a row for each row of the inputs."""

import numpy as np
import pytest

from tensorkeep.batching import Batching
from tensorkeep.errors import BatchSizeMismatch
from tensorkeep.execution import execute
from tensorkeep.graph import run_of
from tensorkeep.hookspecs import RunContext
from tensorkeep.model import LoadedModel, Model, ModelSpec
from tensorkeep.runqueue import Run
from tensorkeep.tensor import Tensor


class OneScalar:
    """A backend whose models return their input and its sum, which has no axes."""

    def model_run(self, model, inputs, run):
        array = inputs[0].numpy()
        return [inputs[0], Tensor.from_numpy(np.array(array.sum(), np.float32))]


@pytest.mark.parametrize("backend", ["TF", "ONNX"])
def test_in_a_batch_an_output_without_axes_is_left_out_for_tf_and_an_error_for_others(backend):
    spec = ModelSpec(backend, batching=Batching(size=4))
    model = Model(spec, b"", LoadedModel(None, ("x",), ("y", "sum")))
    inputs = [[Tensor.from_numpy(np.full((1, 2), n, np.float32))] for n in range(2)]
    batch = [Run(model, each, run_of(model, each), 0, rows=1) for each in inputs]

    outcomes = execute(OneScalar(), batch, RunContext(spec.device))

    if backend == "TF":
        assert [[t and t.values() for t in o.outputs] for o in outcomes] == [
            [[0, 0], None],
            [[1, 1], None],
        ]
    else:
        assert [type(o.error) for o in outcomes] == [BatchSizeMismatch] * 2
