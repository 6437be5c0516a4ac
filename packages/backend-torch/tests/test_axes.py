"""What archives of torch tell of axis 0, and which of their outputs may be no tensor."""

import pytest
import torch

from tensorkeep.batch_axis import DECLARED, POSSIBLE

N = torch.export.Dim("n", min=2)
M = torch.export.Dim("m", min=2)


class Module(torch.nn.Module):
    """A module that computes what a function says."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.register_buffer("labels", torch.tensor([7, 8]))
        self.register_buffer("runs", torch.zeros(1))

    def forward(self, *inputs):
        return self.function(self, *inputs)


def double(_, x):
    return x * 2


def labelled(self, x):
    return x * 2, self.labels + 0


def transposed(_, x):
    return x.t() * 1


def crossed(_, x):
    return x @ x.t()


def total(_, x):
    return x, x.sum()


def doubled(_, x):
    return torch.cat([x, x])


def found(_, x):
    return torch.nonzero(x)


def counted(self, x):
    self.runs.add_(1)
    return x + self.runs


@pytest.fixture
def exported(archives, load):
    """Returns what is known of an exported function of tensors of two axes, the first free."""

    def exported(function, *shapes, sizes=({0: N},)):
        inputs = tuple(torch.ones(shape) for shape in shapes or [(3, 4)])
        return load(archives.exported(Module(function), inputs, (sizes,))).batch_axis

    return exported


def test_a_symbol_in_front_of_everything_is_a_declaration(exported):
    assert exported(double) == DECLARED


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (labelled, "is [2], of a fixed first size"),
        (transposed, "is [4, "),
        (crossed, "has its first size"),
        (total, "has no axes"),
        (found, "sizes in it depend on values"),
        (counted, "a run of it may change what it holds"),
    ],
)
def test_what_is_no_batch_says_why(exported, function, reason):
    assert reason in exported(function).reason


def test_a_transposed_output_of_two_free_sizes_is_no_batch(exported):
    assert "another axis of an input" in exported(transposed, sizes=({0: N, 1: M},)).reason


def test_fixed_sizes_are_no_batch(archives, load):
    axis = load(archives.exported(Module(double), (torch.ones(3, 4),))).batch_axis
    assert "is [3, 4], of a fixed first size" in axis.reason


def test_twice_as_many_rows_are_another_size(exported):
    assert exported(doubled) == POSSIBLE  # a comparison will tell


def test_torchscript_says_nothing_so_that_comparisons_must_tell(archives, load):
    assert (
        load(archives.scripted("def forward(self, x):\n    return x * 2\n")).batch_axis == POSSIBLE
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return torch.nonzero(x)", "values may decide what its operator aten::nonzero does"),
        ("return x[x > 0]", "values may decide what its operator aten::index does"),
        ("return x if bool(x.sum() > 0) else -x", "its operator aten::Bool does"),
        ("self.runs = self.runs + 1\n    return x + self.runs", "may change what it holds"),
        ("self.runs.add_(1)\n    return x + self.runs", "may change what it holds"),
    ],
)
def test_torchscript_in_which_values_decide_is_no_batch(archives, load, body, reason):
    source = f"def forward(self, x):\n    {body}\n"
    axis = load(archives.scripted(source, runs=torch.zeros(1))).batch_axis
    assert reason in axis.reason


def test_outputs_that_may_be_none_are_optional(archives, load):
    source = (
        "def forward(self, x) -> Tuple[Tensor, Optional[Tensor], Tensor]:\n"
        "    y: Optional[Tensor] = None\n"
        "    if bool(x.sum() > 0):\n"
        "        y = x\n"
        "    return x, y, x\n"
    )
    assert load(archives.scripted(source)).optional_outputs == (1,)
