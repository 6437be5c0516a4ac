"""The way of a script, from the worker that runs it, to keys and models and back.

What commands mean and which models there are is known to whoever owns the keys, on the loop's
thread; a script asks there and waits. A model that it asks for it runs itself, on its own thread.
"""

from __future__ import annotations

from concurrent.futures import Future
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from tensorkeep.calling import call_model
from tensorkeep.errors import CommandFailed, EngineClosed, RunCrashed
from tensorkeep.hookspecs import RunContext

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.hookspecs import CommandReply
    from tensorkeep.loop import Loop
    from tensorkeep.model import Model
    from tensorkeep.tensor import Tensor


class Access(Protocol):
    """What the scripts of one request may reach. Only called on the loop's thread."""

    def execute(
        self, request: Sequence[bytes], done: Callable[[Callable[[], CommandReply]], None]
    ) -> None:
        """Does a command, then calls `done(make)`, at once or later.

        Args:
            request: The command's name and its arguments.
            done: Called once on the loop's thread with what makes the plain reply, or raises
                `CommandFailed` if that is an error. The script's thread calls it: to make a long
                reply takes long.

        Raises:
            CommandFailed: The command is refused.
        """

    def model(
        self, key: bytes, inputs: int, outputs: int, done: Callable[[Model | Exception], None]
    ) -> None:
        """Looks for a stored model, then calls `done` with it, at once or later.

        Args:
            key: Its key.
            inputs: Number of tensors that it is to be given.
            outputs: Number of tensors that it is to return.
            done: Called once on the loop's thread, with the model or with `CommandFailed`: there is
                none, or it has other numbers of inputs or outputs.
        """


class Errands:
    """What threads have asked the loop to do, and wait for.

    Args:
        loop: The loop.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._lock = Lock()  # guards the two below
        self._closed = False
        self._waiting: set[Future[Any]] = set()

    def ask(
        self, job: Callable[[Callable[[Any], None]], None], seconds: float | None = None
    ) -> Any:  # noqa: ANN401 - what the job gives
        """Has a job done on the loop's thread and waits; not to be called on that thread.

        Args:
            job: Called with what takes the result, or an exception, once.
            seconds: How long is waited, None for without end.

        Raises:
            EngineClosed: The engine ended before the job was done.
            CommandFailed: It was not done in time; it may be done later.
            Exception: What the job raised, or gave as its result.
        """
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise EngineClosed
            self._waiting.add(future)
        try:
            self._loop.call_soon_threadsafe(_start, job, future)
            return future.result(seconds)
        except TimeoutError:
            if future.done():  # it is what the job raised
                raise
            text = f"ERR what the script asked for was not done within {seconds:g} s"
            raise CommandFailed(text) from None
        finally:
            with self._lock:
                self._waiting.discard(future)

    def close(self) -> None:
        """Lets nobody wait any more."""
        with self._lock:
            self._closed = True
            waiting = [future for future in self._waiting if not future.done()]
        for future in waiting:
            future.set_exception(EngineClosed())


def _start(job: Callable[[Callable[[Any], None]], None], future: Future[Any]) -> None:
    def done(result: object) -> None:
        if future.done():  # the engine was closed
            return
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)

    try:
        job(done)
    except Exception as error:  # noqa: BLE001 - raised on the thread that asked
        done(error)


class ScriptCommands:
    """`hookspecs.Commands` for the scripts of one request.

    Args:
        access: What they may reach.
        errands: The way to the loop.
        timeout: Seconds after which a run of a model is cancelled, and a command is no longer
            waited for: the client may be gone, or have asked for what never ends.
        running: The contexts of such runs, for who watches over their time.
        crashed: Called on the loop's thread with a model that has ended its worker.
    """

    def __init__(
        self,
        access: Access,
        errands: Errands,
        timeout: float,
        running: set[RunContext],
        crashed: Callable[[Model], None],
    ) -> None:
        self._access = access
        self._errands = errands
        self._timeout = timeout
        self._running = running
        self._crashed = crashed

    def execute(self, command: str, arguments: Sequence[bytes]) -> CommandReply:
        """See `hookspecs.Commands.execute`."""
        request = [command.encode("utf-8", "surrogateescape"), *arguments]
        make: Callable[[], CommandReply] = self._errands.ask(
            lambda done: self._access.execute(request, done), self._timeout
        )
        return make()

    def model_execute(self, key: str, inputs: Sequence[Tensor], outputs: int) -> Sequence[Tensor]:
        """See `hookspecs.Commands.model_execute`."""
        name = key.encode("utf-8", "surrogateescape")
        model: Model = self._errands.ask(
            lambda done: self._access.model(name, len(inputs), outputs, done), self._timeout
        )
        context = RunContext(model.spec.device, self._timeout)
        context.begin(monotonic())
        self._running.add(context)
        try:
            return call_model(model, inputs, context)
        except RunCrashed:
            self._errands.ask(lambda done: done(self._crashed(model)))
            raise
        finally:
            self._running.discard(context)
