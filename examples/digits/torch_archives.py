"""The digits network as archives of torch: TorchScript, and `torch.export`.

This room decides how they are named and what is left out of them: nothing in them tells where or
when they were written, so the same weights give the same bytes.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.export import Dim

if TYPE_CHECKING:
    from collections.abc import Callable

# Of TorchScript: where its source came from. Of both: a number drawn at random.
_LEFT_OUT = (".debug_pkl", ".data/serialization_id")


class Digits(nn.Module):
    """The network with a name for what it takes."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the probabilities of each digit for pictures of [N, 1, 8, 8]."""
        probabilities: torch.Tensor = self.layers(images)
        return probabilities


def torchscript_bytes(network: nn.Module) -> bytes:
    """Write the network as an archive of TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's, of TorchScript's age
        return _written(lambda file: torch.jit.save(torch.jit.script(Digits(network)), file))


def export_bytes(network: nn.Module) -> bytes:
    """Write the network as an archive of `torch.export`, with a free batch axis."""
    example = torch.zeros(2, 1, 8, 8)
    program = torch.export.export(
        Digits(network), (example,), dynamic_shapes=({0: Dim("N", min=0)},)
    )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return _written(lambda file: torch.export.save(program, file))


def answer_of_torchscript(archive: bytes, pictures: torch.Tensor) -> torch.Tensor:
    """Return what torch answers when it reads the archive of TorchScript."""
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's, of TorchScript's age
        answer: torch.Tensor = torch.jit.load(io.BytesIO(archive))(pictures)  # type: ignore[no-untyped-call]
    return answer


def answer_of_export(archive: bytes, pictures: torch.Tensor) -> torch.Tensor:
    """Return what torch answers when it reads the archive of `torch.export`."""
    with torch.inference_mode():
        answer: torch.Tensor = torch.export.load(io.BytesIO(archive)).module()(pictures)
    return answer


def _written(write: Callable[[io.BytesIO], None]) -> bytes:
    """Return what is written, without what is left out and the time at which it was written."""
    file, tidied = io.BytesIO(), io.BytesIO()
    write(file)
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(tidied, "w") as target:
        for name in source.namelist():
            if not name.endswith(_LEFT_OUT):
                target.writestr(zipfile.ZipInfo(name), source.read(name))
    return tidied.getvalue()
