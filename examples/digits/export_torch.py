"""Write the digits network for PyTorch: as a TorchScript archive and as one of `torch.export`.

The weights are those of digits.onnx, so all forms answer alike. Run it with `nox -s export_torch`.
It writes nothing unless each form, read again, answers as ONNX Runtime does. Nothing in the
archives tells on what machine they were written, or when: the same weights give the same bytes.
"""

from __future__ import annotations

import argparse
import io
import sys
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnxruntime as ort
import torch
from dataset import split_images
from onnx import numpy_helper
from rich.console import Console
from rich.table import Table
from train import LARGEST_DIFFERENCE, LEAST_ACCURACY, UnfitError, answer, build_network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

FOLDER = Path(__file__).resolve().parent
# Of TorchScript, in which files its source stood; of both, a number drawn at random.
LEFT_OUT = (".debug_pkl", ".data/serialization_id")


def network_of(model: bytes) -> nn.Sequential:
    """Return the network with the weights of an ONNX file that train.py wrote."""
    network = build_network()
    weights = onnx.load_model_from_string(model).graph.initializer
    network.load_state_dict(
        {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in weights}
    )
    return network.eval()


def torchscript(network: nn.Module) -> bytes:
    """Return the network as a TorchScript archive."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        # TorchScript is deprecated since 2.11; archives of it are what many people have.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(network), file)
    return tidied(file)


def exported(network: nn.Module) -> bytes:
    """Return the network as an archive of `torch.export`, with a free batch axis."""
    file = io.BytesIO()
    example = (torch.zeros(2, 1, 8, 8),)
    rows = ({0: torch.export.Dim("N", min=1)},)
    program = torch.export.export(network, example, dynamic_shapes=rows)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # in which files the network's source stood
    torch.export.save(program, file)
    return tidied(file)


def tidied(file: io.BytesIO) -> bytes:
    """Return an archive without what is left out, and without the time at which it was written."""
    written = io.BytesIO()
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(written, "w") as target:
        for name in source.namelist():
            if not name.endswith(LEFT_OUT):
                target.writestr(zipfile.ZipInfo(name), source.read(name))
    return written.getvalue()


def read_torchscript(blob: bytes) -> nn.Module:
    """Return the module in a TorchScript archive."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module: nn.Module = torch.jit.load(io.BytesIO(blob))
    return module


def read_exported(blob: bytes) -> nn.Module:
    """Return the module in an archive of `torch.export`."""
    module: nn.Module = torch.export.load(io.BytesIO(blob)).module()
    return module


FORMS: dict[str, tuple[Callable[[nn.Module], bytes], Callable[[bytes], nn.Module]]] = {
    "digits.pt": (torchscript, read_torchscript),
    "digits.pt2": (exported, read_exported),
}


def make(folder: Path, console: Console) -> None:
    """Write both forms into `folder`, once all of them were found right."""
    model = (FOLDER / "digits.onnx").read_bytes()
    network = network_of(model)
    _, held_out = split_images()
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    expected = session.run(["probabilities"], {"images": held_out.as_input()})[0]
    table = Table("form", "bytes", "accuracy", "largest difference to ONNX Runtime")
    written = {}
    for name, (write, read) in FORMS.items():
        blob = written[name] = write(network)
        found = answer(read(blob), held_out.as_input())
        accuracy, difference = held_out.accuracy(found), largest(found, expected)
        if not (accuracy >= LEAST_ACCURACY and difference <= LARGEST_DIFFERENCE):
            raise UnfitError(f"{name}: accuracy {accuracy:.4f}, difference {difference:.2e}")
        table.add_row(name, f"{len(blob):,}", f"{accuracy:.2%}", f"{difference:.1e}")
    for name, blob in written.items():
        (folder / name).write_bytes(blob)
    console.print(table)


def largest(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the largest difference."""
    return float(abs(found - expected).max())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder (default: this program's)")
    folder: Path = parser.parse_args(arguments).out
    if not folder.is_dir():
        parser.error(f"--out: {folder} is not a folder")
    try:
        make(folder, Console())
    except UnfitError as error:
        Console(stderr=True, style="red").print(f"Nothing written: {error}", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
