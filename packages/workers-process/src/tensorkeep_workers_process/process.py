"""A worker as the server sees it: calls that wait for what it sends back, and its end.

Whatever it sends is checked. A worker that sends what it may not is ended, and has died.
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from functools import lru_cache, partial
from threading import Event, Lock
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

from tensorkeep.errors import TensorkeepError, WorkerDied, WorkerTookTooLong, text_of
from tensorkeep_workers_process import messages
from tensorkeep_workers_process.arena import SOON_COPIED
from tensorkeep_workers_process.cancellation import cancel
from tensorkeep_workers_process.channel import WITHOUT_WAITING, Channel, close_all
from tensorkeep_workers_process.endings import is_running
from tensorkeep_workers_process.failures import error_of
from tensorkeep_workers_process.handing_over import HandingOver
from tensorkeep_workers_process.memory_limit import SETTING
from tensorkeep_workers_process.memory_watch import excess, grown, usage, with_memory
from tensorkeep_workers_process.messages import NoMessage, encode, packed, unpacked
from tensorkeep_workers_process.script_requests import done
from tensorkeep_workers_process.shared_memory import sealed_file
from tensorkeep_workers_process.tensor_cells import SMALL

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence

    from tensorkeep.hookspecs import Commands, RunContext, ScriptCall
    from tensorkeep.tensor import Tensor
    from tensorkeep_workers_process.attendant import Attendant, Timer
    from tensorkeep_workers_process.memory_watch import Usage

_log = logging.getLogger(__name__)

GRACE: Final = 0.05
"""Seconds that a run has to end by itself once it was cancelled."""

_PATIENCE: Final = 1.0  # seconds in which a worker ends that has closed its connection
_TOLD_WITHIN: Final = 10.0  # seconds in which the nursery tells of it, on a busy machine
_AT_ONCE: Final = 5.0  # seconds for what takes no time

_M = TypeVar("_M", bound=messages.FromWorker)


class Gone(Exception):
    """The worker had ended before it was given anything."""


class Process:
    """A worker. Its calls come one at a time; `cancel` and the rest from any thread.

    Attributes:
        number: Its number.
        pid: Its process, once it is ready.
        sandbox: What keeps it from files and the network, for people.
        holds: The models and scripts that it holds, and the bytes of each, in the order of their
            last use; guarded by whoever places calls.
        figures: The backend's figures, as it told them last.
        runs: Runs that it has done.
        since: Since when it waits for work.
        exhausted: Whether something failed for want of memory: what has it may never let go of it.
        retired: Whether its end is what was wanted.
        ended: Set once it has ended.

    Args:
        number: Its number.
        connected: The connection to it.
        cancels: The pipe that cancels what it does.
        limit: Bytes that what it sends may have; 0 for any number.
        attendant: The thread that watches over times.
        kill: Ends it.
    """

    def __init__(  # noqa: PLR0913 - what a worker consists of
        self,
        *,
        number: int,
        connected: socket.socket,
        cancels: int,
        limit: int,
        attendant: Attendant,
        kill: Callable[[], None],
    ) -> None:
        self.number: Final = number
        self.pid = 0
        self.sandbox = ""
        self.holds: dict[int, int] = {}
        self.figures: dict[str, int] = {}
        self.runs = 0
        self.since = 0.0
        self.exhausted = False
        self.retired = False
        self.ended: Final = Event()
        self._channel = Channel(connected, limit)
        self._cancels = cancels
        self._limit = limit
        self._attendant = attendant
        self._kill = kill
        self._tensors = HandingOver(limit)
        self._calls = 0
        self._unsent: list[messages.Run] = []
        self._lock = Lock()  # guards what follows
        self._current = 0  # the call that goes on
        self._cancelled = 0  # the last call that was cancelled
        self._too_long = ""  # why it was ended for time
        self._cause = ""
        self._first: Usage | None = None  # what it took when it was new
        self._peak = 0  # bytes that it took more, at most
        self._closed = False
        self._patience: Timer | None = None  # until it is ended that was to end by itself

    # ------------------------------------------------------------------ its end
    def has_ended(self, cause: str) -> None:
        """Says that it has ended, and of what."""
        self._cause = self._cause or cause
        self.ended.set()
        timer, self._patience = self._patience, None
        if timer is not None:
            timer.cancel()

    @property
    def gone(self) -> bool:
        """Whether it has ended, or is ending because something took too long."""
        return self.ended.is_set() or bool(self._too_long)

    @property
    def for_time(self) -> bool:
        """Whether it was ended because something took too long."""
        return bool(self._too_long)

    def close(self) -> None:
        """Closes the connection, so that it ends if it has not yet."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._current = 0
            self._channel.close()
            os.close(self._cancels)
            self._tensors.close()

    def retire(self) -> None:
        """Lets it end by itself; one that does not is ended a little later."""
        self.retired = True
        self.close()
        if not self.ended.is_set():
            self._patience = self._attendant.at(monotonic() + _AT_ONCE, self._end_if_there)

    def _end_if_there(self) -> None:
        if not self.ended.is_set():
            self._kill()

    def _death(self, violation: str = "") -> TensorkeepError:
        """Returns the error of its end, and sees that it has ended."""
        if violation:
            self._cause = f"it sent what is no message: {violation}"
            self._kill()
        if not self._too_long and not self.ended.wait(_PATIENCE):
            if is_running(self.pid):
                self._cause = self._cause or "it closed its connection"
                self._kill()
            self.ended.wait(_TOLD_WITHIN)
        cause = with_memory(self._too_long or self._cause, self._peak, self._limit)
        return WorkerTookTooLong(cause) if self._too_long else WorkerDied(cause)

    def is_quiet(self) -> bool:
        """Returns whether it is there and sends nothing, as one that has nothing to do.

        One that does send something is ended: the next call would take it for its own reply, and
        descriptors that wait there may hold any number of files in memory.
        """
        try:
            if self.ended.is_set() or not self._channel.speaks():
                return not self.ended.is_set()
        except EOFError:  # how it ended will be told
            return False
        self._cause = self._cause or "it sent what nobody had asked for"
        _log.warning("worker %d is ended: %s", self.pid, self._cause)
        self._kill()
        return False

    def look(self) -> None:
        """Sees what memory it takes, and ends it when that is more than it may."""
        first, now = self._first, usage(self.pid) if self._first else None
        if first is None or now is None:
            return
        self._peak = max(self._peak, grown(first, now))
        cause = excess(first, now, self._limit)
        if cause and not self.ended.is_set():
            self._cause = self._cause or cause
            self._kill()

    def _end_for_time(self, number: int, reason: str) -> None:
        with self._lock:
            if self._current != number:
                return
            self._too_long = reason
        self.look()
        self._kill()
        with self._lock:  # who waits is told at once: to free much memory takes the system long
            if not self._closed:
                self._channel.end()

    def _cancel(self, number: int, run: RunContext) -> None:
        """Cancels a call: gently at first."""
        reason = run.reason or "it was cancelled"
        with self._lock:
            if self._current != number or self._cancelled == number:
                return
            self._cancelled = number
            cancel(self._cancels, number, reason)
        when = monotonic() + GRACE
        self._attendant.at(when, partial(self._end_for_time, number, reason))

    # ------------------------------------------------------------------ calls
    def wait_until_ready(self, within: float) -> None:
        """Waits until it has loaded its plugin.

        Raises:
            BackendUnavailable: The plugin cannot be loaded.
            WorkerDied: It died.
            WorkerTookTooLong: It took longer than so many seconds.
        """
        with self._call(within=within):
            ready = self._expect(messages.Ready, 0)
            self.pid, self.sandbox = ready.pid, unpacked(ready.sandbox)
            self._first = usage(self.pid) if self._limit else None

    def describe(self, within: float) -> messages.Described:
        """Lets the backend check itself, and returns what it says of itself.

        Args:
            within: Seconds that this may take.
        """
        with self._call(within=within) as number:
            self._send(messages.Describe(number))
            return self._expect(messages.Described, number)

    def build(
        self, runnable: int, blob: bytes, told: bytes, within: float, *, script: bool
    ) -> messages.Built:
        """Builds a model or script.

        Args:
            runnable: Number that it will have.
            blob: The model, or the script's source.
            told: Specification and options, pickled.
            within: Seconds that this may take.
            script: Whether it is a script.
        """
        with self._call(within=within) as number:
            # Other threads run while a file is written.
            files = [sealed_file([(0, blob)])] if len(blob) > SMALL else []
            size, sent = (len(blob), b"") if files else (0, blob)
            self._send(messages.Build(number, runnable, script, told, size, sent), files)
            built = self._expect(messages.Built, number)
            if not (script or built.axis):
                raise NoMessage("a model without what is known of its axes")
        return built

    def run(
        self, runnable: int, inputs: Sequence[Tensor], run: RunContext
    ) -> Sequence[Tensor | None]:
        """Runs a model."""
        with self._call(run) as number:
            given = self._tensors.give(inputs)
            message = messages.Run(
                number, runnable, given.cells, _where(run), given.arena, given.results
            )
            self._send(message, given.files)
            outputs = self._outputs(number, None)
        self.runs += 1
        return outputs

    def call(self, runnable: int, call: ScriptCall, run: RunContext) -> Sequence[Tensor | None]:
        """Calls a function of a script."""
        with self._call(run) as number:
            given = self._tensors.give(call.tensors)
            message = messages.Call(
                number,
                runnable,
                packed(call.function),
                given.cells,
                [*map(bytes, call.keys)],
                [*map(bytes, call.arguments)],
                call.outputs,
                _where(run),
                given.arena,
                given.results,
            )
            self._send(message, given.files)
            outputs = self._outputs(number, call.commands)
        self.runs += 1
        return outputs

    # ------------------------------------------------------------------ runs nobody waits for
    @property
    def file(self) -> int:
        """The descriptor that can be read when it has sent something."""
        return self._channel.socket.fileno()

    @property
    def room_for_inputs(self) -> int:
        """Bytes of the arena for inputs."""
        return self._tensors.room_for_inputs

    def start_run(
        self,
        runnable: int,
        inputs: Sequence[Tensor],
        run: RunContext,
        *,
        behind: bool,
        offset: int | None,
    ) -> int:
        """Sends a run without waiting; see `reply`.

        Args:
            runnable: Number of the model.
            inputs: Its inputs.
            run: Where and for how long.
            behind: Whether others were sent before it whose replies have not been taken.
            offset: Where in the arena there is room for them; None where nothing of it is in use.

        Returns:
            The number of the call. It may still be to be sent, with others: see `flush`.

        Raises:
            BlockingIOError: It has been sent much that it has not read.
        """
        number = self._calls = self._calls + 1
        given = self._tensors.give(inputs, behind=behind, offset=offset)
        most = 0 if behind else SOON_COPIED
        message = messages.Run(
            number, runnable, given.cells, _where(run), given.arena, given.results, most
        )
        if not given.files:
            self._unsent.append(message)
            return number
        sent = False
        if self.flush():
            sent = self._send_at_once(message, given.files)
        else:
            close_all(given.files)
        if not sent:
            self._tensors.was_not_sent(given)
            raise BlockingIOError
        return number

    def flush(self) -> bool:
        """Sends the runs that are still to be sent, in one message; returns whether it could."""
        unsent = self._unsent
        if not unsent:
            return True
        sent = self._send_at_once(unsent[0] if len(unsent) == 1 else messages.Runs(unsent))
        if sent:
            self._unsent = []
        return sent

    def _send_at_once(self, message: messages.ToWorker, files: Sequence[int] = ()) -> bool:
        """Sends a message without waiting; returns whether there was room for it."""
        try:
            self._send(message, files, WITHOUT_WAITING)
        except BlockingIOError:
            return False
        except Gone:  # who reads hears of its end
            pass
        return True

    def goes_on(self, number: int, run: RunContext | None) -> None:
        """Says which of the runs that were sent goes on now; 0 and None for none."""
        with self._lock:
            self._current = number
        if run is not None:
            run.on_cancel(partial(self._cancel, number, run))

    def reply(self, number: int) -> Sequence[Tensor | None] | Exception:
        """Returns what a run returned or raised, without waiting.

        Raises:
            BlockingIOError: It goes on.
            EOFError: The worker has ended.
            ConnectionError: The worker has ended.
            NoMessage: It sent what is no reply.
        """
        try:
            message, files = self._receive(number, WITHOUT_WAITING)
        except _Told as told:
            self.runs += 1
            return told.error
        try:
            if not isinstance(message, messages.Outputs):
                raise NoMessage(f"{type(message).__name__} instead of outputs")
            if message.kept:
                self._tensors.leave_inputs()
            self.runs += 1
            return self._tensors.take(message.outputs, files)
        finally:
            close_all(files)

    def death(self, violation: str = "") -> TensorkeepError:
        """Waits for its end, and returns the error of it.

        Args:
            violation: What it sent that is no message; empty where it ended by itself.
        """
        return self._death(violation)

    def serialize(self, runnable: int) -> bytes:
        """Returns the bytes of a model."""
        with self._call(within=_AT_ONCE) as number:
            self._send(messages.Serialize(number, runnable))
            return self._expect(messages.Blob, number).blob

    def count(self, figures: dict[str, int]) -> None:
        """Keeps the backend's figures, which it tells by itself."""
        self.figures = figures

    def drop(self, runnables: Sequence[int]) -> bool:
        """Has models and scripts freed, as soon as it has done what it does; waits for nothing.

        Returns:
            Whether it was told: False when it has been told much and reads nothing now.
        """
        with self._lock:
            if self._closed:
                return True
            try:
                packet = encode(messages.Drop([*runnables]))
                self._channel.send(packet, flags=WITHOUT_WAITING)
            except BlockingIOError:
                return False
            except OSError:  # it ends
                pass
            return True

    # ------------------------------------------------------------------ inside
    @contextmanager
    def _call(self, run: RunContext | None = None, within: float = 0.0) -> Iterator[int]:
        """Surrounds a call: it may be cancelled, or has a time, and a death ends it."""
        self._calls += 1
        number = self._calls
        with self._lock:
            self._current = number
        timer: Timer | None = None
        if within:
            reason = f"it took longer than {within:g} s"
            when = monotonic() + within
            timer = self._attendant.at(when, partial(self._end_for_time, number, reason))
        if run is not None:
            run.on_cancel(partial(self._cancel, number, run))
        sound = False
        try:
            yield number
            sound = True
        except (EOFError, ConnectionError):
            raise self._death() from None
        except NoMessage as error:
            raise self._death(str(error)) from None
        except _Told as told:
            sound = True
            raise told.error from None
        finally:
            with self._lock:
                self._current = 0
            if timer is not None:
                timer.cancel()
            if run is not None:
                run.on_cancel(None)
            if not sound and not self.ended.is_set():  # what it would send now belongs to no call
                self._kill()
                if not self._too_long:
                    self.ended.wait(_PATIENCE)

    def _send(self, message: messages.ToWorker, files: Sequence[int] = (), flags: int = 0) -> None:
        """Sends a message, with files, which are closed then."""
        try:
            self._channel.send(encode(message), files, flags)
        except ConnectionError:
            raise Gone from None
        finally:
            close_all(files)

    def _receive(self, number: int, flags: int = 0) -> tuple[messages.FromWorker, list[int]]:
        packet, files = self._channel.receive(flags)
        try:
            return self._checked(packet, number), files
        except BaseException:
            close_all(files)
            raise

    def _checked(self, packet: memoryview, number: int) -> messages.FromWorker:
        message = messages.decode_from_worker(packet)
        if getattr(message, "number", number) != number:
            raise NoMessage(f"a reply to another call than {number}")
        if isinstance(message, messages.Failure):
            if message.kept:
                self._tensors.leave_inputs()
            error = error_of(message)
            self.exhausted = self.exhausted or SETTING in text_of(error)
            raise _Told(error)
        return message

    def _expect(self, kind: type[_M], number: int) -> _M:
        message, files = self._receive(number)
        close_all(files)
        if not isinstance(message, kind):
            raise NoMessage(f"{type(message).__name__} instead of {kind.__name__}")
        return message

    def _outputs(self, number: int, commands: Commands | None) -> Sequence[Tensor | None]:
        while True:
            message, files = self._receive(number)
            try:
                if isinstance(message, messages.Outputs):
                    if message.kept:
                        self._tensors.leave_inputs()
                    return self._tensors.take(message.outputs, files)
                if commands is None:
                    raise NoMessage(f"{type(message).__name__} instead of outputs")
                reply, written = done(message, files, commands, self._limit)
            finally:
                close_all(files)
            try:
                self._channel.send(encode(reply), written)
            finally:
                close_all(written)


class _Told(Exception):
    """An error that the worker told of.

    Args:
        error: The error.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def _where(run: RunContext) -> messages.Where:
    deadline = run.deadline
    if deadline is None and run.timeout is not None:  # it begins soon
        deadline = monotonic() + run.timeout
    device = run.device
    queue, name = _packed_names(device.queue, device.name)
    return messages.Where(queue, device.kind, device.index, name, run.timeout, deadline)


@lru_cache(64)
def _packed_names(queue: str, name: str) -> tuple[bytes, bytes]:
    """Returns the names of a device; not by the device itself, for its spelling counts here."""
    return packed(queue), packed(name)
