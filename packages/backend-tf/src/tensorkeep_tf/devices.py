"""Which devices the installed TensorFlow can really use, and how a session is kept to one of them.

A GPU is not named because a driver lists it or because TensorFlow was built for CUDA: a graph must
have run on it.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tensorkeep.config import BackendOptions
from tensorkeep.device import Device
from tensorkeep.hookspecs import DeviceInfo
from tensorkeep.tensor import DType
from tensorkeep_tf.framework import CallableOptions, tf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_DTYPES: Final = frozenset(DType)
_OPTIMISING: Final = 60_000  # ms that rewriting a graph may take; by default it is minutes
_CALLER: Final = -1  # the thread that calls, instead of one of TensorFlow's


def node_device(device: Device) -> str:
    """Returns what TensorFlow calls a device; empty for the CPU, the only one of its sessions."""
    return "" if device.kind == "CPU" else f"/device:GPU:{device.index or 0}"


def open_session(graph: Any, device: Device, options: BackendOptions) -> Any:  # noqa: ANN401 - untyped
    """Opens a session on a device, and nowhere else.

    Args:
        graph: The graph, its nodes placed on the device.
        device: Where it is to run.
        options: Threads.
    """
    config = tf.compat.v1.ConfigProto(
        # Of all sessions together: those of the first session in the process.
        intra_op_parallelism_threads=options.intra_op_threads,
        inter_op_parallelism_threads=_inter_op(options),
        # What CUDA cannot do (strings, for example) still runs on the CPU.
        allow_soft_placement=True,
    )
    if device.kind == "CPU":
        config.device_count["GPU"] = 0
    else:
        # Memory as it is needed: by default the first session takes the whole card.
        config.gpu_options.allow_growth = True
    # Without the copy of the graph, weights and all, that is kept for those who trace runs.
    config.experimental.disable_output_partition_graphs = True
    config.graph_options.rewrite_options.meta_optimizer_timeout_ms = _OPTIMISING
    return tf.compat.v1.Session(graph=graph, config=config)


def prepare(
    session: Any,  # noqa: ANN401 - untyped
    feeds: Iterable[str],
    fetches: Iterable[str],
    options: BackendOptions,
) -> Callable[..., list[Any]]:
    """Returns what runs a session: takes an array for each feed, returns one for each fetch.

    Args:
        session: The session.
        feeds: Names of tensors to be given.
        fetches: Names of tensors to be returned.
        options: Threads.
    """
    chosen = CallableOptions(feed=feeds, fetch=fetches)
    # Run by the calling thread: handing a graph of two nodes to a thread of TensorFlow's takes
    # 50 to 80 µs, to run it here 6.
    chosen.run_options.inter_op_thread_pool = min(_inter_op(options), 0)
    # The method behind `make_callable`, which looks everything up by name for each run: the only
    # one that takes options, and 40 times as fast.
    prepared: Callable[..., list[Any]] = session._make_callable_from_options(chosen)  # noqa: SLF001
    return prepared


def _inter_op(options: BackendOptions) -> int:
    """Returns the threads for operators side by side; one alone is the caller's."""
    return options.inter_op_threads if options.inter_op_threads > 1 else _CALLER


def usable_devices() -> list[DeviceInfo]:
    """Returns the CPU, and the GPUs on which a graph has run."""
    description = platform.processor() or platform.machine()
    devices = [DeviceInfo("CPU", None, description, None, _DTYPES)]
    for index, gpu in enumerate(tf.config.list_physical_devices("GPU")):
        device = Device.parse(f"GPU:{index}")
        try:
            memory = run_tiny_graph(device)
        except Exception:  # noqa: BLE001, S112 - whatever it is, the GPU does not work
            continue
        name = tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        devices.append(DeviceInfo("GPU", index, name, memory, _DTYPES))
    return devices


def run_tiny_graph(device: Device) -> int:
    """Runs something tiny on a device; returns the bytes of memory that TensorFlow may use there.

    Raises:
        Exception: It did not work.
    """
    options = BackendOptions()
    with tf.Graph().as_default() as graph, tf.device(node_device(device)):
        x = tf.compat.v1.placeholder(tf.float32, name="x")
        tf.add(x, x, name="y")
    with open_session(graph, device, options) as session:
        (result,) = prepare(session, ["x:0"], ["y:0"], options)(np.array([1.5, -2], np.float32))
        listed = {each.name: each.memory_limit_bytes for each in session.list_devices()}
    if result.tolist() != [3, -4]:
        raise RuntimeError(f"TensorFlow says that 1.5 and -2, doubled, are {result.tolist()}")
    place = node_device(device) or "/device:CPU:0"
    return next(int(memory) for name, memory in listed.items() if name.endswith(place))
