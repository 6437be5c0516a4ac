"""Tables of SavedModels that are filled from a file of their assets, and from nothing else."""

import numpy as np
import pytest

from tensorkeep.errors import ModelRejected
from tensorkeep_tf.framework import SavedModelProto, tf

v1 = tf.compat.v1
HIDDEN = "on-the-server-only"


@pytest.fixture
def words(tmp_path):
    """Writes a file of words: `words("one", "two")`; its path is text."""

    def words(*given, name="words.txt"):
        path = tmp_path / name
        path.write_text("".join(f"{each}\n" for each in given))
        return str(path)

    return words


def reading(path):
    """Returns what fills a table with the numbers of the lines of a file."""
    index = tf.lookup.TextFileIndex
    return tf.lookup.TextFileInitializer(
        path, tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER
    )


class Tables(tf.Module):  # type: ignore[misc] # TensorFlow brings no types
    """Numbers of words, by one table for each file."""

    def __init__(self, *paths):
        super().__init__()
        self.tables = [tf.lookup.StaticHashTable(reading(path), -1) for path in paths]
        self.offset = tf.Variable(100, dtype=tf.int64)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words")])
    def serve(self, words):
        return {str(at): each.lookup(words) + self.offset for at, each in enumerate(self.tables)}


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text(f"{HIDDEN}\n")
    return str(path)


@pytest.fixture
def edited(saved, pack):
    """Saves a module, changes its graph for serving and packs it: `edited(module, edit)`."""

    def edited(module, edit):
        folder = saved(module)
        path = folder / "saved_model.pb"
        model = SavedModelProto.FromString(path.read_bytes())
        edit(model.meta_graphs[0])
        path.write_bytes(model.SerializeToString())
        return pack(folder)

    return edited


@pytest.fixture
def ask(run, strings):
    """Asks a model for the numbers of four words."""

    def ask(model):
        given = strings(["two", "none", "one", HIDDEN])
        return [each.values() for each in run(model, given)]

    return ask


def test_tables_are_filled_from_their_own_files(words, served, ask, tmp_path):
    module = Tables(words("one", "two"), words("two", "one", name="other.txt"))
    model = served(module)
    for path in tmp_path.glob("*.txt"):
        path.unlink()  # those that it was made of

    assert ask(model) == [[101, 99, 100, 99], [100, 99, 101, 99]]


def test_a_table_with_places_for_unknown_words_is_filled(words, served, ask):
    class Vocabulary(tf.Module):
        def __init__(self):
            super().__init__()
            self.table = tf.lookup.StaticVocabularyTable(reading(words("one", "two")), 1)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words")])
        def serve(self, words):
            return {"numbers": self.table.lookup(words)}

    assert ask(served(Vocabulary())) == [[1, 2, 0, 2]]


def test_a_table_of_tensorflow_1_is_filled(words, tmp_path, pack, unpack, ask):
    folder = str(tmp_path / "old")
    with tf.Graph().as_default(), v1.Session() as session:
        table = tf.lookup.StaticHashTable(reading(words("one", "two")), -1)
        x = v1.placeholder(tf.string, [None], "x")
        filling = v1.tables_initializer()
        v1.saved_model.simple_save(
            session, folder, {"x": x}, {"y": table.lookup(x)}, legacy_init_op=filling
        )

    assert ask(unpack(pack(folder))) == [[1, -1, 0, -1]]


def test_layers_of_keras_with_words_of_a_file_work(words, saved, pack, unpack, ask):
    keras = pytest.importorskip("keras")
    layer = keras.layers.StringLookup(vocabulary=words("one", "two"))

    class Lookup(tf.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words")])
        def serve(self, words):
            return {"numbers": self.layer(words)}

    expected = np.asarray(layer(tf.constant(["two", "none", "one", HIDDEN]))).tolist()
    assert ask(unpack(pack(saved(Lookup())))) == [expected]


def test_an_asset_that_is_not_in_the_archive_is_refused(words, edited, unpack):
    def edit(meta):
        meta.asset_file_def[0].filename = "../secret"

    blob = edited(Tables(words("one")), edit)

    with pytest.raises(ModelRejected, match=r'no file "assets/\.\./secret" in the archive'):
        unpack(blob)


def all_nodes(meta):
    library = meta.graph_def.library.function
    return [meta.graph_def.node, *(function.node_def for function in library)]


def test_a_table_is_never_filled_from_a_file_of_the_server(words, edited, unpack, secret):
    def edit(meta):
        for body in all_nodes(meta):
            for node in [each for each in body if each.op == "InitializeTableFromTextFileV2"]:
                path = body.add(name="path", op="Const")
                path.attr["dtype"].type = 7
                path.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(secret))
                node.input[1] = "path:output:0"

    blob = edited(Tables(words("one")), edit)

    with pytest.raises(ModelRejected, match="file that the graph reads is not in the archive"):
        unpack(blob)


def test_a_path_that_a_graph_gives_to_a_variable_of_the_same_name_is_never_read(
    words, edited, unpack, secret
):
    """The variable that names the asset is assigned once more, by a node that shares it."""

    def edit(meta):
        nodes = meta.graph_def.node
        (given,) = [each for each in nodes if each.name == "asset_path_initializer"]
        (assigned,) = [each for each in nodes if given.name in each.input]
        handle = next(each for each in nodes if each.name == assigned.input[0])
        twin = nodes.add()
        twin.CopyFrom(handle)
        twin.name = "twin"
        path = nodes.add(name="path", op="Const")
        path.attr["dtype"].type = 7
        path.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(secret))
        for name, value, after in (
            ("first", given.name, assigned.name),
            ("again", "path", "first"),
        ):
            assigning = nodes.add()
            assigning.CopyFrom(assigned)
            assigning.name = name
            assigning.input[:] = ["twin", value, f"^{after}"]
        for node in nodes:
            if node.op == "ReadVariableOp" and node.input[0] == handle.name:
                node.input.append("^again")

    blob = edited(Tables(words("one")), edit)

    with pytest.raises(ModelRejected, match="file that the graph reads is not in the archive"):
        unpack(blob)


def test_a_table_that_is_filled_from_a_file_in_a_graphdef_is_refused(graphs, load):
    def make():
        table = tf.lookup.StaticHashTable(reading("/etc/passwd"), -1)
        with tf.control_dependencies([v1.tables_initializer()]):
            tf.identity(table.lookup(graphs.given(dtype="string")), name="y")

    with pytest.raises(ModelRejected, match="Op InitializeTableFromTextFileV2 is not allowed"):
        load(graphs.graph(make))
