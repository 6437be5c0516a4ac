"""Strings in upper or lower case, on systems that lack the locale for it."""

import pytest

from tensorkeep.errors import ModelRejected
from tensorkeep_onnx import locales
from tensorkeep_onnx.locales import has_locale

GIVEN = ["Straße", "ÄÖ Éa", "ΣΩ", "I İ"]


@pytest.fixture
def lowering(graphs):
    """Makes a model that makes strings lower case; of a locale, or of the usual one."""

    def lowering(**attributes):
        attributes |= {"case_change_action": "LOWER"}
        node = graphs.node("StringNormalizer", ["x"], ["y"], **attributes)
        ends = [graphs.value(name, "string", [None]) for name in "xy"]
        return graphs.model([node], ends[:1], ends[1:])

    return lowering


@pytest.fixture
def lacking(monkeypatch):
    """Lets the system lack American locales, as far as we ask it."""
    monkeypatch.setattr(locales, "has_locale", lambda name: name == b"C.UTF-8")


@pytest.mark.usefixtures("lacking")
@pytest.mark.parametrize("named", [{}, {"locale": "en_US"}, {"locale": "en_US.UTF-8"}])
def test_the_american_locale_is_not_needed(lowering, load, run, strings, named):
    found = run(load(lowering(**named)), strings(GIVEN))[0].values()

    expected = run(load(lowering(locale="C.UTF-8")), strings(GIVEN))[0].values()
    assert found == expected
    assert found[:3] == ["straße".encode(), "äö éa".encode(), "σω".encode()]


@pytest.mark.parametrize("named", [{}, {"locale": "en_US"}])
def test_a_model_of_the_usual_locale_works_on_this_system(lowering, load, run, strings, named):
    assert run(load(lowering(**named)), strings(["ÄB"]))[0].values() == ["äb".encode()]


def test_another_locale_is_left_to_the_runtime(lowering, load, lacking):
    with pytest.raises(ModelRejected, match=r"locale with name:xx_YY"):
        load(lowering(locale="xx_YY"))


def test_a_node_within_another_graph_is_found(graphs, load, run, strings, lacking):
    from onnx import helper  # noqa: PLC0415 - for this test alone

    node = graphs.node("StringNormalizer", ["x"], ["y"], case_change_action="UPPER")
    inner = helper.make_graph([node], "inner", [], [graphs.value("y", "string")])
    choice = graphs.node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    ends = [graphs.value("x", "string", [None])], [graphs.value("y", "string")]
    blob = graphs.model([choice], *ends, [graphs.constant("c", 1, bool)])

    assert run(load(blob), strings(["ab"]))[0].values() == [b"AB"]


def test_what_the_system_has_is_found_out():
    assert has_locale(b"C")
    assert not has_locale(b"xx_YY")
