"""Building and freeing models and scripts, away from the thread that serves clients.

What takes seconds, importing a framework, building a model and compiling a script, happens on the
loader thread, one after another. Everything here is called on the loop's thread, and calls back
there.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import finalize, ref

from tensorkeep.bounded_log import shown
from tensorkeep.errors import EngineClosed, InternalError, ModelRejected, TensorkeepError, text_of
from tensorkeep.execution import let_go
from tensorkeep.hook_results import is_ours
from tensorkeep.memory import in_large_pages, join
from tensorkeep.model import Model, Runnable, Script
from tensorkeep.worker import Loader

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorkeep.backends import Backend, Backends
    from tensorkeep.bounded_log import BoundedLog
    from tensorkeep.config import BackendOptions
    from tensorkeep.loop import Loop
    from tensorkeep.model import ModelSpec, ScriptSpec
    from tensorkeep.stats import RunStats
    from tensorkeep.tensor import Blob

_log = logging.getLogger(__name__)

_R = TypeVar("_R", Model, Script)


class _Once:
    """Calls back the first time that it is called.

    Args:
        done: What to call.
        waiting: Contains this until then.
    """

    __slots__ = ("_done", "_waiting")

    def __init__(
        self, done: Callable[[Any, TensorkeepError | None], None], waiting: set[_Once]
    ) -> None:
        self._done: Callable[[Any, TensorkeepError | None], None] | None = done
        self._waiting = waiting
        waiting.add(self)

    def __call__(self, result: object, error: TensorkeepError | None) -> None:
        done, self._done = self._done, None
        self._waiting.discard(self)
        if done is not None:
            done(result, error)


class Builder:
    """Builds models and scripts, and frees them.

    Args:
        loop: The loop whose thread owns this.
        backends: The backends.
        options: What every backend is told.
        on_idle: Called whenever something was finished.
        lines: Which lines that clients cause are written to the log.
        strict_batching: See `EngineConfig.strict_batching`.
    """

    def __init__(  # noqa: PLR0913 - what it needs of the engine
        self,
        loop: Loop,
        backends: Backends,
        options: BackendOptions,
        on_idle: Callable[[], None],
        lines: BoundedLog,
        *,
        strict_batching: bool = False,
    ) -> None:
        self._loop = loop
        self._backends = backends
        self._options = options
        self._on_idle = on_idle
        self._lines = lines
        self._strict_batching = strict_batching
        self._loader = Loader(loop)
        self._pending = 0
        self._told: set[str] = set()  # backends of which the log says what they cannot
        self._waiting: set[_Once] = set()
        self._refusing = False

    @property
    def pending(self) -> int:
        """Number of things that are being loaded or built."""
        return self._pending

    @property
    def busy(self) -> bool:
        """Whether anything is being loaded or built."""
        return self._pending > 0

    def give_up(self) -> None:
        """Tells all who wait that nothing will come of it any more; the work itself goes on."""
        for once in [*self._waiting]:
            once(None, EngineClosed())

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
        self._submit(lambda: self._load(name), _Once(done, self._waiting))

    def _load(self, name: str) -> Backend:
        """Loads a backend; says in the log, once, if it cannot keep the memory limit."""
        backend = self._backends.load(name)
        unlimited = self._options.memory_limit and not backend.info.limits_runs
        if unlimited and backend.name not in self._told:
            self._told.add(backend.name)
            _log.warning(
                "backend %s cannot limit the memory that runs take: the limit of %d bytes holds for"
                " the weights of its models alone",
                *(backend.name, self._options.memory_limit),
            )
        return backend

    def create_model(
        self,
        spec: ModelSpec,
        pieces: list[Blob],
        done: Callable[[Model | None, TensorkeepError | None], None],
    ) -> None:
        """Builds a model, then calls `done(model, error)`; takes the pieces out of their list."""

        def build(backend: Backend) -> Model:
            blob = join(pieces)
            if spec.signature and not backend.info.signatures:
                raise ModelRejected(
                    f"signature must be left out: models of backend {spec.backend} have no"
                    f" signatures to choose from"
                )
            with in_large_pages(len(blob)):
                loaded = backend.model_create(spec, blob, self._options)
            reason = loaded.batch_axis.reason
            if self._strict_batching and spec.batching.size and reason:
                backend.model_free(loaded)
                raise ModelRejected(f"Requests cannot share runs of this model: {reason}")
            return Model(spec, blob, loaded)

        self._create(spec, build, done)

    def create_script(
        self,
        spec: ScriptSpec,
        source: bytes,
        done: Callable[[Script | None, TensorkeepError | None], None],
    ) -> None:
        """Compiles a script, then calls `done(script, error)`."""

        def build(backend: Backend) -> Script:
            return Script(spec, source, backend.script_create(spec, source, self._options))

        self._create(spec, build, done)

    def _create(
        self,
        spec: ModelSpec | ScriptSpec,
        build: Callable[[Backend], _R],
        done: Callable[[_R | None, TensorkeepError | None], None],
    ) -> None:
        once = _Once(done, self._waiting)

        def create() -> _R:
            backend = self._load(spec.backend)
            backend.check_device(spec.device)
            try:
                return build(backend)
            except BaseException as error:  # a plugin may raise anything
                if is_ours(error):
                    raise
                raise ModelRejected(text_of(error)) from error

        def created(runnable: _R | None, error: TensorkeepError | None) -> None:
            if runnable is not None:
                # Weakly: what the interpreter keeps until the model dies must not keep the engine,
                # from which the model may be reached.
                job, name = _what_to_free(self._backends, runnable)
                kind, stats = _kind(runnable), runnable.stats  # its key is known when it is stored
                finalize(runnable, _free, ref(self), job, name, kind, stats).atexit = False
            once(runnable, error)

        self._submit(create, created)

    def _submit(self, job: Callable[[], object], done: Callable[..., None]) -> None:
        if self._refusing:
            self._loop.call_soon(done, None, EngineClosed())
            return

        def finished(result: object, failure: BaseException | None) -> None:
            self._pending -= 1
            try:
                if failure is not None:
                    # Its frames hold what was to be built, and in pluggy's it holds itself.
                    let_go(failure)
                    if not isinstance(failure, TensorkeepError):
                        _log.error("loading failed", exc_info=failure)
                        failure = InternalError()
                done(result, failure)
            finally:
                self._on_idle()

        self._pending += 1
        self._loader.submit(job, finished)

    def free(self, job: Callable[[], None], name: str, kind: str, stats: RunStats) -> None:
        """Lets a backend free something; on whatever thread let go of it last."""

        def report(_: object, failure: BaseException | None) -> None:
            if stats.key and self._lines.allows(_log, logging.INFO):
                _log.info("the %s %s is gone, and its last run has ended", kind, shown(stats.key))
            if failure is not None:
                _log.error("backend %s could not free a model or script", name, exc_info=failure)

        self._loader.submit(job, report)


def _what_to_free(backends: Backends, runnable: Runnable) -> tuple[Callable[[], None], str]:
    """Returns what frees a model or script, holding no more of it than the backend made."""
    name = runnable.spec.backend
    backend = backends.loaded[name]
    if isinstance(runnable, Model):
        return partial(backend.model_free, runnable.loaded), name
    return partial(backend.script_free, runnable.native), name


def _free(
    builder: ref[Builder], job: Callable[[], None], name: str, kind: str, stats: RunStats
) -> None:
    """Has something freed, unless its engine is gone as well: then nothing holds it any more."""
    found = builder()
    if found is not None:
        found.free(job, name, kind, stats)


def _kind(runnable: Runnable) -> str:
    return "model" if isinstance(runnable, Model) else "script"


def named(runnable: Runnable) -> str:
    """Returns what a line of the log calls a model or script."""
    return f"{_kind(runnable)} {shown(runnable.stats.key) or 'without a key'}"
