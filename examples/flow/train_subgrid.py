"""Train the network that corrects the coarse grid, with the fine grid, and write subgrid.onnx.

Run it with `python examples/flow/train_subgrid.py`, or `nox -s train_subgrid`; it takes a minute or
two. The same seeds give the same file.

What the coarse grid gets wrong is how the vorticity is carried along: a sum of products of the two
fields, each seen from a few points around. So this is what the network can say, and no more.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import flow
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.progress import track

if TYPE_CHECKING:
    from flow import Field
    from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent
FLOWS, STEPS = range(100, 112), 60
HELD_OUT_FLOWS = range(50, 54)
PRODUCTS, WIDTH = 8, 7
EPOCHS, BATCH, LEARNING_RATE = 30, 16, 1e-2
LEAST_GAIN = 2.5

Script = Any  # it has the functions that its source has


class Network(torch.nn.Module):
    """Sums products of two views of the fields: [n, 2, 40, 40] in, [n, 1, 32, 32] out."""

    def __init__(self) -> None:
        super().__init__()
        self.left = torch.nn.Conv2d(2, PRODUCTS, WIDTH)
        self.right = torch.nn.Conv2d(2, PRODUCTS, WIDTH)
        self.sum = torch.nn.Conv2d(PRODUCTS, 1, 3)

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        """Return the correction, in units of `Corrector.unit`."""
        products: torch.Tensor = self.sum(self.left(fields) * self.right(fields))
        return products


class Corrector:
    """The network between the functions of its script, as the store runs them.

    Attributes:
        script: The compiled script.
        network: The network.
        unit: What the network's answers are multiplied by.
    """

    def __init__(self) -> None:
        source = (FOLDER / "subgrid.torchscript").read_text(encoding="utf-8")
        self.script: Script = torch.jit.CompilationUnit(source)
        self.network = Network()
        self.unit = 1.0

    def prepared(self, fields: Field) -> tuple[torch.Tensor, Field]:
        """Return what the network is told of many fields, and their sizes, [n, 1, 1]."""
        both = [self.script.prepare(field) for field in torch.tensor(fields)]
        sizes = np.array([float(size) for _, size in both])
        return torch.cat([wide for wide, _ in both]), sizes[:, None, None]

    def step(self, fields: Field) -> Field:
        """Return many fields a step later on the coarse grid, corrected."""
        wide, sizes = self.prepared(fields)
        with torch.no_grad():
            answer = self.network(wide)[:, 0].double().numpy() * self.unit
        return flow.coarse_step(fields) + flow.smoothed(answer * sizes**2)

    def fit(self, before: Field, after: Field) -> None:
        """Train on steps of the fine grid from `before` to `after`, both [n, y, x]."""
        wide, sizes = self.prepared(before)
        missing = (after - flow.coarse_step(before)) / sizes**2
        self.unit = float(missing.std())
        wanted = torch.tensor(missing / self.unit, dtype=torch.float32)[:, None]
        turns = len(wide) // BATCH
        optimizer = torch.optim.Adam(self.network.parameters(), LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * turns)
        for _ in track(range(EPOCHS), "training"):
            for chosen in torch.randperm(len(wide)).split(BATCH)[:turns]:
                optimizer.zero_grad()
                loss = torch.nn.functional.mse_loss(self.network(wide[chosen]), wanted[chosen])
                loss.backward()
                optimizer.step()
                schedule.step()


def main() -> None:
    """Train, check on flows that were not seen, and write."""
    console = Console()
    torch.set_num_threads(1)  # with more of them sums may come out otherwise
    torch.manual_seed(0)
    truth = np.array(list(track(flow.fine_steps(FLOWS, STEPS), "fine grid", STEPS + 1)))
    corrector = Corrector()
    corrector.fit(rows(truth[:-1]), rows(truth[1:]))
    gain = report(corrector, console)
    if gain < LEAST_GAIN:
        raise SystemExit(f"the error is not even {LEAST_GAIN} times smaller: nothing was written")
    model = to_onnx(corrector)
    onnx.checker.check_model(model, full_check=True)
    (FOLDER / "subgrid.onnx").write_bytes(model.SerializeToString())
    console.print("wrote subgrid.onnx")


def rows(fields: Field) -> Field:
    """Return fields of many steps and flows as one long row."""
    return fields.reshape(-1, flow.POINTS, flow.POINTS)


def report(corrector: Corrector, console: Console) -> float:
    """Tell how large errors become on other flows; return how much smaller they are at last."""
    truth = list(flow.fine_steps(HELD_OUT_FLOWS, STEPS))
    plain = corrected = truth[0]
    console.print(f"errors on {len(HELD_OUT_FLOWS)} other flows, without and with the network:")
    for number, true in enumerate(truth[1:], 1):
        plain, corrected = flow.coarse_step(plain), corrector.step(corrected)
        if number % 10 == 0:
            errors = flow.error(plain, true), flow.error(corrected, true)
            console.print(f"after {number} steps: {errors[0]:.1%}, {errors[1]:.1%}")
    return flow.error(plain, truth[-1]) / flow.error(corrected, truth[-1])


def to_onnx(corrector: Corrector) -> onnx.ModelProto:
    """Return the network as ONNX, with `unit` in the weights of its last layer."""
    weights = {name: value.detach().numpy() for name, value in corrector.network.named_parameters()}
    for name in ("sum.weight", "sum.bias"):
        weights[name] = weights[name] * corrector.unit
    nodes = [
        helper.make_node("Conv", ["fields", "left.weight", "left.bias"], ["left"]),
        helper.make_node("Conv", ["fields", "right.weight", "right.bias"], ["right"]),
        helper.make_node("Mul", ["left", "right"], ["products"]),
        helper.make_node("Conv", ["products", "sum.weight", "sum.bias"], ["correction"]),
    ]
    graph = helper.make_graph(
        nodes,
        "subgrid",
        [helper.make_tensor_value_info("fields", TensorProto.FLOAT, ["n", 2, 40, 40])],
        [helper.make_tensor_value_info("correction", TensorProto.FLOAT, ["n", 1, 32, 32])],
        [initializer(name, values) for name, values in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="tensorkeep")


def initializer(name: str, values: NDArray[Any]) -> onnx.TensorProto:
    """Return a constant of a graph."""
    return numpy_helper.from_array(values.astype(np.float32), name)


if __name__ == "__main__":
    main()
