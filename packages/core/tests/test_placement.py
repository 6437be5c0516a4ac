"""Placement: where a model or script runs, decided from the setting and what its backend says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.placement import Isolate, of_model, of_script

AUTO = Isolate.parse("auto")
NAMES = st.sampled_from(["ONNX", "TF", "TORCH", "MINE"])


def harmless():
    return ""


def never_asked():
    raise AssertionError("the model must not be looked at")


@pytest.mark.parametrize("text", ["auto", "AUTO", " all ", "none"])
def test_a_mode_is_read_in_any_case(text):
    setting = Isolate.parse(text)
    assert setting.mode == text.strip().lower()
    assert not setting.names


@given(st.lists(NAMES, min_size=1))
def test_names_are_read_with_commas_between(names):
    setting = Isolate.parse(" , ".join(names).lower())
    assert setting == Isolate("", frozenset(names))


@pytest.mark.parametrize("text", ["", ",", "TF,", "auto,TF", "TF, none"])
def test_what_is_neither_is_refused_with_what_was_expected(text):
    with pytest.raises(ValueError, match="isolate must be auto, all, none, or names of backends"):
        Isolate.parse(text)


@given(NAMES)
def test_a_model_that_is_harmless_runs_here_and_any_other_is_isolated_with_the_reason(name):
    here = of_model(AUTO, name, harmless)
    assert not here.isolated
    assert here.reason == "all its operators are known to be harmless"
    isolated = of_model(AUTO, name, lambda: "GatherND may read beyond its input")
    assert isolated.isolated
    assert isolated.reason == "GatherND may read beyond its input"


@given(NAMES)
def test_a_backend_that_tells_nothing_and_every_script_is_isolated(name):
    assert of_model(AUTO, name, None).isolated
    assert of_script(AUTO, name).isolated


@given(st.sampled_from(["all", "none", "TF", "TF,TORCH"]), NAMES)
def test_another_setting_decides_alone_and_says_so(text, name):
    setting = Isolate.parse(text)
    wanted = text == "all" or name in text.split(",")
    for placement in (of_model(setting, name, never_asked), of_script(setting, name)):
        assert placement.isolated is wanted
        assert placement.reason
