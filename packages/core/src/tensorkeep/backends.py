"""What is installed: backends and kinds of workers; and a typed handle to each backend in use.

Listing reads package metadata and imports nothing. Loading imports one plugin by name, here or in
a worker outside this process, checks it against the contract, and reports why when it cannot be
used; nothing else stops because of it.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, cast

from tensorkeep import hookspecs, isolation, placement
from tensorkeep.backend import Backend, Hooks, reason_of
from tensorkeep.errors import BackendNotInstalled, BackendUnavailable, WorkersUnavailable, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from tensorkeep.isolation import Isolation, WorkerOptions
    from tensorkeep.placement import Judge

__all__ = ["Backend", "BackendStatus", "Backends", "Hooks", "reason_of"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """What is known of an installed backend.

    Attributes:
        name: The name that users write.
        distribution: The distribution that brings it, with its version; empty when unknown.
        backend: The handle to it in this process, None when it is not loaded here.
        isolated: The handle to it in workers outside, None when it is not loaded there.
        reason: Why it could not be loaded, empty when it could, or was not tried.
    """

    name: str
    distribution: str
    backend: Backend | None
    isolated: Backend | None
    reason: str


class Backends:
    """The installed backends.

    Args:
        wrappers: Plugins that wrap hooks of every backend, for tracing and the like.
        installed: Lists the entry points of backends; by default those of the installed
            distributions.
        around_import: Surrounds the import of a backend, which makes a million objects and more.
        worker_kinds: Lists the entry points of kinds of workers, see `isolation`.
        judges: Lists the entry points of what tells harmless models, see `placement`.

    Attributes:
        loaded: The backends that were loaded in this process, by name.
        isolated: Those that were loaded in workers outside, by name.
    """

    def __init__(
        self,
        wrappers: Iterable[object] = (),
        installed: Callable[[], Iterable[EntryPoint]] = lambda: entry_points(
            group=hookspecs.ENTRY_POINT_GROUP
        ),
        around_import: Callable[[], AbstractContextManager[object]] = nullcontext,
        *,
        worker_kinds: Callable[[], Iterable[EntryPoint]] = lambda: entry_points(
            group=isolation.ENTRY_POINT_GROUP
        ),
        judges: Callable[[], Iterable[EntryPoint]] = lambda: entry_points(
            group=placement.ENTRY_POINT_GROUP
        ),
    ) -> None:
        self._wrappers = tuple(wrappers)
        self._around_import = around_import
        self._worker_kinds = worker_kinds
        self._entry_points = {point.name.upper(): point for point in installed()}
        self._judges = {point.name.upper(): point for point in judges()}
        self._given: dict[str, object] = {}
        self._reasons: dict[str, str] = {}
        self._loading = Lock()
        self._isolating = {name: Lock() for name in self._entry_points}
        self.loaded: Final[dict[str, Backend]] = {}
        self.isolated: Final[dict[str, Backend]] = {}

    @property
    def is_loading(self) -> bool:
        """Whether one is being loaded in this process just now."""
        return self._loading.locked()

    def names(self) -> list[str]:
        """Returns the names of all installed backends, loaded or not."""
        return sorted({*self._entry_points, *self._given})

    def add(self, name: str, plugin: object) -> None:
        """Adds a backend that is at hand as an object and needs no installing.

        It only works in this process: no other can import it by name.
        """
        self._given[name.upper()] = plugin

    def can_be_isolated(self, name: str) -> bool:
        """Returns whether another process could load a backend: it is installed, not at hand."""
        return name in self._entry_points and name not in self._given

    # ------------------------------------------------------------------ loading
    def load(self, name: str) -> Backend:
        """Returns a backend in this process, after importing and checking it if it is not loaded.

        May take seconds: not for the thread that serves clients.

        Args:
            name: The name as users write it, in any case.

        Raises:
            BackendNotInstalled: No installed distribution brings it.
            BackendUnavailable: It cannot be imported, breaks the contract or does not work.
        """
        name = name.upper()
        with self._loading:
            backend = self.loaded.get(name)
            if backend is None:
                with self._around_import():
                    backend = self._tried(name, lambda: self._imported(name))
                self.loaded[name] = backend
        return backend

    def load_isolated(self, name: str, workers: Isolation) -> Backend:
        """Returns a backend in workers outside this process, after checking it if that is to do.

        As `load`; others are loaded meanwhile.

        Args:
            name: The name as users write it, in any case.
            workers: The workers.

        Raises:
            BackendNotInstalled: No installed distribution brings it.
            BackendUnavailable: It cannot be imported there, breaks the contract, or does not work.
        """
        name = name.upper()
        if name not in self._isolating:
            raise self._not_installed(name)
        with self._isolating[name]:
            backend = self.isolated.get(name)
            if backend is None:
                backend = self._tried(
                    name,
                    lambda: Backend(name, workers.plugin(name), self._wrappers, isolated=True),
                )
                self.isolated[name] = backend
        return backend

    def _imported(self, name: str) -> Backend:
        return Backend(name, self._plugin(name), self._wrappers)

    def _tried(self, name: str, load: Callable[[], Backend]) -> Backend:
        """Returns what loading gives; notes why when it fails."""
        try:
            backend = load()
        except BackendUnavailable as error:
            self._reasons[name] = error.reason
            raise
        except BaseException as error:  # the plugin's own code: anything may come
            _log.exception("backend %s does not work", name)
            self._reasons[name] = reason = reason_of(error)
            raise BackendUnavailable(name, reason) from error
        self._reasons.pop(name, None)
        return backend

    def _plugin(self, name: str) -> Any:  # noqa: ANN401 - any module or object
        if name in self._given:
            return self._given[name]
        point = self._entry_points.get(name)
        if point is None:
            raise self._not_installed(name)
        return point.load()

    def _not_installed(self, name: str) -> BackendNotInstalled:
        installed = ", ".join(self.names()) or "none"
        return BackendNotInstalled(name, f"no installed package brings it (installed: {installed})")

    # ------------------------------------------------------------------ where it may run
    def has_judge(self, name: str) -> bool:
        """Returns whether something is installed that tells harmless models of a backend."""
        return name in self._judges

    def judge(self, name: str) -> Judge:
        """Returns what tells harmless models of a backend, after importing it.

        Raises:
            Exception: Whatever its import raises.
        """
        return cast("Judge", self._judges[name].load())  # a module, which nothing checks

    def start_workers(self, options: WorkerOptions) -> Isolation:
        """Starts the installed kind of worker; the first by name when there are several.

        Raises:
            WorkersUnavailable: None is installed, or it cannot be started here.
        """
        kinds = sorted(self._worker_kinds(), key=lambda point: point.name)
        if not kinds:
            raise WorkersUnavailable("no package that brings workers outside it is installed")
        try:
            return cast("Isolation", kinds[0].load()(options))
        except Exception as error:
            raise WorkersUnavailable(f"{kinds[0].name}: {text_of(error)}") from error

    def status(self) -> list[BackendStatus]:
        """Returns what is known of every installed backend, without loading any."""
        return [
            BackendStatus(
                name,
                _distribution(self._entry_points.get(name)),
                self.loaded.get(name),
                self.isolated.get(name),
                self._reasons.get(name, ""),
            )
            for name in self.names()
        ]


def _distribution(point: EntryPoint | None) -> str:
    if point is None or point.dist is None:
        return ""
    return f"{point.dist.name} {point.dist.version}"
