"""The ways in which torch writes a model to a file, with what the model computes by itself."""

from __future__ import annotations

import io
import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import torch
from entry import Case, Entry, Made, NotWritable, Size
from trial import Mismatch, difference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from entry import Array

# Relative, of types of weights: torch itself, run twice with other threads, differs by as much.
TOLERANCES = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}
OF_ONNX = 20.0  # times as much: other kernels, which sum in another order, over dozens of layers
_VARIES = re.compile(r" at 0x[0-9a-f]+|\x1b\[\d+m| For more information, run with .*")


@dataclass(frozen=True, slots=True)
class Network:
    """A module and what it is asked.

    Attributes:
        module: The module.
        samples: Tensors by the names of parameters of its forward, in their order; the first is
            what exporters are shown, the others have other sizes where these are free.
        free: For each parameter, the axes whose sizes are free, with a name of each size.
        ties: Whether outputs hang on how equal elements are sorted, which torch does otherwise when
            it has compiled the module; then the compiled one says what is right for itself.
    """

    module: torch.nn.Module
    samples: Sequence[Mapping[str, torch.Tensor]]
    free: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    ties: bool = False

    def cases(self, module: torch.nn.Module | None = None) -> list[Case]:
        """Calls the module, or another one, with every sample."""
        return [
            Case(
                {name: array_of(each) for name, each in sample.items()},
                [array_of(each) for each in called(module or self.module, sample)],
            )
            for sample in self.samples
        ]

    @property
    def tolerance(self) -> float:
        """By how much outputs may differ, see `Made`."""
        return TOLERANCES[next(self.module.parameters()).dtype]

    def shown(self) -> dict[str, torch.Tensor]:
        """Returns copies of the first sample."""
        return {name: each.clone() for name, each in self.samples[0].items()}


def called(module: torch.nn.Module, sample: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """Calls a module and returns the tensors of what it returns, in their order."""
    with torch.no_grad():
        returned = module(**{name: each.clone() for name, each in sample.items()})
    leaves = torch.utils._pytree.tree_leaves(returned)  # noqa: SLF001 - as exporters flatten it
    return [each for each in leaves if isinstance(each, torch.Tensor)]


def array_of(tensor: torch.Tensor) -> Array:
    """Returns a tensor as an array; bfloat16 is ml_dtypes'."""
    if tensor.dtype is torch.bfloat16:
        import ml_dtypes  # noqa: PLC0415 - which only half models need

        return np.asarray(tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16))
    return np.asarray(tensor.numpy())


# --------------------------------------------------------------------------- forms
def traced(network: Network) -> Made:
    """Traces a module with its first sample."""
    with _writing("torch.jit.trace"):
        module = torch.jit.trace(
            network.module, example_kwarg_inputs=network.shown(), strict=False, check_trace=False
        )
    for sample, case in zip(network.samples, network.cases(), strict=True):
        _check("torch.jit.trace", map(array_of, called(module, sample)), case, network.tolerance)
    return Made(_saved(module), network.cases(), tolerance=network.tolerance)


def scripted(network: Network) -> Made:
    """Compiles a module to TorchScript."""
    with _writing("torch.jit.script"):
        module = torch.jit.script(network.module)
    cases = network.cases(module if network.ties else None)
    return Made(_saved(module), cases, tolerance=network.tolerance)


def exported(network: Network) -> Made:
    """Exports a module with `torch.export`."""
    with _writing("torch.export.export"):
        program = torch.export.export(
            network.module, (), network.shown(), dynamic_shapes=_shapes(network)
        )
    file = io.BytesIO()
    torch.export.save(program, file)
    return Made(file.getvalue(), network.cases(), tolerance=network.tolerance)


def onnx_traced(network: Network) -> Made:
    """Writes ONNX with the exporter that traces; it lacks the fused layer of transformers."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        return _onnx(
            network, dynamo=False, dynamic_axes={k: dict(v) for k, v in network.free.items()}
        )
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def onnx_exported(network: Network) -> Made:
    """Writes ONNX with the exporter that stands on `torch.export`."""
    return _onnx(network, dynamo=True, dynamic_shapes=_shapes(network))


FORMS: Mapping[str, tuple[str, Callable[[Network], Made]]] = {
    "TorchScript, traced": ("TORCH", traced),
    "TorchScript, scripted": ("TORCH", scripted),
    "`.pt2`": ("TORCH", exported),
    "ONNX, `dynamo=False`": ("ONNX", onnx_traced),
    "ONNX, `dynamo=True`": ("ONNX", onnx_exported),
}


@dataclass(frozen=True, slots=True)
class Remark:
    """What is particular about a model in one form; as in `Entry`.

    Attributes:
        note: What a user has to do.
        refused: A pattern of the text with which the server refuses it.
        short: Whether the test suite tries it.
    """

    note: str = ""
    refused: str = ""
    short: bool = False


def entries_of(
    model: str,
    package: str,
    network: Callable[[Size], Network],
    remarks: Mapping[str, Remark] | None = None,
) -> Iterator[Entry]:
    """Gives a model in all forms.

    Args:
        model: Its name.
        package: What it is installed from.
        network: Makes it, in one of two sizes.
        remarks: What is particular, by form.
    """
    for form, (backend, write) in FORMS.items():
        made = partial(_made, network, write)
        remark = (remarks or {}).get(form, Remark())
        more = (remark.note, remark.refused, remark.short)
        yield Entry(model, package, form, backend, made, *more)


def _made(network: Callable[[Size], Network], write: Callable[[Network], Made], size: Size) -> Made:
    torch.manual_seed(1)
    found = network(size)
    found.module.eval().requires_grad_(requires_grad=False)
    return write(found)


@contextmanager
def _writing(writer: str) -> Iterator[None]:
    """Says that what torch raises within the block is torch's own refusal to write a model."""
    try:
        yield
    except Exception as error:  # torch's exceptions have no base of their own
        # The first line says what is missed; what follows is a stack of source, or the graph.
        reason = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise NotWritable(f"{writer}: {_VARIES.sub('', reason).strip()}") from error


def _check(writer: str, found: Iterable[Array], case: Case, tolerance: float) -> None:
    """Checks that what was written computes what the module does, before a server has it.

    Raises:
        NotWritable: It does not: it was written for the first sample alone.
    """
    for index, (output, wanted) in enumerate(zip(found, case.outputs, strict=True)):
        try:
            difference(index, output, wanted, tolerance)
        except Mismatch as error:
            raise NotWritable(f"{writer}: what it writes holds for its example: {error}") from error


def _saved(module: Any) -> bytes:  # noqa: ANN401 - torch has no type for both kinds of modules
    file = io.BytesIO()
    torch.jit.save(module, file)
    return file.getvalue()


def _shapes(network: Network) -> dict[str, dict[int, Any]]:
    return {
        name: dict.fromkeys(network.free.get(name, {}), torch.export.Dim.DYNAMIC)
        for name in network.samples[0]
    }


def _onnx(network: Network, **options: Any) -> Made:  # noqa: ANN401 - the exporter's own
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.onnx")
        with _writing("torch.onnx.export"):
            torch.onnx.export(
                network.module,
                (),
                file,
                kwargs=network.shown(),
                input_names=list(network.samples[0]),
                external_data=False,
                verbose=False,
                **options,
            )
        blob = file.read_bytes()
    made = Made(blob, network.cases(), tolerance=OF_ONNX * network.tolerance)
    with _writing("torch.onnx.export, whose file ONNX Runtime itself does not run"):
        session = onnxruntime.InferenceSession(blob, providers=["CPUExecutionProvider"])
        found = [session.run(None, dict(case.inputs)) for case in made.cases]
    for outputs, case in zip(found, made.cases, strict=True):
        _check("torch.onnx.export", outputs, case, made.tolerance)
    return made
