"""What models and scripts print is left out: standard output belongs to the server."""

import numpy as np
import torch

PRINTS = """
def helper(x):
    print("in a helper", x)
    return x
def f(x):
    print("here", x, x.size(0), None, "text")
    warnings.warn("careful")
    for i in range(3):
        print(i)
        if i > 1:
            print()
    return helper(x) + 1
"""


def test_a_script_prints_nothing(compile_script, call, capfd):
    script = compile_script(PRINTS.replace("warnings.warn", "torch.warnings.warn"))

    assert call(script, "f", np.ones(1, np.float32))[0].values() == [2]
    assert capfd.readouterr() == ("", "")


def test_a_task_of_a_script_prints_nothing(compile_script, call, capfd):
    source = (
        "def task(x):\n    print(x)\n    return x\n"
        "def f(x):\n    return torch.jit.wait(torch.jit.fork(task, x))\n"
    )

    assert call(compile_script(source), "f", np.ones(1, np.float32))[0].values() == [1]
    assert capfd.readouterr() == ("", "")


def test_a_model_prints_nothing(archives, load, run, capfd):
    source = "def forward(self, x):\n    print(x, self.w)\n    return x + self.w\n"
    model = load(archives.scripted(source, w=torch.ones(1)))

    assert run(model, [1])[0].values() == [2]
    assert capfd.readouterr() == ("", "")
