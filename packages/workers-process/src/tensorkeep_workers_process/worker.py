"""A worker: the program of a process that was forked to serve one backend, and nothing else.

It does one thing after the other: it reads a message, calls the plugin's hook, and sends what came
of it. It ends when the server closes the connection.
"""

from __future__ import annotations

import logging
import mmap
import pickle
from contextlib import suppress
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

import msgspec
import numpy as np

from tensorkeep.backends import Backend, Hooks, reason_of
from tensorkeep.device import Device
from tensorkeep.errors import BackendUnavailable, TensorkeepError
from tensorkeep.hookspecs import RunContext, ScriptCall
from tensorkeep_workers_process import messages
from tensorkeep_workers_process.arena import ArenaReader, put, room
from tensorkeep_workers_process.channel import close_all
from tensorkeep_workers_process.failures import failure
from tensorkeep_workers_process.memory_limit import with_limit
from tensorkeep_workers_process.messages import encode, packed, unpacked
from tensorkeep_workers_process.process_memory import own_memory
from tensorkeep_workers_process.script_commands import ScriptCommands
from tensorkeep_workers_process.shared_memory import Mapping
from tensorkeep_workers_process.tensor_cells import POSITIONS, from_server, in_files
from tensorkeep_workers_process.worker_log import tell_figures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorkeep.hookspecs import DeviceInfo
    from tensorkeep.model import LoadedModel
    from tensorkeep.tensor import Tensor
    from tensorkeep_workers_process.cancellation import Cancellation
    from tensorkeep_workers_process.channel import Channel
    from tensorkeep_workers_process.messages import Cell

_log = logging.getLogger(__name__)

_TELL_EVERY: Final = 1.0  # seconds


class Worker:
    """A worker.

    Args:
        name: Name of the backend.
        plugin: Its plugin.
        channel: The connection to the server.
        cancellation: What cancels runs.
        memory: Bytes of memory that this process may take; 0 for any number.
    """

    def __init__(
        self,
        name: str,
        plugin: object,
        channel: Channel,
        cancellation: Cancellation,
        memory: int,
    ) -> None:
        self._name = name
        self._plugin = plugin
        self._made: Hooks | None = None
        self._channel = channel
        self._cancellation = cancellation
        self._memory = memory
        self._arena = ArenaReader()  # for inputs
        self._results: NDArray[np.uint8] = np.empty(0, np.uint8)  # for outputs
        self._told = 0.0  # when the backend's figures were told
        self._models: dict[int, LoadedModel] = {}
        self._scripts: dict[int, object] = {}

    def serve(self) -> None:
        """Does what the server asks for, until it closes the connection, in the middle or not."""
        with suppress(EOFError, ConnectionError):
            while True:
                packet, files = self._channel.receive()
                try:
                    self._do(messages.decode_to_worker(packet), files)
                finally:
                    close_all(files)
                self._tell_figures()

    @property
    def _hooks(self) -> Hooks:
        if self._made is None:
            self._made = Hooks(self._name, self._plugin)
        return self._made

    def _do(self, message: messages.ToWorker, files: list[int]) -> None:
        match message:
            case messages.Run() | messages.Call():
                self._run(message, files)
            case messages.Runs():
                for run in message.runs:  # each is answered before the next one begins
                    self._run(run, files)
            case messages.Drop():
                self.drop(message.runnables)
                self._told = 0.0
            case _:
                try:
                    reply = self._asked(message, files)
                except BaseException as error:  # noqa: BLE001 - a plugin may raise anything
                    self._send(self._failure(getattr(message, "number", 0), error))
                else:
                    self._send(reply)
                self._told = 0.0

    def _asked(self, message: messages.ToWorker, files: list[int]) -> messages.FromWorker:
        match message:
            case messages.Build():
                return self._build(message, files)
            case messages.Describe():
                return self._describe(message.number)
            case messages.Serialize():
                blob = self._hooks.serialize(self._models[message.runnable], b"")
                return messages.Blob(message.number, blob)
            case _:
                raise TypeError(f"{type(message).__name__} was not asked for")

    def _failure(self, number: int, error: BaseException) -> messages.Failure:
        told = failure(number, error)
        return msgspec.structs.replace(
            told, text=packed(with_limit(unpacked(told.text), self._memory))
        )

    def _send(self, reply: messages.FromWorker, files: Sequence[int] = ()) -> None:
        self._channel.send(encode(reply), files)

    def _tell_figures(self) -> None:
        """Tells the backend's figures: after whatever was built or freed, and now and then."""
        now = monotonic()
        if now - self._told < _TELL_EVERY:
            return
        self._told = now
        try:
            figures = self._hooks.backend_stats()
        except BaseException:  # noqa: BLE001 - the plugin's own code: anything may come
            _log.debug("backend %s has no figures", self._name, exc_info=True)
        else:
            tell_figures({name: int(value) for name, value in figures.items()})

    # ------------------------------------------------------------------ the backend
    def _describe(self, number: int) -> messages.Described:
        try:
            backend = Backend(self._name, self._plugin)
        except TensorkeepError:
            raise
        except BaseException as error:  # the plugin's own code: anything may come
            _log.exception("backend %s does not work", self._name)
            raise BackendUnavailable(self._name, reason_of(error)) from error
        self._made = backend
        info = backend.info
        return messages.Described(
            number,
            info.api_version,
            packed(info.framework),
            packed(info.framework_version),
            info.scripts,
            info.needs_names,
            info.signatures,
            info.limits_runs,
            [_said(device) for device in backend.devices],
            backend.serializes,
        )

    # ------------------------------------------------------------------ models and scripts
    def _build(self, message: messages.Build, files: list[int]) -> messages.Built:
        before = own_memory()
        spec, options = pickle.loads(message.told)  # noqa: S301 - the server sent it
        blob = _read(files[0], message.size) if message.size else message.blob
        if message.script:
            self._scripts[message.runnable] = self._hooks.script_create(spec, blob, options)
            return messages.Built(message.number, grown=_grown(before))
        loaded: LoadedModel = self._hooks.model_create(spec, blob, options)
        self._models[message.runnable] = loaded
        return messages.Built(
            message.number,
            _grown(before),
            [packed(name) for name in loaded.inputs],
            [packed(name) for name in loaded.outputs],
            sorted(loaded.fewer_inputs),
            cast("messages.Axis", loaded.batch_axis.kind.name),
            packed(loaded.batch_axis.reason),
            [*loaded.optional_outputs],
            loaded.keeps_state,
        )

    def drop(self, runnables: Sequence[int]) -> None:
        """Frees models and scripts."""
        for number in runnables:
            try:
                if number in self._models:
                    self._hooks.model_free(self._models.pop(number))
                elif number in self._scripts:
                    self._hooks.script_free(self._scripts.pop(number))
            except BaseException:  # noqa: BLE001 - the plugin's own code: anything may come
                _log.exception("backend %s could not free a model or script", self._name)

    # ------------------------------------------------------------------ runs
    def _run(self, message: messages.Run | messages.Call, files: list[int]) -> None:
        number = message.number
        written: list[int] = []
        try:
            outputs = self._outputs(message, files)
            most = message.room if isinstance(message, messages.Run) else None
            cells, written = self._sent(outputs, most)
            del outputs
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything
            reply: messages.Outputs | messages.Failure = self._failure(number, error)
        else:
            reply = messages.Outputs(number, cells)
        if not self._arena.returned():  # asked once nothing here uses it any more
            reply = msgspec.structs.replace(reply, kept=True)
        try:
            self._send(reply, written)
        finally:
            close_all(written)

    def _sent(
        self, outputs: Sequence[Tensor | None], most: int | None
    ) -> tuple[list[Cell | None], list[int]]:
        """Returns outputs as cells, and the files of those for which there was no room."""
        wanted = room([output.nbytes for output in outputs if output is not None])
        if wanted <= len(self._results) and (most is None or wanted <= most):
            return put(self._results, outputs), []
        return in_files(outputs)

    def _outputs(
        self, message: messages.Run | messages.Call, files: list[int]
    ) -> Sequence[Tensor | None]:
        if message.arena:
            self._arena.map(files[0], message.arena)
            close_all([files.pop(0)])
        if message.results:
            self._results = Mapping(
                files[0], message.results, mmap.MAP_SHARED, writable=True
            ).bytes()
            close_all([files.pop(0)])
        where = message.where
        context = RunContext(_device(where), where.timeout)
        context.deadline = where.deadline
        self._cancellation.begin(message.number, context)
        try:
            return self._called(message, files, context)
        finally:
            self._cancellation.end()

    def _called(
        self, message: messages.Run | messages.Call, files: list[int], context: RunContext
    ) -> Sequence[Tensor | None]:
        if isinstance(message, messages.Run):
            inputs = from_server(message.inputs, files, self._arena.lend())
            return self._hooks.model_run(self._models[message.runnable], inputs, context)
        script = self._scripts[message.runnable]
        commands = ScriptCommands(message.number, self._channel)
        call = ScriptCall(
            unpacked(message.function),
            from_server(message.tensors, files, self._arena.lend()),
            message.keys,
            message.arguments,
            message.outputs,
            commands,
        )
        try:
            return self._hooks.script_run(script, call, context)
        finally:
            self.drop(commands.to_drop)


def _device(where: messages.Where) -> Device:
    return _known_device(where.queue, where.kind, where.index, where.name)


@lru_cache(64)
def _known_device(queue: bytes, kind: str, index: int | None, name: bytes) -> Device:
    return Device(unpacked(queue), kind, index, unpacked(name))


def _read(file: int, size: int) -> bytes:
    """Returns what a file holds, as a backend takes it."""
    with mmap.mmap(file, size, access=mmap.ACCESS_READ) as memory:
        return memory[:]


def _grown(before: int) -> int:
    """Returns by how many bytes this process has grown."""
    return max(0, own_memory() - before)


def _said(device: DeviceInfo) -> messages.DeviceSaid:
    """Returns a device as a message."""
    return messages.DeviceSaid(
        device.kind,
        device.index,
        packed(device.description),
        device.memory,
        sorted(POSITIONS[dtype] for dtype in device.dtypes),
    )
