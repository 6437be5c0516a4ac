"""Inputs and outputs of TorchScript modules, counted as in RedisAI and beyond where it failed."""

import numpy as np
import pytest
import torch

from tensorkeep.errors import ModelRejected, RunFailed

NO_LENGTH = "^Erorr while trying to retrive model outputs number: std::exception"


@pytest.fixture
def build(archives, load):
    """Builds a model of the source of its methods."""
    return lambda source: load(archives.scripted(source))


def values(outputs):
    return [each.values() for each in outputs]


def test_inputs_are_the_parameters_of_forward_and_outputs_have_no_names(build, run):
    model = build("def forward(self, b, a):\n    return b - a, b\n")

    assert (model.inputs, model.outputs) == (("b", "a"), ("", ""))
    assert values(run(model, [5], [3])) == [[2], [5]]


def test_a_parameter_with_a_default_is_an_input_too(build, run):
    model = build(
        "def forward(self, x, scale: Optional[Tensor]=None):\n"
        "    if scale is None:\n"
        "        return x\n"
        "    return x * scale\n"
    )

    assert model.inputs == ("x", "scale")
    assert values(run(model, [5], [3])) == [[15]]


def test_a_tuple_of_tensors_is_as_many_inputs_as_it_has_members(build, run):
    model = build(
        "def forward(self, x, pair: Tuple[Tensor, Tuple[Tensor, Tensor]]):\n"
        "    first, rest = pair\n"
        "    return x + first * rest[0] - rest[1]\n"
    )

    assert model.inputs == ("x", "pair.0", "pair.1.0", "pair.1.1")
    assert values(run(model, [1], [2], [3], [4])) == [[3]]


def test_a_list_of_tensors_is_one_input(build, run):
    model = build(
        "def forward(self, xs: List[Tensor], y):\n    return torch.stack(xs).sum(0) + y\n"
    )

    assert model.inputs == ("xs", "y")
    assert values(run(model, [1, 2], [10, 20])) == [[11, 22]]


def test_tuples_and_lists_that_are_returned_are_taken_apart(build, run):
    model = build(
        "def forward(self, x):\n    return x, (x + 1, [x + 2, x + 3]), [(x + 4, x + 5)]\n"
    )

    assert len(model.outputs) == 6
    assert values(run(model, [0])) == [[0], [1], [2], [3], [4], [5]]


def test_a_list_that_a_method_makes_is_counted(build, run):
    model = build(
        "def both(self, x: Tensor) -> List[Tensor]:\n"
        "    return [x, x * 2]\n"
        "def forward(self, x):\n"
        "    return self.both(x)\n"
    )

    assert values(run(model, [3])) == [[3], [6]]


@pytest.mark.parametrize(
    "body",
    [
        "    return list(torch.unbind(x))\n",
        "    out = [x]\n    for i in range(3):\n        out.append(x)\n    return out\n",
        "    return x, list(torch.unbind(x))\n",
    ],
)
def test_a_list_whose_length_the_code_does_not_say_is_refused(build, body):
    with pytest.raises(ModelRejected, match=NO_LENGTH):
        build(f"def forward(self, x):\n{body}")


def test_what_is_no_tensor_is_not_counted_and_fails_in_the_words_of_redisai(build, run):
    model = build("def forward(self, x):\n    return x, 3\n")

    assert len(model.outputs) == 1
    with pytest.raises(RunFailed, match=r"^Function returned non-tensor valuesforward$"):
        run(model, [1])


def test_a_model_that_returns_something_else_has_no_outputs(build):
    assert build("def forward(self, x):\n    return {'a': x}\n").outputs == ()


def test_a_tensor_that_may_be_missing_is_an_output_that_may_be_none(build, run):
    model = build(
        "def forward(self, x):\n"
        "    y: Optional[Tensor] = None\n"
        "    if bool(x[0] > 0):\n"
        "        y = x * 2\n"
        "    return x, y\n"
    )

    assert values(run(model, [1])) == [[1], [2]]
    assert run(model, [-1])[1] is None


def test_other_numbers_of_outputs_than_were_counted_are_an_error(build, run, monkeypatch):
    model = build("def forward(self, x):\n    return x, x\n")
    object.__setattr__(model, "outputs", ("",))

    with pytest.raises(RunFailed, match=r"^Function returned unexpected number of outputs - fo"):
        run(model, [1])


def test_a_recurrent_network_takes_and_returns_its_state(archives, load, run):
    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(2, 3)

        def forward(self, x, state: tuple[torch.Tensor, torch.Tensor]):
            return self.lstm(x, state)

    network = Network().eval()
    model = load(archives.saved(network))
    x, h, c = (torch.rand(*shape) for shape in ((4, 1, 2), (1, 1, 3), (1, 1, 3)))
    with torch.no_grad():
        expected, (hidden, cell) = network(x, (h, c))

    outputs = run(model, x.numpy(), h.numpy(), c.numpy())

    assert model.inputs == ("x", "state.0", "state.1")
    for output, wanted in zip(outputs, (expected, hidden, cell), strict=True):
        assert np.array_equal(output.numpy(), wanted.numpy())


def test_a_traced_module_is_a_model_as_well(archives, load, run):
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(inplace=True)).eval()
    model = load(archives.saved(network, (torch.zeros(1, 3),)))
    x = torch.rand(5, 3)

    assert len(model.inputs) == 1
    assert np.array_equal(run(model, x.numpy())[0].numpy(), network(x).detach().numpy())
