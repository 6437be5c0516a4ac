"""Write the trained digits network in the formats of TensorFlow and of TensorFlow Lite.

This program decides how the network that `train.py` wrote as ONNX looks in those formats. Like
`train.py` it never runs when Tensorkeep is used or tested: its results lie beside it in version
control. Run it with `nox -s export_tf`, which installs what it imports (TensorFlow, LiteRT,
onnx, onnxruntime, scikit-learn, NumPy and rich) into an environment of its own.

It writes nothing unless every file answers as the ONNX model does, or, quantised, nearly so.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before the import: its banners say nothing

import numpy as np
import onnx
import onnxruntime as ort
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from dataset import Images, split_images
from onnx import numpy_helper
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

LEAST_ACCURACY = 0.97
LARGEST_DIFFERENCE = 1e-5
LARGEST_DIFFERENCE_QUANTISED = 0.1  # of a probability
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip archive can hold: the same bytes each time


class UnfitError(Exception):
    """A written form of the network is not good enough to be kept."""


@dataclass(frozen=True, slots=True)
class Written:
    """A form of the network: the file's name, its bytes, and what it answers."""

    name: str
    content: bytes
    answers: NDArray[np.float32]


# --------------------------------------------------------------------------- the network
def read_weights(model: Path) -> dict[str, NDArray[np.float32]]:
    """Read the weights out of the ONNX model, laid out as TensorFlow wants them.

    TensorFlow's operators for the CPU take pictures with their channels last. Kernels are turned
    to fit, and so are the rows of the first dense layer, whose input is flattened in that order.
    """
    weights = {
        each.name: np.asarray(numpy_helper.to_array(each))
        for each in onnx.load(model).graph.initializer
    }
    for name in ("conv1", "conv2"):
        weights[f"{name}.weight"] = weights[f"{name}.weight"].transpose(2, 3, 1, 0)
    hidden = weights["hidden.weight"].reshape(64, 32, 4, 4)
    weights["hidden.weight"] = hidden.transpose(2, 3, 1, 0).reshape(512, 64)
    weights["digits.weight"] = weights["digits.weight"].T
    return weights


def network(images: Any, weights: Mapping[str, Any]) -> Any:  # noqa: ANN401 - TensorFlow brings no types
    """Return the network's output for its input, pictures [N, 1, 8, 8]: probabilities [N, 10]."""
    # One channel: as the first or as the last axis, the bytes are the same.
    layer = tf.reshape(images, [-1, 8, 8, 1], name="channels_last")
    for name in ("conv1", "conv2"):
        layer = tf.nn.conv2d(layer, weights[f"{name}.weight"], strides=1, padding="SAME")
        layer = tf.nn.relu(tf.nn.bias_add(layer, weights[f"{name}.bias"]))
    layer = tf.nn.max_pool2d(layer, ksize=2, strides=2, padding="VALID")
    layer = tf.reshape(layer, [-1, 512])
    layer = tf.nn.relu(tf.matmul(layer, weights["hidden.weight"]) + weights["hidden.bias"])
    layer = tf.matmul(layer, weights["digits.weight"]) + weights["digits.bias"]
    return tf.nn.softmax(layer, name="probabilities")


class Module(tf.Module):  # type: ignore[misc]
    """The network as an object whose weights are variables, as training programs save them."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        super().__init__(name="digits")
        self.weights = {
            name.replace(".", "_"): tf.Variable(value, trainable=False)
            for name, value in weights.items()
        }

    @tf.function(input_signature=[tf.TensorSpec([None, 1, 8, 8], tf.float32, "images")])  # type: ignore[untyped-decorator]
    def classify(self, images: Any) -> dict[str, Any]:  # noqa: ANN401 - TensorFlow brings no types
        """Return the probabilities by their name."""
        weights = {name.replace("_", "."): value for name, value in self.weights.items()}
        return {"probabilities": network(images, weights)}


# --------------------------------------------------------------------------- its forms
def graph_bytes(weights: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Write a frozen GraphDef: nodes `images` and `probabilities`, weights as constants."""
    with tf.Graph().as_default() as graph:
        images = tf.compat.v1.placeholder(tf.float32, [None, 1, 8, 8], "images")
        network(images, weights)
    return bytes(graph.as_graph_def().SerializeToString(deterministic=True))


def saved_model_bytes(weights: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Write a SavedModel with one serving signature, packed as a zip archive."""
    module = Module(weights)
    file = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": module.classify})
        with zipfile.ZipFile(file, "w") as archive:
            for path in sorted(each for each in Path(folder).rglob("*") if each.is_file()):
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), ZIP_TIME)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes())
    return file.getvalue()


def lite_bytes(
    weights: Mapping[str, NDArray[np.float32]], calibration: NDArray[np.float32] | None = None
) -> bytes:
    """Write a TFLITE model.

    Args:
        weights: The network's weights.
        calibration: Pictures to find the ranges of values with; every operator then computes with
            8-bit integers, between a float input and a float output. None keeps floats.
    """
    module = Module(weights)
    signature = module.classify.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([signature], module)
    if calibration is not None:

        def pictures() -> Iterator[list[NDArray[np.float32]]]:
            return ([each[None]] for each in calibration)

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = pictures
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return bytes(converter.convert())


# --------------------------------------------------------------------------- what they answer
def onnx_answers(model: Path, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what ONNX Runtime answers, which every form has to repeat."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    answers: NDArray[np.float32] = session.run(["probabilities"], {"images": pictures})[0]
    return answers


def graph_answers(content: bytes, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a frozen GraphDef answers."""
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(tf.compat.v1.GraphDef.FromString(content), name="")
        with tf.compat.v1.Session(graph=graph) as session:
            answers: NDArray[np.float32] = session.run("probabilities:0", {"images:0": pictures})
    return answers


def saved_model_answers(content: bytes, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a SavedModel in a zip archive answers."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(folder)
        serve = tf.saved_model.load(folder).signatures["serving_default"]
        answers: NDArray[np.float32] = serve(images=tf.constant(pictures))["probabilities"].numpy()
    return answers


def lite_answers(content: bytes, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a TFLITE model answers."""
    interpreter = Interpreter(model_content=content)
    (given,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], pictures.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], pictures)
    interpreter.invoke()
    answers: NDArray[np.float32] = interpreter.get_tensor(returned["index"])
    return answers


# --------------------------------------------------------------------------- the program
def check(form: Written, held_out: Images, expected: NDArray[np.float32]) -> None:
    """Refuse a form that reads pictures too badly, or answers otherwise than the ONNX model."""
    accuracy = held_out.accuracy(form.answers)
    if accuracy < LEAST_ACCURACY:
        raise UnfitError(
            f"held-out accuracy of {form.name} is {accuracy:.4f}, expected {LEAST_ACCURACY} or more"
        )
    limit = LARGEST_DIFFERENCE_QUANTISED if "int8" in form.name else LARGEST_DIFFERENCE
    difference = abs(form.answers - expected).max()
    # Not "difference > limit": a NaN has to be refused too.
    if not difference <= limit:
        raise UnfitError(f"{form.name} differs by {difference:.2e}, expected {limit} or less")


def make(folder: Path, console: Console) -> None:
    """Write, check and keep the files in `folder`, and print what came out."""
    here = Path(__file__).resolve().parent
    weights = read_weights(here / "digits.onnx")
    training, held_out = split_images()
    pictures = held_out.as_input()
    expected = onnx_answers(here / "digits.onnx", pictures)
    ways: list[tuple[str, Callable[[], bytes], Callable[..., NDArray[np.float32]]]] = [
        ("digits.pb", lambda: graph_bytes(weights), graph_answers),
        ("digits_savedmodel.zip", lambda: saved_model_bytes(weights), saved_model_answers),
        ("digits.tflite", lambda: lite_bytes(weights), lite_answers),
        ("digits_int8.tflite", lambda: lite_bytes(weights, training.as_input()), lite_answers),
    ]
    forms = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("exporting", total=len(ways))
        for name, write, answers in ways:
            progress.update(task, description=f"exporting {name}")
            content = write()
            form = Written(name, content, answers(content, pictures))
            check(form, held_out, expected)
            forms.append(form)
            progress.advance(task)
        progress.update(task, description="exported")

    table = Table("file", "bytes", "held-out accuracy", "largest difference to ONNX")
    for form in forms:
        (folder / form.name).write_bytes(form.content)
        table.add_row(
            form.name,
            f"{len(form.content):,}",
            f"{held_out.accuracy(form.answers):.2%}",
            f"{abs(form.answers - expected).max():.1e}",
        )
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(description="Write the digits network for TF and TFLITE.")
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
