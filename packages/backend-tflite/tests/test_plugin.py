"""The plugin as the host finds it."""

import importlib
import subprocess
import sys
from importlib.metadata import entry_points
from types import ModuleType

import ai_edge_litert
import pytest
from ai_edge_litert.interpreter import Interpreter

from tensorkeep.backends import Backends
from tensorkeep.config import BackendOptions
from tensorkeep.hookspecs import ENTRY_POINT_GROUP
from tensorkeep.model import ModelSpec
from tensorkeep_tflite import devices, framework, plugin


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


@pytest.fixture
def reloaded(monkeypatch):
    """Imports the framework's module anew, with others installed: `reloaded(name=module)`."""

    def reloaded(**modules):
        with monkeypatch.context() as patch:
            for name, module in modules.items():
                patch.setitem(sys.modules, name, module)
                if module is not None:
                    patch.setitem(sys.modules, f"{name}.interpreter", module)
            return importlib.reload(framework)

    yield reloaded
    importlib.reload(framework)


def older(interpreter):
    """Makes a module that stands for tflite-runtime."""
    module = ModuleType("tflite_runtime")
    module.__version__, module.Interpreter = "2.14.0", interpreter
    return module


def test_tflite_runtime_is_taken_where_litert_is_not_installed(reloaded, monkeypatch):
    found = reloaded(ai_edge_litert=None, tflite_runtime=older(Interpreter))

    assert (found.FRAMEWORK, found.VERSION) == ("TensorFlow Lite", "2.14.0")
    monkeypatch.setattr(devices, "Interpreter", found.Interpreter)
    plugin.self_check()


def test_litert_is_taken_where_both_are_installed(reloaded):
    assert reloaded(tflite_runtime=older(None)).FRAMEWORK == "LiteRT"


def test_tflite_runtime_that_does_not_work_says_so_in_its_check(reloaded, monkeypatch):
    def interpreter(**settings):
        # What tflite-runtime 2.14 does beside NumPy 2.
        cause = ImportError("numpy.core.multiarray failed to import")
        raise SystemError("CreateWrapperFromBuffer returned a result with an exception") from cause

    found = reloaded(ai_edge_litert=None, tflite_runtime=older(interpreter))
    for name in ("FRAMEWORK", "VERSION", "Interpreter"):
        monkeypatch.setattr(devices, name, getattr(found, name))

    with pytest.raises(
        RuntimeError,
        match=r"^TensorFlow Lite 2\.14\.0 can be imported but does not work beside NumPy 2\..+: "
        r"numpy\.core\.multiarray failed to import$",
    ):
        plugin.self_check()


def test_without_either_the_import_says_what_to_install(reloaded):
    with pytest.raises(ModuleNotFoundError, match="install ai-edge-litert"):
        reloaded(ai_edge_litert=None, tflite_runtime=None)


@pytest.mark.parametrize("broken", ["ai_edge_litert", "tflite_runtime"])
def test_a_runtime_that_lacks_something_else_is_not_taken_for_absent(reloaded, broken):
    class Broken(ModuleType):
        def __getattr__(self, name):
            raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    others = {} if broken == "ai_edge_litert" else {"ai_edge_litert": None}

    with pytest.raises(ModuleNotFoundError, match="numpy"):
        reloaded(**others, **{broken: Broken(broken)})


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
