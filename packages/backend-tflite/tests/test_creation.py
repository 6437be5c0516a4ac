"""What is no model, or may not be one, is refused with a text that can be read."""

import pytest
from ai_edge_litert import schema_py_generated as schema

from tensorkeep.errors import ModelRejected
from tensorkeep.tensor import DType

NO_MODEL = "Failed to load model from buffer"


@pytest.fixture
def refusal(load):
    def refusal(model):
        with pytest.raises(ModelRejected) as caught:
            load(model)
        return str(caught.value)

    return refusal


@pytest.mark.parametrize(
    "blob",
    [b"", b"this is no model", bytes(64), b"\xff" * 64, b"\x18\0\0\0TFL3"],
)
def test_bytes_that_are_no_model_are_refused_in_the_originals_words(refusal, blob):
    assert refusal(blob).startswith(NO_MODEL)


def test_a_model_that_was_cut_short_anywhere_is_refused(graphs, refusal):
    blob = graphs.dense().blob

    for length in range(len(blob) - 4):  # the last bytes may be padding
        assert refusal(blob[:length]).startswith(NO_MODEL), length


def test_what_litert_itself_finds_amiss_in_the_bytes_is_refused(graphs, refusal):
    blob = graphs.dense().blob
    name = blob.index(b"\1\0\0\0x\0")  # the length of a name, and the name

    text = refusal(blob[:name] + b"\1\0\0\0xx" + blob[name + 6 :])

    assert text == f"{NO_MODEL}: The model is not a valid Flatbuffer buffer"


def test_a_model_for_a_gpu_is_refused_in_the_originals_words(graphs, load):
    with pytest.raises(ModelRejected, match=r"^Failed to set GPU delegate$"):
        load(graphs.dense(), "GPU")


def test_a_number_behind_cpu_changes_nothing(graphs, load, run):
    assert run(load(graphs.unary(), "CPU:7"), [[4, 9, 1]])[0].values() == [2, 3, 1]


def test_a_graph_whose_shapes_do_not_go_together_is_refused_with_the_reason(graphs, refusal):
    graph = graphs.binary("EQUAL")
    graph["b"].shape, graph["y"].type = [1, 2], schema.TensorType.BOOL

    assert refusal(graph) == (
        "Failed to allocate tensors: Given shapes, [1,3] and [1,2], are not broadcastable. "
        "Node number 0 (EQUAL) failed to prepare."
    )


def test_an_operator_in_a_version_that_litert_lacks_is_named(graphs, refusal):
    graph = graphs.dense()
    graph.model.operatorCodes[0].version = 99

    text = refusal(graph)

    assert text.startswith("Failed to construct interpreter: ")
    assert "FULLY_CONNECTED" in text
    assert "99" in text


@pytest.mark.parametrize("where", ["groups", "buffers"])
def test_a_model_cannot_make_the_server_read_files(graphs, refusal, where):
    graph = graphs.dense()
    if where == "groups":
        graph.model.externalBufferGroups = [schema.ExternalBufferGroupT()]
        graph.model.externalBufferGroups[0].name = "/etc/hostname"
    else:
        graph.model.externalBuffers = [schema.ExternalBufferT()]

    assert refusal(graph) == f"{NO_MODEL}: weights in other files are not allowed"


@pytest.mark.parametrize("number", [schema.TensorType.COMPLEX64, schema.TensorType.BFLOAT16])
def test_a_type_that_tensors_or_litert_lack_is_refused(graphs, refusal, number):
    for name, text in (("x", "Unsupported input data type"), ("y", "Unsupported output data type")):
        graph = graphs.unary("CAST")
        graph[name].type = number
        assert refusal(graph) == f"{text}: {name} is of type {number} of the format"


def test_nothing_is_printed_about_models_that_fail(graphs, load, run, refusal, capfd):
    refusal(b"this is no model")
    refusal(graphs.unary("MyOwn"))
    graph = graphs.binary("SUB")
    graph["b"].shape = [1, 2]
    refusal(graph)
    with pytest.raises(Exception, match="Failed"):
        run(load(graphs.binary()), [[1, 2]], [[1, 2, 3]])

    assert capfd.readouterr() == ("", "")


# --------------------------------------------------------------------------- names
def test_names_are_those_of_the_signature(graphs, load):
    graph = graphs.binary()
    graph.signature({"b": "second", "a": "first"}, {"y": "sum"})
    model = load(graph)

    assert (model.inputs, model.outputs) == (("first", "second"), ("sum",))


def test_without_a_signature_for_all_of_them_names_are_those_of_the_tensors(graphs, load):
    graph = graphs.binary()
    assert (load(graph).inputs, load(graph).outputs) == (("a", "b"), ("y",))
    graph.signature({"a": "first"}, {"y": "sum"})
    assert (load(graph).inputs, load(graph).outputs) == (("a", "b"), ("y",))


def test_a_signature_of_another_subgraph_names_nothing(graphs, load):
    graph = graphs.binary()
    graph.signature({"b": "second", "a": "first"}, {"y": "sum"})
    graph.model.signatureDefs[0].subgraphIndex = 1
    graph.subgraph().tensor("p").ends(["p"], ["p"])

    assert load(graph).inputs == ("a", "b")


def test_no_name_is_empty_and_none_is_there_twice(graphs, load):
    graph = graphs.binary()
    graph["b"].name = "a"
    graph["y"].name = ""
    assert (load(graph).inputs, load(graph).outputs) == (("a", "a_1"), ("output_0",))


def test_an_output_may_be_returned_twice(graphs, load, run):
    model = load(graphs.unary().ends(["x"], ["y", "y"]))

    assert model.outputs == ("y", "y_1")
    assert [each.values() for each in run(model, [[1, 4, 9]])] == [[1, 2, 3]] * 2


def test_types_are_named_by_the_contract_not_by_the_format(graphs, load):
    assert load(graphs.unary("ABS", dtype=DType.INT32)).native.takes == ((DType.INT32, 1),)
