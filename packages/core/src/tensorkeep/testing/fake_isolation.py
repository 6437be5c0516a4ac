"""Workers outside this process that are none: for tests of what stands on `tensorkeep.isolation`.

Models and scripts are those of the fake backend. They run in this process, and a test says of which
calls their worker dies.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, cast

from tensorkeep.backends import Backends
from tensorkeep.errors import WorkerDied
from tensorkeep.hookspecs import ENTRY_POINT_GROUP, hookimpl
from tensorkeep.isolation import WorkerOptions, WorkerStatus
from tensorkeep.testing.fake_backend import FakeBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tensorkeep.config import BackendOptions
    from tensorkeep.hookspecs import BackendInfo, DeviceInfo, RunContext, ScriptCall
    from tensorkeep.isolation import Runner
    from tensorkeep.loop import Loop
    from tensorkeep.model import LoadedModel, ModelSpec, ScriptSpec
    from tensorkeep.tensor import Tensor


class FakeIsolation:
    """A kind of worker for tests: `tensorkeep.isolation.Isolation`.

    Attributes:
        fake: The backend that does the work.
        dies: See the argument.
        options: What it was started with; None before it was started.
        closed: Whether it was ended.

    Args:
        dies: Returns of what a worker dies when a hook is called: it is given the name of the hook
            and the tensors; empty when it lives.
        fake: The backend that does the work.
        sandbox: What it says of its sandbox.
    """

    def __init__(
        self,
        dies: Callable[[str, Sequence[Tensor]], str] = lambda *_: "",
        fake: FakeBackend | None = None,
        sandbox: str = "",
    ) -> None:
        self.fake = fake or FakeBackend()
        self.options: WorkerOptions | None = None
        self.closed = False
        self.dies = dies
        self._crashed = 0
        self._sandbox = sandbox

    def backends(
        self,
        wrappers: Iterable[object] = (),
        judge: object = None,
        names: Sequence[str] = ("FAKE",),
    ) -> Backends:
        """Returns backends that can be isolated, here.

        Args:
            wrappers: See `Backends`.
            judge: What tells harmless models of them, see `placement.Judge`.
            names: Their names. In this process each is `fake_backend.plugin`.
        """
        fake = "tensorkeep.testing.fake_backend:plugin"
        judges = [] if judge is None else [_At(each, judge) for each in names]
        return Backends(
            wrappers,
            installed=lambda: [EntryPoint(each, fake, ENTRY_POINT_GROUP) for each in names],
            worker_kinds=lambda: [cast("EntryPoint", _At("fake", self.start))],
            judges=lambda: cast("list[EntryPoint]", judges),
        )

    def start(self, options: WorkerOptions) -> FakeIsolation:
        """Starts it, as the entry point of a kind of worker does."""
        self.options = options
        return self

    def plugin(self, name: str) -> object:
        """See `isolation.Isolation.plugin`."""
        del name  # there is one
        return _StandIn(self.fake, self._die)

    def runner(self, name: str, loop: Loop) -> Runner | None:
        """See `isolation.Isolation.runner`."""
        del name, loop  # all its runs need a thread
        return None

    def workers(self) -> Sequence[WorkerStatus]:
        """See `isolation.Isolation.workers`."""
        stats = self.fake.backend_stats()
        return [WorkerStatus("FAKE", 0, stats["runs"], stats["models"], 0)]

    def counts(self) -> Mapping[str, int]:
        """See `isolation.Isolation.counts`."""
        return {"started": 1 + self._crashed, "crashed": self._crashed, "killed": 0, "recycled": 0}

    def sandbox(self) -> str:
        """See `isolation.Isolation.sandbox`."""
        return self._sandbox

    def close(self) -> None:
        """See `isolation.Isolation.close`."""
        self.closed = True

    def _die(self, hook: str, tensors: Sequence[Tensor] = ()) -> None:
        cause = self.dies(hook, tensors)
        if cause:
            self._crashed += 1
            raise WorkerDied(cause)


@dataclass(frozen=True, slots=True)
class _At:
    """What is taken for an entry point: a name, and what it names."""

    name: str
    named: object

    def load(self) -> object:
        return self.named


class _StandIn:
    """Stands in for the plugin of the fake backend."""

    def __init__(self, fake: FakeBackend, die: Callable[..., None]) -> None:
        self._fake = fake
        self._die = die

    @hookimpl
    def backend_info(self) -> BackendInfo:
        self._die("backend_info")
        return self._fake.backend_info()

    @hookimpl
    def devices(self) -> Sequence[DeviceInfo]:
        return self._fake.devices()

    @hookimpl
    def self_check(self) -> None:
        self._fake.self_check()

    @hookimpl
    def model_create(self, spec: ModelSpec, blob: bytes, options: BackendOptions) -> LoadedModel:
        self._die("model_create")
        return self._fake.model_create(spec, blob, options)

    @hookimpl
    def model_run(
        self, model: LoadedModel, inputs: Sequence[Tensor], run: RunContext
    ) -> Sequence[Tensor | None]:
        self._die("model_run", inputs)
        return self._fake.model_run(model, inputs, run)

    @hookimpl
    def model_free(self, model: LoadedModel) -> None:
        self._fake.model_free(model)

    @hookimpl
    def backend_stats(self) -> Mapping[str, int]:
        return self._fake.backend_stats()

    @hookimpl
    def script_create(self, spec: ScriptSpec, source: bytes, options: BackendOptions) -> object:
        self._die("script_create")
        return self._fake.script_create(spec, source, options)

    @hookimpl
    def script_run(self, script: object, call: ScriptCall, run: RunContext) -> Sequence[Tensor]:
        self._die("script_run", call.tensors)
        return self._fake.script_run(script, call, run)

    @hookimpl
    def script_free(self, script: object) -> None:
        self._fake.script_free(script)
