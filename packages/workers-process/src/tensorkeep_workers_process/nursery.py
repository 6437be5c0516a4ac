"""A nursery: the program of a clean process that imports one backend and forks workers of itself.

A fork takes a few milliseconds where an import takes seconds. Only a process with one thread may
fork: where the import starts others, the nursery begins anew without it, and each worker imports
the backend itself. The nursery never builds or runs anything, and calls no hook.
"""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tensorkeep.backends import reason_of
from tensorkeep.errors import BackendNotInstalled, BackendUnavailable
from tensorkeep.hookspecs import ENTRY_POINT_GROUP
from tensorkeep_workers_process import messages, worker_log
from tensorkeep_workers_process.cancellation import Cancellation
from tensorkeep_workers_process.channel import Channel, close_all
from tensorkeep_workers_process.confinement import available, confine
from tensorkeep_workers_process.failures import failure
from tensorkeep_workers_process.memory_limit import limit_memory, offer_to_be_killed
from tensorkeep_workers_process.messages import encode, packed
from tensorkeep_workers_process.nursery_messages import (
    Ended,
    ForkFailed,
    Imported,
    Kill,
    Settings,
    decode_to_nursery,
)
from tensorkeep_workers_process.parent import end_with, leave_signals_to_the_server
from tensorkeep_workers_process.readable_files import plan
from tensorkeep_workers_process.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep_workers_process.readable_files import Plan

_log = logging.getLogger(__name__)

_START: Final = (
    "import sys, json\n"
    "sys.path[:] = json.loads(sys.argv[1])['path']\n"
    "from tensorkeep_workers_process.nursery import main\n"
    "main(*sys.argv[1:])\n"
)


def command(settings: Settings, control: int, parent: int) -> list[str]:
    """Returns the command line of a nursery.

    Args:
        settings: What it is told.
        control: Descriptor of its connection to the server.
        parent: The server's process.
    """
    told = msgspec.json.encode(settings).decode()
    return [sys.executable, "-P", "-c", _START, told, str(control), str(parent)]


def main(told: str, control: str, parent: str) -> None:
    """Is a nursery, until the server closes the connection; see `command`."""
    end_with(int(parent))
    leave_signals_to_the_server()
    settings = msgspec.json.decode(told, type=Settings)
    worker_log.start(settings.log_level)
    connected = socket.socket(fileno=int(control))
    connected.set_inheritable(False)
    channel = Channel(connected)
    try:
        plugin = None if settings.late else load(settings)
        if _threads() > 1 and not settings.late:
            connected.set_inheritable(True)
            line = command(msgspec.structs.replace(settings, late=True), int(control), int(parent))
            os.execv(line[0], line)  # noqa: S606 - our own program
        channel.send(encode(Imported()))
    except BaseException as error:  # noqa: BLE001 - the plugin's own code: anything may come
        channel.send(encode(failure(0, error)))
        return
    gc.collect()
    gc.freeze()  # what the collector looks at is copied, and none of this is to be
    _Nursery(settings, plugin, channel).serve()


def _threads() -> int:
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def load(settings: Settings) -> object:
    """Returns a backend's plugin.

    Raises:
        BackendUnavailable: It cannot be imported; the reason is what it is in the server.
    """
    name = settings.backend
    try:
        if settings.plugin:
            module, _, attribute = settings.plugin.partition(":")
            found: object = import_module(module)
            return getattr(found, attribute) if attribute else found
        points = entry_points(group=ENTRY_POINT_GROUP)
        installed = {point.name.upper(): point for point in points}
        if name in installed:
            plugin: object = installed[name].load()
            return plugin
    except BaseException as error:  # the plugin's own code: anything may come
        _log.exception("backend %s does not work", name)
        raise BackendUnavailable(name, reason_of(error)) from error
    listed = ", ".join(sorted(installed)) or "none"
    raise BackendNotInstalled(name, f"no installed package brings it (installed: {listed})")


class _Nursery:
    def __init__(self, settings: Settings, plugin: object | None, channel: Channel) -> None:
        self._settings = settings
        self._plugin = plugin
        self._channel = channel
        self._children: dict[int, int] = {}  # numbers by process
        self._parent = os.getpid()
        self._plan = plan() if settings.sandbox else None
        available()  # looks for libraries that workers no longer could

    def serve(self) -> None:
        """Forks workers and tells how they ended, until the server closes the connection."""
        woken, wakes = socket.socketpair()
        for each in (woken, wakes):
            each.setblocking(False)  # noqa: FBT003 - the standard library's
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel.socket, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            # What was there before the signal had its handler.
            while self._bury():
                ready = [key.fileobj for key, _ in selector.select()]
                if woken in ready:
                    with suppress(BlockingIOError):
                        while woken.recv(4096):
                            pass
                if self._channel.socket in ready and not self._obey(selector, woken, wakes):
                    break
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)

    def _bury(self) -> bool:
        """Tells of each worker that has ended; False once nobody is left to be told."""
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            number = self._children.pop(pid, None)
            if number is None:  # of a framework's import
                continue
            try:
                self._channel.send(encode(Ended(number, status)))
            except OSError:
                return False
        return True

    def _obey(self, selector: selectors.BaseSelector, *own: socket.socket) -> bool:
        try:
            packet, files = self._channel.receive()
        except (EOFError, OSError):
            return False
        message = decode_to_nursery(packet)
        try:
            if isinstance(message, Kill):
                self._kill(message.number)
            elif (pid := self._forked(message.number)) is None:
                pass
            elif pid:
                self._children[pid] = message.number
            else:
                selector.close()
                self._channel.close()
                for each in own:
                    each.close()
                _be_worker(self._settings, self._plugin, self._parent, self._plan, files)
        finally:
            close_all(files)
        return True

    def _forked(self, number: int) -> int | None:
        """Forks this process; None when that fails."""
        threads = _threads()
        try:
            if threads == 1:
                return os.fork()
            text = f"its nursery has {threads} threads"
        except OSError as error:
            text = str(error)
        self._channel.send(encode(ForkFailed(number, packed(text))))
        return None

    def _kill(self, number: int) -> None:
        for pid, each in self._children.items():
            if each == number:
                os.kill(pid, signal.SIGKILL)


def _be_worker(
    settings: Settings,
    plugin: object | None,
    parent: int,
    allowed: Plan | None,
    files: Sequence[int],
) -> None:
    """Is a worker; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        end_with(parent)
        gc.enable()
        connection, cancels, output = files
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        worker_log.flush_lines()
        channel = Channel(socket.socket(fileno=connection))
        offer_to_be_killed()
        limit_memory(settings.memory)
        holds = confine(allowed) if allowed else ""
        try:
            plugin = load(settings) if plugin is None else plugin
        except BackendUnavailable as error:
            channel.send(encode(failure(0, error)))
        else:
            channel.send(encode(messages.Ready(os.getpid(), packed(str(holds)))))
            cancellation = Cancellation(cancels)
            Worker(settings.backend, plugin, channel, cancellation, settings.memory).serve()
        code = 0
    except BaseException:  # noqa: BLE001 - nothing of this may reach the nursery's own frames
        _log.critical("a worker of backend %s ends", settings.backend, exc_info=True)
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
        os._exit(code)
