"""Every error that Tensorkeep raises on purpose, as one tree.

The texts are for people who call Tensorkeep from Python: they name the argument and what was
expected. What a client sees on the wire is decided by the server, from the class.
"""

from __future__ import annotations


class TensorkeepError(Exception):
    """Base of every error raised on purpose; anything else that escapes is a bug."""


class InternalError(TensorkeepError):
    """Something went wrong that is no fault of who asked for it; the log has more."""

    def __init__(self) -> None:
        super().__init__("internal error, see the log")


class OutOfMemory(TensorkeepError):
    """There is no memory for what was asked for."""

    def __init__(self) -> None:
        super().__init__("there is not enough memory")


def text_of(error: BaseException) -> str:
    """Returns what an exception of any origin says, or its class's name when it says nothing.

    An exception of a plugin may fail when it is asked, or say what cannot be encoded.
    """
    name = type(error).__name__
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - the plugin's own code: anything may come
        return name
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text or name


# --------------------------------------------------------------------------- tensors
class InvalidTensor(TensorkeepError, ValueError):
    """A tensor cannot be made from what was given."""


class UnknownDType(InvalidTensor):
    """A name or foreign data type that no `DType` stands for."""


class InvalidShape(InvalidTensor):
    """A shape with a negative dimension, or whose size cannot be addressed."""


class BlobLengthMismatch(InvalidTensor):
    """A blob whose length is not element count times element size."""


class InvalidBool(InvalidTensor):
    """A byte of a BOOL tensor is neither 0 nor 1."""


class StringCountMismatch(InvalidTensor):
    """A STRING blob that does not hold exactly one NUL-terminated string per element."""


class NulInString(InvalidTensor):
    """A string element with a NUL byte inside; strings are NUL-terminated, so it cannot be kept."""


class ValueCountMismatch(InvalidTensor):
    """The number of values is not the number of elements that the shape has."""


class InvalidValue(InvalidTensor):
    """A value that the tensor's type cannot hold."""


# --------------------------------------------------------------------------- devices
class InvalidDevice(TensorkeepError, ValueError):
    """A device name that is not of the form `CPU`, `GPU`, `CPU:<n>` or `GPU:<n>`."""


class DeviceUnavailable(TensorkeepError):
    """The backend is here, but this installation cannot use the device.

    Attributes:
        backend: Name of the backend, for example `ONNX`.
        device: The device that was asked for, as it was spelled.
    """

    def __init__(self, backend: str, device: str) -> None:
        super().__init__(f"backend {backend} cannot use device {device!r} in this installation")
        self.backend = backend
        self.device = device


# --------------------------------------------------------------------------- keyspace
class WrongType(TensorkeepError, TypeError):
    """A key holds a value of another type than the operation needs."""

    def __init__(self, key: bytes = b"") -> None:
        super().__init__(f"key {key!r} holds the wrong kind of value")
        self.key = key


class KeyMissing(TensorkeepError, LookupError):
    """There is no value under a key that an operation needs.

    Attributes:
        key: The key.
        kind: What was looked for under it, such as `Tensor` or `Model`; None for any value.
    """

    def __init__(self, key: bytes = b"", kind: type | None = None) -> None:
        super().__init__(f"there is no key {key!r}")
        self.key = key
        self.kind = kind


class NotStored(TensorkeepError):
    """A key is free that must be taken for what was to be stored, or the other way round.

    Attributes:
        key: The key.
    """

    def __init__(self, key: bytes = b"") -> None:
        super().__init__(f"the key {key!r} is not as NX or XX wants it")
        self.key = key


class StoreUnavailable(TensorkeepError):
    """No store can be opened for a URL.

    Attributes:
        scheme: The URL's scheme.
        reason: Why.
    """

    def __init__(self, scheme: str, reason: str) -> None:
        super().__init__(f"the store {scheme!r} is not available: {reason}")
        self.scheme = scheme
        self.reason = reason


class StoreError(TensorkeepError):
    """A store cannot do what it was asked for, or its engine refuses it.

    Attributes:
        line: The whole error line for a client, with its code word.
    """

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.line = line


class BackendUnavailable(TensorkeepError):
    """A backend cannot be used.

    Attributes:
        backend: Name that was asked for.
        reason: Why: not installed, the import failed, or it breaks the contract.
    """

    def __init__(self, backend: str, reason: str) -> None:
        super().__init__(f"backend {backend} cannot be used: {reason}")
        self.backend = backend
        self.reason = reason


class BackendNotInstalled(BackendUnavailable):
    """No installed distribution brings a backend of this name."""


class ModelRejected(TensorkeepError):
    """The backend could not build the model or script; the text is the framework's."""


class InvalidModelFile(TensorkeepError, ValueError):
    """A file of a model names files that are missing, or that are not the model's to take."""


class RunFailed(TensorkeepError):
    """A model or script failed while running; the text is the framework's."""


class CommandFailed(TensorkeepError):
    """A command that a script asked for was refused or failed; the text is the reply's."""


class OutputIsNoTensor(RunFailed):
    """An output of a run is no tensor: nothing, a map or a sequence. Nothing of the run is kept.

    Attributes:
        output: Which one, for people: its name, or its number where it has none.
    """

    def __init__(self, output: str) -> None:
        super().__init__(f"{output} is no tensor")
        self.output = output


# --------------------------------------------------------------------------- workers
class WorkerDied(TensorkeepError):
    """The worker outside this process that did the work has died of it.

    Attributes:
        cause: Of what, for people: a signal, an exit code, a limit.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(f"the worker process died: {cause}")
        self.cause = cause


class WorkerTookTooLong(TensorkeepError):
    """The worker outside this process was ended, for the work went on beyond its time.

    Attributes:
        reason: Why it was ended, for people.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the worker process was ended: {reason}")
        self.reason = reason


class RunCrashed(RunFailed):
    """A run has ended the worker outside this process that did it; other runs go on in a new one.

    Attributes:
        name: What was run, for people.
        cause: Of what the worker died, for people.
    """

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"the {name} ended its worker process: {cause}")
        self.name = name
        self.cause = cause


class RunRefused(RunFailed):
    """A model or script ended its worker over and over: it is not run until it is stored again.

    Attributes:
        name: What was to be run, for people.
        cause: Of what the worker died last, for people.
    """

    def __init__(self, name: str, times: int, cause: str) -> None:
        super().__init__(
            f"the {name} is not run until it is stored again: it ended its worker process {times}"
            f" times running, at last by {cause}"
        )
        self.name = name
        self.cause = cause


class BuildCrashed(ModelRejected):
    """The building of a model or script has ended the worker outside this process that did it.

    Attributes:
        cause: Of what the worker died, for people.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(f"building it ended its worker process: {cause}")
        self.cause = cause


class BuildTookTooLong(ModelRejected):
    """The building of a model or script went on beyond its time: it was ended, or is given up.

    Attributes:
        limit: Seconds that it may take.
    """

    def __init__(self, limit: float) -> None:
        super().__init__(f"building it took longer than {limit:g} s, the --store-timeout")
        self.limit = limit


class TooManyModels(ModelRejected):
    """There are as many models and scripts as there may be.

    Attributes:
        most: How many there may be.
    """

    def __init__(self, most: int) -> None:
        super().__init__(
            f"there are {most} models and scripts already, as many as --max-models allows"
        )
        self.most = most


class TooManyBuilds(ModelRejected):
    """So many builds go on beyond their time in this process that no more is begun.

    Attributes:
        number: How many.
    """

    def __init__(self, number: int) -> None:
        super().__init__(
            f"{number} models or scripts go on being built in the server's process beyond their"
            " time, and cannot be ended: no more are built there"
        )
        self.number = number


class WorkersUnavailable(TensorkeepError):
    """There can be no workers outside this process.

    Attributes:
        reason: Why.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"there are no workers outside this process: {reason}")
        self.reason = reason


# --------------------------------------------------------------------------- engine
class RunExpired(TensorkeepError):
    """The run waited in its queue for longer than the request allowed."""

    def __init__(self) -> None:
        super().__init__("the run did not start within its time limit")


class RunAbandoned(TensorkeepError):
    """Nobody waits for the run any more (its client went away)."""

    def __init__(self) -> None:
        super().__init__("the run was abandoned: nobody waits for it any more")


class QueueFull(TensorkeepError):
    """Too many runs wait for a device already.

    Attributes:
        device: Name of the device's queue.
        limit: How many may wait.
    """

    def __init__(self, device: str, limit: int) -> None:
        super().__init__(f"{limit} runs wait for device {device} already, which is the limit")
        self.device = device
        self.limit = limit


class TooManyDevices(TensorkeepError):
    """A model or script is for a device that would need a queue, and there are too many already.

    Attributes:
        device: The device that was asked for, as it was spelled.
        limit: How many devices may have queues.
    """

    def __init__(self, device: str, limit: int) -> None:
        super().__init__(
            f"device {device!r} would need a queue of its own, and {limit} devices have one, which"
            f" is the limit: use one of those"
        )
        self.device = device
        self.limit = limit


class EngineClosed(TensorkeepError):
    """The engine is shutting down and takes no new work."""

    def __init__(self, text: str = "the engine is shutting down") -> None:
        super().__init__(text)


class RunCutShort(EngineClosed):
    """The engine has shut down before the run was done."""

    def __init__(self) -> None:
        super().__init__("the engine is shutting down: the run was cancelled or has not started")
