"""Scripts compile or say why not, and their functions are called as in RedisAI."""

import threading
import warnings

import numpy as np
import pytest
import torch

from tensorkeep.errors import ModelRejected, RunFailed
from tensorkeep.tensor import DType, Tensor

ENTRY = "(tensors: List[Tensor], keys: List[str], args: List[str])"


@pytest.fixture
def refusal(compile_script):
    def refusal(source, *entry_points):
        with pytest.raises(ModelRejected) as caught:
            compile_script(source, *entry_points)
        return str(caught.value)

    return refusal


@pytest.fixture
def failure(call):
    def failure(*arguments, **given):
        with pytest.raises(RunFailed) as caught:
            call(*arguments, **given)
        return str(caught.value)

    return failure


# --------------------------------------------------------------------------- compiling
def test_the_compilers_text_is_the_one_that_clients_look_for(refusal):
    for source in ("return 1", "return 1\n"):
        # On the wire a newline becomes a blank.
        assert refusal(source).replace("\n", " ") == (
            "expected def but found 'return' here:   File \"<string>\", line 1 return 1 "
            "~~~~~~ <--- HERE "
        )


def test_the_compilers_text_shows_the_source_as_it_was_written(refusal):
    source = "def f(x):\n    redis.execute('GET',  'k' , 1)\n    return y\n"

    text = refusal(source)

    assert "undefined value y:" in text
    assert source.rstrip() in text
    assert "line 3" in text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("def f(x:\n", "expected"),
        ("import os\n", "expected def but found 'import'"),
        ("x = 1\n", "expected def"),
        ("def f(x):\n    return g(x)\n", "undefined value g"),
        ("def f(x):\n    return f(x)\n", "called recursively"),
        ("def f(x):\n    return x\ndef f(x):\n    return x\n", "already defined"),
        ("def f(x):\n    return torch.no_such_thing(x)\n", "no_such_thing"),
        ("def f(x):\n    return redis.no_such_thing(x)\n", "no_such_thing"),
        ("def f(x):\n    open('/etc/passwd')\n    return x\n", "undefined value open"),
        ("def f(x):\n    eval('1')\n    return x\n", "undefined value eval"),
        ("def f(x):\n    return x.no_such_thing\n", "no_such_thing"),
        ("def f(x):\n    redis.execute(1)\n    return x\n", "Expected a value of type 'str'"),
        ("(" * 500, "expected"),
    ],
)
def test_what_does_not_compile_is_told(refusal, source, text):
    assert text in refusal(source)


def test_a_source_that_is_not_utf_8_is_refused(refusal):
    assert refusal(b"def f(x):\n    return x # \xff\n").startswith("The source of a script must be")


def test_a_source_ends_at_the_first_nul(compile_script, call):
    script = compile_script(b"def f(x):\n    return x + 1\n\0this is ignored")

    assert call(script, "f", [1])[0].values() == [2]


def test_the_last_line_needs_no_end(compile_script, call):
    script = compile_script("def f(x):\n    for i in range(2):\n        x = x + 1\n    return x")

    assert call(script, "f", [1])[0].values() == [3]


def test_an_empty_script_has_no_functions(compile_script, failure):
    assert failure(compile_script(""), "f") == "Function does not exist: f"


@pytest.mark.parametrize(
    ("source", "names", "text"),
    [
        ("def f(x):\n    return x\n", ["g"], "Function g does not exist in the given script."),
        (
            "def f(x):\n    return x\n",
            ["f"],
            "Wrong number of inputs in function f. Expected 3 but was 1",
        ),
        (
            "def f(a, b, c):\n    return a\n",
            ["f"],
            (
                "Wrong inputs type in function f. Expected signature similar to: "
                "def f(tensors: List[Tensor], keys: List[str], args: List[str])"
            ),
        ),
        (
            f"def f{ENTRY}:\n    return tensors\ndef g(x):\n    return x\n",
            ["f", "h", "g"],
            "Function h does not exist in the given script.",
        ),
    ],
)
def test_entry_points_are_checked_in_their_order(refusal, source, names, text):
    assert refusal(source, *names) == text


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("    torch.save(x, 'file')\n", "aten::save"),
        ("    x = torch.from_file('/etc/passwd', False, 8)\n", "aten::from_file"),
    ],
)
def test_operators_that_reach_for_files_are_refused(refusal, body, name):
    text = refusal(f"def g(x):\n{body}    return x\ndef f(x):\n    return g(x)\n")

    assert text == f"{name} may not be used: it reaches beyond its tensors, or may"


def aliasing(x):
    return torch.ops.aten._reshape_alias(x, [1], [1])


@pytest.fixture
def of_torch(monkeypatch):
    """Makes the above a function of torch, which its compiler makes from Python."""
    monkeypatch.setattr(torch, "aliasing", aliasing, raising=False)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_operators_behind_functions_of_torch_are_refused_too(of_torch, refusal):
    text = refusal("def g(x):\n    return torch.aliasing(x)\ndef f(x):\n    return g(x)\n")

    assert text.startswith("aten::_reshape_alias may not be used")


def test_operators_of_onednn_may_be_used(compile_script, call):
    source = (
        "def f(x):\n"
        "    w = torch.ones(3, 2).to_mkldnn()\n"
        "    y = torch.ops.aten.mkldnn_linear(x.to_mkldnn(), w)\n"
        "    return y.to_dense()\n"
    )

    assert call(compile_script(source), "f", [[1, 2]])[0].values() == [3, 3, 3]


def test_python_behind_torch_cannot_be_reached(refusal):
    # Functions of torch that its compiler would leave to Python's interpreter.
    ignored = torch.jit.ignore(lambda x: x)
    torch.left_to_python = ignored
    try:
        assert refusal("def f(x):\n    return torch.left_to_python(x)\n")
    finally:
        del torch.left_to_python


def test_functions_of_torch_that_are_written_in_python_are_compiled_silently(
    recwarn, compile_script, call
):
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated")
    script = compile_script("def f(x):\n    return torch.nn.functional.relu(x)\n")

    assert call(script, "f", [100.0])[0].values() == [100]
    assert not recwarn.list


# --------------------------------------------------------------------------- calling
def test_an_entry_point_takes_tensors_keys_and_arguments(compile_script, call):
    script = compile_script(
        f"def f{ENTRY}:\n"
        "    total = torch.zeros(1)\n"
        "    for each in tensors:\n"
        "        total = total + each\n"
        "    for key in keys:\n"
        "        total = total * len(key)\n"
        "    return total + float(args[0])\n",
        "f",
    )

    (output,) = call(script, "f", [1], [2], keys=[b"abc\0def", b"\xff"], arguments=[b"0.5"])

    assert output.values() == [21.5]


def test_an_entry_point_may_be_given_nothing(compile_script, call):
    script = compile_script(
        f"def f{ENTRY}:\n    return torch.tensor(len(tensors) + len(keys))\n", "f"
    )

    assert call(script, "f")[0].values() == [0]


LEGACY = """
def pair(a, b):
    return a + b
def variadic(a, args: List[Tensor]):
    return args[0] + args[1]
def all_of(args: List[Tensor]):
    return torch.stack(args).sum(0)
def number(a, n: int):
    return a + n
def after(args: List[Tensor], a):
    return a
def nothing():
    return torch.ones(1)
"""


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        ("pair", ([1], [2]), 3),
        ("pair", ([1], [2], [7]), 3),
        ("variadic", ([1], [2], [3]), 5),
        ("variadic", ([1], [2], [3], [4]), 5),
        ("all_of", ([1], [2], [3]), 6),
        ("nothing", (), 1),
        ("nothing", ([1],), 1),
    ],
)
def test_other_functions_take_tensors_one_by_one(compile_script, call, function, given, expected):
    assert call(compile_script(LEGACY), function, *given)[0].values() == [expected]


@pytest.mark.parametrize(
    ("function", "given", "text"),
    [
        ("no_such", (), "Function does not exist: no_such"),
        ("pair", ([1],), "Wrong number of inputs provided to function: pair"),
        ("variadic", ([1],), "Wrong number of inputs provided to function: variadic"),
        ("number", ([1],), "Wrong number of inputs provided to function: number"),
        ("number", ([1], [2]), "Unsupported input type in function definition: number"),
    ],
)
def test_calls_that_do_not_fit_are_refused_in_redisais_words(
    compile_script, failure, function, given, text
):
    assert failure(compile_script(LEGACY), function, *given) == text


def test_what_follows_a_list_of_tensors_is_never_given(compile_script, failure):
    assert "after" in failure(compile_script(LEGACY), "after", [1], [2])


def test_functions_that_are_no_entry_points_can_be_called_beside_them(compile_script, call):
    script = compile_script(
        f"{LEGACY}def f{ENTRY}:\n    return pair(tensors[0], tensors[1])\n", "f"
    )

    assert call(script, "f", [1], [2])[0].values() == [3]
    assert call(script, "pair", [1], [2])[0].values() == [3]


RESULTS = """
def one(x):
    return x
def many(x):
    return x, [x + 1, x + 2], (x + 3,)
def number(x):
    return 1
def mixed(x):
    return x, 1
def none(x):
    print_nothing = 1
"""


def test_tuples_and_lists_are_taken_apart(compile_script, call):
    outputs = call(compile_script(RESULTS), "many", [0], outputs=4)

    assert [each.values() for each in outputs] == [[0], [1], [2], [3]]


@pytest.mark.parametrize(
    ("function", "outputs", "text"),
    [
        ("one", 2, "Function returned unexpected number of outputs - one"),
        ("one", 0, "Function returned unexpected number of outputs - one"),
        ("many", 3, "Function returned unexpected number of outputs - many"),
        ("number", 1, "Function returned non-tensor valuesnumber"),
        ("mixed", 2, "Function returned non-tensor valuesmixed"),
        ("none", 1, "Function returned non-tensor valuesnone"),
    ],
)
def test_other_results_than_were_expected_are_told_in_redisais_words(
    compile_script, failure, function, outputs, text
):
    assert failure(compile_script(RESULTS), function, [0], outputs=outputs) == text


@pytest.mark.parametrize("function", ["one", "many", "number", "mixed", "none"])
def test_results_do_not_matter_where_none_are_expected(compile_script, call, function):
    assert call(compile_script(RESULTS), function, [0], outputs=None) == []


def test_an_exception_is_told_with_the_way_through_the_source(compile_script, failure):
    source = (
        "def inner(xs: List[Tensor]):\n"
        "    return xs[3]\n"
        "def outer(xs: List[Tensor]):\n"
        "    return inner(xs)\n"
    )

    text = failure(compile_script(source), "outer", [1])

    assert "list index out of range" in text
    assert text.startswith("The following operation failed in the TorchScript interpreter.")
    assert 'File "<string>", line 4, in outer' in text
    assert 'File "<string>", line 2, in inner' in text
    assert "return xs[3]" in text


def test_an_exception_that_a_script_raises_is_told(compile_script, failure):
    source = (
        "def f(x):\n    if bool(x[0] > 0):\n        raise ValueError('too large')\n    return x\n"
    )

    assert "too large" in failure(compile_script(source), "f", [1])


def test_inputs_never_change_and_outputs_are_nobodys(compile_script, call):
    script = compile_script("def f(x):\n    x.add_(1)\n    return x\ndef same(x):\n    return x\n")
    large = Tensor.from_numpy(np.zeros(10_000, np.float32))

    (changed,), (same,) = call(script, "f", large), call(script, "same", large)

    assert not large.numpy().any()
    assert changed.numpy().all()
    assert not np.shares_memory(same.numpy(), large.numpy())


def test_strings_are_refused(compile_script, failure):
    strings = Tensor.from_values(DType.STRING, (1,), ["a"])

    assert (
        failure(compile_script("def f(x):\n    return x\n"), "f", strings) == "Unsupported code 7"
    )


def test_gradients_are_off(compile_script, call):
    source = (
        "def f(x):\n    return torch.tensor((x.clone().requires_grad_(True) * 2).requires_grad)\n"
    )

    assert call(compile_script(source), "f", [1])[0].values() == [False]


def test_one_script_is_called_on_several_threads_at_once(compile_script, call):
    script = compile_script(
        "def f(x, n):\n    for i in range(int(n)):\n        x = x + 1\n    return x\n"
    )
    wrong = []

    def work(number):
        for turn in range(50):
            (output,) = call(script, "f", [number * 100], [turn])
            if output.values() != [number * 100 + turn]:
                wrong.append((number, turn))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong
