"""The bytes of weights that are held are known, and given back."""

import gc
from contextlib import suppress

import pytest
import torch

from tensorkeep.errors import ModelRejected
from tensorkeep.testing.checks import resident_bytes
from tensorkeep_torch import plugin


def held():
    gc.collect()  # models of other tests, and whatever holds them
    return plugin.backend_stats()["memory"]


def test_weights_count_as_long_as_their_model_is_held(archives, load, run):
    before = held()
    blob = archives.scripted(
        "def forward(self, x):\n    return x + self.w[0]\n", w=torch.ones(25_000)
    )
    model = load(blob)
    assert held() == before + 100_000

    other = load(blob)
    assert held() == before + 200_000

    run(model, [1])
    del model, other
    assert held() == before


def test_weights_of_exported_programs_count_once_however_often_they_are_used(archives, load):
    before = held()
    linear = torch.nn.Linear(100, 100, bias=False)
    model = load(archives.exported(torch.nn.Sequential(linear, linear), (torch.rand(1, 100),)))

    assert held() == before + 40_000
    del model
    assert held() == before


def test_constants_count_as_well(archives, load):
    constant = torch.ones(1000)

    class Adds(torch.nn.Module):
        def forward(self, x):
            return x + constant

    before = held()
    models = [
        load(archives.saved(Adds(), (torch.ones(1000),))),
        load(archives.exported(Adds(), (torch.ones(1000),))),
    ]

    assert held() == before + 8_000
    del models


def test_a_model_that_was_refused_leaves_nothing_behind(archives, load, doubling):
    before = held()
    with suppress(ModelRejected):
        load(archives.scripted("def other(self):\n    return self.w\n", w=torch.ones(25_000)))

    assert held() == before


def test_scripts_that_come_and_go_leave_no_memory_behind(compile_script, call):
    source = "".join(
        f"def f{number}(x):\n    for i in range(2):\n        x = x + {number}\n    return x\n"
        for number in range(50)
    )

    def come_and_go():
        for _ in range(20):
            call(compile_script(source), "f49", [1])

    come_and_go()
    before = resident_bytes()
    come_and_go()

    assert resident_bytes() - before < 16 * 2**20


def test_models_whose_weights_exceed_the_memory_limit_are_refused(archives, load, run):
    limit = held() + 250_000
    blob = archives.scripted(
        "def forward(self, x):\n    return x + self.w[0]\n", w=torch.ones(25_000)
    )
    models = [load(blob, memory_limit=limit) for _ in range(2)]
    with pytest.raises(ModelRejected, match="exceed the backend's memory limit"):
        load(blob, memory_limit=limit)
    models.pop()
    gc.collect()
    assert run(load(blob, memory_limit=limit), [1])[0].values() == [2]
