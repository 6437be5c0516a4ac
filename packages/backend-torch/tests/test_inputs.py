"""Inputs that do not fit are refused, and failures are told without the way through C++."""

import numpy as np
import pytest
import torch

from tensorkeep.errors import RunFailed


@pytest.fixture
def pair(archives, load):
    """A model that multiplies two matrices."""
    return load(archives.scripted("def forward(self, a, b):\n    return torch.mm(a, b)\n"))


@pytest.fixture
def refusal(pair, run):
    """Runs the model in vain and returns the text; then checks that the model still works."""

    def refusal(*inputs):
        with pytest.raises(RunFailed) as caught:
            run(pair, *inputs)
        assert run(pair, [[2.0]], [[3.0]])[0].values() == [6]
        return str(caught.value)

    return refusal


def test_a_wrong_number_of_inputs_is_named(refusal):
    assert refusal([[1]]) == "Expected 2 inputs but got 1"
    assert refusal([[1]], [[1]], [[1]]) == "Expected 2 inputs but got 3"


def test_a_wrong_size_is_told_in_torchs_words_alone(refusal):
    assert refusal([[1, 2]], [[1, 2]]) == (
        "mat1 and mat2 shapes cannot be multiplied (1x2 and 1x2)"
    )


def test_a_wrong_type_is_told_in_torchs_words_alone(refusal):
    text = refusal([[1.0]], np.array([[1.0]], np.float64))

    assert "dtype" in text
    assert "\n" not in text


def test_an_exception_that_a_model_raises_is_told_by_its_text(archives, load, run):
    source = (
        "def forward(self, x):\n"
        "    if bool(x.sum() > 0):\n"
        "        raise Exception('this cannot be')\n"
        "    return x\n"
    )

    with pytest.raises(RunFailed, match=r"^this cannot be$"):
        run(load(archives.scripted(source)), [1])


def test_gradients_are_off_and_the_callers_own_setting_stays(archives, load, run):
    source = """
def forward(self, x):
    y = x.clone().requires_grad_(True)
    return torch.tensor((y * 2).requires_grad)
"""
    model = load(archives.scripted(source))
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled):
            assert run(model, [1])[0].values() == [False]
            assert torch.is_grad_enabled() is enabled
    with torch.enable_grad(), pytest.raises(RunFailed):
        run(model)
    assert torch.is_grad_enabled()
