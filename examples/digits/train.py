"""Train the digits network and write the files that the demo and the tests read.

This program decides what the network looks like, how it is trained and how it is written. It never
runs when Tensorkeep is used or tested: its results lie beside it in version control. Run it with
`nox -s train`, which installs what it imports (torch, scikit-learn, onnx, onnxruntime, NumPy and
rich) into an environment of its own.

It writes nothing unless the network is good enough and the written one answers as the trained one.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from dataset import SEED, Images, split_images
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

EPOCHS = 40
BATCH = 64
LEAST_ACCURACY = 0.97
LARGEST_DIFFERENCE = 1e-5
# Opset 17 and IR version 8 are of 2022: every ONNX Runtime from 1.12 on reads them.
OPSET = 17
IR_VERSION = 8


class UnfitError(Exception):
    """The network, or its written form, is not good enough to be kept."""


def build_network() -> nn.Sequential:
    """Return the untrained network: pictures [N, 1, 8, 8] in, probabilities [N, 10] out."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 16, kernel_size=3, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(16, 32, kernel_size=3, padding=1),
            relu2=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            hidden=nn.Linear(32 * 4 * 4, 64),
            relu3=nn.ReLU(),
            digits=nn.Linear(64, 10),
            softmax=nn.Softmax(dim=1),
        )
    )


def train(images: Images, console: Console) -> nn.Sequential:
    """Train a new network on `images`; the same seed on the same machine gives the same weights."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    network = build_network()
    logits = network[:-1]  # the loss takes what goes into softmax: its own logarithm is exact
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)
    pixels = torch.from_numpy(images.as_input())
    labels = torch.from_numpy(images.labels.astype(np.int64))
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=EPOCHS, loss=float("nan"))
        for _ in range(EPOCHS):
            total = 0.0
            for rows in torch.randperm(len(pixels)).split(BATCH):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(logits(pixels[rows]), labels[rows])
                loss.backward()
                optimizer.step()
                total += loss.item() * len(rows)
            progress.update(task, advance=1, loss=total / len(pixels))
    return network.eval()


def answer(network: nn.Module, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the trained network's own probabilities, which every written form has to repeat."""
    with torch.inference_mode():
        return network(torch.from_numpy(pictures)).numpy()  # type: ignore[no-any-return]


def onnx_bytes(network: nn.Sequential) -> bytes:
    """Write the network as an ONNX model with a free batch axis, layer by layer."""
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    layers = list(network.named_children())
    source = "images"
    for name, layer in layers:
        target = "probabilities" if name == layers[-1][0] else name
        kind, attributes = onnx_operator(layer)
        inputs = [source]
        for parameter, value in layer.named_parameters():
            weights.append(numpy_helper.from_array(value.detach().numpy(), f"{name}.{parameter}"))
            inputs.append(f"{name}.{parameter}")
        nodes.append(helper.make_node(kind, inputs, [target], name=name, **attributes))
        source = target
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])],
        weights,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="tensorkeep-digits",
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def onnx_operator(layer: nn.Module) -> tuple[str, dict[str, Any]]:
    """Return the ONNX operator that does what `layer` does, with its attributes."""
    match layer:
        case nn.Conv2d(kernel_size=(height, width), padding=(above, left)):
            return "Conv", {"kernel_shape": [height, width], "pads": [above, left, above, left]}
        case nn.MaxPool2d(kernel_size=int(size)):
            return "MaxPool", {"kernel_shape": [size, size], "strides": [size, size]}
        case nn.Linear():
            return "Gemm", {"transB": 1}
        case nn.Flatten():
            return "Flatten", {"axis": 1}
        case nn.ReLU():
            return "Relu", {}
        case nn.Softmax():
            return "Softmax", {"axis": 1}
    raise UnfitError(f"no ONNX operator is known for the layer {layer}")


def onnx_difference(
    model: bytes, pictures: NDArray[np.float32], expected: NDArray[np.float32]
) -> float:
    """Return the largest difference of ONNX Runtime's answers, in one batch and one by one."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    together = session.run(["probabilities"], {"images": pictures})[0]
    alone = [session.run(["probabilities"], {"images": row[None]})[0] for row in pictures]
    return max(float(abs(got - expected).max()) for got in (together, np.concatenate(alone)))


def heldout_bytes(images: Images) -> bytes:
    """Write the held-out pictures and their digits as an .npz file."""
    file = io.BytesIO()
    np.savez_compressed(file, images=images.pixels, labels=images.labels)
    return file.getvalue()


def check(accuracy: float, difference: float) -> None:
    """Refuse a network that is not good enough, or a written one that answers otherwise."""
    if accuracy < LEAST_ACCURACY:
        raise UnfitError(f"held-out accuracy is {accuracy:.4f}, expected {LEAST_ACCURACY} or more")
    # Not "difference > limit": a NaN has to be refused too.
    if not difference <= LARGEST_DIFFERENCE:
        raise UnfitError(f"ONNX differs by {difference:.2e}, expected {LARGEST_DIFFERENCE} or less")


def make(folder: Path, console: Console) -> None:
    """Train, check, write the files into `folder` and print what came out."""
    training, held_out = split_images()
    network = train(training, console)
    expected = answer(network, held_out.as_input())
    model = onnx_bytes(network)
    accuracy = held_out.accuracy(expected)
    difference = onnx_difference(model, held_out.as_input(), expected)
    check(accuracy, difference)

    table = Table("result", "value", title="digits network")
    parameters = sum(value.numel() for value in network.parameters())
    trained = training.accuracy(answer(network, training.as_input()))
    wrong = int((expected.argmax(axis=1) != held_out.labels).sum())
    table.add_row("parameters", f"{parameters:,}")
    table.add_row(f"accuracy, {len(training.labels)} training pictures", f"{trained:.2%}")
    table.add_row(
        f"accuracy, {len(held_out.labels)} held-out pictures", f"{accuracy:.2%} ({wrong} wrong)"
    )
    table.add_row("largest difference of ONNX Runtime to torch", f"{difference:.1e}")
    for name, content in (("digits.onnx", model), ("heldout.npz", heldout_bytes(held_out))):
        (folder / name).write_bytes(content)
        table.add_row(name, f"{len(content):,} bytes")
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(description="Train the digits network and write its files.")
    here = Path(__file__).resolve().parent
    parser.add_argument("--out", type=Path, default=here, help="folder (default: this program's)")
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
