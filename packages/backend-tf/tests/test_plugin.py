"""The plugin as the host finds it."""

import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from tensorkeep.backends import Backends
from tensorkeep.hookspecs import ENTRY_POINT_GROUP
from tensorkeep_tf import devices, plugin
from tensorkeep_tf.framework import tf


def test_the_host_finds_and_loads_it_under_its_name():
    backend = Backends().load("TF")

    assert backend.info.framework_version == tf.__version__
    assert not backend.info.needs_names
    assert not backend.info.scripts


def test_its_entry_point_imports_nothing_until_it_is_loaded():
    code = (
        "import sys, tensorkeep.backends as b; b.Backends().status();"
        "sys.exit('tensorflow' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    (point,) = entry_points(group=ENTRY_POINT_GROUP, name="TF")
    assert point.load() is plugin


def test_the_check_of_itself_passes():
    plugin.self_check()


def test_the_check_of_itself_fails_when_tensorflow_computes_nonsense(monkeypatch):
    monkeypatch.setattr(tf, "add", tf.subtract)

    with pytest.raises(RuntimeError, match=r"1\.5 and -2, doubled, are \[0\.0, 0\.0\]"):
        plugin.self_check()


def test_the_cpu_is_checked_without_tensorflows_threads(configs):
    plugin.self_check()

    assert configs[0].inter_op_parallelism_threads == -1
    assert devices.node_device(devices.Device.parse("CPU")) == ""


# Stands for an installation without TensorFlow, so that nothing large is imported.
WITHOUT = """
import sys
sys.modules["tensorflow"] = None
import tensorkeep_tf.plugin
"""


def test_without_tensorflow_the_error_says_what_to_install():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "TensorFlow is not installed: install tensorflow-cpu, or tensorflow for" in done.stderr


# Stands for TensorFlow, and tells which level of log it would find.
LEVEL = """
import logging, os, sys
logging.basicConfig(level=sys.argv[1])
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            print(os.environ.get("TF_CPP_MIN_LOG_LEVEL"))
            sys.exit()
sys.meta_path.insert(0, Finder())
import tensorkeep_tf.plugin
"""


@pytest.mark.parametrize(
    ("level", "given", "found"),
    [("INFO", None, "3"), ("DEBUG", None, "None"), ("INFO", "1", "1"), ("DEBUG", "1", "1")],
)
def test_tensorflow_prints_nothing_unless_the_log_is_for_debugging(level, given, found):
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    env |= {"TF_CPP_MIN_LOG_LEVEL": given} if given else {}
    done = subprocess.run(
        [sys.executable, "-c", LEVEL, level], env=env, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == found


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_what_tensorflow_prints_of_itself_while_it_is_imported_goes_to_the_log(level):
    loud = LEVEL.replace(
        "sys.exit()", 'os.write(2, b"2026-11-30 12:00:00.0: I tensorflow/x\\nmine\\n")'
    )
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", loud, level], env=env, capture_output=True, text=True, check=True
    )

    assert "mine" in done.stderr
    assert ("tensorflow/x" in done.stderr) == (level == "DEBUG")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_its_libraries_are_loaded_before_tensorflow_is_imported():
    look = "print('libtensorflow_cc.so' in open('/proc/self/maps').read())"
    program = LEVEL.replace('print(os.environ.get("TF_CPP_MIN_LOG_LEVEL"))', look)
    program = program.replace('if name == "tensorflow":', 'if name == "tensorflow.python":')
    done = subprocess.run(
        [sys.executable, "-c", program, "INFO"], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "True"
