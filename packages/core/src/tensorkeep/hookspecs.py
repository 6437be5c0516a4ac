"""The contract of a backend: the one place that says what a plugin must and may provide.

A backend is a module (or an object) whose functions carry `@hookimpl`, named by an entry point in
the group `tensorkeep.backends`:

    [project.entry-points."tensorkeep.backends"]
    ONNX = "tensorkeep_onnx.plugin"

The entry's name is the name that users write. The module may import its framework at the top: it
is imported when its backend is first needed, on a thread of its own. pluggy checks names and
arguments when the plugin registers, a type checker checks a plugin module against the protocols
below, and the documentation is rendered from them.

A backend never sees commands, keys, queues or batching. It may raise whatever it likes: the
engine turns that into `ModelRejected` or `RunFailed` with its text. What a hook returns is checked
once: a result of another kind than is said here (a generator, or what has still to be awaited, from
`async def`; a subclass of `Tensor`) is an error of that one call. Calls come from several threads
at once; only `model_create` and `script_create` come one at a time, where none goes on beyond
`EngineConfig.store_timeout`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tensorkeep.config import BackendOptions
    from tensorkeep.device import Device
    from tensorkeep.model import LoadedModel, ModelSpec, ScriptSpec
    from tensorkeep.tensor import DType, Tensor

CommandReply: TypeAlias = "bytes | int | list[CommandReply] | None"

_log = logging.getLogger(__name__)

PROJECT: Final = "tensorkeep"
ENTRY_POINT_GROUP: Final = "tensorkeep.backends"
API_VERSION: Final = 1

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


# --------------------------------------------------------------------------- what is exchanged
@dataclass(frozen=True, slots=True)
class BackendInfo:
    """What a backend says of itself.

    Attributes:
        api_version: The version of this contract that the backend was written for, as a literal.
        framework: Name of the framework, for people.
        framework_version: Version of the framework that was imported.
        scripts: Whether the script hooks are there.
        needs_names: Whether a model needs the names of its inputs and outputs.
        signatures: Whether a model may bring several signatures, of which
            `ModelSpec.signature` chooses one.
        limits_runs: Whether runs are kept below `BackendOptions.memory_limit`, not the weights of
            models alone. Otherwise the log says so to whoever sets a limit.
    """

    api_version: int
    framework: str
    framework_version: str
    scripts: bool = False
    needs_names: bool = False
    signatures: bool = False
    limits_runs: bool = False


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device that this installation can really use.

    Attributes:
        kind: `CPU` or `GPU`.
        index: Number of the device among those of its kind; None means any number will do.
        description: Name of the hardware, for people.
        memory: Bytes of memory on the device, None when unknown or shared with the host.
        dtypes: Element types that models may take and return there.
    """

    kind: str
    index: int | None
    description: str
    memory: int | None
    dtypes: frozenset[DType]


class RunContext:
    """What a backend may know of the run that it is doing.

    Args:
        device: Where the run takes place.
        timeout: Seconds after which it is cancelled once it has begun, None for never.

    Attributes:
        device: Where the run takes place.
        deadline: Time of `time.monotonic` after which the run is cancelled; None before it has
            begun, and for a run that never is.
        timeout: Seconds after which it is cancelled once it has begun, None for never.
        cancelled: Whether the run should end as soon as it can.
        reason: Why it was cancelled, for people: a part of what the run then fails with. Empty
            when it was not cancelled, or nobody said why.
    """

    __slots__ = (
        "__weakref__",
        "_on_cancel",
        "cancelled",
        "deadline",
        "device",
        "reason",
        "timeout",
    )

    def __init__(self, device: Device, timeout: float | None = None) -> None:
        self.device = device
        self.deadline: float | None = None
        self.cancelled = False
        self.reason = ""
        self.timeout = timeout
        self._on_cancel: Callable[[], None] | None = None

    def begin(self, now: float) -> None:
        """Starts the time that the run has; called by whoever calls the backend."""
        if self.timeout is not None:
            self.deadline = now + self.timeout

    def on_cancel(self, end: Callable[[], None] | None) -> None:
        """Sets what ends the run from another thread; None once the run can no longer be ended.

        Called at once when the run was cancelled already. It must stand being called twice: a
        cancellation may come just then.
        """
        self._on_cancel = end
        if self.cancelled and end is not None:
            end()

    def cancel(self, reason: str = "") -> None:
        """Asks the run to end; called from a thread that is not running it.

        Args:
            reason: Why, for people; that of the first call is kept.
        """
        self.reason = self.reason or reason
        self.cancelled = True
        end = self._on_cancel
        if end is not None:
            try:
                end()
            except BaseException:  # noqa: BLE001 - the plugin's own code: whoever cancels has more to do
                _log.exception("a run on %s could not be cancelled", self.device.queue)


class Commands(Protocol):
    """The way from a script to the keyspace and to models; for the thread that calls the script."""

    def execute(self, command: str, arguments: Sequence[bytes]) -> CommandReply:
        """Runs a command on the thread that owns the keyspace, and waits for its reply.

        Args:
            command: Name of the command, in any case.
            arguments: Its arguments.

        Returns:
            The reply: bytes for strings and simple strings, integers, None for null, lists of
            those for arrays.

        Raises:
            CommandFailed: The reply is an error, or the command may not be run by a script.
            EngineClosed: The engine ended meanwhile.
        """

    def model_execute(self, key: str, inputs: Sequence[Tensor], outputs: int) -> Sequence[Tensor]:
        """Runs a stored model at once, on the calling thread, and uncounted.

        Args:
            key: The model's key.
            inputs: One tensor per input of the model.
            outputs: Number of outputs that are expected of it.

        Raises:
            CommandFailed: There is no such model, or it has other numbers of inputs or outputs.
            RunFailed: The model failed, or ran for longer than a model may.
            EngineClosed: The engine ended meanwhile.
        """


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One call of a script's function.

    Attributes:
        function: Name of the function.
        tensors: Its input tensors, never to be changed.
        keys: Names of keys that the function may touch.
        arguments: Plain arguments.
        outputs: Number of tensors that it is to return, None to ignore what it returns.
        commands: The way to the keyspace and to models.
    """

    function: str
    tensors: Sequence[Tensor]
    keys: Sequence[bytes]
    arguments: Sequence[bytes]
    outputs: int | None
    commands: Commands


# --------------------------------------------------------------------------- the hooks
class BackendHooks(Protocol):
    """The hooks that every backend has."""

    @hookspec(firstresult=True)
    def backend_info(self) -> BackendInfo:
        """Returns what the backend says of itself."""

    @hookspec(firstresult=True)
    def devices(self) -> Sequence[DeviceInfo]:
        """Returns the devices that this installation can really use, never more."""

    @hookspec(firstresult=True)
    def model_create(self, spec: ModelSpec, blob: bytes, options: BackendOptions) -> LoadedModel:
        """Builds a model; called on the loader thread, and may take its time.

        Args:
            spec: What the user said; the device is one of those that `devices` returned, and
                names are given when `BackendInfo.needs_names`.
            blob: The serialized model.
            options: Threads and limits that hold for all models.

        Returns:
            What was built. Its `batch_axis` says whether requests may share runs; a model of which
            it says nothing is never run for several requests at once.

        Raises:
            Exception: The model cannot be built; users read the text.
        """

    @hookspec(firstresult=True)
    def model_run(
        self, model: LoadedModel, inputs: Sequence[Tensor], run: RunContext
    ) -> Sequence[Tensor | None]:
        """Runs a model.

        Args:
            model: What `model_create` returned.
            inputs: One tensor per input, in the model's order, already joined to a batch. Their
                memory must not be changed.
            run: The run's device and deadline, and the way to be told to end.

        Returns:
            One tensor per output, in the model's order. None stands for an output that is no
            tensor, and fails the run with an error that names the output.

        Raises:
            Exception: The run failed; users read the text.
        """


class OptionalHooks(Protocol):
    """Hooks that a backend may leave out."""

    @hookspec(firstresult=True)
    def self_check(self) -> None:
        """Creates and runs something tiny; raises when the framework imports but does not work."""

    @hookspec(firstresult=True)
    def serialize(self, model: LoadedModel) -> bytes:
        """Returns a model as bytes that `model_create` takes; by default the stored blob."""

    @hookspec(firstresult=True)
    def model_free(self, model: LoadedModel) -> None:
        """Frees a model that nobody will run again."""

    @hookspec(firstresult=True)
    def backend_stats(self) -> Mapping[str, int]:
        """Returns figures such as bytes in use, by name."""


class ScriptHooks(Protocol):
    """Hooks of a backend whose `BackendInfo.scripts` is true."""

    @hookspec(firstresult=True)
    def script_create(self, spec: ScriptSpec, source: bytes, options: BackendOptions) -> object:
        """Compiles a script; called on the loader thread.

        Args:
            spec: What the user said; the device is one of those that `devices` returned.
            source: The source code.
            options: Threads and limits that hold for all scripts and models.

        Returns:
            The framework's own object.

        Raises:
            Exception: The source does not compile, or lacks an entry point; users read the text.
        """

    @hookspec(firstresult=True)
    def script_run(self, script: object, call: ScriptCall, run: RunContext) -> Sequence[Tensor]:
        """Calls a function of a script.

        Args:
            script: What `script_create` returned.
            call: The function, and what it is given. Its tensors' memory must not be changed.
            run: The run's device and deadline, and the way to be told to end.

        Returns:
            The tensors that the function returned: as many as `call.outputs` says. When that is
            None, whatever the hook returns is ignored.

        Raises:
            Exception: The function is not there, failed or returned something else; users read
                the text.
        """

    @hookspec(firstresult=True)
    def script_free(self, script: object) -> None:
        """Frees a script that nobody will call again."""
