"""Every type that torch has goes in and comes back, without needless copies or wrong sharing."""

import gc
import weakref

import ml_dtypes
import numpy as np
import pytest
import torch

from tensorkeep.errors import ModelRejected, RunFailed
from tensorkeep.tensor import DType, Tensor
from tensorkeep_torch.tensors import DTYPES, from_torch, to_torch

NUMBERS = [dtype for dtype in DType if dtype is not DType.STRING]
LARGE = np.arange(10_000, dtype=np.float32)


def address(array):
    return array.__array_interface__["data"][0]


@pytest.fixture
def build(archives, load):
    """Builds a model `forward(self, x)` that returns an expression."""
    return lambda value, **own: load(
        archives.scripted(f"def forward(self, x):\n    return {value}\n", **own)
    )


@pytest.mark.parametrize("shape", [(2, 3), (6,), (), (0, 3), (1, 2, 1, 3), (100, 200)])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_of_every_type_come_back_as_they_went_in(build, run, dtype, shape):
    given = Tensor.from_numpy(np.resize([0, 1, 1, 0, 1, 0], shape).astype(dtype.numpy))

    (output,) = run(build("x"), given)

    assert output == given
    assert output.dtype is dtype


@pytest.mark.parametrize("dtype", NUMBERS)
def test_a_tensor_made_from_bytes_is_taken_wherever_they_lie(build, run, dtype):
    blob = memoryview(bytes([1] + [0, 1] * 2 * dtype.itemsize))[1:]
    given = Tensor.from_blob(dtype, (4,), blob)

    assert run(build("x"), given) == [given]


def test_every_type_of_ours_but_strings_has_one_of_torchs():
    assert {*DTYPES.values()} == {*NUMBERS}


def test_strings_are_refused_in_the_words_of_redisai(build, run):
    strings = Tensor.from_values(DType.STRING, (1,), ["a"])

    with pytest.raises(RunFailed, match=r"^Unsupported code 7$"):
        run(build("x"), strings)


@pytest.mark.parametrize("name", ["complex64", "complex128"])
def test_types_that_only_torch_has_cannot_be_returned(build, run, name):
    cpp = {"complex64": "ComplexFloat", "complex128": "ComplexDouble"}[name]

    with pytest.raises(RunFailed, match=f"^{cpp} is not supported by dlpack$"):
        run(build(f"x.to(torch.{name})"), [1])


@pytest.mark.parametrize("turned", ["_", "_.t() * 2", "torch.cat([x, _])", "torch.stack([_])[0]"])
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("torch.complex(x, x)", "complex"),
        ("torch.fft.rfft(x)", "complex"),
        ("torch.polar(x, x)", "complex"),
        ("torch.quantize_per_tensor(x, 0.1, 0, torch.quint8)", "quantized"),
        ("x.to_sparse()", "sparse"),
    ],
)
def test_a_model_that_returns_them_for_certain_is_not_stored(build, value, kind, turned):
    with pytest.raises(ModelRejected, match=f"forward returns a {kind} tensor$"):
        build(turned.replace("_", value))


def test_a_complex_weight_is_not_returned_either(build, run):
    with pytest.raises(ModelRejected, match=r"forward returns a complex tensor$"):
        build("x + 1j * self.w * torch.complex(self.w, self.w)", w=torch.ones(1))
    assert run(build("torch.complex(x, x).real"), [1])[0].values() == [1]


def test_tensors_that_are_kept_in_other_ways_cannot_be_returned(build, run):
    with pytest.raises(
        RunFailed, match=r"^A tensor of layout torch\.sparse_coo cannot be returned$"
    ):
        run(build("x.to_sparse().coalesce()"), [1])


# --------------------------------------------------------------------------- sharing
@pytest.mark.parametrize("dtype", NUMBERS)
def test_inputs_share_their_memory(dtype):
    given = Tensor.from_numpy(np.zeros(10, dtype.numpy))

    assert to_torch(given, None, copy=False).data_ptr() == address(given.numpy())


def test_a_model_that_writes_in_place_gets_a_copy(build, run):
    given = Tensor.from_numpy(LARGE.copy())

    (output,) = run(build("x.add_(1)"), given)

    assert np.array_equal(given.numpy(), LARGE)
    assert np.array_equal(output.numpy(), LARGE + 1)


@pytest.mark.parametrize(
    "body",
    [
        # What the graph does not say of itself: dropout that is off returns its input.
        "    y = torch.dropout(x, 0.5, False)\n    return torch.relu_(y)\n",
        "    y = x.view(-1)\n    y[0] = 7\n    return x\n",
        "    x += 1\n    return x\n",
        "    torch.add(x, 1, out=x)\n    return x\n",
        (
            "    y = x.view(-1, 1)\n"
            "    return torch.batch_norm(y, None, None, x[:1], x[1:2], True, 0.5, 1e-5, False)\n"
        ),
        "    for y in torch.split(x, 2):\n        y.zero_()\n    return x\n",
        "    torch._foreach_add_([x], 1)\n    return x\n",
    ],
)
def test_inputs_never_change_however_a_model_writes(archives, load, run, body):
    model = load(archives.scripted(f"def forward(self, x):\n{body}"))
    given = Tensor.from_numpy(LARGE.copy())

    run(model, given)

    assert np.array_equal(given.numpy(), LARGE)


def test_in_place_operators_that_are_switched_off_cost_no_copy(archives, load):
    off = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.BatchNorm1d(3)).eval()
    on = torch.nn.Sequential(torch.nn.ReLU(inplace=True))

    assert not load(archives.saved(off)).native.program.writes
    assert load(archives.saved(on)).native.program.writes


def test_large_outputs_are_not_copied(build, run, monkeypatch):
    places = []
    model = build("x * 2")
    call = type(model.native.program).__call__

    def watched(*arguments):
        result = call(*arguments)
        places.append(result.data_ptr())
        return result

    monkeypatch.setattr(type(model.native.program), "__call__", watched)

    assert [address(run(model, LARGE)[0].numpy())] == places


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", LARGE),
        ("x.view(-1)", LARGE),
        ("x.view(100, 100).t()", LARGE.reshape(100, 100).T),
        ("self.w", LARGE),
        ("self.w[5000:]", LARGE[5000:]),
        ("torch.complex(x, -x).conj().imag", LARGE),
    ],
)
def test_outputs_share_no_memory_that_others_have(build, run, value, expected):
    own = torch.from_numpy(LARGE.copy())
    model = build(value, w=own)
    given = Tensor.from_numpy(LARGE.copy())

    (output,) = run(model, given)

    assert np.array_equal(output.numpy(), expected)
    assert not np.shares_memory(output.numpy(), given.numpy())


def test_two_outputs_do_not_share_memory(archives, load, run):
    model = load(
        archives.scripted("def forward(self, x):\n    y = x * 2\n    return y, y[1:], y\n")
    )

    outputs = [each.numpy() for each in run(model, LARGE)]

    assert [each.shape for each in outputs] == [(10_000,), (9_999,), (10_000,)]
    assert not np.shares_memory(outputs[0], outputs[1])


def test_a_piece_of_something_large_does_not_keep_it_in_memory():
    whole = torch.arange(1_000_000.0)
    piece = whole[:10_000]
    del whole

    tensor = from_torch(piece, [])

    assert address(tensor.numpy()) != piece.data_ptr()
    assert np.array_equal(tensor.numpy(), LARGE)


def test_a_model_keeps_what_it_assigns_to_itself(archives, load, run):
    source = "def forward(self, x):\n    self.w = x * 2\n    return self.w\n"
    model = load(archives.scripted(source, w=torch.zeros(10_000)))

    (first,) = run(model, LARGE)
    before = first.numpy().copy()
    run(model, LARGE + 1)

    assert np.array_equal(first.numpy(), before)


def test_the_memory_of_an_input_lives_as_long_as_torch_needs_it_and_no_longer():
    class Array(np.ndarray):
        """An array that can be watched."""

    array = np.zeros(10, np.float32).view(Array)
    alive = weakref.ref(array)
    value = to_torch(
        Tensor.trusted(DType.FLOAT, (10,), memoryview(array).cast("B")), None, copy=False
    )
    del array
    gc.collect()
    assert alive() is not None

    del value
    gc.collect()
    assert alive() is None


def test_bfloat16_is_computed_with(build, run):
    (output,) = run(build("x + 1"), np.array([1.5, -2], ml_dtypes.bfloat16))

    assert (output.dtype, output.values()) == (DType.BFLOAT16, [2.5, -1])


def test_weights_that_require_gradients_can_be_returned(archives, load, run):
    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.ones(2))

        def forward(self):
            return self.w, self.w * 2

    outputs = run(load(archives.saved(Own())))

    assert [each.values() for each in outputs] == [[1, 1], [2, 2]]
