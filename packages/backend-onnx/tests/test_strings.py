"""Strings keep every byte, or an error says why they cannot."""

import numpy as np
import pytest

from tensorkeep.errors import RunFailed
from tensorkeep.tensor import DType, Tensor
from tensorkeep_onnx import tensors


@pytest.fixture
def labels(graphs, load):
    """A model that knows two strings, one of them not UTF-8, by number."""
    node = graphs.node(
        "LabelEncoder",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        keys_strings=[b"caf\xe9", b"caf\xc3\xa9"],
        values_int64s=[1, 2],
        default_int64=-1,
    )
    return load(graphs.model([node], [graphs.value("x", "string")], [graphs.value("y", "int64")]))


@pytest.fixture
def names(graphs, load):
    """A model that turns numbers into strings of the test's choice: `names(b"a", b"b")`."""

    def names(*strings):
        node = graphs.node(
            "LabelEncoder",
            ["x"],
            ["y"],
            domain="ai.onnx.ml",
            keys_int64s=range(len(strings)),
            values_strings=strings,
            default_string="",
        )
        return load(
            graphs.model([node], [graphs.value("x", "int64")], [graphs.value("y", "string")])
        )

    return names


@pytest.mark.parametrize("shape", [(6,), (2, 3), (3, 1, 2)])
def test_strings_come_back_as_they_went_in(graphs, load, run, shape):
    values = ["short", "", "Ünïcödé", "日本", "two words\n", "x" * 10_000]
    given = Tensor.from_values(DType.STRING, shape, values)

    assert run(load(graphs.identity("string")), given) == [given]


def test_a_single_string_and_no_string_at_all_come_back(graphs, load, run):
    model = load(graphs.identity("string"))

    for given in (
        Tensor.from_values(DType.STRING, (), ["one"]),
        Tensor.from_values(DType.STRING, (0, 2), []),
    ):
        assert run(model, given) == [given]


def test_a_blob_of_any_kind_of_buffer_is_taken(graphs, load, run):
    model = load(graphs.identity("string"))

    for kind in (bytes, bytearray, memoryview):
        assert run(model, Tensor.from_blob(DType.STRING, (2,), kind(b"a\0bc\0")))[0].values() == [
            b"a",
            b"bc",
        ]


def test_a_string_that_is_not_utf8_reaches_the_model_unchanged(labels, run, strings):
    (output,) = run(labels, strings([b"caf\xe9", b"caf\xc3\xa9", b"\xff" * 100, b""]))

    assert output.values() == [1, 2, -1, -1]


def test_a_single_string_that_is_not_utf8_reaches_the_model_unchanged(labels, run):
    (output,) = run(labels, Tensor.from_values(DType.STRING, (), [b"caf\xe9"]))

    assert (output.shape, output.values()) == ((), [1])


def test_strings_that_are_not_utf8_are_not_padded_without_bound(labels, run, strings, monkeypatch):
    monkeypatch.setattr(tensors, "_MOST_PADDED", 1000)

    with pytest.raises(RunFailed, match=r"must not have more than 1000 bytes .* not 1002"):
        run(labels, strings([b"\xff" * 500, b""]))


def test_an_output_that_is_not_utf8_is_an_error_that_says_so(names, run):
    model = names(b"fine", b"caf\xe9")

    assert run(model, np.array([0], np.int64))[0].values() == [b"fine"]
    with pytest.raises(RunFailed, match="An output holds a string that is not UTF-8"):
        run(model, np.array([1], np.int64))


def test_an_output_with_a_nul_inside_is_an_error_that_says_so(names, run):
    with pytest.raises(RunFailed, match=r"An output cannot be kept as a tensor: .* NUL"):
        run(names(b"a\0b"), np.array([0], np.int64))
