"""What is no model, or may not be one, is refused with a text that can be read."""

import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from tensorkeep.errors import ModelRejected
from tensorkeep_onnx import model as model_module

EXTERNAL = (
    r"^Initializer tensors with external data is not allowed\. Put them into the model, "
    r"onnx\.save\(.*, or let `tensorkeep store-model` take the files along$"
)


@pytest.fixture
def refusal(load):
    def refusal(blob):
        with pytest.raises(ModelRejected) as caught:
            load(blob)
        return str(caught.value)

    return refusal


@pytest.mark.parametrize(
    ("blob", "text"),
    [
        (b"", "No graph was found in the protobuf."),
        # As of a TensorFlow graph: another message of the same format.
        (b"\x0a\x03\x0a\x01x\x22\x02\x08\x01", "No graph was found in the protobuf."),
        (b"this is no model", "Failed to load model because protobuf parsing failed."),
        (bytes(64), "Failed to load model because protobuf parsing failed."),
        (b"PK\x03\x04 a zip", "Failed to load model because protobuf parsing failed."),
        (b"\xff" * 64, "Failed to load model because protobuf parsing failed."),
        # Reads as fields with numbers: so many would be walked over for a minute.
        (b"x" * 100_000_000, "Failed to load model because protobuf parsing failed."),
    ],
    ids=range(7),
)
def test_bytes_that_are_no_model_are_refused(refusal, blob, text):
    assert refusal(blob) == text


def test_a_model_whose_graph_was_cut_short_anywhere_is_refused(graphs, refusal):
    blob = graphs.endless()

    graph_end = blob.rindex(b"B\x04\n\0\x10")  # where the versions of the operators stand
    for length in range(graph_end):
        assert refusal(blob[:length])


def test_a_graph_that_makes_no_sense_is_refused_without_the_runtimes_codes(graphs, refusal):
    text = refusal(graphs.identity(op="NoSuchOperator"))

    assert "NoSuchOperator" in text
    assert "ONNXRuntimeError" not in text


def test_operators_of_libraries_cannot_be_named(graphs, refusal):
    node = graphs.node("Open", ["x"], ["y"], domain="libc.so.6")
    blob = graphs.model([node], [graphs.value("x")], [graphs.value("y")])

    assert "is not a registered function/op" in refusal(blob)


def test_the_runtimes_own_format_is_not_taken(graphs, refusal, tmp_path):
    # It is not checked when it is read, and its weights may lie in files.
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "model.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(graphs.identity(), options, ["CPUExecutionProvider"])
    blob = (tmp_path / "model.ort").read_bytes()

    assert blob[4:8] == b"ORTM"
    assert refusal(blob) == "Failed to load model because protobuf parsing failed."


def test_the_runtime_is_told_the_format_whatever_the_bytes_look_like(settings):
    assert settings().get_session_config_entry("session.load_model_format") == "ONNX"


def test_nothing_is_printed_about_models_that_fail(graphs, load, run, refusal, capfd):
    refusal(b"this is no model")
    refusal(graphs.identity(op="NoSuchOperator"))
    with pytest.raises(Exception, match="overflow"):
        run(load(graphs.fill()), np.array([2**62], np.int64))

    assert capfd.readouterr() == ("", "")


# --------------------------------------------------------------------------- files
def places(graphs, tensor):
    """Gives models that have a tensor wherever the format allows one."""
    out = [graphs.value("y", "uint8")]
    inner = helper.make_graph([], "inner", [], out, [tensor])
    inner.initializer[0].name = "y"
    constant = graphs.node("Constant", [], ["y"], value=tensor)
    sparse = onnx.SparseTensorProto(values=tensor, dims=[8])
    sparse.indices.CopyFrom(graphs.constant("i", range(8), np.int64))
    condition = [graphs.constant("c", 1, np.bool_)]
    branches = {"then_branch": inner, "else_branch": inner}
    function = helper.make_function(
        "local", "F", [], ["y"], [constant], [helper.make_opsetid("", 19)]
    )
    yield graphs.model([graphs.node("Identity", ["w"], ["y"])], [], out, [tensor])
    yield graphs.model([constant], [], out)
    yield graphs.model([graphs.node("Constant", [], ["y"], sparse_value=sparse)], [], out)
    yield graphs.model([graphs.node("If", ["c"], ["y"], **branches)], [], out, condition)
    call = graphs.node("F", [], ["y"], domain="local")
    yield graphs.model([call], [], out, functions=[function])
    listed = graphs.node("Identity", ["w"], ["y"])
    listed.attribute.append(helper.make_attribute("list", [tensor]))
    yield graphs.model([listed], [], out, [graphs.constant("w", [1], np.uint8)])


@pytest.mark.parametrize("location", ["/etc/hostname", "../secret", "secret"])
def test_a_model_can_read_no_file_of_the_server(graphs, load, tmp_path, monkeypatch, location):
    (tmp_path / "secret").write_bytes(b"password")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path if location == "secret" else tmp_path / "below")

    for blob in places(graphs, graphs.external("w", location)):
        with pytest.raises(ModelRejected, match=EXTERNAL):
            load(blob)


def test_without_the_check_the_runtime_would_read_files(graphs, tmp_path, monkeypatch):
    # Why there is a check at all; if this fails one day, the runtime has its own.
    (tmp_path / "secret").write_bytes(b"password")
    monkeypatch.chdir(tmp_path)
    blob = next(places(graphs, graphs.external("w", "secret")))

    session = onnxruntime.InferenceSession(blob, providers=["CPUExecutionProvider"])

    assert bytes(session.run(None, {})[0]) == b"password"


def test_the_address_of_memory_is_no_place_for_weights_either(graphs, load):
    for blob in places(graphs, graphs.external("w", "*/_ORT_MEM_ADDR_/*")):
        with pytest.raises(ModelRejected, match=EXTERNAL):
            load(blob)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files in memory")
def test_only_large_models_go_through_a_file(graphs, opened):
    small, large = graphs.identity(), graphs.weighty(2**20)

    assert opened(small)[0] == small
    assert opened(large)[0].startswith("/proc/self/fd/")


def files_in_memory():
    """Returns those files in memory that models are read from and that are open."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # another thread has just closed it
            found.append(str(each.readlink()))
    return [each for each in found if "memfd:tensorkeep-onnx" in each]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files in memory")
def test_a_large_model_is_read_from_a_file_in_memory(graphs, load, run, monkeypatch):
    monkeypatch.setattr(model_module, "_COPIED", 0)
    before = files_in_memory()

    assert run(load(graphs.identity()), [1])[0].values() == [1]
    for blob, text in (
        (b"", "No graph was found in the protobuf."),
        (graphs.identity(op="NoSuchOperator"), "NoSuchOperator"),
    ):
        with pytest.raises(ModelRejected, match=text) as caught:
            load(blob)
        assert "/proc" not in str(caught.value)

    assert files_in_memory() == before
