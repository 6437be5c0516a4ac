"""A model is steady when its time depends on shapes only."""

import numpy as np

from tensorkeep.tensor import DType


def test_models_of_plain_numbers_are_steady(graphs, load):
    for graph in (graphs.dense(), graphs.unary(), graphs.binary(), graphs.identity(DType.INT8)):
        assert load(graph).steady


def test_loops_and_strings_are_not(graphs, load):
    assert not load(graphs.counting()).steady
    assert not load(graphs.identity(DType.STRING)).steady


def test_a_size_that_is_given_at_run_time_is_not_but_a_constant_one_is(graphs, load):
    given = graphs.new().tensor("x").tensor("n", dtype=DType.INT32).tensor("y")
    given.operator("TILE", ["x", "n"], ["y"]).ends(["x", "n"], ["y"])
    constant = graphs.new().tensor("x").constant("n", [3], np.int32).tensor("y")
    constant.operator("TILE", ["x", "n"], ["y"]).ends(["x"], ["y"])

    assert not load(given).steady
    assert load(constant).steady
