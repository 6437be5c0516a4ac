"""Formulas are read as arithmetic on sizes, and as nothing else."""

import pytest

from tensorkeep_torch.formulas import formula_of, holds
from tensorkeep_torch.translation import Unsupported

NUMBERS = {("x",): 0, ("pair", 1): 1, ("d", "k"): 1}
SHAPES = [(4, 6), (3,)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("L['x'].size()[0] == 4", True),
        ("L['x'].size()[0] != L['pair'][1].size()[0]", True),
        ("L['d']['k'].size()[0] == 3", True),
        ("(L['x'].size()[0] * L['x'].size()[1]) % 5 == 4", True),
        ("L['x'].size()[0] // 3 + 1 - 2 == 0", True),
        ("L['x'].size()[1] / 4 == 1.5", True),
        ("-L['x'].size()[0] < +1 <= 1 < 2", True),
        ("1 < 2 < 2", False),
        ("math.trunc(torch.sym_float(L['x'].size()[0]) ** 0.5) == 2", True),
        ("max(1, 2, 3) == 3 and not min(1, 2) == 2", True),
        ("1 == 2 or torch.sym_max(1, 2) == 2", True),
        ("True", True),
        ("L['x'].size()[0] % (L['x'].size()[0] - 4) == 0", False),  # there is no such number
        ("9.0 ** 999999999 > 1", False),
        ("L['x'].size()[7] == 1", False),
    ],
)
def test_a_formula_holds_or_does_not(text, expected):
    assert holds(formula_of(text, NUMBERS), SHAPES) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "x",
        "L",
        "L['y'].size()[0] == 1",
        "L['x'].size(0) == 1",
        "L['x'].size()[-1:] == 1",
        "L['x'].stride()[0] == 1",
        "L['x'] == 1",
        "'a' == 'a'",
        "open('/etc/passwd')",
        "().__class__ == 1",
        "[1 for _ in ()] == 1",
        "(lambda: 1)() == 1",
        "max(*[1]) == 1",
        "max(1, default=2) == 1",
        "1 << 2 == 4",
        "1 is 1",
        "(" * 5000 + "1" + ")" * 5000,
        "-" * 100_000 + "1",
    ],
)
def test_what_is_no_formula_is_refused(text):
    with pytest.raises(Unsupported, match=r"^The exported program has the condition "):
        formula_of(text, NUMBERS)
