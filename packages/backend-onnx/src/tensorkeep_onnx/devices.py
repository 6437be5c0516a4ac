"""Which devices the installed ONNX Runtime can really use, and what it calls them.

A GPU is not named because a driver lists it or because the runtime was built for CUDA: a model
must have run on it.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime

from tensorkeep.device import Device
from tensorkeep.hookspecs import DeviceInfo
from tensorkeep.tensor import DType
from tensorkeep_onnx.messages import NO_CUDA
from tensorkeep_onnx.modelproto import tiny_model

if TYPE_CHECKING:
    from collections.abc import Iterator

CUDA: Final = "CUDAExecutionProvider"
_CPU: Final = "CPUExecutionProvider"
_DTYPES: Final = frozenset(DType)

_SILENT, _WARNINGS = 4, 2  # severities of the runtime's log

# What goes wrong with a model arrives as an exception; a user's mistakes are not for the log.
onnxruntime.set_default_logger_severity(_SILENT)


def open_session(model: bytes | str, options: onnxruntime.SessionOptions, device: Device) -> Any:  # noqa: ANN401 - the runtime brings no types
    """Opens a session on a device, and nowhere else.

    Args:
        model: A serialized model, or the path of a file that holds one.
        options: The session's settings.
        device: Where the model is to run.

    Raises:
        Exception: The runtime's own, or that the session did not get the GPU.
    """
    providers: list[object] = [_CPU]
    if device.kind == "GPU":
        if CUDA not in onnxruntime.get_available_providers():
            raise RuntimeError(NO_CUDA)
        # What CUDA cannot do (strings, for example) still runs on the CPU.
        providers.insert(0, (CUDA, {"device_id": str(device.index or 0)}))
    # Without fallback: by default a session whose GPU fails starts anew on the CPU, silently.
    session = onnxruntime.InferenceSession(model, options, providers, enable_fallback=0)
    if device.kind == "GPU" and CUDA not in session.get_providers():
        raise RuntimeError(NO_CUDA)
    return session


def usable_devices() -> list[DeviceInfo]:
    """Returns the CPU, and the GPUs on which a model has run."""
    description = platform.processor() or platform.machine()
    devices = [DeviceInfo("CPU", None, description, None, _DTYPES)]
    if CUDA in onnxruntime.get_available_providers():
        devices += filter(_works, _listed_gpus())
    return devices


def run_tiny_model(device: Device) -> None:
    """Runs something tiny on a device.

    Raises:
        Exception: It did not work.
    """
    options = onnxruntime.SessionOptions()
    session = open_session(tiny_model(), options, device)
    (result,) = session.run(["y"], {"x": np.array([1.5, -2], np.float32)})
    if result.tolist() != [3, -4]:
        raise RuntimeError(f"ONNX Runtime says that 1.5 and -2, doubled, are {result.tolist()}")


def _works(gpu: DeviceInfo) -> bool:
    onnxruntime.set_default_logger_severity(_WARNINGS)  # why not: only the log says it
    try:
        run_tiny_model(Device.parse(f"GPU:{gpu.index}"))
    except Exception:  # noqa: BLE001 - the runtime's exceptions have no base, and each means no
        return False
    finally:
        onnxruntime.set_default_logger_severity(_SILENT)
    return True


def _listed_gpus() -> Iterator[DeviceInfo]:
    """Gives the GPUs of which CUDA's driver knows; the runtime itself does not tell."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return
    count, handle, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(256)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return
    for index in range(count.value):
        driver.cuDeviceGet(ctypes.byref(handle), index)
        driver.cuDeviceGetName(name, len(name), handle)
        driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
        description = name.value.decode(errors="replace")
        yield DeviceInfo("GPU", index, description, memory.value, _DTYPES)
