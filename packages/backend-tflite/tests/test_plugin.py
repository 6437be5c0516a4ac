"""The plugin as the host finds it."""

import subprocess
import sys
from importlib.metadata import entry_points

import ai_edge_litert
import pytest

from tensorkeep.backends import Backends
from tensorkeep.config import BackendOptions
from tensorkeep.hookspecs import ENTRY_POINT_GROUP
from tensorkeep.model import ModelSpec
from tensorkeep_tflite import devices, plugin


def test_the_host_finds_and_loads_it_under_its_name():
    backend = Backends().load("TFLITE")

    assert backend.info.framework == "LiteRT"
    assert backend.info.framework_version == ai_edge_litert.__version__
    assert not backend.info.needs_names
    assert not backend.info.scripts


def test_its_entry_point_imports_nothing_until_it_is_loaded():
    code = (
        "import sys, tensorkeep.backends as b; b.Backends().status();"
        "sys.exit('ai_edge_litert' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    (point,) = entry_points(group=ENTRY_POINT_GROUP, name="TFLITE")
    assert point.load() is plugin


def test_names_come_from_the_model_whatever_the_specification_says(graphs):
    spec = ModelSpec("TFLITE", inputs=("a",), outputs=("b",))
    model = plugin.model_create(spec, graphs.unary().blob, BackendOptions())

    assert (model.inputs, model.outputs) == (("x",), ("y",))


# --------------------------------------------------------------------------- the check of itself
def test_the_check_of_itself_passes():
    plugin.self_check()


def test_the_tiny_model_is_what_the_schema_makes_of_it(graphs, load, run):
    model = load(devices.TINY_MODEL)

    assert (model.inputs, model.outputs) == (("x",), ("y",))
    assert run(model, [1.5, -2])[0].values() == [3, -4]


def test_the_check_of_itself_fails_when_litert_computes_nonsense(graphs, monkeypatch):
    monkeypatch.setattr(devices, "TINY_MODEL", graphs.unary("NEG", (1,)).blob)

    with pytest.raises(RuntimeError, match=r"LiteRT says that 1\.5, doubled, is \[-1\.5\]"):
        plugin.self_check()


def test_without_litert_the_error_says_what_to_install():
    code = "import sys; sys.modules['ai_edge_litert'] = None; import tensorkeep_tflite.plugin"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "LiteRT is not installed: install ai-edge-litert" in done.stderr


# --------------------------------------------------------------------------- noise
def test_what_litert_prints_goes_to_the_log_at_debug_level():
    code = (
        "import logging, sys;"
        "logging.basicConfig(level=sys.argv[1], format='%(name)s %(message)s');"
        "from tensorkeep_tflite import plugin; plugin.self_check(); print('done', file=sys.stderr)"
    )

    def printed(level):
        ran = subprocess.run(
            [sys.executable, "-c", code, level], capture_output=True, text=True, check=True
        )
        return ran.stdout + ran.stderr

    assert printed("INFO") == "done\n"
    assert "tensorkeep.noise LiteRT: INFO: Created TensorFlow Lite XNNPACK" in printed("DEBUG")
