"""What is stored of a model or a script: its specification, its source and what a backend built.

All of it is frozen: handing a model to a worker is a snapshot, whatever happens to its key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from tensorkeep.batch_axis import UNKNOWN, BatchAxis
from tensorkeep.batching import UNBATCHED, Batching
from tensorkeep.crashes import Crashes
from tensorkeep.device import CPU, Device
from tensorkeep.placement import HERE, Placement
from tensorkeep.sharing import Sharing
from tensorkeep.stats import SCRIPT_SAMPLES, RunStats

if TYPE_CHECKING:
    from tensorkeep.backend import Backend


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a user says of a model.

    Attributes:
        backend: Name of the backend, upper case, for example `ONNX`.
        device: Where the model runs.
        tag: The user's own label, often a version.
        batching: How requests may share a run.
        inputs: Names of the graph's inputs; only for backends that ask for names.
        outputs: Names of the graph's outputs; only for backends that ask for names.
        signature: Which of the signatures that the model brings is run; empty for its default.
    """

    backend: str
    device: Device = CPU
    tag: str = ""
    batching: Batching = UNBATCHED
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    signature: str = ""


@dataclass(frozen=True, slots=True)
class ScriptSpec:
    """What a user says of a script.

    Attributes:
        backend: Name of the backend that runs it.
        device: Where the script runs.
        tag: The user's own label.
        entry_points: Names of the functions that take tensors, keys and arguments.
    """

    backend: str = "TORCH"
    device: Device = CPU
    tag: str = ""
    entry_points: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What a backend built from a model's blob.

    Attributes:
        native: The framework's own object; only the backend looks inside.
        inputs: Names of the inputs, in the order in which `model_run` takes them.
        outputs: Names of the outputs, in the order in which `model_run` returns them; all empty
            where the format has no names for them.
        steady: Whether the time of a run depends on the inputs' shapes only, never on their
            values. Such a run, once known to be short, may be done without a worker thread.
        fewer_inputs: Other numbers of inputs that a run may be given: so many of the first, for
            the rest are optional.
        batch_axis: What is known of axis 0 of its inputs and outputs, by which requests share runs.
        optional_outputs: Positions of the outputs that may be no tensor; a run in which one is none
            fails.
        keeps_state: Whether a run may change what the next one finds. All runs then take place
            where the model was built, one after the other.
    """

    native: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steady: bool = False
    fewer_inputs: frozenset[int] = frozenset()
    batch_axis: BatchAxis = UNKNOWN
    optional_outputs: tuple[int, ...] = ()
    keeps_state: bool = False

    def takes(self, count: int) -> bool:
        """Returns whether a run may be given so many inputs."""
        return count == len(self.inputs) or count in self.fewer_inputs


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Model:
    """A stored model.

    Attributes:
        spec: What the user said.
        blob: The serialized model as it was stored.
        loaded: What the backend built from it.
        backend: The backend that built it and runs it, in the place where it does.
        placement: Where that is.
        stats: Counters of its runs; they live as long as the model does.
        crashes: How often it has ended its worker.
        sharing: What was found out about runs that requests share.
    """

    spec: ModelSpec
    blob: bytes
    loaded: LoadedModel
    backend: Backend
    placement: Placement = HERE
    stats: RunStats = field(default_factory=RunStats)
    crashes: Crashes = field(default_factory=Crashes)
    sharing: Sharing = field(default_factory=Sharing)

    @property
    def steady(self) -> bool:
        """See `LoadedModel.steady`."""
        return self.loaded.steady

    @property
    def unshared(self) -> str:
        """Why requests never share a run of it, whatever its batch options; empty where they do."""
        return self.loaded.batch_axis.reason or self.sharing.refusal

    @property
    def batching(self) -> Batching:
        """How requests share its runs now: as the user said, or not at all."""
        size = self.spec.batching.size
        return self.spec.batching if size and not self.unshared else UNBATCHED


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Script:
    """A stored script.

    Attributes:
        spec: What the user said.
        source: Its source code.
        native: What the backend compiled; only the backend looks inside.
        backend: The backend that compiled it and runs it, in the place where it does.
        placement: Where that is.
        stats: Counters of its runs; they live as long as the script does.
        crashes: How often it has ended its worker.
    """

    spec: ScriptSpec
    source: bytes
    native: Any
    backend: Backend
    placement: Placement = HERE
    stats: RunStats = field(default_factory=lambda: RunStats(samples=SCRIPT_SAMPLES))
    crashes: Crashes = field(default_factory=Crashes)

    steady: ClassVar[bool] = False  # a script does what it likes
    batching: ClassVar[Batching] = UNBATCHED  # calls never share a run, whatever they are given


Runnable: TypeAlias = Model | Script
"""What can be run on a device."""
