"""The plugin as the host finds it."""

import os
import subprocess
import sys
from importlib.metadata import entry_points

import onnxruntime
import pytest

from tensorkeep.backends import Backends
from tensorkeep.config import BackendOptions
from tensorkeep.hookspecs import ENTRY_POINT_GROUP
from tensorkeep.model import ModelSpec
from tensorkeep_onnx import devices, plugin


def test_the_host_finds_and_loads_it_under_its_name():
    backend = Backends().load("ONNX")

    assert backend.info.framework_version == onnxruntime.__version__
    assert not backend.info.needs_names
    assert not backend.info.scripts


def test_its_entry_point_imports_nothing_until_it_is_loaded():
    code = (
        "import sys, tensorkeep.backends as b; b.Backends().status();"
        "sys.exit('onnxruntime' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    (point,) = entry_points(group=ENTRY_POINT_GROUP, name="ONNX")
    assert point.load() is plugin


def test_it_reports_to_nobody_and_writes_nothing_into_the_home(tmp_path):
    environment = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    code = "import tensorkeep_onnx.plugin as plugin; plugin.self_check()"
    subprocess.run(
        [sys.executable, "-c", code], env=environment | {"HOME": str(tmp_path)}, check=True
    )
    assert list(tmp_path.iterdir()) == []


def test_the_check_of_itself_passes():
    plugin.self_check()


def test_the_check_of_itself_fails_when_the_runtime_computes_nonsense(graphs, monkeypatch):
    monkeypatch.setattr(devices, "tiny_model", graphs.identity)

    with pytest.raises(RuntimeError, match=r"1\.5 and -2, doubled, are \[1\.5, -2\.0\]"):
        plugin.self_check()


def test_names_come_from_the_model_whatever_the_specification_says(graphs):
    spec = ModelSpec("ONNX", inputs=("a",), outputs=("b",))
    model = plugin.model_create(spec, graphs.identity(), BackendOptions())

    assert (model.inputs, model.outputs) == (("x",), ("y",))


def test_a_model_of_numbers_and_nothing_odd_is_steady(graphs, load):
    assert load(graphs.identity()).steady
    assert not load(graphs.endless()).steady
    assert not load(graphs.fill()).steady


def test_a_model_that_takes_strings_is_not_steady(graphs, load):
    assert not load(graphs.identity("string")).steady


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_its_library_is_loaded_before_onnx_runtime_is_imported():
    program = (
        "import sys, tensorkeep_onnx.ahead;"
        "assert 'onnxruntime' not in sys.modules;"
        "assert 'onnxruntime_pybind11_state' in open('/proc/self/maps').read()"
    )

    subprocess.run([sys.executable, "-c", program], check=True)
