"""Inputs and outputs of TorchScript modules, counted as in RedisAI and beyond where it failed."""

from typing import NamedTuple

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


def test_an_optional_tensor_is_an_input_that_may_be_left_out(build, run):
    for default in ("=None", ""):
        model = build(
            f"def forward(self, x, scale: Optional[Tensor]{default}):\n"
            "    if scale is None:\n"
            "        return x\n"
            "    return x * scale\n"
        )

        assert model.inputs == ("x", "scale")
        assert [count for count in range(4) if model.takes(count)] == [1, 2]
        assert values(run(model, [5], [3])) == [[15]]
        assert values(run(model, [5])) == [[5]]


def test_what_follows_something_optional_may_be_left_out_with_it(build, run):
    model = build(
        "def forward(self, x, state: Optional[Tuple[Tensor, Tensor]]=None, n: int=2,\n"
        "            last: Optional[Tensor]=None):\n"
        "    y = x * n\n"
        "    if state is not None:\n"
        "        y = y + state[0] * state[1]\n"
        "    if last is not None:\n"
        "        y = y + last\n"
        "    return y\n"
    )

    assert model.inputs == ("x", "state.0", "state.1", "last")
    assert [count for count in range(6) if model.takes(count)] == [1, 3, 4]
    assert values(run(model, [1])) == [[2]]
    assert values(run(model, [1], [3], [5])) == [[17]]
    assert values(run(model, [1], [3], [5], [100])) == [[117]]
    with pytest.raises(RunFailed, match=r"^Expected 4 inputs but got 2$"):
        run(model, [1], [3])


@pytest.mark.parametrize("loop", ["", "    while float(x.sum()) < 0:\n        x = x + 1\n"])
def test_parameters_that_no_tensor_can_be_keep_their_defaults(build, run, loop):
    model = build(
        "def forward(self, x, n: int=3, scale: float=0.5, on: bool=True, how: str='sum',\n"
        "            sizes: Tuple[int, int]=(1, 2), kind: Optional[int]=None,\n"
        "            device: Optional[Device]=None, y: Optional[Tensor]=None):\n"
        f"{loop}"
        "    if on and how == 'sum' and kind is None and device is None:\n"
        "        x = x * n * scale + sizes[1]\n"
        "    return x if y is None else x + y\n"
    )

    assert model.inputs == ("x", "y")
    assert values(run(model, [2])) == [[5]]
    assert values(run(model, [2], [10])) == [[15]]


@pytest.mark.parametrize(
    "kind",
    [
        "int",
        "str",
        "Dict[str, Tensor]",
        "List[int]",
        "Tuple[Tensor, int]",
        "List[List[Tensor]]",
        "List[Tuple[Tensor, Tensor]]",
        "Any",
    ],
)
def test_a_parameter_that_can_be_nothing_is_refused_by_its_name(build, kind):
    with pytest.raises(ModelRejected) as caught:
        build(f"def forward(self, x, more: {kind}):\n    return x\n")

    assert str(caught.value) == (
        "Erorr while trying to retrive model inputs number: forward takes 'more' of type "
        f"{kind}, which no tensor can be and which has no default"
    )


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


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("3", "int"),
        ("float(x)", "float"),
        ("'text'", "str"),
        ("bool(x)", "bool"),
        ("(x, 2.5)", "float"),
        ("[1, 2]", "int"),
        ("[x.size(0)]", "int"),
        ("{'a': 1}", "int"),
        ("x.size()", None),
        ("torch.jit.fork(torch.relu, x)", None),
    ],
)
def test_what_is_no_tensor_is_refused_by_its_type(build, value, kind):
    with pytest.raises(ModelRejected) as caught:
        build(f"def forward(self, x):\n    return {value}\n")

    assert str(caught.value).startswith(
        "Erorr while trying to retrive model outputs number: std::exception: forward returns a "
    )
    if kind is not None:
        assert str(caught.value).endswith(f"a value of type {kind}, which is no tensor")


def test_a_model_that_returns_nothing_is_refused(build):
    for body in ("pass", "return None", "return (None, None)", "return []"):
        with pytest.raises(ModelRejected, match=r"forward returns no tensor$"):
            build(f"def forward(self, x):\n    {body}\n")


def test_none_in_a_fixed_place_is_no_output(build, run):
    model = build("def forward(self, x):\n    return x, None, (None, x + 1)\n")

    assert len(model.outputs) == 2
    assert values(run(model, [1])) == [[1], [2]]


# --------------------------------------------------------------------------- lists that grow
def test_a_list_that_grows_by_one_at_a_time_is_counted(build, run):
    model = build(
        "def forward(self, x):\n"
        "    out: List[Tensor] = []\n"
        "    for y in (x, x + 1):\n"  # unrolled, as loops over modules are
        "        out.append(y)\n"
        "    out.append(out[0] + out[1])\n"
        "    return out\n"
    )

    assert len(model.outputs) == 3
    assert values(run(model, [1])) == [[1], [2], [3]]


@pytest.mark.parametrize(
    "change",
    [
        "if bool(x[0] > 0):\n        out.append(x)",
        "out.pop()",
        "out.extend(out)",
        "out += [x]",
        "both = [out]\n    both[0].append(x)",
        "del out[0]",
        "more = [out]\n    out = more[0]\n    more[0].append(x)",
    ],
)
def test_a_list_that_something_else_changes_is_refused(build, change):
    with pytest.raises(ModelRejected, match=NO_LENGTH):
        build(f"def forward(self, x):\n    out = [x]\n    {change}\n    return out\n")


def test_a_list_that_changes_within_another_is_refused(build):
    for made, change in (("[[x]]", "out[0].append(x)"), ("{'a': [x]}", "out['a'].append(x)")):
        with pytest.raises(ModelRejected, match="and its code does not say"):
            build(f"def forward(self, x):\n    out = {made}\n    {change}\n    return out\n")


# --------------------------------------------------------------------------- dicts
def test_outputs_of_a_dict_have_the_names_and_the_order_of_its_keys(build, run):
    model = build("def forward(self, x):\n    return {'z': x, 'a': x + 1, 'm': x + 2}\n")

    assert model.outputs == ("z", "a", "m")
    assert values(run(model, [1])) == [[1], [2], [3]]


@pytest.mark.parametrize("empty", ["{}", "dict()"])
def test_keys_that_are_set_one_by_one_are_counted_once(build, run, empty):
    model = build(
        "def forward(self, x):\n"
        f"    out: Dict[str, Tensor] = {empty}\n"
        "    out['z'] = x\n"
        "    out['a'] = out['z'] + 1\n"
        "    out['z'] = x * 10\n"
        "    return out\n"
    )

    assert model.outputs == ("z", "a")
    assert values(run(model, [1])) == [[10], [2]]


def test_a_dict_that_a_method_makes_is_counted_in_loops_too(build, run):
    model = build(
        "def both(self, x: Tensor) -> Dict[str, Tensor]:\n"
        "    out = {'b': x}\n"
        "    out['a'] = x + 1\n"
        "    return out\n"
        "def forward(self, x):\n"
        "    while float(x.sum()) < 5:\n"
        "        x = x + 1\n"
        "    return self.both(x)\n"
    )

    assert model.outputs == ("b", "a")
    assert values(run(model, [1])) == [[5], [6]]


def test_dicts_lie_in_tuples_and_have_lists_in_them(build, run):
    model = build(
        "def forward(self, x):\n"
        "    return x, {'a': [x + 1, x + 2], 'b': [x + 3]}, {1: (x + 4, x + 5)}\n"
    )

    assert model.outputs == ("", "a.0", "a.1", "b.0", "1.0", "1.1")
    assert values(run(model, [0])) == [[0], [1], [2], [3], [4], [5]]


@pytest.mark.parametrize(
    "body",
    [
        "out = {'a': x}\n    if bool(x[0] > 0):\n        out['b'] = x\n    return out",
        "out = {'a': x}\n    out.pop('a')\n    return out",
        "out = {'a': x}\n    out.update({'b': x})\n    return out",
        "out = {'a': x}\n    del out['a']\n    return out",
        "return {str(x.size(0)): x}",
        "return {'a': x} if bool(x[0] > 0) else {'b': x}",
        "return dict([('a', x)])",
    ],
)
def test_a_dict_whose_keys_the_code_does_not_say_is_refused(build, body):
    with pytest.raises(ModelRejected, match="forward returns a dict, and its code does not say"):
        build(f"def forward(self, x):\n    {body}\n")


def test_a_traced_module_may_return_a_dict_and_take_a_list(archives, load, run):
    class Network(torch.nn.Module):
        def forward(self, xs, pair):
            return {"sum": xs[0] + xs[1] * xs[2], "last": pair[0] - pair[1]}

    example = ([torch.ones(1)] * 3, (torch.ones(1), torch.ones(1)))
    model = load(archives.saved(Network(), example, strict=False))

    assert model.outputs == ("sum", "last")
    assert len(model.inputs) == 5
    assert values(run(model, [2], [3], [4], [5], [6])) == [[14], [-1]]


def test_a_named_tuple_is_a_tuple(archives, load, run):
    model = load(archives.saved(Named()))

    assert model.outputs == ("", "")
    assert values(run(model, np.array([3], np.float32))) == [[3], [4]]


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


Pair.__module__ = "pairs"  # a folder's name with a hyphen is no name in TorchScript


class Named(torch.nn.Module):
    def forward(self, x):
        return Pair(x, x + 1)


# --------------------------------------------------------------------------- what may be missing
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
