"""Models whose weights lie beside them: in an archive with the model, and nowhere else."""

import io
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tensorkeep.errors import ModelRejected

WEIGHTS = np.arange(300 * 4, dtype=np.float32).reshape(300, 4)
GIVEN = np.ones((2, 300), np.float32)


def zipped(members, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture
def product(graphs):
    """Makes a model that multiplies `x` with a constant tensor, in a graph within if asked for."""

    def product(tensor, *, within=False):
        ends = [graphs.value("x", "float", [None, 300])], [graphs.value("y")]
        node = graphs.node("MatMul", ["x", tensor.name], ["y"])
        if not within:
            return graphs.model([node], *ends, [tensor])
        inner = helper.make_graph([node], "inner", [], [graphs.value("y")], [tensor])
        branches = {"then_branch": inner, "else_branch": inner}
        choice = graphs.node("If", ["c"], ["y"], **branches)
        return graphs.model([choice], *ends, [graphs.constant("c", 1, np.bool_)])

    return product


def external(location="w.data", offset=0, length=WEIGHTS.nbytes, array=WEIGHTS):
    """Makes a tensor whose data are said to lie in a file; None leaves a word out."""
    tensor = numpy_helper.from_array(array, "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return tensor


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("folder", ["", "exported/v1/"])
def test_weights_beside_the_model_are_its_own(product, load, run, within, folder):
    model = product(external(offset=64), within=within)
    members = {f"{folder}model.onnx": model, f"{folder}w.data": bytes(64) + WEIGHTS.tobytes()}

    (found,) = run(load(zipped(members)), GIVEN)

    assert np.allclose(found.numpy(), GIVEN @ WEIGHTS)


@pytest.mark.parametrize(
    ("tensor", "name"),
    [
        (external("./w.data"), "w.data"),
        (external("data/w"), "data/w"),
        (external("data/../w"), "w"),
        (external(offset=None), "w.data"),
        (external(length=None), "w.data"),
        (external("*/_ORT_MEM_ADDR_/*", length=None), "*/_ORT_MEM_ADDR_/*"),  # the runtime's word
    ],
)
def test_a_file_is_found_as_the_model_names_it(product, load, run, tensor, name):
    blob = zipped({"model.onnx": product(tensor), name: WEIGHTS.tobytes()})

    assert np.allclose(run(load(blob), GIVEN)[0].numpy(), GIVEN @ WEIGHTS)


def test_small_and_empty_tensors_may_lie_in_a_file_too(graphs, load, run):
    nothing = external("w", array=np.zeros((0,), np.float32), length=0)
    few = external("w", offset=4, length=8, array=np.array([3, 5], np.float32))
    nothing.name, few.name = "nothing", "few"
    nodes = [
        graphs.node("Concat", ["nothing", "few"], ["all"], axis=0),
        graphs.node("Add", ["x", "all"], ["y"]),
    ]
    model = graphs.model(nodes, [graphs.value("x")], [graphs.value("y")], [nothing, few])
    data = np.array([1, 3, 5], np.float32).tobytes()

    assert run(load(zipped({"m.onnx": model, "w": data})), [1, 1])[0].values() == [4, 6]


def test_what_onnx_itself_saves_beside_a_model_is_taken(product, load, run, tmp_path):
    model = onnx.load_from_string(product(numpy_helper.from_array(WEIGHTS, "w")))
    onnx.save(model, str(tmp_path / "m.onnx"), save_as_external_data=True, location="m.onnx.data")
    members = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(members) == 2

    assert np.allclose(run(load(zipped(members)), GIVEN)[0].numpy(), GIVEN @ WEIGHTS)


def test_a_model_without_external_data_may_be_packed_too(graphs, load, run):
    assert run(load(zipped({"model.onnx": graphs.identity()})), [1])[0].values() == [1]


def test_a_large_model_with_weights_beside_it_works_as_well(product, load, run, monkeypatch):
    monkeypatch.setattr("tensorkeep_onnx.model._COPIED", 0)  # from here on it goes through a file
    blob = zipped({"model.onnx": product(external()), "w.data": WEIGHTS.tobytes()})

    assert np.allclose(run(load(blob), GIVEN)[0].numpy(), GIVEN @ WEIGHTS)


def test_the_weights_count_towards_the_memory_limit(product, load):
    blob = zipped({"model.onnx": product(external()), "w.data": WEIGHTS.tobytes()})

    with pytest.raises(ModelRejected, match="memory limit exceeded"):
        load(blob, memory_limit=WEIGHTS.nbytes // 2)


@pytest.mark.parametrize("location", ["/etc/hostname", "../secret", "secret", "", "model.onnx"])
def test_no_file_outside_of_the_archive_is_read(product, load, tmp_path, monkeypatch, location):
    (tmp_path / "below").mkdir()
    for place in ("secret", "below/secret"):
        (tmp_path / place).write_bytes(WEIGHTS.tobytes())
    monkeypatch.chdir(tmp_path / "below")

    for within in (False, True):
        blob = zipped(
            {"in/model.onnx": product(external(location), within=within), "secret": b"another"}
        )
        with pytest.raises(ModelRejected, match="is not in the archive"):
            load(blob)


@pytest.mark.parametrize(
    ("offset", "length"), [(1, WEIGHTS.nbytes), (-4, 8), (0, -1), (2**63, 4), (WEIGHTS.nbytes, 4)]
)
def test_data_outside_of_their_file_are_refused(product, load, offset, length):
    for within in (False, True):
        model = product(external(offset=offset, length=length), within=within)
        with pytest.raises(ModelRejected, match="is shorter than its tensors"):
            load(zipped({"model.onnx": model, "w.data": WEIGHTS.tobytes()}))


def test_a_place_that_is_no_number_is_refused(product, load):
    model = product(external(offset="first"))
    with pytest.raises(ModelRejected, match="have no place"):
        load(zipped({"model.onnx": model, "w.data": WEIGHTS.tobytes()}))


def test_data_of_another_length_than_the_tensor_are_refused(product, load):
    for within in (False, True):
        model = product(external(length=2000), within=within)
        with pytest.raises(ModelRejected, match="2000"):
            load(zipped({"model.onnx": model, "w.data": WEIGHTS.tobytes()}))


def test_a_compressed_member_is_refused_with_how_to_pack(product, load):
    members = {"model.onnx": product(external()), "w.data": WEIGHTS.tobytes()}
    with pytest.raises(ModelRejected, match="as with zip -0"):
        load(zipped(members, zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize("members", [{"weights": b"1"}, {"a.onnx": b"1", "b.onnx": b"2"}, {}])
def test_an_archive_without_the_one_model_is_refused(load, members):
    with pytest.raises(ModelRejected, match=r"protobuf parsing failed|No graph"):
        load(zipped(members))


def test_an_archive_that_was_cut_short_anywhere_is_refused(product, load):
    blob = zipped({"model.onnx": product(external()), "w.data": WEIGHTS.tobytes()})
    for length in range(0, len(blob), 61):
        with pytest.raises(ModelRejected):
            load(blob[:length])


def test_a_member_that_lies_about_its_place_or_size_is_refused(product, load):
    blob = zipped({"model.onnx": product(external()), "w.data": WEIGHTS.tobytes()})
    directory = blob.rindex(b"PK\1\2")
    for offset in (24, 42):  # its size, and where it starts
        damaged = bytearray(blob)
        damaged[directory + offset : directory + offset + 4] = (2**31).to_bytes(4, "little")
        with pytest.raises(ModelRejected):
            load(bytes(damaged))


def test_without_the_names_of_our_own_the_runtime_would_read_files(product, tmp_path, monkeypatch):
    # Why data of graphs within are put into the model; if this fails, the runtime can do it.
    (tmp_path / "w.data").write_bytes(WEIGHTS.tobytes())
    monkeypatch.chdir(tmp_path)
    options = onnxruntime.SessionOptions()
    options.add_external_initializers_from_files_in_memory(["w.data"], [b"other"], [5])

    session = onnxruntime.InferenceSession(
        product(external(), within=True), options, ["CPUExecutionProvider"]
    )

    assert np.allclose(session.run(None, {"x": GIVEN})[0], GIVEN @ WEIGHTS)
