"""Strings keep every byte, or an error says why they cannot."""

import pytest

from tensorkeep.errors import RunFailed
from tensorkeep.tensor import DType, Tensor


@pytest.mark.parametrize("shape", [(6,), (2, 3), (3, 1, 2)])
def test_strings_come_back_as_they_went_in(graphs, load, run, shape):
    values = ["short", "", "Ünïcödé", "日本", "two words\n", "x" * 10_000]
    given = Tensor.from_values(DType.STRING, shape, values)

    assert run(load(graphs.identity(DType.STRING)), given) == [given]


def test_strings_that_are_not_utf8_come_back_as_well(graphs, load, run, strings):
    given = strings([b"caf\xe9", b"\xff" * 100, b"\x80"])

    assert run(load(graphs.identity(DType.STRING)), given) == [given]


def test_a_single_string_comes_back(graphs, load, run):
    given = Tensor.from_values(DType.STRING, (), ["ein Wört"])

    assert run(load(graphs.identity(DType.STRING, [])), given) == [given]


def test_a_single_empty_string_is_an_error_that_says_so(graphs, load, run):
    model = load(graphs.identity(DType.STRING, []))

    with pytest.raises(RunFailed, match="a STRING tensor of no axes must not be empty"):
        run(model, Tensor.from_values(DType.STRING, (), [""]))


def test_operators_work_on_strings(graphs, load, run, strings):
    graph = graphs.new().tensor("a", [2], DType.STRING).constant("b", [b"one", b"two"])
    graph.tensor("y", [2], DType.BOOL).operator("EQUAL", ["a", "b"], ["y"], kind="EqualOptions")

    (output,) = run(load(graph.ends(["a"], ["y"])), strings(["one", "three"]))

    assert output.values() == [True, False]


def test_constants_of_strings_are_returned(graphs, load, run):
    model = load(graphs.new().constant("s", [b"one", b"", b"\xff"]).ends([], ["s"]))

    assert run(model)[0].values() == [b"one", b"", b"\xff"]


def test_an_output_with_a_nul_inside_is_an_error_that_says_so(graphs, load, run):
    model = load(graphs.new().constant("s", [b"a\0b"]).ends([], ["s"]))

    with pytest.raises(RunFailed, match="must not hold a NUL byte"):
        run(model)
