"""SavedModels with several signatures: which one is run, and what its tensors may be called."""

import pytest

from tensorkeep.errors import ModelRejected
from tensorkeep_tf.framework import SavedModelProto, tf

FLOATS = tf.TensorSpec([None], tf.float32)


class Several(tf.Module):  # type: ignore[misc] # TensorFlow brings no types
    """Three functions; two of them have an input of one name."""

    @tf.function(input_signature=[FLOATS])
    def double(self, x):
        return {"doubled": 2 * x}

    @tf.function(input_signature=[FLOATS])
    def negate(self, x):
        return {"negative": -x}

    @tf.function(input_signature=[FLOATS, FLOATS])
    def add(self, a, b):
        return {"sum": a + b, "difference": a - b}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A SavedModel whose default is `double`."""
    module = Several()
    folder = tmp_path_factory.mktemp("several")
    signatures = {"serving_default": module.double, "neg": module.negate, "add": module.add}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


@pytest.fixture
def blob(folder, pack):
    return pack(folder)


@pytest.fixture
def without_default(folder, tmp_path, pack):
    """The same, whose default is a signature like others."""
    model = SavedModelProto.FromString((folder / "saved_model.pb").read_bytes())
    signatures = model.meta_graphs[0].signature_def
    signatures["two"].CopyFrom(signatures.pop("serving_default"))
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    return pack(tmp_path)


def test_without_a_choice_the_default_is_run(blob, unpack, run):
    assert run(unpack(blob), [3])[0].values() == [6]


def test_a_signature_is_chosen_by_its_name(blob, load, run):
    model = load(blob, "", "", signature="add")

    assert (model.inputs, model.outputs) == (("a", "b"), ("difference", "sum"))
    assert [each.values() for each in run(model, [5], [3])] == [[2], [8]]


def test_names_of_a_chosen_signature_choose_and_order_its_tensors(blob, load, run):
    model = load(blob, "b a", "difference", signature="add")

    assert run(model, [5], [3])[0].values() == [-2]


def test_a_signature_that_is_not_there_is_refused_with_those_that_are(blob, load):
    with pytest.raises(ModelRejected) as caught:
        load(blob, "", "", signature="none")
    assert str(caught.value) == (
        'Invalid SavedModel: it has no signature "none" (signatures: add, neg, serving_default)'
    )


def test_names_of_another_signature_than_the_default_choose_it(blob, load, run):
    assert run(load(blob, "a b", "sum"), [5], [3])[0].values() == [8]
    assert run(load(blob, "x", "negative"), [5])[0].values() == [-5]


def test_names_that_the_default_has_mean_the_default(blob, load, run):
    assert run(load(blob, "x", "doubled"), [5])[0].values() == [10]


def test_names_that_fit_several_signatures_and_not_the_default_are_refused(without_default, load):
    # Of the function that both call, the graph has no node: any node serves as an output here.
    with pytest.raises(ModelRejected, match=r"the names fit several signatures \(neg, two\)"):
        load(without_default, "x", "neg_x")


def test_without_a_default_names_choose(without_default, load, run):
    assert run(load(without_default, "x", "negative"), [5])[0].values() == [-5]


def test_a_name_of_no_signature_is_refused_with_those_of_the_default(blob, load):
    with pytest.raises(ModelRejected, match=r'"serving_default" \(there: doubled\)'):
        load(blob, "x", "other")


def test_tensors_may_be_named_as_saved_model_cli_prints_them(folder, blob, load, run):
    model = SavedModelProto.FromString((folder / "saved_model.pb").read_bytes())
    add = model.meta_graphs[0].signature_def["add"]
    inputs = [add.inputs[each].name for each in ("a", "b")]
    outputs = [add.outputs[each].name for each in ("sum", "difference")]
    assert {each.rpartition(":")[2] for each in outputs} == {"0", "1"}

    loaded = load(blob, " ".join(inputs), " ".join(outputs))

    assert (loaded.inputs, loaded.outputs) == (tuple(inputs), tuple(outputs))
    assert [each.values() for each in run(loaded, [5], [3])] == [[8], [2]]


def test_tensors_of_the_graph_need_no_signature(folder, tmp_path, pack, load, run):
    model = SavedModelProto.FromString((folder / "saved_model.pb").read_bytes())
    signatures = model.meta_graphs[0].signature_def
    x, y = signatures["neg"].inputs["x"].name, signatures["neg"].outputs["negative"].name
    signatures.clear()
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())

    assert run(load(pack(tmp_path), x, y), [5])[0].values() == [-5]


def test_of_several_graphs_the_one_for_serving_and_nothing_else_is_run(
    folder, tmp_path, pack, unpack, run
):
    model = SavedModelProto.FromString((folder / "saved_model.pb").read_bytes())
    other = SavedModelProto()
    for name, tags in (("neg", ["serve", "gpu"]), ("serving_default", ["serve"])):
        graph = other.meta_graphs.add()
        graph.CopyFrom(model.meta_graphs[0])
        graph.meta_info_def.tags[:] = tags
        for each in {*graph.signature_def} - {name}:
            del graph.signature_def[each]
    (tmp_path / "saved_model.pb").write_bytes(other.SerializeToString())

    assert run(unpack(pack(tmp_path)), [3])[0].values() == [6]


def test_a_graphdef_has_no_signatures(graphs, load):
    with pytest.raises(ModelRejected, match="A GraphDef has no signatures"):
        load(graphs.identity(), signature="serving_default")
