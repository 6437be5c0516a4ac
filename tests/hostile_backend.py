"""A backend whose models and scripts are Python, which do whatever a test wants of a process.

A model's blob is run when it is stored, and has to define `run`, which takes arrays and returns
one. A script's source does the same with the functions that it offers. `installed` makes a folder
that brings it as the backend HOSTILE, for PYTHONPATH; workers import it from there.
"""

import inspect
import shutil

from tensorkeep.batch_axis import AxisKind, BatchAxis
from tensorkeep.hookspecs import BackendInfo, DeviceInfo, hookimpl
from tensorkeep.model import LoadedModel
from tensorkeep.tensor import DType, Tensor

KNOWN = BatchAxis(AxisKind.KNOWN)
# What frameworks catch to write a stack, or do not, a program that wants to die restores first.
NAMES = """
import ctypes, os, signal, socket, sys, threading, time
import numpy as np

def die(name):
    if name != "SIGKILL":  # which is always the system's own
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.kill(os.getpid(), getattr(signal, name))
"""


def installed(folder):
    """Puts this backend into a folder, as pip would; returns what PYTHONPATH has to be."""
    shutil.copy(__file__, folder)
    info = folder / "hostile_backend-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile-backend\nVersion: 1.0\n")
    points = "[tensorkeep.backends]\nHOSTILE = hostile_backend\n"
    (info / "entry_points.txt").write_text(points)
    return str(folder)


@hookimpl
def backend_info():
    return BackendInfo(api_version=1, framework="Python", framework_version="1.0")


@hookimpl
def devices():
    return [DeviceInfo("CPU", None, "this computer", None, frozenset(DType))]


@hookimpl
def model_create(blob):
    names = {}
    exec(NAMES, names)  # noqa: S102 - that is what it is for
    exec(blob.decode(), names)  # noqa: S102 - the same
    inputs = tuple(inspect.signature(names["run"]).parameters)
    return LoadedModel(names["run"], inputs, ("y",), batch_axis=KNOWN)


@hookimpl
def model_run(model, inputs, run):
    made = model.native(*[each.numpy() for each in inputs])
    return [Tensor.from_numpy(made)]
