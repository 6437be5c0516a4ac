"""Building models from archives of TorchScript and `torch.export`, and running them.

The two are told apart by what is in them, and run the same way: as functions of TorchScript.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from tensorkeep.errors import ModelRejected, RunFailed
from tensorkeep.model import LoadedModel
from tensorkeep_torch import exported, torchscript
from tensorkeep_torch.archive import Archive, MalformedArchive
from tensorkeep_torch.axes import of_script
from tensorkeep_torch.devices import set_threads, torch_device
from tensorkeep_torch.internals import functions_of
from tensorkeep_torch.messages import TOO_MANY_WEIGHTS, of_end, of_load, of_run
from tensorkeep_torch.parameters import forward_of, parameters_of
from tensorkeep_torch.program import Program, vet
from tensorkeep_torch.returned import returned_of
from tensorkeep_torch.tensors import from_torch, to_torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tensorkeep.config import BackendOptions
    from tensorkeep.device import Device
    from tensorkeep.hookspecs import RunContext
    from tensorkeep.tensor import Tensor

_NO_ARCHIVE: Final = "Neither a TorchScript archive nor one of torch.export"
_PICKLE: Final = (
    "A file of torch.save needs the Python code of its model; "
    "save the model with torch.export.save or torch.jit.save instead"
)

# Bytes of weights on the CPU by the model that they belong to. The end of a model removes its
# own, whoever held it last; only single operations of the dictionary, so no thread needs a lock.
_weights: Final[dict[int, int]] = {}


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class TorchModel:
    """What `LoadedModel.native` is here.

    Attributes:
        program: The model's function.
        arrange: Makes the function's arguments of tensors; None where they are the arguments.
        pick: Gives the outputs of what the function returned, unless that is one tensor.
        check: Checks the inputs before a run, None where torch itself does.
        device: Where inputs must be, None for host memory.
    """

    program: Program
    arrange: Callable[[Sequence[torch.Tensor]], Sequence[object]] | None
    pick: Callable[[Any], Iterator[object]]
    check: Callable[[Sequence[Tensor]], None] | None
    device: torch.device | None


def weights_in_use() -> int:
    """Returns the bytes of weights of all models on the CPU that are still held."""
    return sum(list(_weights.values()))


# --------------------------------------------------------------------------- building
def create_model(blob: bytes, device: Device, options: BackendOptions) -> LoadedModel:
    """Builds a model from an archive.

    Raises:
        ModelRejected: It is no model, or none that may or can be built here.
    """
    place = torch_device(device)
    set_threads(options)
    try:
        model, weights = _from_archive(Archive(blob), place)
    except ModelRejected:
        raise
    except MalformedArchive as error:
        raise ModelRejected(f"{_NO_ARCHIVE}: {error}") from error
    except Exception as error:  # torch's exceptions have no base of their own
        raise ModelRejected(of_load(error)) from error
    if place.type == "cpu":
        if options.memory_limit and weights_in_use() + weights > options.memory_limit:
            raise ModelRejected(TOO_MANY_WEIGHTS)
        key = id(model.native)
        _weights[key] = weights
        weakref.finalize(model.native, _weights.pop, key, None).atexit = False
    return model


def _from_archive(archive: Archive, place: torch.device) -> tuple[LoadedModel, int]:
    if torchscript.is_torchscript(archive):
        return _from_torchscript(archive, place)
    if exported.is_exported(archive):
        return _from_export(archive, place)
    raise ModelRejected(_PICKLE if "data.pkl" in archive else _NO_ARCHIVE)


def _from_torchscript(archive: Archive, place: torch.device) -> tuple[LoadedModel, int]:
    module, unit, weights = torchscript.load(archive, place)
    forward = forward_of(module)
    vet(functions_of(unit), place)
    graph = forward.inlined_graph
    taken, returned = parameters_of(forward, graph), returned_of(forward, graph)
    program = Program.of(forward, bound=module, place=place)
    native = TorchModel(program, taken.arrange, returned.pick, None, _elsewhere(place))
    loaded = LoadedModel(
        native,
        taken.names,
        returned.names,
        program.steady,
        fewer_inputs=taken.fewer,
        batch_axis=of_script(program, taken.names),
        optional_outputs=returned.optional,
        keeps_state=program.state,
    )
    return loaded, weights


def _from_export(archive: Archive, place: torch.device) -> tuple[LoadedModel, int]:
    found = exported.load(archive, place)
    program = Program.of(found.function, found.weights, place=place)
    native = TorchModel(program, None, iter, found.conditions.check, _elsewhere(place))
    axis = of_script(program, found.inputs) if program.state else found.batch_axis
    loaded = LoadedModel(
        native,
        found.inputs,
        found.outputs,
        program.steady,
        batch_axis=axis,
        keeps_state=program.state,
    )
    return loaded, found.nbytes


def _elsewhere(place: torch.device) -> torch.device | None:
    return None if place.type == "cpu" else place


# --------------------------------------------------------------------------- running
def run_model(model: LoadedModel, inputs: Sequence[Tensor], run: RunContext) -> list[Tensor | None]:
    """Runs a model; several threads may run the same one.

    Raises:
        RunFailed: The inputs do not fit, the run failed, or it was cancelled.
    """
    native: TorchModel = model.native
    if not model.takes(len(inputs)):
        raise RunFailed(f"Expected {len(model.inputs)} inputs but got {len(inputs)}")
    if native.check is not None:
        native.check(inputs)
    program, device = native.program, native.device
    given = [to_torch(each, device, copy=program.writes) for each in inputs]
    try:
        result = program(given if native.arrange is None else native.arrange(given), run)
        if type(result) is torch.Tensor:  # as of most models
            outputs: list[Tensor | None] = [from_torch(result, given)]
        else:
            outputs = [_output(each, given) for each in native.pick(result)]
    except RunFailed:
        raise
    except Exception as error:  # torch's exceptions have no base of their own
        raise RunFailed(of_end(run.reason) if run.cancelled else of_run(error)) from error
    if len(outputs) != len(model.outputs):
        raise RunFailed("Function returned unexpected number of outputs - forward")
    return outputs


def _output(value: Any, given: list[torch.Tensor]) -> Tensor | None:  # noqa: ANN401 - whatever a model returns
    if value is None:
        return None
    if not isinstance(value, torch.Tensor):
        raise RunFailed("Function returned non-tensor valuesforward")
    return from_torch(value, given)
