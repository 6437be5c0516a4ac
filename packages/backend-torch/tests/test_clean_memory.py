"""What a model or script did not write to is zero, whoever had that memory before."""

import warnings

import numpy as np
import pytest
import torch

from tensorkeep.errors import ModelRejected
from tensorkeep_torch.clean_memory import _flag, clean_memory, fill
from tensorkeep_torch.graphs import inlined
from tensorkeep_torch.internals import compile_source, function_of
from tensorkeep_torch.program import vet

SIZES = (10, 1000, 100_000)


def leave_secrets():
    """Fills memory of every size that is asked for below, and gives it back."""
    for size in SIZES:
        kept = [torch.full((size,), 77.0) for _ in range(50)]
        del kept


@pytest.mark.parametrize(
    "body",
    [
        "    return torch.empty(n)",
        "    return torch.empty([n], dtype=torch.float)",
        "    return torch.empty_like(x.expand(n))",
        "    return torch.empty_strided([n], [1])",
        "    return torch.empty_permuted([n], [0])",
        "    return x.new_empty([n])",
        "    return torch.ops.aten.new_empty_strided(x, [n], [1])",
        "    y = torch.zeros(1)\n    return y.resize_([n])",
        "    y = torch.zeros(1)\n    torch.ops.aten.resize_as_(y, x.expand(n))\n    return y",
        "    y = torch.zeros(0)\n    return torch.empty([n], out=y)",
        "    y = torch.zeros(0)\n    return torch.ops.aten.resize(y, [n])",
        "    return torch.ops.aten._empty_affine_quantized([n], dtype=13).dequantize()",
        "    return torch.empty(n, dtype=torch.int).float()",
        "    return torch.empty([n], layout=torch._mkldnn).to_dense()",
        "    y = torch.jit.fork(leaving, n)\n    return torch.jit.wait(y)",
        "    y = torch.empty(n)\n    y[0] = 0.0\n    return y",
        "    return torch.cat([torch.empty(n), torch.zeros(1)])",
    ],
)
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_what_is_not_written_to_is_zero(compile_script, call, body):
    helper = "def leaving(n: int):\n    return torch.empty(n)\n"
    source = f"{helper}def f(x):\n    n = int(x.sum())\n{body}\n"
    script = compile_script(source)
    for size in SIZES:
        leave_secrets()
        (found,) = call(script, "f", np.array([size], np.float32))

        assert not found.numpy().any()


def test_models_and_exported_programs_show_nothing_either(archives, load, run):
    class Leaving(torch.nn.Module):
        def forward(self, x):
            return torch.empty(1000) + torch.zeros(1), x.new_empty(1000)

    models = [
        load(archives.saved(Leaving())),
        load(archives.exported(Leaving(), (torch.ones(1),))),
        load(archives.exported(Leaving(), (torch.ones(1),), decomposed=True)),
    ]
    for model in models:
        for _ in range(5):
            leave_secrets()
            for found in run(model, [1]):
                assert not found.numpy().any()


def test_memory_is_clean_as_long_as_anybody_needs_it():
    before = _flag.value

    with clean_memory():
        with clean_memory():
            assert _flag.value
        assert _flag.value

    assert _flag.value == before


def test_who_writes_everything_does_not_pay(archives, load):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU(), torch.nn.Flatten()
    )
    picture = torch.ones(1, 1, 4, 4)

    for blob in (
        archives.saved(network.eval()),
        archives.saved(network, (picture,)),
        archives.exported(network, (picture,)),
        archives.exported(network, (picture,), decomposed=True),
    ):
        assert load(blob).native.program.fills


def test_what_grows_is_refused_where_nobody_fills_memory():
    source = "def f(x):\n    return x.resize_([7])\n"
    function = compile_source(source).find_function("f")

    vet([function], torch.device("cpu"))
    with pytest.raises(ModelRejected, match="aten::resize_ may not be used on a GPU"):
        vet([function], torch.device("cuda"))


def test_what_is_made_empty_is_filled_without_the_allocator_too():
    source = "def f(n: int):\n    return torch.empty(n), torch.jit.wait(torch.jit.fork(g, n))\n"
    helper = "def g(n: int):\n    return torch.empty(n).view(-1)\n"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        unit = compile_source(helper + source, {"torch": torch}.get)
    graph = inlined(unit.find_function("f"))
    fill(graph)
    filled = function_of("filled", graph)

    for size in SIZES:
        leave_secrets()
        assert not any(found.any() for found in filled(size))
