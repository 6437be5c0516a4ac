"""A model can reach no file and no other server, whatever it is made of, without a sandbox too."""

import pytest

from tensorkeep.errors import ModelRejected
from tensorkeep.tensor import DType, Tensor
from tensorkeep_tf import files
from tensorkeep_tf.framework import op_def_registry, tf

# These have a word in their names that others have for good reason.
HARMLESS = {"ShardedFilename", "ShardedFilespec"}  # only make up names

# Everything that TensorFlow itself offers by name.
KNOWN = sorted(name for name in dir(tf.raw_ops) if op_def_registry.get(name))


@pytest.mark.parametrize(
    "make",
    [
        lambda: tf.io.read_file("/etc/hostname"),
        lambda: tf.io.matching_files("/etc/*"),
        lambda: tf.raw_ops.ImmutableConst(
            dtype=tf.uint8, shape=[1], memory_region_name="/etc/hostname"
        ),
        lambda: tf.data.TextLineDataset("/etc/hostname").reduce("", lambda a, b: a + b),
        lambda: tf.raw_ops.RestoreV2(
            prefix="other", tensor_names=["w"], shape_and_slices=[""], dtypes=[tf.float32]
        )[0],
        lambda: (
            tf.raw_ops.ReaderReadV2(
                reader_handle=tf.raw_ops.WholeFileReaderV2(),
                queue_handle=tf.raw_ops.FIFOQueueV2(component_types=[tf.string]),
            ).value
        ),
        lambda: (
            tf.raw_ops.DecodeProtoV2(
                bytes="",
                message_type="M",
                field_names=["f"],
                output_types=[tf.float32],
                descriptor_source="/etc/hostname",
            ).sizes
        ),
    ],
)
def test_operators_that_reach_outside_are_refused(graphs, load, make):
    def build():
        x = graphs.given()
        made = make()
        with tf.control_dependencies([made]):
            tf.identity(x, name="y")

    with pytest.raises(ModelRejected, match=r"^Op \w+ is not allowed: "):
        load(graphs.graph(build))


def test_effects_without_an_output_are_refused_as_well(graphs, load, tmp_path):
    def make():
        x = graphs.given()
        with tf.control_dependencies([tf.io.write_file(str(tmp_path / "file"), "content")]):
            tf.identity(x, name="y")

    with pytest.raises(ModelRejected, match="Op WriteFile is not allowed"):
        load(graphs.graph(make))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("depth", [1, 3])
def test_operators_in_functions_are_refused(graphs, load, depth):
    def read():
        return tf.io.read_file("/etc/hostname")

    for _ in range(depth):
        read = tf.function(read)
    blob = graphs.graph(lambda: (graphs.given(), tf.identity(read(), name="y")))

    with pytest.raises(ModelRejected, match="Op ReadFile is not allowed"):
        load(blob)


def test_operators_in_branches_and_loops_are_refused(graphs, load):
    def make():
        x = graphs.given()
        name = tf.where(x > 0, "/etc/hostname", "/etc/passwd")
        text = tf.cond(x > 0, lambda: tf.io.read_file(name), lambda: tf.constant(""))
        tf.while_loop(lambda _: False, lambda each: [tf.io.read_file(each)], [text])
        tf.identity(text, name="y")

    with pytest.raises(ModelRejected, match="Op ReadFile is not allowed"):
        load(graphs.graph(make))


def test_what_the_outputs_do_not_need_is_not_even_built(graphs, load, run):
    def make():
        tf.io.read_file("/etc/hostname")
        tf.function(lambda: tf.io.read_file("/etc/hostname"))()
        tf.negative(graphs.given(), name="y")

    model = load(graphs.graph(make))

    assert run(model, [1])[0].values() == [-1]


def test_a_function_cannot_take_the_place_of_another_that_is_run(graphs, load, run):
    # TensorFlow exchanges functions that say that they do the same, as it sees fit.
    def make():
        good = tf.function(lambda x: tf.strings.join([x, "!"]), experimental_implements="it")
        read = lambda x: tf.io.read_file(x)  # noqa: E731, PLW0108 - of one argument
        bad = tf.function(read, experimental_implements="it")
        x = graphs.given(dtype="string", shape=[])
        tf.identity(good(x), name="y")
        bad(x)

    definition = graphs.define(make)
    assert len(definition.library.function) == 2
    model = load(definition.SerializeToString())

    name = Tensor.from_values(DType.STRING, (), ["/etc/hostname"])
    assert run(model, name)[0].values() == [b"/etc/hostname!"]


def test_a_function_cannot_hide_behind_the_name_of_an_operator(graphs, load):
    definition = graphs.define(
        lambda: tf.identity(tf.function(tf.negative)(graphs.given()), name="y")
    )
    call = next(node for node in definition.node if "PartitionedCall" in node.op)
    definition.library.function[0].signature.name = "ReadFile"
    call.attr["f"].func.name = "ReadFile"

    with pytest.raises(ModelRejected):
        load(definition.SerializeToString())


def test_nothing_is_printed_to_a_file(graphs, load, run, tmp_path, capfd):
    def make():
        x = graphs.given()
        with tf.control_dependencies([tf.print("seen", output_stream=f"file://{tmp_path}/file")]):
            tf.identity(x, name="y")

    assert run(load(graphs.graph(make)), [1])[0].values() == [1]
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr().err == "seen\n"


def test_whatever_takes_the_name_of_a_file_reaches_out_and_little_else():
    reaching = {name for name in KNOWN if files._reaches_out(name)}

    for word in ("File", "RecordDataset", "Reader", "Restore", "SaveDataset", "SnapshotDataset"):
        assert {name for name in KNOWN if word in name} <= reaching | HARMLESS
    assert {"Save", "SaveV2", "MergeV2Checkpoints", "MatchingFiles", "DecodeProtoV2"} <= reaching
    assert {"ImmutableConst", "DataServiceDatasetV2", "GenerateVocabRemapping"} <= reaching
    assert not {"FIFOQueueV2", "MapDataset", "RangeDataset", "HashTableV2", "PyFunc"} & reaching
    assert 60 < len(reaching) < 110
