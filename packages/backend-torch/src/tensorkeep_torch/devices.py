"""Which devices the installed torch can really use, and how many threads it uses on the CPU.

A GPU is not named because torch lists it: something must have run on it.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final

import torch

from tensorkeep.device import Device
from tensorkeep.errors import ModelRejected
from tensorkeep.hookspecs import DeviceInfo
from tensorkeep.tensor import DType
from tensorkeep_torch.internals import compile_source
from tensorkeep_torch.messages import INTER_OP, NO_CUDA

if TYPE_CHECKING:
    from tensorkeep.config import BackendOptions

_DTYPES: Final = frozenset(DType) - {DType.STRING}


def torch_device(device: Device) -> torch.device:
    """Returns a device as torch names it.

    Raises:
        ModelRejected: torch has no such device.
    """
    if device.kind == "CPU":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ModelRejected(NO_CUDA)
    index = device.index or 0
    if index >= torch.cuda.device_count():
        raise ModelRejected(f"{NO_CUDA} device {index}")
    return torch.device("cuda", index)


def usable_devices() -> list[DeviceInfo]:
    """Returns the CPU, and the GPUs on which something has run."""
    description = platform.processor() or platform.machine()
    devices = [DeviceInfo("CPU", None, description, None, _DTYPES)]
    if torch.cuda.is_available():
        devices += [_gpu(index) for index in range(torch.cuda.device_count()) if _works(index)]
    return devices


def run_something_tiny(device: torch.device) -> None:
    """Compiles and runs something tiny on a device.

    Raises:
        Exception: It did not work.
    """
    unit = compile_source("def double(x):\n    return x + x\n")
    result = unit.find_function("double")(torch.tensor([1.5, -2], device=device))
    if result.tolist() != [3, -4]:
        raise RuntimeError(f"torch says that 1.5 and -2, doubled, are {result.tolist()}")


def set_threads(options: BackendOptions) -> None:
    """Sets the numbers of threads, which hold for the whole process.

    A thread takes over the number of threads inside one operator when it first uses torch: those
    that run models do so after the first model was built, which is when this is called.

    Raises:
        ModelRejected: The number of threads across operators is another already, and in use.
    """
    intra, inter = options.intra_op_threads, options.inter_op_threads
    if intra and intra != torch.get_num_threads():
        torch.set_num_threads(intra)
    if inter and inter != torch.get_num_interop_threads():
        try:
            torch.set_num_interop_threads(inter)
        except RuntimeError as error:
            raise ModelRejected(INTER_OP) from error


def _gpu(index: int) -> DeviceInfo:
    known = torch.cuda.get_device_properties(index)
    return DeviceInfo("GPU", index, known.name, known.total_memory, _DTYPES)


def _works(index: int) -> bool:
    try:
        run_something_tiny(torch_device(Device.parse(f"GPU:{index}")))
    except Exception:  # noqa: BLE001 - torch's exceptions have no base, and each means no
        return False
    return True
