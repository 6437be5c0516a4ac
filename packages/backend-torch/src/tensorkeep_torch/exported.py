"""Archives of `torch.export`, read without what is unsafe in torch's own reader.

That one unpickles what lies in an archive, evaluates text in it as Python, and looks up whatever
names it holds. Here the program, which is JSON, becomes source of TorchScript; weights are plain
bytes; everything else in the archive is left alone. What results runs as TorchScript does, free
of Python's interpreter from its first operator to its last.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from tensorkeep.tensor import Tensor
from tensorkeep_torch.archive import MalformedArchive
from tensorkeep_torch.axes import of_program
from tensorkeep_torch.conditions import Conditions
from tensorkeep_torch.extensions import load_operators
from tensorkeep_torch.internals import compile_source, list_of
from tensorkeep_torch.output_names import output_names
from tensorkeep_torch.tensors import DTYPES, to_torch
from tensorkeep_torch.translation import (
    LAYOUTS,
    SCALAR_TYPES,
    Interface,
    Unsupported,
    only,
    source_of,
)

if TYPE_CHECKING:
    from tensorkeep.batch_axis import BatchAxis
    from tensorkeep_torch.archive import Archive
    from tensorkeep_torch.internals import Native
    from tensorkeep_torch.translation import Json

_FORMAT: Final = "archive_format"
_OLD_PROGRAM: Final = "serialized_exported_program.json"
_PROGRAMS: Final = "models/"
_SCHEMA: Final = 8  # the major version of the format of programs
# Inputs and outputs that belong to the program, with where each has the name of its tensor.
_KEPT: Final = {
    "parameter": "parameter_name",
    "buffer": "buffer_name",
    "tensor_constant": "tensor_constant_name",
}
_CHANGED: Final = {"buffer_mutation": "buffer_name", "parameter_mutation": "parameter_name"}
_FIXED: Final = {"as_none", "as_int", "as_float", "as_string", "as_bool"}


@dataclass(frozen=True, slots=True)
class Exported:
    """A program, ready to be called.

    Attributes:
        function: A function of torch; it takes the weights as one list, then the inputs, and
            returns a list of tensors.
        weights: The weights.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        conditions: What the inputs must be like.
        batch_axis: What is known of axis 0.
        nbytes: Bytes of the weights.
    """

    function: Native
    weights: Native
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    conditions: Conditions
    batch_axis: BatchAxis
    nbytes: int


def is_exported(archive: Archive) -> bool:
    """Returns whether an archive is one of `torch.export`."""
    return _FORMAT in archive or _OLD_PROGRAM in archive


def load(archive: Archive, device: torch.device) -> Exported:
    """Loads a program.

    Args:
        archive: The archive.
        device: Where the weights are to be.

    Raises:
        MalformedArchive: It is damaged.
        ModelRejected: It has operators of a package that is not there.
        Unsupported: It uses what cannot be run here.
        Exception: torch's own, about what the program does.
    """
    try:
        return _load(archive, device)
    except (MalformedArchive, Unsupported):
        raise
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise MalformedArchive(f"its program makes no sense: {error!r}") from error


def _load(archive: Archive, device: torch.device) -> Exported:
    name, program = _program(archive)
    graph, signature = program["graph_module"]["graph"], program["graph_module"]["signature"]
    payloads = _Payloads(archive, name, device)
    weights: dict[str, torch.Tensor] = {}
    arguments: dict[str, str] = {}  # of the weights that have names of their own
    inputs: list[str] = []
    for spec in signature["input_specs"]:
        kind, what = only(spec)
        if kind in _KEPT:
            argument, kept = what["arg"]["name"], what[_KEPT[kind]]
            weights[argument], arguments[kept] = payloads.tensor(kept), argument
        elif kind == "user_input" and "as_tensor" in what["arg"]:
            inputs.append(what["arg"]["as_tensor"]["name"])
        elif kind != "constant_input" and (
            kind != "user_input" or only(what["arg"])[0] not in _FIXED
        ):
            raise Unsupported(f"an input that is no tensor ({kind})")
    outputs: list[str] = []
    names: list[str] = []
    own_names = iter(output_names(program))
    changes: dict[str, str] = {}
    for spec in signature["output_specs"]:
        kind, what = only(spec)
        own_name = next(own_names) if kind == "user_output" else ""
        if kind in _CHANGED:
            changes[arguments[what[_CHANGED[kind]]]] = what["arg"]["name"]
        elif kind == "user_output" and "as_tensor" in what["arg"]:
            outputs.append(what["arg"]["as_tensor"]["name"])
            names.append(own_name or outputs[-1])
            _check_output(graph["tensor_values"][outputs[-1]])
        elif kind not in {"user_output", "user_input_mutation"}:  # inputs are never changed
            raise Unsupported(f"an output of the kind {kind}")
    if not outputs:
        raise Unsupported("no output that is a tensor")
    interface = Interface(list(weights), inputs, outputs, changes)
    source = source_of(graph, interface, device)
    unit = compile_source(source, {"math": math, "torch": torch}.get)
    return Exported(
        unit.find_function("forward"),
        list_of([*weights.values()] or [torch.empty(0)]),
        tuple(inputs),
        _distinct(names),
        Conditions.of(program, inputs),
        of_program(graph, interface),
        payloads.nbytes,
    )


def _check_output(described: Json) -> None:
    """Checks that tensors of the type and layout of an output can be returned.

    Raises:
        Unsupported: They cannot.
    """
    name = SCALAR_TYPES[described["dtype"]]
    if getattr(torch, name) not in DTYPES:
        raise Unsupported(f"an output of type {name}")
    if described["layout"] not in LAYOUTS:
        raise Unsupported("an output that is a sparse tensor")


def _program(archive: Archive) -> tuple[str, Json]:
    if _OLD_PROGRAM in archive:
        raise Unsupported("a format that torch wrote before version 2.8")
    names = [name for name in archive.names if name.startswith(_PROGRAMS)]
    if len(names) != 1:
        raise MalformedArchive(f"it must have one program, not {len(names)}")
    text = archive.text(names[0])
    program: Json = json.loads(text)
    version = program["schema_version"]["major"]
    if version != _SCHEMA:
        raise Unsupported(f"version {version} of its format, not {_SCHEMA}")
    load_operators(text)
    return names[0].removeprefix(_PROGRAMS).removesuffix(".json"), program


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Returns names that are all different: a program may return a tensor twice."""
    found: list[str] = []
    for name in names:
        number = 1
        while (other := f"{name}_{number}" if number > 1 else name) in found:
            number += 1
        found.append(other)
    return tuple(found)


class _Payloads:
    """The weights and constants of a program.

    Args:
        archive: The archive.
        program: The program's name.
        device: Where they are to be.

    Attributes:
        nbytes: Bytes of what was loaded.
    """

    def __init__(self, archive: Archive, program: str, device: torch.device) -> None:
        self.nbytes = 0
        self._archive = archive
        self._device = device
        self._entries: dict[str, tuple[str, Json]] = {}
        for folder in ("data/constants/", "data/weights/"):
            kind = folder.split("/")[1]
            config = json.loads(archive.text(f"{folder}{program}_{kind}_config.json"))["config"]
            self._entries |= {name: (folder, entry) for name, entry in config.items()}
        self._loaded: dict[str, torch.Tensor] = {}

    def tensor(self, name: str) -> torch.Tensor:
        """Returns a weight or constant; those that share memory in the archive share it here."""
        folder, entry = self._entries[name]
        path, meta = f"{folder}{entry['path_name']}", entry["tensor_meta"]
        if entry["use_pickle"]:
            return self._unpickled(path, is_tensor=meta is not None)
        sizes, strides = ([each["as_int"] for each in meta[key]] for key in ("sizes", "strides"))
        offset = meta["storage_offset"]["as_int"]
        dtype: torch.dtype = getattr(torch, SCALAR_TYPES[meta["dtype"]])
        record = self._archive.record(path)
        if path not in self._loaded:
            plain = Tensor.from_numpy(np.frombuffer(record, np.uint8))
            self._loaded[path] = to_torch(plain, None, copy=True).to(self._device)
            self.nbytes += len(record)
        tensor = self._loaded[path].view(dtype).as_strided(sizes, strides, offset)
        # A tensor of its own that requires gradients, as torch's own reader makes it: kernels are
        # chosen by both, even where gradients are off, and round differently.
        return tensor.detach().requires_grad_(meta["requires_grad"])

    def _unpickled(self, path: str, *, is_tensor: bool) -> torch.Tensor:
        """Returns a tensor that is no plain memory, if nothing else is in its pickle."""
        if not is_tensor:
            raise Unsupported("a constant that is no tensor")
        record = bytes(self._archive.record(path))
        tensor = torch.load(io.BytesIO(record), weights_only=True)
        if not isinstance(tensor, torch.Tensor):
            raise Unsupported("a constant that is no tensor")
        self.nbytes += len(record)
        return tensor.to(self._device)
