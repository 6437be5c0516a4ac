"""Exported programs answer as torch's own reader has them answer, and bring nothing else along."""

import io
import json
import pickle
import warnings
from contextlib import suppress
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch._higher_order_ops.while_loop import while_loop
from torch.export import Dim

from tensorkeep.errors import ModelRejected, RunFailed
from tensorkeep.tensor import Tensor
from tensorkeep_torch.tensors import DTYPES

AUTO = Dim.AUTO
MANY = HealthCheck.function_scoped_fixture  # what the fixtures give never changes


class Of(torch.nn.Module):
    """A module whose forward is a function."""

    def __init__(self, function, **own):
        super().__init__()
        self.function = function
        for name, value in own.items():
            if isinstance(value, torch.nn.Module):
                setattr(self, name, value)
            else:
                self.register_buffer(name, value, persistent=not name.startswith("_"))

    def forward(self, *args):
        return self.function(self, *args)


class Many(torch.nn.Module):
    """A bit of everything that networks for pictures have, with nested inputs and outputs."""

    def __init__(self):
        super().__init__()
        self.convolution = torch.nn.Conv2d(1, 2, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(2)
        self.dropout = torch.nn.Dropout()
        self.linear = torch.nn.Linear(2 * 4 * 4, 3)
        self.constant = torch.arange(3.0)

    def forward(self, x, pair):
        y = self.dropout(torch.relu(self.norm(self.convolution(x)))).flatten(1)
        z = self.linear(y) + self.constant
        with torch.no_grad():
            z = z * 2
        a, b = z.split([1, 2], dim=1)
        return {"z": z, "parts": [a.softmax(1), b[:, -1]]}, pair[0] + pair[1].sum(), z.shape[0]


def in_place(self, x):
    self.n.add_(1)
    x.add_(1)
    return x * self.n + self._q


def halved(self, x):
    return x.reshape(2, -1) * x.shape[0] if x.shape[0] % 2 == 0 else x


def symbolic(self, x):
    n = x.shape[0]
    return x.new_ones(max(n, 3) * 2 - 1) * (n / 2) + min(n, 5) - n // 3 + n % 4


def indexed(self, x, i):
    x = x.clone()
    x[:, 0] = 0
    values, places = x.max(dim=1)
    parts = x.chunk(2, dim=1)
    return (
        x[i],
        x[:, None],
        x[x > 0],
        torch.where(x > 0)[0],
        x.to(torch.float64),
        values,
        places,
        torch.full((2, x.shape[0]), float("inf")),
        torch.arange(x.shape[0]),
        *parts,
        torch.einsum("ij,kj->ik", x, x),
        torch.nn.functional.pad(x, (1, 2), value=-1.5),
        torch.nn.functional.gelu(x, approximate="tanh"),
        torch.linspace(0, 1, 5),
        x.sum(dtype=torch.float64),
        x.mean((0, 1), keepdim=True),
        None,
        3,
    )


def branching(self, x):
    return torch.cond(x.sum() > 0, lambda x: (x + 1, x * 2), lambda x: (x - 1, x * 3), (x,))


def looping(self, n, x):
    return while_loop(lambda n, x: n > 0, lambda n, x: (n - 1, x * 2 + n), (n, x))


def sized(self, n):
    k = n.item()
    torch._check(k >= 0)
    torch._check(k < 100)
    return torch.zeros(k) + k


def nested(self, x, d):
    return {"a": x * d["k"], "b": (d["j"][0], x)}


LSTM = torch.nn.LSTM(3, 4, batch_first=True, bidirectional=True)
TRANSFORMER = torch.nn.TransformerEncoderLayer(8, 2, batch_first=True)
CONVOLUTION = torch.nn.Sequential(
    torch.nn.Conv2d(1, 2, 3),
    torch.nn.BatchNorm2d(2),
    torch.nn.ReLU(),
    torch.nn.MaxPool2d(2),
    torch.nn.Upsample(scale_factor=2),
    torch.nn.AdaptiveAvgPool2d((2, 2)),
    torch.nn.Flatten(),
    torch.nn.LogSoftmax(1),
)
EMBEDDING = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.LayerNorm(4), torch.nn.GELU())
MATRIX, OTHER = torch.rand(4, 3), torch.rand(5, 3)
BATCH = Dim("batch", max=100)
FREE = {0: AUTO}
# The module, inputs to export it with, which sizes are free, and more inputs to run it on.
PROGRAMS = {
    "many": (
        Many(),
        (torch.rand(2, 1, 4, 4), (torch.rand(2), torch.rand(3))),
        ({0: BATCH}, ({0: BATCH}, None)),
        [(torch.rand(5, 1, 4, 4), (torch.rand(5), torch.rand(3)))],
    ),
    "in_place": (Of(in_place, n=torch.zeros(()), _q=torch.ones(2)), (torch.rand(2),), None, []),
    "halved": (
        Of(halved),
        (torch.rand(4, 3),),
        ({0: AUTO, 1: AUTO},),
        [(torch.rand(6, 5),)],
    ),
    "symbolic": (Of(symbolic), (torch.rand(4),), (FREE,), [(torch.rand(9),)]),
    "indexed": (Of(indexed), (MATRIX.repeat(1, 2), torch.tensor([0, 1])), (FREE, None), []),
    "branching": (Of(branching), (MATRIX,), (FREE,), [(-MATRIX,), (MATRIX[:1],)]),
    "looping": (
        Of(looping),
        (torch.tensor(3), torch.rand(2)),
        None,
        [(torch.tensor(0), torch.rand(2))],
    ),
    "sized": (Of(sized), (torch.tensor(3),), None, [(torch.tensor(0),)]),
    "nested": (
        Of(nested),
        (MATRIX, {"j": [OTHER], "k": torch.rand(3)}),
        (FREE, {"j": [FREE], "k": None}),
        [(MATRIX[:2], {"j": [OTHER[:1]], "k": torch.rand(3)})],
    ),
    "lstm": (
        Of(lambda self, x: self.lstm(x), lstm=LSTM),
        (torch.rand(2, 5, 3),),
        (FREE,),
        [(torch.rand(9, 5, 3),)],
    ),
    "transformer": (
        TRANSFORMER,
        (torch.rand(2, 3, 8),),
        ({0: AUTO, 1: AUTO},),
        [(torch.rand(5, 9, 8),)],
    ),
    "convolution": (
        CONVOLUTION,
        (torch.rand(2, 1, 6, 6),),
        (FREE,),
        [(torch.rand(7, 1, 6, 6),)],
    ),
    "embedding": (
        EMBEDDING,
        (torch.tensor([[1, 2], [7, 8]]),),
        (FREE,),
        [(torch.tensor([[3, 4], [5, 6], [7, 9]]),)],
    ),
    "nothing": (Of(lambda self: self.w * 2, w=torch.ones(3)), (), None, []),
}
DECOMPOSED = ["many", "in_place", "branching", "convolution"]
CASES = [(name, False) for name in PROGRAMS] + [(name, True) for name in DECOMPOSED]


@pytest.fixture(scope="session")
def program(archives):
    """Makes the archive of one of the programs, once."""

    @cache
    def program(name, *, decomposed=False):
        module, arguments, shapes, _ = PROGRAMS[name]
        return exported(archives, module, arguments, shapes, decomposed=decomposed)

    return program


def exported(archives, module, arguments, shapes=None, **options):
    if shapes is not None and isinstance(module, Of):
        shapes = (shapes,)  # its forward has one parameter for all
    return archives.exported(module, arguments, shapes, **options)


def tensors_of(tree):
    return [each for each in torch.utils._pytree.tree_leaves(tree) if torch.is_tensor(each)]


@pytest.fixture(scope="session")
def own_reader():
    """Calls a program as torch itself reads it."""

    def own_reader(blob):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(io.BytesIO(blob)).module()

    return own_reader


def run_tensors(run, model, arguments):
    return run(model, *[each.numpy() for each in tensors_of(arguments)])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_program_answers_as_torch_does(program, load, run, own_reader, case):
    name, decomposed = case
    _, arguments, _, more = PROGRAMS[name]
    blob = program(name, decomposed=decomposed)
    model, own = load(blob), own_reader(blob)

    for example in [arguments, *more]:
        copies = torch.utils._pytree.tree_map(torch.clone, example)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = tensors_of(own(*copies))
        outputs = run_tensors(run, model, example)

        assert len(outputs) == len(model.outputs) == len(expected)
        for output, wanted in zip(outputs, expected, strict=True):
            assert output == Tensor.from_numpy(wanted.numpy())


def test_inputs_and_outputs_have_the_programs_names(program, load):
    model = load(program("many"))

    assert model.inputs == ("x", "pair_0", "pair_1")
    assert len(set(model.outputs)) == 4
    assert all(model.outputs)


def test_outputs_of_a_dict_have_the_names_of_its_keys(archives, load, run):
    def function(self, x):
        return {"z": x, "a": [x + 1, {"c": x + 2}], 3: (x + 3,), "n": 5}, (x + 4, x + 5)

    model = load(archives.exported(Of(function), (torch.rand(1),)))

    assert model.outputs[:4] == ("z", "a.0", "a.1.c", "3.0")
    assert len(set(model.outputs)) == 6
    assert [each.values() for each in run(model, [0])] == [[0], [1], [2], [3], [4], [5]]


def test_a_tensor_that_is_returned_twice_has_two_names(archives, load, run):
    model = load(archives.exported(Of(lambda self, x: (x, x, x * 2)), (torch.rand(2),)))

    assert len(set(model.outputs)) == 3
    assert [each.values() for each in run(model, [1, 2])] == [[1, 2], [1, 2], [2, 4]]


def test_weights_that_share_memory_share_it_here(archives, load, run):
    linear = torch.nn.Linear(3, 3, bias=False)
    twice = torch.nn.Sequential(linear, linear)
    blob = archives.exported(twice, (torch.rand(1, 3),))
    records = archives.records(blob)
    weights = [name for name in records if "weights/weight_" in name]

    assert len(weights) == 1
    x = torch.rand(1, 3)
    assert np.array_equal(run(load(blob), x.numpy())[0].numpy(), twice(x).detach().numpy())


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda self, x: torch.fft.rfft(x), "an output of type complex64"),
        (lambda self, x: (x, x.to(torch.complex128)), "an output of type complex128"),
        (lambda self, x: x.to(torch.float8_e5m2), "an output of type float8_e5m2"),
        (lambda self, x: x.to_sparse(), "an output that is a sparse tensor"),
        (lambda self, x: 3, "no output that is a tensor"),
    ],
)
def test_outputs_that_no_reply_can_hold_are_refused(archives, load, function, text):
    with pytest.raises(ModelRejected, match=f"^The exported program has {text}, which cannot be"):
        load(archives.exported(Of(function), (torch.rand(2, 4),)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_programs_of_half_precision_are_run(archives, load, run, own_reader, dtype):
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU(), torch.nn.Linear(8, 2))
    x = torch.rand(3, 4).to(dtype)
    blob = archives.exported(module.to(dtype), (x,), ({0: AUTO},))
    given = x if dtype is torch.float16 else x.view(torch.uint16)
    tensor = Tensor.from_numpy(given.numpy().view(DTYPES[dtype].numpy))

    (output,) = run(load(blob), tensor)

    assert output.dtype is DTYPES[dtype]
    assert output.values() == own_reader(blob)(x).flatten().tolist()


# --------------------------------------------------------------------------- conditions
@pytest.fixture(scope="session")
def refusal(program, load, run, own_reader):
    """Returns why a program refuses inputs that torch refuses as well."""

    def refusal(name, *arguments):
        blob = program(name)
        with torch.no_grad(), pytest.raises((AssertionError, RuntimeError)):
            own_reader(blob)(*arguments)
        with pytest.raises(RunFailed) as caught:
            run_tensors(run, load(blob), arguments)
        return str(caught.value)

    return refusal


def test_fixed_sizes_and_types_are_checked(refusal):
    pair = torch.rand(2), torch.rand(3)

    assert refusal("many", torch.rand(2, 1, 4, 5), pair).startswith("Input x must be FLOAT[s")
    assert refusal("many", torch.rand(2, 1, 4, 5), pair).endswith("1, 4, 4], not FLOAT[2, 1, 4, 5]")
    assert refusal("many", torch.rand(2, 4, 4), pair).endswith("not FLOAT[2, 4, 4]")
    assert "DOUBLE" in refusal("many", torch.rand(2, 1, 4, 4, dtype=torch.float64), pair)


def test_sizes_that_must_be_equal_are_checked(refusal):
    text = refusal("many", torch.rand(2, 1, 4, 4), (torch.rand(3), torch.rand(3)))

    assert text.startswith("Input pair_0 must be FLOAT[s")


def test_bounds_are_checked(refusal):
    text = refusal("many", torch.rand(101, 1, 4, 4), (torch.rand(101), torch.rand(3)))

    assert text.endswith("must be 0 to 100, not 101")


def test_conditions_of_the_code_are_checked(refusal):
    assert "do not fit the exported program: " in refusal("halved", torch.rand(5, 2))


def test_what_the_program_asserts_is_checked(refusal):
    assert refusal("sized", torch.tensor(100)).startswith("AssertionError: Runtime assertion")


def test_a_size_that_is_a_multiple_of_another_is_checked(archives, load, run):
    n = Dim("n", min=2, max=64)
    module = Of(lambda self, x, y: x + y[::2])
    shapes = ({0: n}, {0: 2 * n})
    model = load(exported(archives, module, (torch.rand(4), torch.rand(8)), shapes))

    assert run(model, np.ones(5, np.float32), np.ones(10, np.float32))[0].values() == [2] * 5
    with pytest.raises(RunFailed, match="do not fit the exported program"):
        run(model, np.ones(5, np.float32), np.ones(9, np.float32))


# --------------------------------------------------------------------------- what is refused
@pytest.fixture
def edited(archives, doubling_export):
    """Makes an archive whose program was changed by a function."""

    def edited(change):
        def rewrite(text):
            program = json.loads(text)
            change(program)
            return json.dumps(program).encode()

        return archives.changed(doubling_export, "models/model.json", rewrite)

    return edited


def nodes(program):
    return program["graph_module"]["graph"]["nodes"]


def test_what_cannot_be_written_in_torchscript_is_named(archives, load):
    def autocast(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return x @ x

    with pytest.raises(ModelRejected, match=r"^The exported program has autocast, which cannot be"):
        load(archives.exported(Of(autocast), (torch.rand(2, 2),)))


def test_autocast_that_is_switched_off_is_run_through(archives, load, run):
    def autocast(self, x):
        with torch.autocast("cpu", enabled=False):
            y = x @ x
        return y * 2

    model = load(archives.exported(Of(autocast), (torch.rand(2, 2),)))

    assert run(model, [[1, 2], [3, 4]])[0].values() == [14, 20, 30, 44]


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ({"as_custom_obj": {"name": "o", "class_fqn": "c"}}, "an argument of the kind custom_obj"),
        ({"as_graph": {"name": "g", "graph": {}}}, "an argument of the kind graph"),
        ({"as_int_lists": [[1]]}, "an argument of the kind int_list"),
        ({"as_layout": 1}, "its program makes no sense"),
        ({"as_scalar_type": 99}, "its program makes no sense"),
        ({"as_tensor": {"name": "nowhere"}}, "its program makes no sense"),
        ({}, "its program makes no sense"),
    ],
)
def test_arguments_that_are_not_understood_are_refused(edited, load, argument, text):
    def change(program):
        nodes(program)[-1]["inputs"][1]["arg"] = argument

    with pytest.raises(ModelRejected, match=text):
        load(edited(change))


@pytest.mark.parametrize("output", [{"as_custom_obj": {"name": "o"}}, {"as_graph": {}}])
def test_results_that_are_not_understood_are_refused(edited, load, output):
    with pytest.raises(ModelRejected, match="a result of the kind"):
        load(edited(lambda program: nodes(program)[-1].update(outputs=[output])))


def test_numbers_that_json_lacks_are_taken(edited, load, run):
    def change(program):
        nodes(program)[-1]["inputs"][1]["arg"] = {"as_float": "-Infinity"}

    assert run(load(edited(change)), [[1, -2]])[0].values() == [-np.inf, np.inf]


def test_complex_numbers_are_taken(archives, load, run):
    module = Of(lambda self, x: torch.real((x + 2j) * (1 - 1j)))

    assert run(load(archives.exported(module, (torch.rand(2),))), [1, 2])[0].values() == [3, 4]


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.exec",
        "torch.ops.load_library",
        "torch.load",
        "_operator.call",
        "torch.ops.higher_order.print",
        "torch.ops.aten.__class__",
    ],
)
def test_operators_are_looked_up_nowhere_but_in_torch(edited, load, target):
    blob = edited(lambda program: nodes(program)[-1].update(target=target))

    with pytest.raises(ModelRejected, match="the operator"):
        load(blob)


def test_operators_that_reach_for_files_are_refused(edited, load):
    def change(program):
        arguments = [{"name": "filename", "arg": {"as_string": "/etc/passwd"}, "kind": 1}]
        nodes(program)[-1].update(target="torch.ops.aten.from_file.default", inputs=arguments)

    with pytest.raises(ModelRejected, match=r"^aten::from_file may not be used"):
        load(edited(change))


def test_operators_that_are_not_there_are_named(edited, load):
    with pytest.raises(
        ModelRejected, match=r"the unknown operator torch\.ops\.nowhere\.nothing\.x"
    ):
        load(
            edited(lambda program: nodes(program)[-1].update(target="torch.ops.nowhere.nothing.x"))
        )


class Exploit:
    def __reduce__(self):
        return exec, ("import builtins; builtins.exploited = True",)


EXPLOIT = pickle.dumps(Exploit())
CODE = "__import__('builtins').__dict__.update(exploited=True) or 1"


def exploit_guard(program):
    program["guards_code"] = [CODE]


def exploit_size(program):
    for tensor in program["graph_module"]["graph"]["tensor_values"].values():
        tensor["sizes"] = [{"as_expr": {"expr_str": CODE, "hint": None}}, {"as_int": 2}]


def exploit_range(program):
    program["range_constraints"] = {CODE: {"min_val": 0, "max_val": 1}}


def exploit_names(program):
    text = json.dumps(program)
    changed = text.replace('"mul"', json.dumps(f"mul\n    {CODE}"))
    program.clear()
    program.update(json.loads(changed))


@pytest.mark.parametrize("change", [exploit_guard, exploit_size, exploit_range, exploit_names])
def test_text_in_a_program_is_never_run(edited, load, run, change):
    with suppress(ModelRejected, RunFailed):
        run(load(edited(change)), np.ones((1, 2), np.float32))

    assert not hasattr(__builtins__, "exploited")
    assert "exploited" not in __builtins__


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("weight_0", saved(Exploit())),
        ("weight_0", EXPLOIT),
        ("weight_0", saved([1, 2])),
        ("opaque_obj_0", EXPLOIT),
        ("custom_obj_0", EXPLOIT),
    ],
)
@pytest.mark.parametrize("meta", [True, False])
def test_pickles_in_an_archive_bring_tensors_or_nothing(archives, load, path, content, meta):
    blob = archives.exported(Of(lambda self, x: x + self.w, w=torch.ones(2)), (torch.rand(2),))
    records = archives.records(blob)
    config = json.loads(records["data/weights/model_weights_config.json"])
    entry = config["config"]["w"]
    entry.update(path_name=path, use_pickle=True, **({} if meta else {"tensor_meta": None}))
    records["data/weights/model_weights_config.json"] = json.dumps(config).encode()
    records[f"data/weights/{path}"] = content

    with pytest.raises(ModelRejected):
        load(archives.packed(records))
    assert "exploited" not in __builtins__


def test_a_pickled_weight_that_is_a_tensor_is_taken(archives, load, run):
    blob = archives.exported(Of(lambda self, x: x + self.w, w=torch.ones(2)), (torch.rand(2),))
    records = archives.records(blob)
    config = json.loads(records["data/weights/model_weights_config.json"])
    config["config"]["w"]["use_pickle"] = True
    records["data/weights/model_weights_config.json"] = json.dumps(config).encode()
    records["data/weights/weight_0"] = saved(torch.tensor([10.0, 20.0]))

    assert run(load(archives.packed(records)), [1, 2])[0].values() == [11, 22]


def test_sample_inputs_and_compiled_code_are_left_alone(archives, doubling_export, load, run):
    records = archives.records(doubling_export)
    records["data/sample_inputs/model.pt"] = EXPLOIT
    records["data/aotinductor/model/model.so"] = b"\x7fELF"
    records["extra/notes"] = b"\xff"

    assert run(load(archives.packed(records)), [[1, 2]])[0].values() == [2, 4]
    assert "exploited" not in __builtins__


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda program: program["schema_version"].update(major=9), "version 9 of its format"),
        (lambda program: program["schema_version"].update(major=7), "version 7 of its format"),
        (lambda program: program.pop("graph_module"), "its program makes no sense"),
        (
            lambda program: program.update(guards_code=["L['x'].stride()[0] == 1"]),
            "the condition L",
        ),
        (lambda program: program.update(guards_code=["L['x'].size()[0] =="]), "the condition L"),
        (
            lambda program: program["graph_module"]["signature"]["input_specs"].append(
                {"token": {"arg": {"name": "t"}}}
            ),
            r"an input that is no tensor \(token\)",
        ),
        (
            lambda program: program["graph_module"]["signature"]["output_specs"].append(
                {"token": {"arg": {"name": "t"}}}
            ),
            "an output of the kind token",
        ),
    ],
)
def test_programs_that_are_not_understood_are_refused(edited, load, change, text):
    with pytest.raises(ModelRejected, match=text):
        load(edited(change))


def test_archives_of_an_older_torch_are_refused_with_what_they_are(archives, load):
    blob = archives.packed({"serialized_exported_program.json": b"{}", "version": b"8.1"})

    with pytest.raises(ModelRejected, match=r"a format that torch wrote before version 2\.8"):
        load(blob)


def test_an_archive_must_have_one_program(archives, doubling_export, load):
    records = archives.records(doubling_export)
    for others in ({"models/other.json": b"{}"}, {}):
        changed = dict(records, **others)
        if not others:
            del changed["models/model.json"]
        with pytest.raises(ModelRejected, match=f"must have one program, not {2 * len(others)}"):
            load(archives.packed(changed))


def test_a_weight_that_does_not_lie_in_its_record_is_refused(archives, load):
    blob = archives.exported(Of(lambda self, x: x + self.w, w=torch.ones(2)), (torch.rand(2),))

    with pytest.raises(ModelRejected):
        load(archives.changed(blob, "data/weights/weight_0", lambda content: content[:4]))


@settings(max_examples=100, suppress_health_check=[MANY])
@given(st.data())
def test_damaged_parts_are_refused_or_still_a_model(archives, doubling_export, load, run, data):
    records = archives.records(doubling_export)
    name = data.draw(
        st.sampled_from(["models/model.json", "data/weights/model_weights_config.json"])
    )
    content = bytearray(records[name])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.sampled_from(b'0123456789"{}[],:anstruelf_'))
    with suppress(ModelRejected, RunFailed):
        model = load(archives.packed(records | {name: bytes(content)}))
        run(model, *[np.ones((1, 2), np.float32)] * len(model.inputs))
