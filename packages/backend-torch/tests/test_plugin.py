"""The plugin as the host finds it."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest
import torch

from tensorkeep.backends import Backends
from tensorkeep.config import BackendOptions
from tensorkeep.hookspecs import ENTRY_POINT_GROUP
from tensorkeep.model import ModelSpec
from tensorkeep_torch import devices, plugin


def test_the_host_finds_and_loads_it_under_its_name():
    backend = Backends().load("torch")

    assert backend.info.framework_version == torch.__version__
    assert backend.info.scripts
    assert not backend.info.needs_names


def test_its_entry_point_imports_nothing_until_it_is_loaded():
    code = (
        "import sys, tensorkeep.backends as b; b.Backends().status();"
        "sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    (point,) = entry_points(group=ENTRY_POINT_GROUP, name="TORCH")
    assert point.load() is plugin


def test_the_check_of_itself_passes():
    plugin.self_check()


def test_the_check_of_itself_fails_when_torch_computes_nonsense(monkeypatch):
    monkeypatch.setattr(devices, "compile_source", lambda _: Same)

    with pytest.raises(RuntimeError, match=r"1\.5 and -2, doubled, are \[1\.5, -2\.0\]"):
        plugin.self_check()


class Same:
    @staticmethod
    def find_function(name):
        return lambda x: x


def test_names_come_from_the_archive_whatever_the_specification_says(doubling):
    spec = ModelSpec("TORCH", inputs=("a",), outputs=("b",))
    model = plugin.model_create(spec, doubling, BackendOptions())

    assert (model.inputs, model.outputs) == (("x",), ("",))


def test_only_what_script_create_returned_can_be_called():
    with pytest.raises(TypeError, match="script must be what script_create returned"):
        plugin.script_run("a script", None, None)


def test_nothing_is_said_while_models_and_scripts_are_built_and_run(doubling, doubling_export):
    code = """
import sys, warnings
warnings.simplefilter("error")
from tensorkeep import Tensor
from tensorkeep.config import BackendOptions
from tensorkeep.device import CPU
from tensorkeep.hookspecs import RunContext, ScriptCall
from tensorkeep.model import ModelSpec, ScriptSpec
from tensorkeep.tensor import DType
from tensorkeep_torch import plugin

plugin.self_check()
plugin.devices()
x = Tensor.from_blob(DType.FLOAT, (1, 2), bytes(8))
for blob in [bytes.fromhex(line) for line in sys.stdin]:
    model = plugin.model_create(ModelSpec("TORCH"), blob, BackendOptions(2, 2))
    assert plugin.model_run(model, [x], RunContext(CPU))[0].values() == [0, 0]
source = b"def f(x):\\n    for i in range(3):\\n        x = x + i\\n    return x\\n"
script = plugin.script_create(ScriptSpec(), source, BackendOptions(2, 2))
call = ScriptCall("f", [x], (), (), 1, None)
assert plugin.script_run(script, call, RunContext(CPU))[0].values() == [3, 3]
"""
    blobs = f"{doubling.hex()}\n{doubling_export.hex()}"
    done = subprocess.run(
        [sys.executable, "-c", code], input=blobs, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_its_libraries_are_loaded_before_torch_is_imported():
    program = (
        "import sys, tensorkeep_torch.ahead;"
        "assert 'torch' not in sys.modules;"
        "assert 'libtorch_python.so' in open('/proc/self/maps').read()"
    )

    subprocess.run([sys.executable, "-c", program], check=True)
