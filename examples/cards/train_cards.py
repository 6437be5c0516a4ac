"""Train the network that scores payments, and write cards.onnx.

Run it with `python examples/cards/train_cards.py`, or `nox -s train_cards`. The same seed gives the
same file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from features import NAMES, features
from onnx import TensorProto, helper, numpy_helper
from payments import payments
from rich.console import Console
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent
CARDS, SEED = 1500, 20
HELD_OUT_CARDS, HELD_OUT_SEED = 400, 21
HIDDEN = 16
LEAST_AUC = 0.9


def main() -> None:
    """Train, check on cards that were not seen, and write."""
    console = Console()
    made = payments(CARDS, SEED)
    x, y = features(made), np.array([payment.stolen for payment in made])
    console.print(f"{len(made)} payments of {CARDS} cards, {y.mean():.1%} of them stolen")
    scaler = StandardScaler().fit(x)
    network = MLPClassifier((HIDDEN,), alpha=1e-3, max_iter=300, random_state=SEED)
    with console.status("training"):
        network.fit(scaler.transform(x), y)
    unseen = payments(HELD_OUT_CARDS, HELD_OUT_SEED)
    truth = [payment.stolen for payment in unseen]
    auc = roc_auc_score(truth, network.predict_proba(scaler.transform(features(unseen)))[:, 1])
    console.print(f"area under the ROC curve on {HELD_OUT_CARDS} other cards: {auc:.3f}")
    if auc < LEAST_AUC:
        raise SystemExit(f"that is less than {LEAST_AUC}: nothing was written")
    model = to_onnx(scaler, network)
    onnx.checker.check_model(model, full_check=True)
    (FOLDER / "cards.onnx").write_bytes(model.SerializeToString())
    console.print("wrote cards.onnx")


def to_onnx(scaler: StandardScaler, network: MLPClassifier) -> onnx.ModelProto:
    """Return the scaled network: features [n, 5] FLOAT in, the chance of theft [n, 1] out."""
    nodes = [
        helper.make_node("Sub", ["features", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["scaled"]),
        helper.make_node("Gemm", ["scaled", "w1", "b1"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "w2", "b2"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["stolen"]),
    ]
    weights = {"mean": scaler.mean_, "scale": scaler.scale_}
    for layer, (w, b) in enumerate(zip(network.coefs_, network.intercepts_, strict=True), 1):
        weights |= {f"w{layer}": w, f"b{layer}": b}
    graph = helper.make_graph(
        nodes,
        "cards",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", len(NAMES)])],
        [helper.make_tensor_value_info("stolen", TensorProto.FLOAT, ["n", 1])],
        [initializer(name, values) for name, values in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="tensorkeep")


def initializer(name: str, values: NDArray[Any]) -> onnx.TensorProto:
    """Return a constant of a graph."""
    return numpy_helper.from_array(values.astype(np.float32), name)


if __name__ == "__main__":
    main()
