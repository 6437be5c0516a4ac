"""A model can reach nothing outside itself, whatever it is made of."""

import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.config import BackendOptions
from tensorkeep.errors import ModelRejected, TensorkeepError
from tensorkeep.model import ModelSpec
from tensorkeep.tensor import DType, Tensor
from tensorkeep_tf import graphs as graphs_module
from tensorkeep_tf import operators, plugin
from tensorkeep_tf.framework import op_def_registry, tf

v1 = tf.compat.v1

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
        lambda: tf.raw_ops.RestoreV2(
            prefix="other", tensor_names=["w"], shape_and_slices=[""], dtypes=[tf.float32]
        )[0],
        lambda: v1.py_func(lambda: 1.0, [], tf.float32),
        lambda: (
            tf.raw_ops.ReaderReadV2(
                reader_handle=tf.raw_ops.WholeFileReaderV2(),
                queue_handle=tf.raw_ops.FIFOQueueV2(component_types=[tf.string]),
            ).value
        ),
        lambda: v1.Print(1.0, [1.0], "in the server's log"),
        tf.raw_ops.Timestamp,
        tf.raw_ops.Abort,
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


def nested(graphs, depth, calls=1):
    """Returns a graph with functions within functions, each of which calls the next so often."""

    def calling(function):
        def call(x):
            for _ in range(calls):
                x = function(x)
            return x

        return call

    def outer(x):
        return x / 2

    for _ in range(depth):
        outer = calling(tf.function(outer))
    return graphs.define(lambda: tf.identity(outer(graphs.given(shape=[])), name="y"))


def test_functions_may_be_nested(graphs, load, run):
    model = load(nested(graphs, 3, calls=2).SerializeToString())

    assert run(model, np.float32(2**16))[0].values() == [2**8]


@pytest.mark.parametrize("branch", [False, True])
def test_functions_that_call_themselves_are_refused(graphs, load, branch):
    # TensorFlow would write them out until the process ends, or for ever.
    def make():
        x = graphs.given(shape=[])
        outer = tf.function(lambda x: tf.identity(tf.function(tf.negative)(x)))
        tf.identity(tf.cond(x > 0, lambda: outer(x), lambda: x) if branch else outer(x), name="y")

    definition = graphs.define(make)
    for function in definition.library.function:
        for node in function.node_def:
            if "PartitionedCall" in node.op:
                node.attr["f"].func.name = function.signature.name

    with pytest.raises(ModelRejected, match="Functions call each other, or themselves, 100 deep"):
        load(definition.SerializeToString())


def test_functions_that_call_each_other_too_deep_are_refused(graphs, load, monkeypatch):
    monkeypatch.setattr(graphs_module, "_DEEPEST", 5)
    deep, deeper = (nested(graphs, depth).SerializeToString() for depth in (5, 6))

    assert load(deep)
    with pytest.raises(ModelRejected, match="Functions call each other, or themselves, 5 deep"):
        load(deeper)


def test_a_few_functions_that_make_up_a_huge_graph_are_refused(graphs, load, monkeypatch):
    monkeypatch.setattr(graphs_module, "_MOST_NODES", 1000)

    assert load(nested(graphs, 5, calls=2).SerializeToString())
    with pytest.raises(ModelRejected, match="With functions written out it has over 1000 nodes"):
        load(nested(graphs, 9, calls=2).SerializeToString())


def test_no_operator_that_takes_a_name_of_something_outside_is_allowed():
    suspicious = re.compile(
        r"file|path|dir$|url|address|memory_region|token$|^pattern$|dump|_source|_spec"
    )
    harmless = {"RegexFullMatch", "RegexReplace", "StaticRegexFullMatch", "StaticRegexReplace"}
    harmless.add("CTCBeamSearchDecoder")  # its `top_paths` are a number

    allowed = [
        name
        for name in KNOWN
        if not operators.refusal(name) and not name.startswith("Xla") and name not in harmless
    ]
    found = [
        (name, each.name)
        for name in allowed
        for each in (*op_def_registry.get(name).input_arg, *op_def_registry.get(name).attr)
        if suspicious.search(each.name)
    ]

    assert len(KNOWN) > 1000
    assert len(allowed) > 700
    assert not found


@pytest.mark.parametrize("word", ["Dataset", "File", "PyFunc", "Queue", "Reader", "Restore"])
def test_whole_families_of_operators_are_refused(word):
    family = [name for name in KNOWN if word in name]

    assert family
    assert [name for name in family if not operators.refusal(name)] == []


def test_the_operators_that_are_allowed_by_name_are_there():
    missing = [name for name in operators._HARMLESS if op_def_registry.get(name) is None]
    stateless = [
        name
        for name in operators._HARMLESS - {*missing}
        if not op_def_registry.get(name).is_stateful
    ]

    assert not missing
    assert not stateless


# --------------------------------------------------------------------------- damaged models
SAMPLES = Path(__file__).parents[3] / "examples" / "digits"


@pytest.fixture(scope="module")
def samples():
    return {
        "digits.pb": (("images",), ("probabilities",)),
        "digits_savedmodel.zip": ((), ()),
    }


@pytest.mark.parametrize("name", ["digits.pb", "digits_savedmodel.zip"])
@given(data=st.data())
def test_damaged_models_are_refused_or_built_but_end_nothing(samples, name, data):
    if not SAMPLES.is_dir():
        pytest.skip("the examples are only in the repository")
    blob = bytearray((SAMPLES / name).read_bytes())
    # Where the structure is, as good as anywhere else.
    places = st.integers(0, 2000) | st.integers(0, len(blob) - 1)
    places |= st.integers(len(blob) - 2000, len(blob) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=5)):
        blob[place] = data.draw(st.integers(0, 255))

    inputs, outputs = samples[name]
    # An error is fine, the end of the process is not.
    with suppress(TensorkeepError):
        plugin.model_create(
            ModelSpec("TF", inputs=inputs, outputs=outputs), bytes(blob), BackendOptions()
        )
