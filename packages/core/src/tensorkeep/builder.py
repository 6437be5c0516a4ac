"""Building and freeing models, away from the thread that serves clients.

What takes seconds, importing a framework and building a model, happens on the loader thread, one
after another. Everything here is called on the loop's thread, and calls back there.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from weakref import finalize, ref

from tensorkeep.errors import EngineClosed, ModelRejected, TensorkeepError
from tensorkeep.model import LoadedModel, Model
from tensorkeep.worker import Loader

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorkeep.backends import Backend, Backends
    from tensorkeep.config import BackendOptions
    from tensorkeep.loop import Loop
    from tensorkeep.model import ModelSpec

_log = logging.getLogger(__name__)


class Builder:
    """Builds models and frees them.

    Args:
        loop: The loop whose thread owns this.
        backends: The backends.
        options: What every backend is told.
        on_idle: Called whenever something was finished.
    """

    def __init__(
        self,
        loop: Loop,
        backends: Backends,
        options: BackendOptions,
        on_idle: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._backends = backends
        self._options = options
        self._on_idle = on_idle
        self._loader = Loader(loop)
        self._pending = 0
        self._refusing = False

    @property
    def busy(self) -> bool:
        """Whether anything is being loaded or built."""
        return self._pending > 0

    def refuse(self) -> None:
        """Takes no new work."""
        self._refusing = True

    def stop(self) -> None:
        """Ends the loader thread once it has done what it was given."""
        self._loader.stop()

    def load_backend(
        self, name: str, done: Callable[[Backend | None, TensorkeepError | None], None]
    ) -> None:
        """Loads a backend, then calls `done(backend, error)`."""
        self._submit(lambda: self._backends.load(name), done)

    def create_model(
        self,
        spec: ModelSpec,
        blob: bytes,
        done: Callable[[Model | None, TensorkeepError | None], None],
    ) -> None:
        """Builds a model, then calls `done(model, error)`."""

        def build() -> Model:
            backend = self._backends.load(spec.backend)
            backend.check_device(spec.device)
            try:
                loaded = backend.model_create(spec, blob, self._options)
            except TensorkeepError:
                raise
            except BaseException as error:  # a plugin may raise anything
                raise ModelRejected(str(error) or type(error).__name__) from error
            return Model(spec, blob, loaded)

        def built(model: Model | None, error: TensorkeepError | None) -> None:
            if model is not None:
                # Weakly: what the interpreter keeps until the model dies must not keep the engine,
                # from which the model may be reached.
                finalizer = finalize(model, _free, ref(self), spec.backend, model.loaded)
                finalizer.atexit = False
            done(model, error)

        self._submit(build, built)

    def _submit(self, job: Callable[[], object], done: Callable[..., None]) -> None:
        if self._refusing:
            self._loop.call_soon(done, None, EngineClosed())
            return

        def finished(result: object, failure: BaseException | None) -> None:
            self._pending -= 1
            if failure is not None and not isinstance(failure, TensorkeepError):
                _log.error("loading failed", exc_info=failure)
                failure = TensorkeepError("internal error while loading")
            done(result, failure)
            self._on_idle()

        self._pending += 1
        self._loader.submit(job, finished)

    def free(self, backend: str, loaded: LoadedModel) -> None:
        """Lets the backend free a model; on whatever thread let go of it last."""

        def report(_: object, failure: BaseException | None) -> None:
            if failure is not None:
                _log.error("backend %s could not free a model", backend, exc_info=failure)

        self._loader.submit(lambda: self._backends.loaded[backend].model_free(loaded), report)


def _free(builder: ref[Builder], backend: str, loaded: LoadedModel) -> None:
    """Has a model freed, unless its engine is gone as well: then nothing holds it any more."""
    found = builder()
    if found is not None:
        found.free(backend, loaded)
