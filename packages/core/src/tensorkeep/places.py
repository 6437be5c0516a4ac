"""The two places where backends run, in this process and in workers outside, and what is where.

Workers are started when something is first to run there. Where there are none, everything runs in
this process, and the log says so; what somebody asked to be isolated by name, or all, is refused.
"""

from __future__ import annotations

import logging
from threading import Lock
from typing import TYPE_CHECKING

from tensorkeep.errors import BackendUnavailable, EngineClosed, WorkersUnavailable
from tensorkeep.isolation import WorkerOptions
from tensorkeep.placement import Isolate, Placement, of_model, of_script

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorkeep.backend import Backend
    from tensorkeep.backends import Backends
    from tensorkeep.config import EngineConfig
    from tensorkeep.isolation import Isolation, Runner
    from tensorkeep.loop import Loop
    from tensorkeep.model import ModelSpec
    from tensorkeep.placement import Judge

_log = logging.getLogger(__name__)


class Places:
    """Says where models and scripts run, and loads their backends there.

    May be called from any thread; whatever starts, imports or judges takes its time.

    Args:
        backends: What is installed.
        config: Settings.
    """

    def __init__(self, backends: Backends, config: EngineConfig) -> None:
        self._backends = backends
        self._config = config
        self._setting = Isolate.parse(config.isolate)
        self._starting = Lock()  # guards what follows
        self._workers: Isolation | None = None
        self._unavailable = ""
        self._closed = False

    @property
    def workers(self) -> Isolation | None:
        """The workers outside this process; None before they are needed, or when there are none."""
        return self._workers

    @property
    def unavailable(self) -> str:
        """Why there can be no workers outside this process, empty while nothing is known of it."""
        return self._unavailable

    # ------------------------------------------------------------------ what is where
    def of_model(self, spec: ModelSpec, blob: bytes) -> Placement:
        """Returns where a model is to run."""
        name = spec.backend

        def why(judge: Judge) -> str:
            harm = judge.why_isolated(spec, blob)
            if harm or judge.LIGHT or name in self._backends.loaded:
                return harm
            return f"{name} is not loaded in this process"

        return self._judged(name, why)

    def of_script(self, name: str) -> Placement:
        """Returns where a script of a backend is to run."""
        return self._possible(name, of_script(self._setting, name))

    def of_backend(self, name: str, *, may_block: bool) -> Placement:
        """Returns where a backend is loaded when nothing is to be run yet.

        Args:
            name: Its name.
            may_block: Whether an import that holds this process for long does no harm: nobody is
                served yet.
        """

        def why(judge: Judge) -> str:
            return "" if may_block or judge.LIGHT else f"the import of {name} takes long"

        return self._judged(name.upper(), why)

    def _judged(self, name: str, why: Callable[[Judge], str]) -> Placement:
        """Returns where something of a backend is to run.

        Args:
            name: Name of the backend.
            why: Returns why it is to be isolated, empty when there is no reason.
        """

        def asked() -> str:
            try:
                return why(self._backends.judge(name))
            except Exception:  # noqa: BLE001 - the backend's own code: what it fails for may do harm
                _log.exception("whether a model of %s is harmless could not be told", name)
                return "whether it is harmless could not be told"

        judge = asked if self._backends.has_judge(name) else None
        return self._possible(name, of_model(self._setting, name, judge))

    def _possible(self, name: str, wanted: Placement) -> Placement:
        """Returns a placement, or this process where there are no workers outside for it.

        Raises:
            BackendUnavailable: There are none, and who set what is isolated wants nothing else.
        """
        if not wanted.isolated:
            return wanted
        if not self._backends.can_be_isolated(name):
            return Placement(isolated=False, reason=f"{name} is not installed, but given")
        try:
            self._started()
        except WorkersUnavailable as error:
            if self._setting.insists:
                why = (
                    "it is to be isolated, and there are no workers outside this process:"
                    f" {error.reason}"
                )
                raise BackendUnavailable(name, why) from error
            return Placement(isolated=False, reason=error.reason)
        return wanted

    # ------------------------------------------------------------------ backends there
    def load(self, name: str, placement: Placement) -> Backend:
        """Returns a backend where something is to run, loading it there first if needed.

        Raises:
            BackendUnavailable: It cannot be loaded there.
        """
        if not placement.isolated:
            return self._backends.load(name)
        try:
            return self._backends.load_isolated(name, self._started())
        except WorkersUnavailable as error:
            raise BackendUnavailable(name, error.reason) from error

    def runner(self, loop: Loop, backend: Backend) -> Runner | None:
        """Returns what runs models of a backend in a worker outside without a thread that waits.

        None for a backend in this process, and for one whose hook `model_run` is wrapped.
        """
        if not backend.isolated or backend.wrapped or self._workers is None:
            return None
        return self._workers.runner(backend.name, loop)

    def is_loaded(self, name: str) -> bool:
        """Returns whether a backend was loaded anywhere."""
        return name in self._backends.loaded or name in self._backends.isolated

    def _started(self) -> Isolation:
        """Returns the workers outside this process, started if they are not.

        Raises:
            WorkersUnavailable: There can be none.
            EngineClosed: There are to be none any more.
        """
        with self._starting:
            if self._workers is not None:
                return self._workers
            if self._unavailable:
                raise WorkersUnavailable(self._unavailable)
            if self._closed:
                raise EngineClosed
            try:
                self._workers = self._backends.start_workers(_options(self._config))
            except WorkersUnavailable as error:
                self._unavailable = error.reason
                if not self._setting.insists:
                    _log.warning(
                        "models and scripts run on threads of this process, which one that crashes"
                        " ends: there are no workers outside it (%s)",
                        error.reason,
                    )
                raise
            return self._workers

    def close(self) -> None:
        """Ends the workers outside this process."""
        with self._starting:
            self._closed = True
            workers = self._workers
        if workers is not None:
            workers.close()


def _options(config: EngineConfig) -> WorkerOptions:
    return WorkerOptions(
        backend=config.backend_options,
        memory=config.worker_memory,
        recycle_after=config.recycle_workers_after,
        load_timeout=config.store_timeout,
        sandbox=config.sandbox,
    )
