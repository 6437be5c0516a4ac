"""Operators of ONNX Runtime's extensions: they work where these are installed."""

import sys
from importlib.util import find_spec

import pytest

from tensorkeep.errors import ModelRejected
from tensorkeep_onnx.extensions import library_for

HERE = find_spec("onnxruntime_extensions") is not None
VOCABULARY = "[UNK]\n[CLS]\n[SEP]\n[PAD]\n[MASK]\nhello\nwor\n##ld\n"


@pytest.fixture
def with_operator(graphs):
    """Makes a model of one operator of the extensions: from strings to strings, or what is said."""

    def with_operator(name, outputs=None, **attributes):
        outputs = outputs or {"y": "string"}
        node = graphs.node(name, ["x"], [*outputs], domain="ai.onnx.contrib", **attributes)
        ends = [graphs.value(*each) for each in outputs.items()]
        return graphs.model([node], [graphs.value("x", "string")], ends)

    return with_operator


@pytest.mark.skipif(not HERE, reason="onnxruntime-extensions is not installed")
def test_strings_are_worked_on(with_operator, load, run, strings):
    model = load(with_operator("StringUpper"))

    assert run(model, strings(["hello", "you"]))[0].values() == [b"HELLO", b"YOU"]
    assert not model.steady


@pytest.mark.skipif(not HERE, reason="onnxruntime-extensions is not installed")
def test_a_tokenizer_in_the_graph_works(with_operator, load, run, strings):
    outputs = dict.fromkeys(("ids", "types", "mask"), "int64")
    blob = with_operator("BertTokenizer", outputs, vocab_file=VOCABULARY, do_lower_case=1)

    ids, _, mask = run(load(blob), strings(["Hello world"]))

    assert ids.values() == [1, 5, 6, 7, 2]
    assert mask.values() == [1] * 5


def test_without_the_extensions_it_is_said_what_to_install(with_operator, load, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime_extensions", None)

    with pytest.raises(ModelRejected, match="pip install onnxruntime-extensions"):
        load(with_operator("StringUpper"))


@pytest.mark.parametrize("name", ["ImageReader", "AzureTextToText", "PyOp", "OperatorOfTomorrow"])
def test_an_operator_that_may_reach_out_is_refused(with_operator, load, name):
    with pytest.raises(ModelRejected, match=f"The operator {name} of onnxruntime-extensions"):
        load(with_operator(name))


def test_other_models_load_no_library():
    assert library_for({(b"", b"Add"), (b"ai.onnx.ml", b"ZipMap")}) == ""
