"""Building and freeing models and scripts, away from the thread that serves clients.

What takes seconds, importing a framework, building a model and compiling a script, happens on
threads of its own: in this process one after another, in workers outside several at once, and more
than several where they keep others waiting. What is brief has a thread that never waits for those:
finding out where a model goes, and having workers outside free one. Everything here is called on
the loop's thread, and calls back there.

A build has a time. Beyond it a worker outside is ended. In this process nothing can be ended: who
waits is told, the thread is given up, and another takes its place.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import finalize, ref

from tensorkeep.bounded_log import shown
from tensorkeep.calling import let_go
from tensorkeep.errors import (
    BuildCrashed,
    BuildTookTooLong,
    EngineClosed,
    InternalError,
    ModelRejected,
    OutOfMemory,
    TensorkeepError,
    TooManyBuilds,
    WorkerDied,
    WorkerTookTooLong,
    text_of,
)
from tensorkeep.headroom import HEADROOM
from tensorkeep.hook_results import is_ours
from tensorkeep.loader import Loader
from tensorkeep.memory import in_large_pages, join
from tensorkeep.model import Model, Runnable, Script
from tensorkeep.naming import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorkeep.backend import Backend
    from tensorkeep.bounded_log import BoundedLog
    from tensorkeep.config import EngineConfig
    from tensorkeep.loop import Loop
    from tensorkeep.model import ModelSpec, ScriptSpec
    from tensorkeep.placement import Placement
    from tensorkeep.places import Places
    from tensorkeep.stats import RunStats
    from tensorkeep.tensor import Blob

_log = logging.getLogger(__name__)

_R = TypeVar("_R", Model, Script)

_AT_ONCE: Final = 8  # things that are built at the same time in workers outside this process
_PATIENCE: Final = 1.0  # seconds for which one of those keeps others waiting
_MOST_STUCK: Final = 32  # builds that go on beyond their time in this process


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

    @property
    def told(self) -> bool:
        """Whether it has been called."""
        return self._done is None

    def __call__(self, result: object, error: TensorkeepError | None) -> None:
        done, self._done = self._done, None
        self._waiting.discard(self)
        if done is not None:
            done(result, error)


class Builder:
    """Builds models and scripts, and frees them.

    Args:
        loop: The loop whose thread owns this.
        places: Where things run.
        config: Settings.
        on_idle: Called whenever something was finished.
        lines: Which lines that clients cause are written to the log.
    """

    def __init__(
        self,
        loop: Loop,
        places: Places,
        config: EngineConfig,
        on_idle: Callable[[], None],
        lines: BoundedLog,
    ) -> None:
        self._loop = loop
        self._places = places
        self._options = config.backend_options
        self._on_idle = on_idle
        self._lines = lines
        self._strict_batching = config.strict_batching
        self._timeout = config.store_timeout
        self._worker_memory = config.worker_memory
        self._brief = Loader(loop, "tensorkeep-brief", patience=_PATIENCE)
        self._here = Loader(loop, "tensorkeep-loader")
        self._outside = Loader(loop, "tensorkeep-outside", _AT_ONCE, _PATIENCE)
        self._pending = 0
        self._told: set[str] = set()  # backends of which the log says what they cannot
        self._waiting: set[_Once] = set()
        self._loads: dict[tuple[str, bool], list[Callable[..., None]]] = {}  # who waits for which
        self._refusing = False

    @property
    def pending(self) -> int:
        """Number of things that are being loaded or built."""
        return self._pending

    @property
    def creating(self) -> int:
        """Number of models and scripts, and of backends, that somebody waits for."""
        return len(self._waiting)

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
        """Ends the threads once they have done what they were given."""
        for loader in (self._brief, self._here, self._outside):
            loader.stop()

    def load_backend(
        self,
        name: str,
        done: Callable[[Backend | None, TensorkeepError | None], None],
        *,
        may_block: bool = False,
    ) -> None:
        """Loads a backend where its models usually run, then calls `done(backend, error)`.

        Args:
            name: Its name.
            done: Called with the backend or an error.
            may_block: See `Places.of_backend`.
        """
        once = _Once(done, self._waiting)

        def placed(placement: Placement | None, error: TensorkeepError | None) -> None:
            if placement is None:
                once(None, error)
            else:
                self._load(name, placement, once)

        if not self._refused(once):
            of_backend = partial(self._places.of_backend, name, may_block=may_block)
            self._submit(self._brief, of_backend, placed)

    def _refused(self, done: Callable[[None, TensorkeepError | None], None]) -> bool:
        """Returns whether no new work is taken, and says so."""
        if self._refusing:
            self._loop.call_soon(done, None, EngineClosed())
        return self._refusing

    def _load(
        self,
        name: str,
        placement: Placement,
        done: Callable[[Backend | None, TensorkeepError | None], None],
    ) -> None:
        """Loads a backend, unless it is, then calls `done(backend, error)`.

        However many wait for it, one thread does.
        """
        key = (name.upper(), placement.isolated)
        if key in self._loads:
            self._loads[key].append(done)
            return
        self._loads[key] = [done]

        def loaded(backend: Backend | None, error: TensorkeepError | None) -> None:
            for each in self._loads.pop(key):
                each(backend, error)

        self._submit(self._loader_of(placement), lambda: self._loaded(name, placement), loaded)

    def _loader_of(self, placement: Placement) -> Loader:
        return self._outside if placement.isolated else self._here

    def _loaded(self, name: str, placement: Placement) -> Backend:
        """Returns a backend; says in the log, once, if nothing keeps it below the memory limit."""
        backend = self._places.load(name, placement)
        unlimited = self._options.memory_limit and not backend.info.limits_runs
        if placement.isolated and self._worker_memory != 0:
            unlimited = False
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

        def place() -> tuple[bytes, Placement]:
            blob = join(pieces)
            return blob, self._places.of_model(spec, blob)

        def build(backend: Backend, placement: Placement, blob: bytes) -> Model:
            if spec.signature and not backend.info.signatures:
                raise ModelRejected(
                    f"signature must be left out: models of backend {spec.backend} have no"
                    f" signatures to choose from"
                )
            if placement.isolated:
                # Never on the loop: it would wait for the worker.
                loaded = replace(backend.model_create(spec, blob, self._options), steady=False)
            else:
                with in_large_pages(len(blob)):
                    loaded = backend.model_create(spec, blob, self._options)
            reason = loaded.batch_axis.reason
            if self._strict_batching and spec.batching.size and reason:
                backend.model_free(loaded)
                raise ModelRejected(f"Requests cannot share runs of this model: {reason}")
            return Model(spec, blob, loaded, backend, placement)

        self._create(spec, sum(map(len, pieces)), place, build, done)

    def create_script(
        self,
        spec: ScriptSpec,
        source: bytes,
        done: Callable[[Script | None, TensorkeepError | None], None],
    ) -> None:
        """Compiles a script, then calls `done(script, error)`."""

        def place() -> tuple[bytes, Placement]:
            return source, self._places.of_script(spec.backend)

        def build(backend: Backend, placement: Placement, source: bytes) -> Script:
            native = backend.script_create(spec, source, self._options)
            return Script(spec, source, native, backend, placement)

        self._create(spec, len(source), place, build, done)

    def _create(
        self,
        spec: ModelSpec | ScriptSpec,
        size: int,
        place: Callable[[], tuple[bytes, Placement]],
        build: Callable[[Backend, Placement, bytes], _R],
        done: Callable[[_R | None, TensorkeepError | None], None],
    ) -> None:
        once = _Once(done, self._waiting)

        def created(runnable: _R | None, error: TensorkeepError | None) -> None:
            if runnable is not None:
                self._free_in_the_end(runnable)
            once(runnable, error)

        def placed(found: tuple[bytes, Placement] | None, error: TensorkeepError | None) -> None:
            if found is None or once.told:
                once(None, error)
                return
            blob, placement = found

            def loaded(backend: Backend | None, error: TensorkeepError | None) -> None:
                if backend is None:
                    once(None, error)
                    return
                job = partial(self._built, spec, build, backend, placement, blob)
                # Outside it is the worker that is ended.
                within = 0.0 if placement.isolated else self._timeout
                self._submit(self._loader_of(placement), job, created, within, beyond)

            if not placement.isolated and self._here.stuck >= _MOST_STUCK:
                once(None, TooManyBuilds(_MOST_STUCK))
            else:
                self._load(spec.backend, placement, loaded)

        def beyond() -> None:
            _log.warning(
                "a model or script of backend %s, %d bytes, goes on being built in this process"
                " beyond its time and cannot be ended: it is given up",
                *(spec.backend, size),
            )
            once(None, BuildTookTooLong(self._timeout))

        if not self._refused(once):
            self._submit(self._brief, place, placed, self._timeout, beyond)

    def _free_in_the_end(self, runnable: Runnable) -> None:
        """Has something freed when nobody uses it any more."""
        # Weakly: what the interpreter keeps until the model dies must not keep the engine, from
        # which the model may be reached.
        job, name = _what_to_free(runnable)
        # The key is known to `stats` once it is stored.
        end = (ref(self), job, name, kind_of(runnable), runnable.stats)
        finalize(runnable, _free, *end, isolated=runnable.placement.isolated).atexit = False

    def _built(
        self,
        spec: ModelSpec | ScriptSpec,
        build: Callable[[Backend, Placement, bytes], _R],
        backend: Backend,
        placement: Placement,
        blob: bytes,
    ) -> _R:
        """Returns what was built; raises an error of ours whatever goes wrong."""
        backend.check_device(spec.device)
        try:
            return build(backend, placement, blob)
        except WorkerDied as error:
            raise BuildCrashed(error.cause) from error
        except WorkerTookTooLong as error:
            raise BuildTookTooLong(self._timeout) from error
        except BaseException as error:  # a plugin may raise anything
            if is_ours(error):
                raise
            raise ModelRejected(text_of(error)) from error

    def _submit(
        self,
        loader: Loader,
        job: Callable[[], object],
        done: Callable[..., None],
        *limit: Any,  # noqa: ANN401 - passed on: the time it has, and who is told
    ) -> None:
        def finished(result: object, failure: BaseException | None) -> None:
            self._pending -= 1
            try:
                if failure is not None:
                    # Its frames hold what was to be built, and in pluggy's it holds itself.
                    let_go(failure)
                    if isinstance(failure, MemoryError):
                        HEADROOM.relieve()
                        failure = OutOfMemory()
                    elif not isinstance(failure, TensorkeepError):
                        _log.error("loading failed", exc_info=failure)
                        failure = InternalError()
                done(result, failure)
            finally:
                self._on_idle()

        self._pending += 1
        loader.submit(job, finished, *limit)

    def free(
        self, job: Callable[[], None], name: str, kind: str, stats: RunStats, *, isolated: bool
    ) -> None:
        """Lets a backend free something; on whatever thread let go of it last."""

        def report(_: object, failure: BaseException | None) -> None:
            if stats.key and self._lines.allows(_log, logging.INFO):
                _log.info("the %s %s is gone, and its last run has ended", kind, shown(stats.key))
            if failure is not None:
                _log.error("backend %s could not free a model or script", name, exc_info=failure)

        (self._brief if isolated else self._here).submit(job, report)


def _what_to_free(runnable: Runnable) -> tuple[Callable[[], None], str]:
    """Returns what frees a model or script, holding no more of it than the backend made."""
    name, backend = runnable.spec.backend, runnable.backend
    if isinstance(runnable, Model):
        return partial(backend.model_free, runnable.loaded), name
    return partial(backend.script_free, runnable.native), name


def _free(  # noqa: PLR0913 - what the log says of it
    builder: ref[Builder],
    job: Callable[[], None],
    name: str,
    kind: str,
    stats: RunStats,
    *,
    isolated: bool,
) -> None:
    """Has something freed, unless its engine is gone as well: then nothing holds it any more."""
    found = builder()
    if found is not None:
        found.free(job, name, kind, stats, isolated=isolated)
