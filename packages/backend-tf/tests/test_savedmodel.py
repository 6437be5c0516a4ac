"""SavedModels in zip archives: with their own names, restored from their checkpoint, and safely."""

import io
import stat
import tempfile
import zipfile

import numpy as np
import pytest

from tensorkeep.errors import ModelRejected, RunFailed
from tensorkeep.tensor import DType, Tensor
from tensorkeep_tf.framework import SavedModelProto, tf

v1 = tf.compat.v1


@pytest.fixture
def refusal(unpack):
    def refusal(blob, **options):
        with pytest.raises(ModelRejected) as caught:
            unpack(blob, **options)
        return str(caught.value)

    return refusal


@pytest.fixture
def temporary(tmp_path_factory, monkeypatch):
    """The folder in which temporary folders are made."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def archive(members, method=zipfile.ZIP_STORED):
    """Packs members; names may be ZipInfo."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return file.getvalue()


def edited(folder, edit):
    """Changes the graph for serving of a SavedModel."""
    path = folder / "saved_model.pb"
    model = SavedModelProto.FromString(path.read_bytes())
    edit(model.meta_graphs[0])
    path.write_bytes(model.SerializeToString())
    return folder


# --------------------------------------------------------------------------- names and values
@pytest.mark.parametrize("prefix", ["", "my-model/", "models/1/"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_is_taken_however_it_is_packed(saved, pack, unpack, prefix, method):
    assert unpack(pack(saved(), prefix, method)).inputs == ("x",)


def test_names_come_from_the_signature_and_values_from_the_checkpoint(served, run):
    model = served()

    assert (model.inputs, model.outputs) == (("x",), ("y",))
    assert run(model, [1, 2, 3])[0].values() == [3, 5, 7]


class Several(tf.Module):  # type: ignore[misc] # TensorFlow brings no types
    """A model whose variables all have one name, and which takes and returns several tensors."""

    def __init__(self):
        super().__init__()
        self.parts = [tf.Variable(float(value)) for value in range(10)]
        self.counter = tf.Variable(7, dtype=tf.int64)

    @tf.function(
        input_signature=[tf.TensorSpec([], tf.float32, "b"), tf.TensorSpec([], tf.float32, "a")]
    )
    def serve(self, b, a):
        return {"z": tf.stack(self.parts), "y": b - a, "c": self.counter}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, "only")])
    def other(self, only):
        return -only


def test_without_names_the_signatures_are_in_alphabetical_order(served, run):
    model = served(Several())

    assert (model.inputs, model.outputs) == (("a", "b"), ("c", "y", "z"))
    c, y, z = run(model, np.float32(3), np.float32(5))
    assert (c.dtype, c.values()) == (DType.INT64, [7])
    assert y.values() == [2]
    assert z.values() == list(range(10))  # each its own, though all have one name


def test_names_that_are_given_choose_and_order(saved, pack, run, load):
    model = load(pack(saved(Several())), "b a", "z y")

    assert (model.inputs, model.outputs) == (("b", "a"), ("z", "y"))
    assert run(model, np.float32(3), np.float32(5))[1].values() == [-2]


def test_names_of_nodes_may_be_given_too(saved, pack, run, load):
    model = load(pack(saved()), "serving_default_x", "y")

    assert run(model, [1])[0].values() == [3]


def test_a_name_that_is_not_there_is_refused(saved, pack, load):
    blob = pack(saved())

    with pytest.raises(
        ModelRejected, match=r'Input "a" is no tensor of the signature "serving_default" .*: x\)'
    ):
        load(blob, "a", "y")
    with pytest.raises(
        ModelRejected, match=r'Output "b" is no tensor of the signature "serving_default" .*: y\)'
    ):
        load(blob, "x", "b")


def test_the_only_signature_serves_whatever_its_name(served, run):
    module = Several()

    model = served(module, mine=module.other)

    assert model.inputs == ("only",)
    assert run(model, np.float32(1))[0].values() == [-1]


def test_of_several_signatures_one_must_be_the_default(saved, pack, served, refusal):
    module = Several()

    assert served(module, a=module.other, serving_default=module.serve)
    assert refusal(pack(saved(module, a=module.other, b=module.serve))) == (
        'Invalid SavedModel: it has no signature "serving_default" (signatures: a, b)'
    )


def test_a_model_without_signature_or_tag_is_refused(saved, pack, refusal):
    folder = edited(saved(), lambda meta: meta.signature_def.clear())
    assert "it has no signature" in refusal(pack(folder))
    folder = edited(saved(), lambda meta: meta.meta_info_def.ClearField("tags"))
    assert 'it has no graph with the tag "serve"' in refusal(pack(folder))


def test_a_model_without_variables_works(served, run):
    class Plain(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words")])
        def serve(self, words):
            return {"joined": tf.strings.join([words, "!"])}

    model = served(Plain())

    words = Tensor.from_values(DType.STRING, (2,), ["a", "b"])
    assert run(model, words)[0].values() == [b"a!", b"b!"]


def test_a_model_of_keras_works(tmp_path, pack, unpack, run):
    keras = pytest.importorskip("keras")
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Softmax()])
    network.export(str(tmp_path / "keras"), verbose=False)
    given = np.array([[1, 2, 3], [4, 5, 6]], np.float32)

    (found,) = run(unpack(pack(tmp_path / "keras")), given)

    assert np.allclose(found.numpy(), network(given).numpy(), atol=1e-6)


@pytest.mark.parametrize("resource", [False, True])
def test_a_model_of_tensorflow_1_works(tmp_path, pack, unpack, run, resource):
    folder = str(tmp_path / "old")
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], "x")
        w = v1.get_variable("w", initializer=3.0, use_resource=resource)
        b = v1.get_variable("b", initializer=[5.0], use_resource=resource)
        y = x * w + b
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, folder, {"x": x}, {"y": y})

    assert run(unpack(pack(folder)), [1, 2])[0].values() == [8, 11]


def test_a_table_in_memory_is_filled(served, run):
    class Words(tf.Module):
        def __init__(self):
            super().__init__()
            keys, values = tf.constant(["one", "two"]), tf.constant([1, 2])
            self.table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(keys, values), -1
            )

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words")])
        def serve(self, words):
            return {"numbers": self.table.lookup(words)}

    model = served(Words())

    words = Tensor.from_values(DType.STRING, (3,), ["two", "three", "one"])
    assert run(model, words)[0].values() == [2, -1, 1]


# --------------------------------------------------------------------------- what is refused
def test_operators_of_the_signature_are_looked_at(saved, pack, refusal):
    class Reads(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([], tf.string, "name")])
        def serve(self, name):
            return {"content": tf.io.read_file(name)}

    assert "Op ReadFile is not allowed" in refusal(pack(saved(Reads())))


def restoring(meta):
    """Returns the nodes of the function that restores variables."""
    (found,) = [
        each.node_def
        for each in meta.graph_def.library.function
        if "restore" in each.signature.name
    ]
    return found


def test_what_restores_a_model_cannot_write_files(saved, pack, refusal):
    def edit(meta):
        node = restoring(meta).add(name="write", op="WriteFile")
        node.input.extend(["file_prefix", "file_prefix"])
        restoring(meta)[-2].input.append("^write")

    assert "Op WriteFile is not allowed" in refusal(pack(edited(saved(), edit)))


def test_a_model_is_restored_from_its_own_checkpoint_whatever_it_names(
    affine, saved, pack, unpack, run
):
    other = saved(affine(w=100.0)) / "variables" / "variables"

    def edit(meta):
        name = restoring(meta).add(name="other", op="Const")
        name.attr["dtype"].type = tf.string.as_datatype_enum
        name.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(str(other)))
        for node in restoring(meta):
            if node.op == "RestoreV2":
                node.input[0] = "other:output:0"

    assert run(unpack(pack(edited(saved(), edit))), [1])[0].values() == [3]


def test_a_variable_without_a_value_is_told_when_it_is_read(saved, pack, unpack, run):
    def edit(meta):
        meta.saver_def.restore_op_name = "NoOp"

    with pytest.raises(RunFailed, match="Could not find variable"):
        run(unpack(pack(edited(saved(), edit))), [1])


def test_variables_that_a_model_changes_stay_changed(served, run):
    class Counter(tf.Module):
        def __init__(self):
            super().__init__()
            self.n = tf.Variable(10.0)

        @tf.function(input_signature=[tf.TensorSpec([], tf.float32, "x")])
        def serve(self, x):
            return {"n": self.n.assign_add(x)}

    model = served(Counter())

    assert [run(model, np.float32(2))[0].values() for _ in range(2)] == [[12], [14]]


def test_a_checkpoint_that_is_missing_or_damaged_is_refused(saved, pack, refusal):
    folder = saved()
    index = folder / "variables" / "variables.index"
    content = index.read_bytes()

    index.write_bytes(content[:-20] + bytes(20))
    assert refusal(pack(folder))
    index.unlink()
    assert refusal(pack(folder)) == (
        'Invalid SavedModel: no file "variables/variables.index" in the archive'
    )


@pytest.mark.parametrize("cut", [10, 100, 1000])
def test_an_archive_that_was_cut_short_is_refused(saved, pack, refusal, cut):
    assert refusal(pack(saved())[:-cut]).startswith(
        "Invalid GraphDef, and no SavedModel: the archive cannot be read: "
    )


def test_an_archive_of_something_else_is_refused(refusal):
    assert refusal(archive({"weights.bin": b"1"})) == (
        "Invalid GraphDef, and no SavedModel: no saved_model.pb in the archive"
    )
    assert refusal(archive({"saved_model.pb": b"no graph"})) == (
        "Invalid GraphDef, and no SavedModel: saved_model.pb cannot be read"
    )


def test_who_gives_a_file_of_keras_is_told_how_to_save_it(refusal):
    blob = archive({"metadata.json": "{}", "config.json": "{}", "model.weights.h5": "x"})
    assert "Invalid GraphDef" in refusal(blob)
    assert "model.export(folder)" in refusal(blob)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_members_may_be_packed_in_every_way(saved, pack, unpack, run, method):
    assert run(unpack(pack(saved(), method=method)), [1])[0].values() == [3]


@pytest.mark.parametrize(
    "name", ["../evil", "{}/evil", "variables/../../evil", "variables/variables.data-0/../evil"]
)
def test_members_are_never_written_where_they_say(saved, unpack, temporary, name):
    folder = saved()
    name = name.format(temporary.parent)
    members = {name: b"evil"} | {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }

    assert unpack(archive(members))

    assert not list(temporary.parent.rglob("*evil*"))


def test_a_link_is_no_way_to_a_file_of_the_server(tmp_path, saved, pack, refusal):
    secret = tmp_path / "secret"
    secret.write_bytes(b"password")
    members = {}
    with zipfile.ZipFile(io.BytesIO(pack(saved()))) as packed:
        for each in packed.namelist():
            info = zipfile.ZipInfo(each)
            linked = each.startswith("variables/variables.data")
            info.external_attr = (stat.S_IFLNK | 0o777 if linked else stat.S_IFREG | 0o600) << 16
            members[info] = str(secret) if linked else packed.read(each)

    assert refusal(archive(members))  # a checkpoint made of the link's text


def test_what_was_unpacked_is_in_memory_and_removed(saved, pack, unpack, refusal, monkeypatch):
    gfile = tf.io.gfile
    seen = []
    native = v1.Session.run

    def watched(self, *arguments, **options):
        seen.extend(path for folder in gfile.glob("ram://tensorkeep-tf-*") for path in [folder])
        return native(self, *arguments, **options)

    monkeypatch.setattr(v1.Session, "run", watched)
    folder = saved()
    assert unpack(pack(folder))
    assert seen
    assert not [path for path in seen if gfile.exists(path)]

    (folder / "variables" / "variables.index").write_bytes(b"damaged")
    assert refusal(pack(folder))
    assert not [path for path in seen if gfile.exists(path)]
