"""Which models may run in the server's process, and why others may not."""

import json
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorkeep.device import Device
from tensorkeep.model import ModelSpec
from tensorkeep_torch.harmless import LIGHT, why_isolated
from tensorkeep_torch.harmless_operators import HARMLESS

EXAMPLES = Path(__file__).parents[3] / "examples"
CPU = ModelSpec("TORCH")
MODULE = """class M(Module):
  __parameters__ = []
  __buffers__ = []
  w : Tensor
  def forward(self: __torch__.M,
    x: Tensor) -> Tensor:
"""
WEIGHTS = {"w": np.ones((3, 4), np.float32)}


@pytest.fixture
def why(archives):
    """Says why a model is isolated: `why(line of forward, ...)`, or of whole source."""

    def why(*lines, inputs=("x",), weights=WEIGHTS, **options):
        code = lines[0] if lines[0].startswith(("class", "def")) else [*lines]
        return why_isolated(CPU, archives.written(code, weights, inputs, **options))

    return why


class Residual(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.second = torch.nn.Conv2d(3, 8, 1, stride=2)
        self.active = torch.nn.ReLU(inplace=True)
        layers = (torch.nn.Conv2d(8, 8, 1), torch.nn.BatchNorm2d(8)) * 10
        self.layers = torch.nn.Sequential(*layers)
        self.pool = torch.nn.AdaptiveAvgPool2d((1, 1))
        self.last = torch.nn.Linear(8, 2)

    def forward(self, x):
        y = self.active(self.norm(self.first(x)))
        y += self.layers(self.second(x))
        return torch.softmax(self.last(torch.flatten(self.pool(y), 1)), dim=1)


def test_it_says_that_importing_torch_keeps_others_waiting():
    assert LIGHT is False


def test_to_ask_imports_no_framework():
    code = "import sys, tensorkeep_torch.harmless; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_model_of_the_example_is_harmless():
    assert why_isolated(CPU, (EXAMPLES / "digits/digits.pt").read_bytes()) == ""


@pytest.mark.parametrize("traced", [False, True])
def test_a_residual_network_is_harmless_scripted_and_traced(archives, traced):
    example = (torch.zeros(1, 3, 8, 8),) if traced else None
    assert why_isolated(CPU, archives.saved(Residual().eval(), example)) == ""


def test_a_network_that_is_trained_is_isolated(archives):
    assert why_isolated(CPU, archives.saved(Residual().train())) != ""


def test_a_model_on_another_device_is_isolated():
    spec = ModelSpec("TORCH", Device.parse("GPU"))
    blob = (EXAMPLES / "digits/digits.pt").read_bytes()
    assert why_isolated(spec, blob) == "the operators were tested on the CPU only"


def test_an_archive_of_torch_export_is_isolated():
    blob = (EXAMPLES / "digits/digits.pt2").read_bytes()
    assert why_isolated(CPU, blob) == "it is no archive of TorchScript"


def test_a_single_operator_is_harmless(why):
    assert why("return torch.relu(x)") == ""
    assert why("return torch.linear(x, self.w)") == ""


@pytest.mark.parametrize(
    "line",
    [
        "return torch.nonzero(x)",
        "return torch.repeat_interleave(x, 3)",
        "return torch.div(x, 0, rounding_mode=None)",
        "return torch.remainder(x, 0)",
        "return torch.zeros([1000000, 1000000])",
        "return torch.conv2d(x, x)",
        "return torch.conv2d(x, self.w)",
        "return torch.max_pool2d(x, [0, 0])",
        "return torch.max_pool2d(x, [2, 2], [0, 0])",
        "return torch.flatten(x, 9)",
        "return torch.linear(x, x)",
        "return torch.softmax(x, torch.size(x, 0))",
        "return torch.view(x, [torch.size(x, 0), 4611686018427387904, 4611686018427387904])",
        "return torch.mul(x, int(x))",
        "return torch.add(self.w, x, alpha=x)",
        "return torch.add_(self.w, x)",
        "return torch.set_(x, x)",
        "return ops.aten.relu(x)",
        "return __torch__.torch.classes.quantized.f(x)",
        "return CONSTANTS.c0",
        "return self.w[0]",
        "return x[7 % int(x)]",
        "return 7 % int(x)",
        "return x + x",
        "return x.relu()",
        "f = torch.nonzero\nreturn f(x)",
        "t = torch\nreturn t.nonzero(x)",
        "torch = x\nreturn torch",
        "self.w = x\nreturn x",
        "while True:\n  x = torch.relu(x)\nreturn x",
        "for i in range(9):\n  x = torch.relu(x)\nreturn x",
        "if bool(x):\n  y = x\nelse:\n  y = x\nreturn y",
        "if torch.gt(torch.size(x, 0), 3):\n  y = x\nelse:\n  y = x\nreturn y",
        "if True:\n  y = x\nelse:\n  y = torch.nonzero(x)\nreturn y",
        "return (self).forward(x)",
        "return f(x)  # no comment",
        "return torch.relu(x);",
        "return torch.leaky_relu(x, 1e999)",
        "return lambda: x",
        "return [y for y in x]",
    ],
)
def test_what_is_not_on_the_list_or_not_in_the_grammar_is_isolated(why, line):
    assert why(*line.split("\n")) != ""


def test_the_first_operator_that_is_not_listed_is_named(why):
    reason = why("return torch.relu(torch.nonzero(x))")
    assert reason == "torch.nonzero is not on the list of operators known to be harmless"


@pytest.mark.parametrize(
    "source",
    [
        MODULE + "    return x\n  def __setstate__(self, state: int) -> None:\n    return None",
        MODULE + "    return x\n  def __getstate__(self) -> int:\n    return 1",
        MODULE + "    return x\n  def forward(self, x: Tensor) -> Tensor:\n    return x",
        MODULE + "    return __torch__.f(x)\ndef f(x: Tensor) -> Tensor:\n  return __torch__.f(x)",
        MODULE + "    return x\nimport os",
        MODULE.replace("Module", "Enum") + "    return x",
        MODULE.replace("x: Tensor", "x: List[Tensor]") + "    return x",
        MODULE.replace("x: Tensor", "*x") + "    return x",
        MODULE.replace("-> Tensor", "-> int") + "    return 1",
    ],
)
def test_classes_that_are_more_than_modules_are_isolated(why, source):
    assert why(source) != ""


def test_functions_that_double_each_other_are_isolated(why):
    calls = [
        f"def f{n}(x: Tensor) -> Tensor:\n  return __torch__.f{n + 1}(__torch__.f{n + 1}(x))"
        for n in range(30)
    ]
    last = "def f30(x: Tensor) -> Tensor:\n  return torch.relu(x)"
    reason = why("\n".join([MODULE + "    return __torch__.f0(x)", *calls, last]))
    assert reason == "a run takes more steps than were tested"


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 6000 + "x" + ")" * 6000,
        "torch.relu(" * 6000 + "x" + ")" * 6000,
        " + ".join(["x"] * 10_000),
        "-" * 10_000 + "1",
        ".".join(["x"] * 900),
        "torch.relu(x, " + "[" * 300 + "]" * 300 + ")",
    ],
)
def test_source_that_ends_compilers_is_isolated_within_milliseconds(why, expression):
    began = time.process_time()
    assert why(f"return {expression}") != ""
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "lines",
    [
        ["s = torch.format('{}{}', 'a', 'b')", "t = torch.format('{}{}', s, s)", "return x"],
        ["torch.warn(torch.format('{}', torch.format('{}', 1)))", "return x"],
        ["s = torch.format('{}', 1)", "return s"],
        ["if False:", "  s = torch.format('{}', 1)", "  t = torch.format(s, s)", "return x"],
    ],
)
def test_texts_that_grow_are_isolated(why, lines):
    assert why(*lines) == "its source puts texts together for more than messages"
    assert why("torch.warn(torch.format('{}', 1))", "return torch.relu(x)") == ""


def test_what_is_called_in_a_branch_that_is_not_run_is_short(why):
    """torch puts functions in place before it knows which branch is run."""
    source = (
        MODULE + "    if False:\n      y = __torch__.f(x)\n    else:\n      y = x\n    return y\n"
    )
    leaf = "def f(x: Tensor) -> Tensor:\n  return torch.relu(x)"
    calling = "def f(x: Tensor) -> Tensor:\n  return __torch__.g(__torch__.g(x))\n" + leaf.replace(
        "def f", "def g"
    )
    assert why(source + leaf) == ""
    assert why(source + leaf.replace("torch.relu", "self.forward")) != ""
    assert why(source + calling) != ""


def test_attributes_of_other_types_than_their_class_says_are_isolated(archives):
    blob = archives.written(["return torch.linear(x, self.w)"], WEIGHTS, ("x",))
    for told in ("int", "Optional[int]", "List[int]", "__torch__.M", "Any"):
        changed = archives.changed(
            blob,
            "code/__torch__.py",
            lambda text, told=told: text.replace(b"w : Tensor", b"w : " + told.encode()),
        )
        assert why_isolated(CPU, changed) == "the attribute w is of another type than it says"
    missing = archives.changed(
        blob, "code/__torch__.py", lambda text: text.replace(b"  w : Tensor", b"  v : Tensor")
    )
    assert why_isolated(CPU, missing) == "an object has other attributes than its class"


def test_what_grows_faster_than_its_input_is_isolated(why):
    assert (
        why("return torch.matmul(x, torch.t(x))")
        == "it can get larger than the inputs times a number"
    )
    assert why("return torch.mul(x, y)", inputs=("x", "y")) != ""
    doubled = ["x = torch.cat([x, x], 0)"] * 40
    assert why(*doubled[:5], "return x") == ""
    assert why(*doubled[:13], "return x") == "a small input can fill the memory"
    assert why(*doubled, "return x") == "its values can fill the memory"


def test_pickles_that_refer_outside_or_to_themselves_are_isolated(archives):
    blob = archives.written(["return torch.linear(x, self.w)"], WEIGHTS, ("x",))
    data = archives.records(blob)["data.pkl"]
    nested = b"\x80\x02" + b")" + b"\x85" * 1_000_000 + b"."
    others = {
        "nested": nested,
        "python": pickle.dumps(len, 2),
        "called": b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00a\x85R.",
        "classes": data.replace(b"c__torch__\nM\n", b"c__torch__.torch.classes\nM\n"),
        "storage": data.replace(b"FloatStorage", b"CharStorage"),
        "larger": data.replace(b"\x8a\x08\x0c", b"\x8a\x08\x0d"),
        "shape": data.replace(b"\x8a\x08\x04", b"\x8a\x08\x05"),
        "key": data.replace(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x001"),
        "cut": data[:-5],
        "more": data + data,
        "memo": b"\x80\x02)r\xff\xff\xff\x7f.",
        "itself": data.replace(b")\x81}(", b")\x81q\x00}(X\x01\x00\x00\x00wh\x00"),
    }
    for name, content in others.items():
        assert content != data, name
        changed = archives.changed(blob, "data.pkl", lambda _, content=content: content)
        assert why_isolated(CPU, changed) != "", name


def test_weights_that_reach_beyond_their_data_are_isolated(archives):
    blob = archives.written(["return torch.linear(x, self.w)"], WEIGHTS, ("x",))
    assert why_isolated(CPU, archives.changed(blob, "data/0", lambda old: old[:-4])) != ""


def test_constants_are_isolated(archives):
    blob = archives.written(["return torch.relu(x)"], WEIGHTS, ("x",))
    assert why_isolated(CPU, blob) == ""
    changed = archives.changed(blob, "constants.pkl", lambda _: b"\x80\x02K\x01\x85.")
    assert why_isolated(CPU, changed) == "it has constants that were not tested"


def test_archives_with_many_records_or_much_that_is_compressed_are_isolated(archives):
    blob = archives.written(["return torch.relu(x)"], WEIGHTS, ("x",))
    records = archives.records(blob)
    many = archives.packed(records | {f"extra/{number}": b"" for number in range(6_000)})
    assert why_isolated(CPU, many) == "its archive has too many records"
    large = archives.packed(records | {"extra": bytes(2**22)}, 8)
    assert why_isolated(CPU, large) == "its archive has too much that is compressed"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_bytes_are_changed_there_is_an_answer(archives, data):
    blob = archives.written(["return torch.linear(x, self.w)"], WEIGHTS, ("x",))
    name = data.draw(st.sampled_from(["data.pkl", "code/__torch__.py", "constants.pkl"]))

    def change(content):
        content = bytearray(content)
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        return bytes(content)

    assert isinstance(why_isolated(CPU, archives.changed(blob, name, change)), str)


@given(st.binary(max_size=200))
def test_what_is_no_archive_is_isolated(blob):
    assert why_isolated(CPU, blob) != ""
    assert why_isolated(CPU, b"PK\3\4" + blob) != ""


def test_a_large_archive_is_looked_at_without_reading_its_weights(archives):
    class Large(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4096, 4096)

        def forward(self, x):
            return self.layer(x)

    blob = archives.saved(Large())
    assert why_isolated(CPU, blob) == ""


@pytest.mark.parametrize(("what", "name"), [("composed", "composed"), ("damaged", "scripted")])
def test_what_is_called_harmless_ends_no_process(what, name, tmp_path):
    program = Path(__file__).with_name("attack_torch.py")
    figures = tmp_path / "figures"
    command = [sys.executable, program, what, "--only", name, "--count", "10", "--seed", "suite"]
    subprocess.run([*command, "--out", figures], check=True, stdout=subprocess.DEVNULL)
    found = json.loads(figures.read_text())[name]
    assert found["killers"] == []
    assert found["run"]


def test_the_list_has_no_operator_whose_safety_hangs_on_values():
    risky = {"remainder", "floor_divide", "fmod", "nonzero", "index", "repeat", "set_", "resize_"}
    assert not {f"torch.{name}" for name in risky} & {*HARMLESS}
