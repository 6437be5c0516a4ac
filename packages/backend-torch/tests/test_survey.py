"""What a graph may do is found out, and where it is open the careful answer is given."""

import pytest
import torch

from tensorkeep_torch.graphs import inlined
from tensorkeep_torch.internals import compile_source
from tensorkeep_torch.survey import survey


def found(body, parameters="x", **names):
    source = f"def f({parameters}):\n{body}\n"
    unit = compile_source(source, {"torch": torch, **names}.get)
    return survey(inlined(unit.find_function("f")))


@pytest.mark.parametrize(
    "body",
    [
        "    return x * 2",
        "    y = torch.relu(x)\n    return y.view(-1)",
        "    for i in range(x.size(0)):\n        x = x + i\n    return x",
        "    return x if x.dim() == 2 else x.unsqueeze(0)",
        "    y = [x, x]\n    y.append(x)\n    return torch.stack(y)",
    ],
)
def test_what_only_shapes_decide_is_steady_and_writes_nothing(body):
    answer = found(body)

    assert answer.steady
    assert not answer.writes


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # ours is beaten by pytest's
@pytest.mark.parametrize(
    "body",
    [
        "    return x if bool(x.sum() > 0) else x * 2",
        "    return torch.zeros(int(x[0]))",
        "    return torch.nonzero(x)",
        "    return x[x > 0]",
        "    return torch.where(x)[0]",
        "    return torch.unique(x)",
        "    return torch.repeat_interleave(x, x)",
        "    return torch.nn.functional.one_hot(x)",
        "    y = torch.jit.fork(torch.relu, x)\n    return torch.jit.wait(y)",
        "    return torch.zeros(x.max().item())",
    ],
)
def test_what_elements_decide_is_not_steady(body):
    assert not found(body).steady


@pytest.mark.parametrize(
    "body",
    [
        "    return x.add_(1)",
        "    x[0] = 1\n    return x",
        "    return torch.mul(x, 2, out=x)",
        "    for i in range(3):\n        x.mul_(2)\n    return x",
        "    y = torch.batch_norm(x, None, None, x, x, True, 0.1, 1e-5, False)\n    return y",
    ],
)
def test_what_writes_in_place_is_seen(body):
    assert found(body).writes


def test_what_is_switched_off_does_not_count():
    body = "    if training:\n        x.add_(1)\n    return x"

    assert found(body, "x, training: bool").writes
    source = f"def g(x, training: bool):\n{body}\ndef f(x):\n    return g(x, False)\n"
    assert not survey(inlined(compile_source(source).find_function("f"))).writes


@pytest.fixture
def layers():
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU(), torch.nn.Dropout()
    )


def test_a_module_that_does_not_train_is_steady_and_writes_nothing(archives, load, layers):
    program = load(archives.saved(layers.eval())).native.program

    assert (program.steady, program.writes) == (True, False)


def test_a_module_that_trains_writes(archives, load, layers):
    assert load(archives.saved(layers.train())).native.program.writes


def test_a_switch_that_runs_may_change_is_left_open(archives, load):
    source = (
        "def forward(self, x):\n"
        "    if self.on:\n"
        "        x.add_(1)\n"
        "    self.on = True\n"
        "    return x\n"
    )

    assert load(archives.scripted(source, on=False)).native.program.writes


class Computed(torch.nn.Module):
    """Computes with sizes: where it is traced, as with tensors."""

    def forward(self, x):
        return x.view(x.size(0) * 2, -1).view(x.size(0), -1)


class Picked(torch.nn.Module):
    """Looks up columns that it holds."""

    def __init__(self):
        super().__init__()
        self.register_buffer("columns", torch.tensor([2, 0]))

    def forward(self, x):
        return x[:, self.columns]


class Masked(Picked):
    """Looks up what its input says."""

    def forward(self, x):
        return x[x[:, 0] > 0]


class Overwritten(Picked):
    """Looks up columns that its input says, by way of what it holds."""

    def forward(self, x):
        columns = torch.zeros(2).long()
        columns.copy_(x[0, :2])
        return x[:, columns]


@pytest.mark.parametrize("trace", [None, (torch.ones(2, 4),)])
@pytest.mark.parametrize(
    ("module", "steady"),
    [(Computed, True), (Picked, True), (Masked, False), (Overwritten, False)],
)
def test_sizes_and_what_a_module_holds_are_no_values_of_inputs(
    archives, load, module, steady, trace
):
    program = load(archives.saved(module(), trace)).native.program
    assert program.steady is steady


class Counting(Picked):
    def forward(self, x):
        self.columns.add_(1)
        return x


class InPlace(Picked):
    def forward(self, x):
        return torch.relu_(x + 1)


@pytest.mark.parametrize(
    ("module", "state"),
    [(Counting(), True), (InPlace(), False), (torch.nn.BatchNorm1d(4), True)],
)
def test_a_run_that_changes_what_a_module_holds_is_told_from_one_that_only_works_in_place(
    archives, load, module, state
):
    assert load(archives.saved(module)).native.program.state is state
    assert not load(archives.saved(torch.nn.BatchNorm1d(4).eval())).native.program.state
