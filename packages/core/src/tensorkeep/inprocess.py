"""Tensorkeep inside one program: keys, models and runs without a server.

An engine on a thread of its own, reached from any thread by plain calls or as futures.
"""

from __future__ import annotations

from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from tensorkeep.batching import UNBATCHED
from tensorkeep.device import Device
from tensorkeep.engine import Engine
from tensorkeep.errors import EngineClosed, InvalidValue, KeyMissing, RunFailed, WrongType
from tensorkeep.graph import run_of
from tensorkeep.loop import QueueLoop
from tensorkeep.model import Model, ModelSpec
from tensorkeep.tensor import Tensor
from tensorkeep.worker import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    from tensorkeep.backends import Backends
    from tensorkeep.batching import Batching
    from tensorkeep.config import EngineConfig
    from tensorkeep.errors import TensorkeepError
    from tensorkeep.graph import GraphRun

_T = TypeVar("_T")

_GRACE = 5.0  # seconds that `close` waits for running work


class Tensorkeep:
    """A tensor store and model runner inside the program, with the same rules as the server.

    Safe to use from any thread. A call that takes time has a twin named `submit_…` that returns a
    `concurrent.futures.Future` at once. Use it in a `with` statement, or call `close`.

    Args:
        config: Settings of the engine.
        backends: The backends; by default those installed.
    """

    def __init__(
        self, config: EngineConfig | None = None, backends: Backends | None = None
    ) -> None:
        self._loop = QueueLoop()
        self._engine = Engine(self._loop, config, backends)
        self._values: dict[bytes, object] = {}
        self._lock = Lock()  # guards the two below
        self._closed = False
        self._futures: set[Future[Any]] = set()
        self._thread = start_thread("tensorkeep-engine", self._loop.run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets running work finish for some seconds, then ends all threads.

        Futures that are not done by then raise `EngineClosed`, as does every later call.
        """
        with self._lock:
            first, self._closed = not self._closed, True
        if first:
            self._loop.call_soon_threadsafe(self._engine.close, _GRACE, self._loop.stop)
        self._thread.join()
        with self._lock:
            unfinished = list(self._futures)
        for future in unfinished:
            _fail(future, EngineClosed())

    # ------------------------------------------------------------------ tensors
    def tensor_set(self, key: str, value: Tensor | ArrayLike) -> None:
        """Stores a tensor.

        Args:
            key: The key; what it holds is replaced.
            value: A `Tensor`, stored as it is, or anything NumPy makes an array of, copied.

        Raises:
            UnknownDType: No tensor type has such elements.
            WrongType: The key holds a model.
        """
        tensor = value if isinstance(value, Tensor) else Tensor.from_numpy(np.array(value))
        self._call(lambda: self._store(key, Tensor, tensor))

    def tensor_get(self, key: str) -> Tensor:
        """Returns a stored tensor.

        Raises:
            KeyMissing: There is no such key.
            WrongType: The key holds something else.
        """
        return self._call(lambda: self._typed(_name(key), Tensor))

    # ------------------------------------------------------------------ models
    def submit_model_store(  # noqa: PLR0913 - the options of a model, by keyword
        self,
        key: str,
        blob: bytes,
        *,
        backend: str,
        device: str = "CPU",
        tag: str = "",
        batching: Batching = UNBATCHED,
        inputs: Sequence[str] = (),
        outputs: Sequence[str] = (),
        signature: str = "",
    ) -> Future[None]:
        """Builds and stores a model; see `model_store`."""
        given: object = blob
        if not isinstance(given, bytes | bytearray | memoryview):  # `bytes` would take much more
            msg = f"blob must be the bytes of a model, not {given!r:.100}"
            raise TypeError(msg)  # of a file, they are what its `read_bytes` returns
        spec = ModelSpec(
            backend.upper(),
            Device.parse(device),
            tag,
            batching,
            tuple(inputs),
            tuple(outputs),
            signature,
        )
        future: Future[None] = Future()

        def built(model: Model | None, error: TensorkeepError | None) -> None:
            if model is None:
                _fail(future, error or RunFailed("the model was not built"))
            else:
                _resolve(future, lambda: self._store_model(key, model))

        self._post(future, self._engine.create_model, spec, bytes(blob), built)
        return future

    def model_store(self, key: str, blob: bytes, **options: Any) -> None:  # noqa: ANN401 - passed on
        """Builds and stores a model.

        Args:
            key: The key; a model there is replaced once the new one is built.
            blob: The serialized model, in the backend's format.
            **options: `backend` (required), `device`, `tag`, `batching`, `inputs`, `outputs`,
                `signature`, as in `ModelSpec`.

        Raises:
            TypeError: The blob is no bytes, but a path for example.
            InvalidDevice: The device name is malformed.
            BackendUnavailable: The backend is not installed or does not work.
            DeviceUnavailable: The backend cannot use the device.
            ModelRejected: The backend cannot build the model.
            WrongType: The key holds something else than a model.
        """
        self.submit_model_store(key, blob, **options).result()

    def submit_model_execute(
        self,
        key: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        timeout: float | None = None,
    ) -> Future[None]:
        """Runs a stored model on stored tensors; see `model_execute`."""
        names = [_name(name) for name in outputs]

        def store(results: list[Tensor]) -> None:
            if len(names) != len(results):
                msg = f"outputs must be {len(results)} keys, not {len(names)}"
                raise InvalidValue(msg)
            for name in names:
                self._expect(name, Tensor)
            for name, result in zip(names, results, strict=True):
                self._values[name] = result

        def tensors() -> list[Tensor]:
            return [self._typed(_name(name), Tensor) for name in inputs]

        return self._run(key, tensors, store, timeout)

    def model_execute(
        self,
        key: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        timeout: float | None = None,
    ) -> None:
        """Runs a stored model on stored tensors and stores what it returns.

        Args:
            key: The model's key.
            inputs: Keys of its inputs, in order.
            outputs: Keys for its outputs, in order.
            timeout: Seconds after which the run is no longer started.

        Raises:
            KeyMissing: There is no such model or input.
            WrongType: A key holds something else than it should.
            InvalidValue: Another number of inputs or outputs than the model has.
            RunFailed: The backend failed, or an output is no tensor; nothing is stored.
            RunExpired: The run did not start in time.
        """
        self.submit_model_execute(key, inputs, outputs, timeout).result()

    def submit_model_run(
        self, key: str, *inputs: Tensor | ArrayLike, timeout: float | None = None
    ) -> Future[list[Tensor]]:
        """Runs a stored model on tensors at hand; see `model_run`."""
        tensors = [
            value if isinstance(value, Tensor) else Tensor.from_numpy(np.array(value))
            for value in inputs
        ]
        return self._run(key, lambda: tensors, lambda results: results, timeout)

    def model_run(
        self, key: str, *inputs: Tensor | ArrayLike, timeout: float | None = None
    ) -> list[Tensor]:
        """Runs a stored model on tensors at hand; nothing is stored.

        Args:
            key: The model's key.
            *inputs: Its inputs in order, tensors or anything NumPy makes an array of.
            timeout: Seconds after which the run is no longer started.

        Returns:
            One tensor per output.

        Raises:
            KeyMissing: There is no such model.
            WrongType: The key holds something else than a model.
            InvalidValue: Another number of inputs than the model has.
            RunFailed: The backend failed, or an output is no tensor.
            RunExpired: The run did not start in time.
        """
        return self.submit_model_run(key, *inputs, timeout=timeout).result()

    # ------------------------------------------------------------------ keys
    def delete(self, key: str) -> bool:
        """Removes a key; returns whether it was there."""
        return self._call(lambda: self._values.pop(_name(key), None) is not None)

    def keys(self) -> list[str]:
        """Returns all keys."""
        return self._call(lambda: [_text(key) for key in self._values])

    # ------------------------------------------------------------------ to the engine's thread
    def _post(self, future: Future[Any], callback: Callable[..., object], *args: object) -> None:
        """Calls back on the engine's thread, which is to see to the future.

        Raises:
            EngineClosed: The engine's thread takes nothing any more.
        """
        with self._lock:
            if self._closed:
                raise EngineClosed
            self._futures.add(future)
            self._loop.call_soon_threadsafe(callback, *args)
        future.add_done_callback(self._forget)

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._futures.discard(future)

    def _call(self, action: Callable[[], _T]) -> _T:
        future: Future[_T] = Future()
        self._post(future, _resolve, future, action)
        return future.result()

    # ------------------------------------------------------------------ on the engine's thread
    def _typed(self, name: bytes, kind: type[_T]) -> _T:
        value = self._values.get(name)
        if isinstance(value, kind):
            return value
        raise KeyMissing(name, kind) if value is None else WrongType(name)

    def _expect(self, name: bytes, kind: type) -> None:
        if not isinstance(self._values.get(name), kind | None):
            raise WrongType(name)

    def _store(self, key: str, kind: type, value: object) -> None:
        name = _name(key)
        self._expect(name, kind)
        self._values[name] = value

    def _store_model(self, key: str, model: Model) -> None:
        self._store(key, Model, model)
        self._engine.enter(_name(key), model)

    def _request(self, key: str, inputs: list[Tensor], timeout: float | None) -> GraphRun:
        model = self._typed(_name(key), Model)
        if not model.loaded.takes(len(inputs)):
            expected = len(model.loaded.inputs)
            msg = f"inputs must be {expected} tensors, not {len(inputs)}"
            raise InvalidValue(msg)
        return run_of(model, inputs, None if timeout is None else self._loop.time() + timeout)

    def _run(
        self,
        key: str,
        inputs: Callable[[], list[Tensor]],
        finish: Callable[[list[Tensor]], _T],
        timeout: float | None,
    ) -> Future[_T]:
        future: Future[_T] = Future()

        def done(graph: GraphRun) -> None:
            error = graph.error or graph.errors[0]
            if error is not None:  # not raised: its traceback would hold the graph, which holds it
                _fail(future, error)
            else:
                _resolve(future, lambda: finish(graph.outputs))

        def start() -> None:
            try:
                graph = self._request(key, inputs(), timeout)
                graph.on_done = done
                self._engine.execute(graph)
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits
                _fail(future, error)

        self._post(future, start)
        return future


def _resolve(future: Future[_T], action: Callable[[], _T]) -> None:
    try:
        result = action()
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits
        _fail(future, error)
    else:
        with suppress(InvalidStateError):  # it was cancelled: nobody waits any more
            future.set_result(result)


def _fail(future: Future[Any], error: BaseException) -> None:
    with suppress(InvalidStateError):  # it was cancelled: nobody waits any more
        future.set_exception(error)


def _name(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
