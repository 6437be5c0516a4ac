"""The contract of a kind of worker outside this process, such as processes: `tensorkeep.workers`.

An entry point in that group names a function that starts one:

    [project.entry-points."tensorkeep.workers"]
    processes = "tensorkeep_workers_process:start"

What it returns stands in for the plugins of backends: `plugin("TF")` is an object with the hooks of
`hookspecs`, which does elsewhere what they ask for. Nothing above it sees a difference, but for
two errors that only such a plugin raises: `WorkerDied` and `WorkerTookTooLong`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from tensorkeep.config import STORE_TIMEOUT, BackendOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tensorkeep.hookspecs import RunContext
    from tensorkeep.loop import Loop
    from tensorkeep.model import LoadedModel
    from tensorkeep.tensor import Tensor

ENTRY_POINT_GROUP: Final = "tensorkeep.workers"


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a kind of worker is told when it is started.

    Attributes:
        backend: What every backend is told.
        memory: Bytes that one worker may take; 0 sets no limit, None leaves it to the kind of
            worker.
        recycle_after: Runs after which a worker is replaced; 0 for never.
        load_timeout: Seconds that the building of a model or script may take.
        sandbox: Whether workers are kept from files and the network, where the system can.
    """

    backend: BackendOptions = field(default_factory=BackendOptions)
    memory: int | None = None
    recycle_after: int = 0
    load_timeout: float = STORE_TIMEOUT
    sandbox: bool = True


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker, for people.

    Attributes:
        backend: The backend that it serves.
        pid: Its process; 0 where it has none.
        runs: Runs that it has done.
        models: Models and scripts that it holds now.
        memory: Bytes that it takes now; 0 where that is not known.
    """

    backend: str
    pid: int
    runs: int
    models: int
    memory: int


class NotBegun(Exception):
    """A run was not begun: the worker went away while another went on. It may be done elsewhere."""


class Runner(Protocol):
    """Runs models in one worker, one after another, while no thread waits for them.

    Called on the loop's thread, and calls back there.
    """

    def start(
        self,
        model: LoadedModel,
        inputs: Sequence[Tensor],
        run: RunContext,
        done: Callable[[Sequence[Tensor | None] | Exception], None],
    ) -> bool:
        """Starts a run behind those that were started and are not done.

        Args:
            model: What the stand-in's `model_create` returned.
            inputs: As for `hookspecs.BackendHooks.model_run`.
            run: Its time begins when it is the first of those that are not done.
            done: Called once, in the order of starts: with what the hook would return or raise, or
                with `NotBegun`.

        Returns:
            Whether it was started. Otherwise the hook has to be called, on a thread that may wait:
            no idle worker has built the model, the inputs take long to hand over, or the worker has
            died and not all that were started were told.
        """

    def wait(self, seconds: float) -> None:
        """Waits so long at most until what was started is done."""

    def withdraw(self) -> int:
        """Takes back what was started behind the first that is not done.

        Returns:
            How many runs, the last that were started: `done` is not called for them any more.
        """

    def stop(self) -> None:
        """Lets go of the worker once what was started is done."""


class Isolation(Protocol):
    """A kind of worker that was started. Its methods may be called from any thread."""

    def plugin(self, name: str) -> object:
        """Returns what stands in for a backend's plugin; starts nothing yet.

        Its hooks block their caller's thread, never the interpreter. `backend_info`, `self_check`
        and `devices` start the first worker, load the plugin there and pass on what it says, or
        raise what it raises. `model_create` and `script_create` may be called several at once.
        `RunContext.on_cancel` is set while a run goes on: to cancel it ends the run within 100 ms,
        whatever it does.

        Args:
            name: Name of an installed backend, upper case.
        """

    def runner(self, name: str, loop: Loop) -> Runner | None:
        """Returns what runs models of a backend without a thread that waits.

        Args:
            name: Name of the backend, whose stand-in was loaded.
            loop: The loop on whose thread it is called; None is returned for one that cannot tell
                when a file can be read.
        """

    def workers(self) -> Sequence[WorkerStatus]:
        """Returns the workers that there are."""

    def counts(self) -> Mapping[str, int]:
        """Returns what was counted: `started`, `crashed`, `killed` (for time), `recycled`."""

    def sandbox(self) -> str:
        """Returns what keeps workers from files and the network, for people; empty for nothing."""

    def close(self) -> None:
        """Ends all workers, at once."""
