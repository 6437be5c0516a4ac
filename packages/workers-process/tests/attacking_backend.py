"""A backend whose models do what no model should; its blobs name what, and when.

`b"run segv"` crashes when it is run, `b"create exit"` when it is built. It is imported by workers,
and must import nothing that they do not have.
"""

import ctypes
import logging
import os
import re
import resource
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from tensorkeep.errors import ModelRejected, OutputIsNoTensor
from tensorkeep.hookspecs import BackendInfo, DeviceInfo, hookimpl
from tensorkeep.model import LoadedModel
from tensorkeep.tensor import DType, Tensor
from tensorkeep_workers_process import messages
from tensorkeep_workers_process.channel import Channel

KEPT: list = []


def segv(_):
    ctypes.string_at(0)


def exit_3(_):
    os._exit(3)


def abort(_):
    signal.signal(signal.SIGABRT, signal.SIG_DFL)
    os.abort()


def exit_now(_):
    sys.exit("leaving")


def spin(_):
    while True:
        pass


def hang(_):
    ctypes.CDLL(None).pause()  # holds no lock, hears nothing


def hold(_):
    ctypes.PyDLL(None).sleep(1000)  # holds the interpreter's lock


def odd(_):
    raise OddError("\udcff and \x00 and \n text")


def empty(_):
    raise OddError


def rejected(_):
    raise ModelRejected("no such model")


def no_tensor(_):
    raise OutputIsNoTensor("output 'y'")


def keep(inputs):
    KEPT.append(inputs[0].numpy())


def kept(_):
    return [Tensor.from_numpy(KEPT[-1].copy())]


def change(inputs):
    """Writes to the memory of an input, as no backend may."""
    array = inputs[0].numpy()
    address = array.__array_interface__["data"][0]
    ctypes.memset(address, 255, array.nbytes)


def prints(_):
    print("hello from a framework")
    os.write(2, b"hello from C\n")


def logs(_):
    logging.getLogger("tensorkeep").warning("a warning of %s", "the plugin")


def pid(_):
    return [Tensor.from_values(DType.INT64, (1,), [os.getpid()])]


def nap(inputs):
    time.sleep(0.2)
    return pid(inputs)


def eat(_):
    """Takes more and more memory, in pieces, until there is no more."""
    pieces = []
    while True:
        pieces.append(bytes(10_000_000))


def eat_and_abort(_):
    """Does not catch that there is no memory, as C++ often does."""
    try:
        eat(_)
    except MemoryError:
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
        abort(_)


def hoard(_):
    """Fills files in memory, none of them large, which no limit of the kernel counts."""
    while True:
        file = os.memfd_create("hoard")
        for _ in range(10):
            os.write(file, bytes(1_000_000))


def start_threads(_):
    """Starts threads without end, each with a stack that is as good as nothing."""
    threading.stack_size(32768)
    while True:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


def fill_and_crash(_):
    kept = bytes(170_000_000)
    time.sleep(2)  # it is looked at four times a second
    segv(kept)


def fill_and_hang(_):
    kept = bytes(170_000_000)
    while kept:
        pass


def may_take(_):
    """Returns the bytes of memory that it may take beside what it had when it was forked."""
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    lines = Path("/proc/self/status").read_text().splitlines()
    own = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    return [Tensor.from_values(DType.INT64, (1,), [limit - own if limit >= 0 else -1])]


def open_file(_):
    Path("/etc/passwd").read_text()


def open_socket(_):
    socket.socket()


def lengthy(_):
    raise OddError("x" * 50_000_000)


def many_outputs(_):
    """Sends a reply of more outputs than any model has, each of next to nothing."""
    cell = messages.encode(messages.Cell(0, ()))
    begins, ends = messages.encode(messages.Outputs(number_of_call(), [])).split(b"\x90")
    size = 5_000_000
    reply = begins + b"\xdd" + size.to_bytes(4, "big") + cell * size + ends
    Channel(channel()).send(reply)
    time.sleep(60)


def speak_later(inputs):
    """Returns, and sends something when nobody waits for it."""

    own = channel()

    def speak():
        time.sleep(0.1)
        file = os.memfd_create("hidden")
        os.write(file, bytes(1_000_000))
        socket.send_fds(own, [b"hello"], [file])
        time.sleep(60)

    threading.Thread(target=speak, daemon=True).start()


def poison(_):
    """Asks the system to take a page of memory for broken; none that is there, to be safe."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.madvise(None, 4096, 100):
        raise OSError(ctypes.get_errno(), "refused")


def list_files(_):
    """Raises with what is open, but for numbers."""
    names = {re.sub(r"\d+", "", str(each.readlink())) for each in _open_now()}
    raise OddError(" ".join(sorted(names)))


def _open_now():
    return [each for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]


def open_files(_):
    files = []
    try:
        while True:
            files += os.pipe()
    except OSError as error:
        raise OddError(f"{len(files)} files: {error}") from None


def garbage(_):
    channel().send(b"\x93garbage")
    time.sleep(60)


def silence(_):
    channel().close()
    time.sleep(60)


def number_of_call():
    """Returns the number of the call that goes on, which the worker's own frames have."""
    frame = sys._getframe()
    while not isinstance(frame.f_locals.get("message"), messages.Run):
        frame = frame.f_back
    return frame.f_locals["message"].number


class OddError(Exception):
    pass


def channel():
    """Returns the worker's own connection to the server."""
    for each in Path("/proc/self/fd").iterdir():
        if each.is_socket():
            return socket.socket(fileno=int(each.name))
    raise AssertionError("no socket")


class AttackingBackend:
    @hookimpl
    def backend_info(self):
        return BackendInfo(1, "attack", "1.0")

    @hookimpl
    def devices(self):
        return [DeviceInfo("CPU", None, "a processor", None, frozenset(DType))]

    @hookimpl
    def model_create(self, spec, blob, options):
        when, _, what = blob.decode().partition(" ")
        if when == "create":
            globals()[what]([])
        return LoadedModel(what, ("input",), ("output",))

    @hookimpl
    def model_run(self, model, inputs, run):
        if model.native == "device":
            return [Tensor.from_values(DType.STRING, (1,), [run.device.name])]
        return globals()[model.native](inputs) or [*inputs]


plugin = AttackingBackend()
