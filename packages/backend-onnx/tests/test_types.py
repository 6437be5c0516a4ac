"""Every type that ONNX Runtime takes goes in and comes back, without needless copies."""

import gc

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from tensorkeep.errors import ModelRejected
from tensorkeep.tensor import DType, Tensor

NUMBERS = [dtype for dtype in DType if dtype is not DType.STRING]


@pytest.mark.parametrize("shape", [(2, 3), (6,), (), (0, 3), (1, 2, 1, 3)])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_of_every_type_come_back_as_they_went_in(graphs, load, run, dtype, shape):
    model = load(graphs.identity(dtype.name))
    given = Tensor.from_numpy(np.resize([0, 1, 1, 0, 1, 0], shape).astype(dtype.numpy))

    (output,) = run(model, given)

    assert output == given
    assert output.dtype is dtype


@pytest.mark.parametrize("dtype", NUMBERS)
def test_a_tensor_made_from_bytes_is_taken_as_well(graphs, load, run, dtype):
    model = load(graphs.identity(dtype.name))
    given = Tensor.from_blob(dtype, (4,), bytes([0, 1]) * 2 * dtype.itemsize)

    assert run(model, given) == [given]


def test_bfloat16_goes_through_a_model_beside_other_types(graphs, load, run):
    nodes = [
        graphs.node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        graphs.node("Add", ["wide", "b"], ["sum"]),
        graphs.node("Cast", ["sum"], ["narrow"], to=TensorProto.BFLOAT16),
    ]
    model = load(
        graphs.model(
            nodes,
            [graphs.value("x", "bfloat16"), graphs.value("b")],
            [graphs.value("sum"), graphs.value("narrow", "bfloat16")],
        )
    )

    wide, narrow = run(model, np.array([1.5, -2], ml_dtypes.bfloat16), [1, 1])

    assert (wide.dtype, wide.values()) == (DType.FLOAT, [2.5, -1])
    assert (narrow.dtype, narrow.values()) == (DType.BFLOAT16, [2.5, -1])


def test_bfloat16_may_be_turned_into_strings_inputs_and_all(graphs, load, run, strings):
    nodes = [
        graphs.node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        graphs.node("Identity", ["s"], ["t"]),
    ]
    model = load(
        graphs.model(
            nodes,
            [graphs.value("x", "bfloat16"), graphs.value("s", "string")],
            [graphs.value("wide"), graphs.value("t", "string")],
        )
    )

    wide, text = run(model, np.array([1.5], ml_dtypes.bfloat16), strings(["a"]))

    assert wide.values() == [1.5]
    assert text.values() == [b"a"]


def test_a_model_with_strings_in_and_bfloat16_out_is_refused(graphs, load):
    nodes = [
        graphs.node("Identity", ["s"], ["t"]),
        graphs.node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16),
    ]
    blob = graphs.model(
        nodes,
        [graphs.value("s", "string"), graphs.value("x")],
        [graphs.value("t", "string"), graphs.value("y", "bfloat16")],
    )

    with pytest.raises(ModelRejected, match="takes STRING cannot return BFLOAT16"):
        load(blob)


def test_the_names_are_those_of_the_model_in_its_order(graphs, load, run):
    nodes = [graphs.node("Sub", ["b", "a"], ["z"]), graphs.node("Identity", ["a"], ["y"])]
    model = load(
        graphs.model(
            nodes,
            [graphs.value("b"), graphs.value("a")],
            [graphs.value("z"), graphs.value("y")],
        )
    )

    assert (model.inputs, model.outputs) == (("b", "a"), ("z", "y"))
    assert [each.values() for each in run(model, [5], [3])] == [[2], [3]]


def test_a_constant_that_may_be_overridden_is_no_input(graphs, load, run):
    model = load(
        graphs.model(
            [graphs.node("Add", ["x", "w"], ["y"])],
            [graphs.value("x"), graphs.value("w")],
            [graphs.value("y")],
            [graphs.constant("w", 10)],
        )
    )

    assert model.inputs == ("x",)
    assert run(model, [1])[0].values() == [11]


def test_an_output_that_is_no_tensor_is_none(graphs, load, run):
    nodes = [
        graphs.node("SequenceConstruct", ["x", "x"], ["list"]),
        graphs.node("Identity", ["x"], ["y"]),
    ]
    ends = [graphs.value("x", "float", [1, 2])], [graphs.sequence("list"), graphs.value("y")]
    model = load(graphs.model(nodes, *ends))

    first, second = run(model, [[0.25, 0.75]])

    assert first is None
    assert second.values() == [0.25, 0.75]


@pytest.mark.parametrize("beside", ["float", "bfloat16"])
def test_an_optional_output_is_a_tensor_when_there_is_one(graphs, load, run, beside):
    # A model that returns BFLOAT16 gives all its outputs another way.
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, [1])
    optional = helper.make_optional_type_proto(tensor)
    nodes = [
        graphs.node("Optional", ["x"], ["some"]),
        graphs.node("Optional", [], ["none"]),
        graphs.node("SequenceConstruct", ["x"], ["list"]),
        graphs.node("Cast", ["x"], ["y"], to=getattr(TensorProto, beside.upper())),
    ]
    nodes[1].attribute.append(helper.make_attribute("type", tensor))
    outputs = [helper.make_value_info(name, optional) for name in ("some", "none")]
    outputs += [graphs.sequence("list"), graphs.value("y", beside)]
    model = load(graphs.model(nodes, [graphs.value("x", "float", [1])], outputs))

    some, *nothing, last = run(model, [2.5])

    assert some.values() == last.values() == [2.5]
    assert nothing == [None, None]


def test_an_optional_input_takes_a_tensor(graphs, load, run):
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    given = helper.make_value_info("x", helper.make_optional_type_proto(tensor))
    nodes = [graphs.node("OptionalGetElement", ["x"], ["y"])]
    model = load(graphs.model(nodes, [given], [graphs.value("y")]))

    assert run(model, [2.5])[0].values() == [2.5]


def test_a_model_that_takes_a_list_of_tensors_is_refused(graphs, load):
    nodes = [graphs.node("SequenceLength", ["list"], ["y"])]
    blob = graphs.model(nodes, [graphs.sequence("list")], [graphs.value("y", "int64", [])])

    with pytest.raises(ModelRejected, match=r"Input list is of type seq\(tensor\(float\)\); it"):
        load(blob)


def test_a_model_that_returns_a_type_that_we_lack_is_refused(graphs, load):
    nodes = [graphs.node("Cast", ["x"], ["y"], to=TensorProto.FLOAT8E4M3FN)]
    blob = graphs.model(nodes, [graphs.value("x")], [graphs.value("y", "float8e4m3fn")])

    with pytest.raises(ModelRejected, match=r"Output y is of type tensor\(float8e4m3fn\)"):
        load(blob)


# --------------------------------------------------------------------------- memory
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_outputs_outlive_their_session(graphs, load, run, dtype):
    model = load(graphs.identity(DType.of(np.dtype(dtype)).name))
    outputs = [run(model, np.full(100_000, turn, dtype))[0] for turn in range(10)]

    del model
    gc.collect()
    reused = [np.full(100_000, 255, np.uint8) for _ in range(50)]

    assert len(reused) == 50
    assert [set(each.values()) for each in outputs] == [{turn} for turn in range(10)]


def test_an_output_shares_no_memory_with_an_input_a_constant_or_another_output(graphs, load, run):
    model = load(
        graphs.model(
            [
                graphs.node("Identity", ["x"], ["same"]),
                graphs.node("Reshape", ["x", "flat"], ["reshaped"]),
                graphs.node("Identity", ["w"], ["weights"]),
            ],
            [graphs.value("x")],
            [graphs.value(name) for name in ("same", "reshaped", "weights")],
            [graphs.constant("flat", [-1], np.int64), graphs.constant("w", np.ones(10_000))],
        )
    )
    given = np.ones(10_000, np.float32)

    outputs = [*run(model, given), *run(model, given)]

    arrays = [given, *(each.numpy() for each in outputs)]
    for index, one in enumerate(arrays):
        for other in arrays[index + 1 :]:
            assert not np.shares_memory(one, other)


def test_a_large_input_is_not_copied_on_its_way(graphs, load, run, monkeypatch):
    model = load(graphs.identity())
    seen = []
    native = model.native.run
    given = Tensor.from_numpy(np.ones(1_000_000, np.float32))

    def watched(names, feeds, options):
        seen.extend(feeds.values())
        return native(names, feeds, options)

    object.__setattr__(model.native, "run", watched)
    run(model, given)

    assert np.shares_memory(seen[0], given.numpy())
    assert not seen[0].flags.writeable


def test_a_large_output_is_the_runtimes_own_array(graphs, load, run):
    (output,) = run(load(graphs.identity()), np.ones(1_000_000, np.float32))

    assert not output.numpy().flags.owndata
    assert not output.numpy().flags.writeable
