"""Models with fields exchanged: what `onnx` reads of them is what was meant."""

from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper

from tensorkeep_onnx.modelproto import CHILDREN, survey
from tensorkeep_onnx.protobuf import LENGTH, bytes_field, read_field
from tensorkeep_onnx.rewriting import Edit, rewritten

_NAME = 3  # of NodeProto


def places(blob, kind="ModelProto", start=0, end=None, path=()):
    """Gives each node's name that is in a model, however deep, with where its field is."""
    end = len(blob) if end is None else end
    while start < end:
        field = read_field(blob, start)
        child = CHILDREN[kind].get(field.number) if field.wire_type == LENGTH else None
        if child is not None:
            yield from places(blob, child, field.start, field.end)
        elif (kind, field.number) == ("NodeProto", _NAME):
            yield start, field.end
        start = field.end


def names(graph):
    for node in graph.node:
        yield node
        for each in node.attribute:
            yield from names(each.g)


def model_of(tree):
    """Makes a model whose nodes hold graphs: a list of lists, of lists, and so on."""

    def graph(tree, path):
        nodes = [
            helper.make_node("Op", ["x"], ["y"], name=f"{path}{number}" * (number * 60 + 1))
            for number, _ in enumerate(tree)
        ]
        for number, (node, inner) in enumerate(zip(nodes, tree, strict=True)):
            if inner:
                within = graph(inner, f"{path}{number}")
                node.attribute.append(helper.make_attribute("body", within))
        weights = [TensorProto(name="w", raw_data=bytes(200))]
        return helper.make_graph(nodes, "graph", [], [], weights)

    return helper.make_model(graph(tree, "n"))


trees: st.SearchStrategy = st.recursive(
    st.just([]), lambda inner: st.lists(inner, max_size=4), max_leaves=12
)


@given(trees, st.data())
def test_what_is_exchanged_changes_and_nothing_else(tree, data):
    model = model_of(tree)
    blob = model.SerializeToString()
    found = [*places(blob)]
    chosen = data.draw(st.lists(st.sampled_from(range(len(found))), unique=True)) if found else []
    text = "z" * data.draw(st.sampled_from([0, 1, 127, 128, 20_000]))
    old = {blob[slice(*found[number])] for number in chosen}

    edits = [Edit(*found[number], (bytes_field(_NAME, text.encode()),)) for number in chosen]
    new = b"".join(rewritten(blob, edits))

    for node in names(model.graph):
        if bytes_field(_NAME, node.name.encode()) in old:
            node.name = text
    assert ModelProto.FromString(new) == model
    assert survey(new).graph


@given(trees)
def test_what_is_left_out_is_gone(tree):
    model = model_of(tree)
    blob = model.SerializeToString()

    new = b"".join(rewritten(blob, [Edit(*place) for place in places(blob)]))

    for node in names(model.graph):
        node.ClearField("name")
    assert ModelProto.FromString(new) == model
