"""The plugin that stands in for a backend's own: has workers do what its hooks are asked for."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import count
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tensorkeep.batch_axis import AxisKind, BatchAxis
from tensorkeep.errors import WorkerDied, WorkerTookTooLong
from tensorkeep.hookspecs import BackendInfo, DeviceInfo, hookimpl
from tensorkeep.model import LoadedModel
from tensorkeep_workers_process.messages import unpacked
from tensorkeep_workers_process.placement import LOOKS_EVERY
from tensorkeep_workers_process.process import Gone
from tensorkeep_workers_process.tensor_cells import DTYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tensorkeep.config import BackendOptions
    from tensorkeep.hookspecs import RunContext, ScriptCall
    from tensorkeep.isolation import WorkerOptions
    from tensorkeep.model import ModelSpec, ScriptSpec
    from tensorkeep.tensor import Tensor
    from tensorkeep_workers_process import messages
    from tensorkeep_workers_process.pool import Pool
    from tensorkeep_workers_process.process import Process

_R = TypeVar("_R")

_NUMBERS: Final = count(1)
_AGAIN: Final = 3  # workers that may turn out to have ended before they were given a call


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """What workers build of: `native` of a model, and what stands for a script.

    Attributes:
        number: What workers call it.
        blob: The model as it was stored, or the script's source.
        told: Specification and options, pickled.
        script: Whether it is a script.
        turn: Held by the one run that takes place, of a model that keeps state.
    """

    number: int
    blob: bytes
    told: bytes
    script: bool
    turn: Lock = field(default_factory=Lock)


class StandIn:
    """A backend's plugin whose hooks are done by workers.

    Args:
        pool: The backend's workers.
        options: What workers are told.
    """

    def __init__(self, pool: Pool, options: WorkerOptions) -> None:
        self._pool = pool
        self._options = options
        self._describing = Lock()
        self._described: messages.Described | None = None

    # ------------------------------------------------------------------ the backend
    @hookimpl
    def backend_info(self) -> BackendInfo:
        """Returns what the backend says of itself, once it has checked itself."""
        said = self._description()
        return BackendInfo(
            said.api_version,
            unpacked(said.framework),
            unpacked(said.framework_version),
            said.scripts,
            said.needs_names,
            said.signatures,
            said.limits_runs,
        )

    @hookimpl
    def self_check(self) -> None:
        """Checks nothing more than was checked before it said anything."""
        self._description()

    @hookimpl
    def devices(self) -> Sequence[DeviceInfo]:
        """Returns the devices that the backend can use."""
        return [
            DeviceInfo(
                each.kind,
                each.index,
                unpacked(each.description),
                each.memory,
                frozenset(DTYPES[position] for position in each.dtypes),
            )
            for each in self._description().devices
        ]

    @hookimpl
    def backend_stats(self) -> Mapping[str, int]:
        """Returns the sums of the figures that workers told last; waits for none of them."""
        total: Counter[str] = Counter()
        for worker in self._pool.workers():
            total.update(worker.figures)
        return total

    # ------------------------------------------------------------------ models
    @hookimpl
    def model_create(self, spec: ModelSpec, blob: bytes, options: BackendOptions) -> LoadedModel:
        """Builds a model in a worker, which keeps it."""
        stored = _stored(spec, blob, options, script=False)
        built = self._in_worker(None, lambda worker: self._build(worker, stored))
        return LoadedModel(
            stored,
            tuple(map(unpacked, built.inputs)),
            tuple(map(unpacked, built.outputs)),
            steady=False,
            fewer_inputs=frozenset(built.fewer_inputs),
            batch_axis=BatchAxis(AxisKind[built.axis], unpacked(built.axis_reason)),
            optional_outputs=tuple(built.optional_outputs),
            keeps_state=built.keeps_state,
        )

    @hookimpl
    def model_run(
        self, model: LoadedModel, inputs: Sequence[Tensor], run: RunContext
    ) -> Sequence[Tensor | None]:
        """Runs a model in a worker that holds it, if one is idle; otherwise it is built anew.

        One that keeps state waits for the worker that holds it.
        """
        stored: _Stored = model.native
        if not model.keeps_state:
            return self._run(stored, inputs, run)
        while not stored.turn.acquire(timeout=LOOKS_EVERY):
            if run.cancelled:
                raise WorkerTookTooLong(run.reason or "it was cancelled")
        try:
            return self._run(stored, inputs, run)
        finally:
            stored.turn.release()

    @hookimpl
    def serialize(self, model: LoadedModel) -> bytes:
        """Returns what the backend makes of a model; the stored blob where it has no such hook."""
        stored: _Stored = model.native
        if not self._description().serializes:
            return stored.blob
        return self._in_worker(stored, lambda worker: worker.serialize(stored.number))

    @hookimpl
    def model_free(self, model: LoadedModel) -> None:
        """Has all workers free a model."""
        self._pool.forget(model.native.number)

    # ------------------------------------------------------------------ scripts
    @hookimpl
    def script_create(self, spec: ScriptSpec, source: bytes, options: BackendOptions) -> object:
        """Compiles a script in a worker, which keeps it."""
        stored = _stored(spec, source, options, script=True)
        self._in_worker(None, lambda worker: self._build(worker, stored))
        return stored

    @hookimpl
    def script_run(
        self, script: object, call: ScriptCall, run: RunContext
    ) -> Sequence[Tensor | None]:
        """Calls a function of a script in a worker; what it asks for is done here."""
        stored: Any = script
        return self._in_worker(stored, lambda worker: worker.call(stored.number, call, run), run)

    @hookimpl
    def script_free(self, script: object) -> None:
        """Has all workers free a script."""
        stored: Any = script
        self._pool.forget(stored.number)

    # ------------------------------------------------------------------ inside
    def _run(
        self, stored: _Stored, inputs: Sequence[Tensor], run: RunContext
    ) -> Sequence[Tensor | None]:
        return self._in_worker(stored, lambda worker: worker.run(stored.number, inputs, run), run)

    def _description(self) -> messages.Described:
        with self._describing:
            if self._described is None:
                timeout = self._options.load_timeout
                self._described = self._in_worker(None, lambda worker: worker.describe(timeout))
            return self._described

    def _in_worker(
        self,
        stored: _Stored | None,
        do: Callable[[Process], _R],
        run: RunContext | None = None,
    ) -> _R:
        """Has a worker do something, once it holds the model or script that this needs.

        The time of a run begins when there is such a worker, which may take long.
        """
        if run is not None:
            run.deadline = None
        for _ in range(_AGAIN):
            worker = self._pool.take(None if stored is None else stored.number, run)
            try:
                if stored is not None and not self._pool.use(worker, stored.number):
                    self._build(worker, stored)
                if run is not None:
                    if run.cancelled:
                        raise WorkerTookTooLong(run.reason or "it was cancelled")
                    run.begin(monotonic())
                return do(worker)
            except Gone:
                continue
            finally:
                self._pool.release(worker)
        raise WorkerDied(f"{_AGAIN} workers ended one after the other")

    def _build(self, worker: Process, stored: _Stored) -> messages.Built:
        self._pool.make_room(worker, len(stored.blob))
        built = worker.build(
            stored.number,
            stored.blob,
            stored.told,
            self._options.load_timeout,
            script=stored.script,
        )
        size = max(len(stored.blob), built.grown)
        self._pool.built(worker, stored.number, size, keeps_state=built.keeps_state)
        return built


def _stored(
    spec: ModelSpec | ScriptSpec, blob: bytes, options: BackendOptions, *, script: bool
) -> _Stored:
    """Returns what is to be built; a worker does one run at a time."""
    told = pickle.dumps((spec, replace(options, workers=1)))
    return _Stored(next(_NUMBERS), blob, told, script)
