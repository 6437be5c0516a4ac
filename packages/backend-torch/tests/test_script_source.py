"""The source of a script is looked through and cut before the compiler sees it."""

import ast
import sys
import threading
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.errors import ModelRejected
from tensorkeep_torch.script_source import pieces_of

LINES = "    x = x + 1\n"


def function(name, body=LINES * 400):
    return f"def {name}(x):\n{body}    return x\n"


def test_a_short_script_is_one_piece():
    source = "def f(x):\n    return g(x)\ndef g(x):\n    return x\n"
    (piece,) = pieces_of(source)

    assert piece.text == source
    assert piece.names == {"f", "g"}


def test_a_long_one_is_cut_into_functions_that_keep_their_lines():
    source = "# a remark\n" + function("f") + "\n" + function("g")
    pieces = pieces_of(source)

    assert [sorted(piece.names) for piece in pieces] == [[], ["f"], ["g"]]
    for piece in pieces:
        for each in ast.parse(piece.text).body:
            line = source.splitlines()[each.lineno - 1]
            assert line.startswith(f"def {each.name}")


def test_functions_come_behind_those_that_they_call():
    call = LINES * 300 + "    x = {}(x)\n"
    source = function("a", call.format("b")) + function("b", call.format("c")) + function("c")

    assert [sorted(piece.names) for piece in pieces_of(source)] == [["c"], ["b"], ["a"]]


@given(st.lists(st.sets(st.integers(0, 9)), min_size=10, max_size=10))
def test_every_function_is_there_once_whatever_they_call(calls):
    body = LINES * 100
    source = "".join(
        function(f"f{n}", body + "".join(f"    x = f{m}(x)\n" for m in sorted(called)))
        for n, called in enumerate(calls)
    )
    pieces = pieces_of(source)

    assert sorted(name for piece in pieces for name in piece.names) == [f"f{n}" for n in range(10)]
    if all(m < n for n, called in enumerate(calls) for m in called):
        places = {name: at for at, piece in enumerate(pieces) for name in piece.names}
        assert all(
            places[f"f{m}"] < places[f"f{n}"] for n, called in enumerate(calls) for m in called
        )


def test_numbers_of_arguments_of_commands_are_found():
    (piece,) = pieces_of("def f(x):\n    redis.execute('A')\n    redis.execute('B', 1, 2, c=3)\n")

    assert piece.counts == {0, 1, 3}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (LINES * 60_000, "more than 524288 bytes"),
        (function("f", LINES * 5_000), "A function of a script must not have more than 65536"),
        (function("f", LINES * 2_000), "as long as the one at line 1: it has more than 10000"),
        (function("f") + function("g", LINES * 2_000), "the one at line 403"),
        (
            function("f", "".join(f"{' ' * n}if x:\n" for n in range(4, 94)) + " " * 94 + "x\n"),
            "Too much lies in one another in the function at line 1",
        ),
        (
            function("f", "".join(f"{' ' * n}if x:\n" for n in range(4, 200)) + " " * 200 + "x\n"),
            "Too much lies in one another in the function at line 1: too many levels",
        ),
        (function("f", f"    x = {'+'.join('x' * 3000)}\n"), "Too much lies in one another"),
        (function("f") + "def g(x:\n" + LINES * 800, "The source cannot be parsed"),
        (
            f"def f(x):\n    y = {'[' * 3000}1{']' * 3000}\n    return x\n",
            "cannot be parsed: too many",
        ),
        (f"def f(x):\n    y = {'not ' * 1500}1 1\n    return x\n", "cannot be parsed"),
    ],
)
def test_what_is_too_long_or_too_deep_is_refused_with_its_place(source, text):
    with pytest.raises(ModelRejected) as caught:
        pieces_of(source)

    assert text in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        f"def f(x):\n    y = {'(' * 30}1{',)' * 30}\n    return x\n",
        f"def f(x: {'Tuple[' * 30}int{']' * 30}):\n    return x\n",
        "def f(x):\n    t = (1, 1)\n" + "    t = t + t\n" * 15 + "    return x\n",
        "def f(x):\n    t = (1, 1)\n" + "    t = (t, t, 1)[0:2]\n" * 15 + "    return x\n",
        "def f(x):\n    s, t = 1, 1\n" + "    s, t = (s, t), (t, s)\n" * 15 + "    return x\n",
        "def f(x):\n    t = (1, 1)\n" + "    t = (t, t)\n" * 15 + "    return x\n",
        "def g0(x):\n    return (x, x)\n"
        + "".join(f"def g{n}(x):\n    return (g{n - 1}(x), g{n - 1}(x))\n" for n in range(1, 30)),
    ],
)
def test_tuples_whose_type_swells_are_refused(source):
    with pytest.raises(ModelRejected, match="Too much lies in one another"):
        pieces_of(source)


def test_ordinary_tuples_are_no_burden():
    pairs = (
        "    a, b = b, (a, b)[0] + 1\n    s = (s[0] + 1, s[1])\n"
        "    x = x.view((1, (2)))\n    t = (x, (a, b))\n"
    ) * 100

    assert pieces_of(
        f"def f(x):\n    a, b = 1, 2\n    s = (1, 2)\n{pairs}    return (t, (t, [x, x]))\n"
    )


def test_what_is_no_python_is_left_to_the_compiler():
    (piece,) = pieces_of("def f(x:\n")

    assert piece.text == "def f(x:\n"


def test_a_script_of_many_functions_works_as_a_short_one(compile_script, call):
    source = "".join(
        function(f"f{n}", LINES * 200 + f"    x = f{n + 1}(x)\n") for n in range(9)
    ) + function("f9", LINES)
    script = compile_script(source)

    assert call(script, "f0", [0])[0].values() == [9 * 200 + 1]


def test_a_long_script_tells_the_line_of_its_failure(compile_script, call):
    source = function("f") + "def g(x):\n    return x.view(7)\n" + function("h")

    with pytest.raises(Exception, match='File "<string>", line 404, in g'):
        call(compile_script(source), "g", [0])
    with pytest.raises(ModelRejected, match=r"(?s)undefined value y.*line 404"):
        compile_script(source.replace("x.view(7)", "y"))


def test_functions_that_call_each_other_in_a_long_script_are_refused(compile_script):
    source = function("f", LINES * 400 + "    x = g(x)\n") + function(
        "g", LINES * 400 + "    x = f(x)\n"
    )

    with pytest.raises(ModelRejected):
        compile_script(source)


def test_others_go_on_between_the_functions_of_a_long_script(compile_script):
    source = "".join(function(f"f{n}", LINES * 300) for n in range(30))
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    turns = []
    done = threading.Event()

    def count():
        while not done.is_set():
            turns.append(time.perf_counter())
            time.sleep(0.0005)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        began = time.perf_counter()
        compile_script(source)
        took = time.perf_counter() - began
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(before)
    pauses = [later - sooner for sooner, later in pairwise(turns)]

    assert max(pauses) < took / 2
