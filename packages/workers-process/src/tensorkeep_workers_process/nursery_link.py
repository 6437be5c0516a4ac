"""The nursery of one backend as the server sees it: starts it, and has it fork workers."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from itertools import count
from threading import Event, Lock
from time import monotonic
from typing import TYPE_CHECKING, Final

from tensorkeep.errors import BackendUnavailable, WorkerDied
from tensorkeep_workers_process.channel import WITHOUT_WAITING, Channel, close_all
from tensorkeep_workers_process.endings import cause_of
from tensorkeep_workers_process.failures import error_of
from tensorkeep_workers_process.messages import Failure, encode, unpacked
from tensorkeep_workers_process.nursery import command
from tensorkeep_workers_process.nursery_messages import (
    Ended,
    Fork,
    ForkFailed,
    Imported,
    Kill,
    decode_from_nursery,
)
from tensorkeep_workers_process.printed import Printed
from tensorkeep_workers_process.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorkeep_workers_process.attendant import Attendant
    from tensorkeep_workers_process.nursery_messages import Settings

_log = logging.getLogger(__name__)

_IMPORT: Final = 300.0  # seconds that an import may take
_RETRY: Final = 0.01  # seconds until a nursery is told again that read nothing
_PATIENCE: Final = 5.0  # seconds for a process to end whose connection is closed

# Otherwise NumPy starts threads when it is imported, and a nursery may have one only.
_ENVIRONMENT: Final = {"OPENBLAS_NUM_THREADS": "1"}


class NurseryLink:
    """A nursery, which is started when the first worker is asked for.

    Attributes:
        on_end: Called on the attendant's thread with each worker that has ended.

    Args:
        settings: What the nursery is told.
        attendant: The thread that starts it, and hears of it.
    """

    def __init__(self, settings: Settings, attendant: Attendant) -> None:
        self.on_end: Callable[[Process], None] = lambda _: None
        self._settings = settings
        self._attendant = attendant
        self._starting = Lock()
        self._numbers = count(1)
        self._workers: dict[int, Process] = {}
        self._printed: dict[int, Printed] = {}
        self._program: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._imported: Future[None] = Future()
        self._closed = False
        self._gone = Event()  # whether there is no nursery
        self._gone.set()

    def fork(self) -> Process:
        """Returns a new worker.

        Raises:
            BackendUnavailable: The plugin cannot be imported.
            WorkerDied: The worker died of it.
            OSError: The system has no descriptors or processes left.
        """
        channel = self._started()
        number = next(self._numbers)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        files: list[int] = []
        try:
            for _ in range(2):
                files += os.pipe()
            cancelled, cancels, printed, prints = files
            os.set_blocking(cancels, False)
        except OSError:
            for each in (ours, theirs):
                each.close()
            close_all(files)
            raise
        worker = Process(
            number=number,
            connected=ours,
            cancels=cancels,
            limit=self._settings.memory,
            attendant=self._attendant,
            kill=partial(self._kill, number),
        )
        self._workers[number] = worker
        lines = Printed(printed, self._settings.backend, lambda: worker.pid, worker.count)
        self._printed[number] = lines
        self._attendant.watch(printed, lines.read)
        try:
            channel.send(encode(Fork(number)), [theirs.fileno(), cancelled, prints])
        except OSError:  # it has ended: so has the worker, or it will never be
            self._workers.pop(number, None)
            self._printed.pop(number, None)
            worker.has_ended("its nursery ended")
        finally:
            theirs.close()
            close_all([cancelled, prints])
        try:
            worker.wait_until_ready(_IMPORT)
        except BaseException:
            worker.retire()
            raise
        return worker

    def close(self) -> None:
        """Begins to end the nursery and all its workers."""
        with self._starting:
            self._closed = True
            if not self._imported.done():
                self._attendant.do(self._give_up)
            elif self._channel is not None:
                with suppress(OSError):
                    self._channel.socket.shutdown(socket.SHUT_RDWR)

    def wait_until_gone(self) -> None:
        """Waits until the nursery and all its workers have ended."""
        self._gone.wait(_PATIENCE)

    # ------------------------------------------------------------------ the nursery
    def _started(self) -> Channel:
        """Returns the connection to the nursery; starts it if it is not there."""
        with self._starting:
            if self._closed:
                raise WorkerDied("the server is shutting down")
            if self._channel is None or self._program is None:
                self._imported = Future()
                self._attendant.do(self._start)
            imported = self._imported
        try:
            imported.result(_IMPORT)
        except TimeoutError:
            name = self._settings.backend
            self._attendant.do(self._give_up)
            reason = f"its import took longer than {_IMPORT:g} s"
            raise BackendUnavailable(name, reason) from None
        channel = self._channel
        if channel is None:
            raise WorkerDied("its nursery ended")
        return channel

    def _start(self) -> None:
        """Starts the nursery; called by the attendant's thread, with which it ends."""
        if self._program is not None:
            return
        if self._closed:
            self._imported.set_exception(WorkerDied("the server is shutting down"))
            return
        self._gone.clear()
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            printed, prints = os.pipe()
            with theirs:
                control = theirs.fileno()
                self._program = subprocess.Popen(  # noqa: S603 - our own program
                    command(self._settings, control, os.getpid()),
                    stdin=subprocess.DEVNULL,
                    stdout=prints,
                    stderr=prints,
                    pass_fds=[control],
                    start_new_session=True,
                    env=os.environ | _ENVIRONMENT,
                )
            os.close(prints)
        except OSError as error:
            self._gone.set()
            self._imported.set_exception(error)
            return
        self._channel = channel = Channel(ours)
        pid = self._program.pid
        self._attendant.watch(printed, Printed(printed, self._settings.backend, lambda: pid).read)
        self._attendant.watch(os.dup(ours.fileno()), partial(self._hear, channel))

    def _give_up(self) -> None:
        if self._program is not None:
            self._program.kill()

    def _hear(self, channel: Channel) -> float | None:
        """Takes what the nursery says; called by the attendant's thread."""
        try:
            packet, files = channel.receive()
        except (EOFError, ConnectionError):
            self._lost(channel)
            return None
        close_all(files)
        message = decode_from_nursery(packet)
        match message:
            case Imported():
                self._imported.set_result(None)
            case Failure():
                self._imported.set_exception(error_of(message))
            case Ended():
                lines = self._printed.get(message.number)
                words = lines.last_words() if lines else ""
                self._end(message.number, cause_of(message.status, words, self._settings.memory))
            case ForkFailed():
                self._end(message.number, f"it could not be started: {unpacked(message.text)}")
        return 0.0

    def _lost(self, channel: Channel) -> None:
        """Forgets a nursery that has ended, and its workers, which have ended with it."""
        self._channel = None
        channel.close()
        code = self._bury()
        cause = f"its nursery ended with code {code}"
        if not self._imported.done():
            name = self._settings.backend
            self._imported.set_exception(BackendUnavailable(name, f"{cause} while it imported"))
        elif not self._closed and not self._imported.exception():
            _log.error("the nursery of backend %s ended with code %d", self._settings.backend, code)
        for number in [*self._workers]:
            self._end(number, cause)
        self._gone.set()

    def _bury(self) -> int:
        """Waits until the nursery has ended."""
        program, self._program = self._program, None
        assert program is not None  # noqa: S101 - it was started with its connection
        try:
            return program.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            program.kill()
            return program.wait()

    def _end(self, number: int, cause: str) -> None:
        worker = self._workers.pop(number, None)
        self._printed.pop(number, None)
        if worker is not None:
            worker.has_ended(cause)
            self.on_end(worker)

    def _kill(self, number: int) -> None:
        """Ends a worker."""
        channel = self._channel
        if channel is None or number not in self._workers:
            return
        try:
            channel.send(encode(Kill(number)), flags=WITHOUT_WAITING)
        except BlockingIOError:
            self._attendant.at(monotonic() + _RETRY, partial(self._kill, number))
        except OSError:  # it has ended, and so have its workers
            pass
