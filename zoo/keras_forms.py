"""How Keras and TensorFlow write a model to a file, and what it computes by itself."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from entry import Case, Entry, Made, NotWritable, Size
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from entry import Array

    Sample = Mapping[str, Array]

TOLERANCE: Final = 1e-4
LITE_NOTE: Final = "compared with LiteRT called directly"


class Network:
    """A model of Keras and what it is asked.

    Args:
        model: The model.
        samples: Arrays for its inputs, in their order; the first is what converters are shown.
        rows: How many rows converted models take; None for any number.
    """

    def __init__(self, model: Any, samples: Sequence[Sample], rows: int | None = None) -> None:
        self.model = model
        self.samples = samples
        self.rows = rows

    def frozen(self) -> Any:
        """Returns the model as a function of tensors, its variables turned into constants."""
        specs = [
            tf.TensorSpec([self.rows, *array.shape[1:]], array.dtype, name)
            for name, array in self.samples[0].items()
        ]

        @tf.function(input_signature=specs)  # type: ignore[untyped-decorator] # no types
        def call(*tensors: Any) -> Any:
            given = [*tensors]
            return self.model(given if len(given) > 1 else given[0], training=False)

        return convert_variables_to_constants_v2(call.get_concrete_function())

    def cases(self) -> list[Case]:
        """Calls the model with every sample."""
        found = []
        for sample in self.samples:
            given = [tf.constant(each) for each in sample.values()]
            returned = self.model(given if len(given) > 1 else given[0], training=False)
            outputs = [np.asarray(each) for each in tf.nest.flatten(returned)]
            found.append(Case(sample, outputs))
        return found


# --------------------------------------------------------------------------- forms
def saved_model(network: Network) -> Made:
    """Exports a model as a SavedModel, packed as one zip archive."""
    with tempfile.TemporaryDirectory() as folder:
        network.model.export(folder, verbose=False)
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for path in (each for each in Path(folder).rglob("*") if each.is_file()):
                archive.write(path, path.relative_to(folder))
    return Made(file.getvalue(), network.cases(), tolerance=TOLERANCE)


def frozen(network: Network) -> Made:
    """Freezes the variables of a model to a GraphDef."""
    function = network.frozen()
    inputs = [each.name for each in function.inputs]
    outputs = [each.name for each in function.outputs]
    options = ("INPUTS", len(inputs), *inputs, "OUTPUTS", len(outputs), *outputs)
    graph = function.graph.as_graph_def().SerializeToString()
    return Made(graph, network.cases(), options, TOLERANCE)


def lite(network: Network, kind: str) -> Made:
    """Converts a model for LiteRT: as floats, half floats, or with quantised weights or all."""
    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.frozen()])
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind == "int8":
        converter.representative_dataset = partial(_rows_of, network.samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    try:
        with _quiet():
            blob: bytes = converter.convert()
    except Exception as error:
        raise NotWritable(str(error).split("error: ")[-1].split("\n", 1)[0]) from error
    interpreter = Interpreter(model_content=blob)
    return Made(blob, [_asked(interpreter, sample) for sample in network.samples], tolerance=1e-6)


def _rows_of(samples: Sequence[Sample]) -> Iterator[list[Array]]:
    for sample in samples:
        for row in range(len(next(iter(sample.values())))):
            yield [array[row : row + 1] for array in sample.values()]


def _asked(interpreter: Any, sample: Sample) -> Case:
    """Runs LiteRT directly; integers stand for floats where the model takes integers."""
    details = interpreter.get_input_details()
    given = {}
    for each in details:
        name = each["name"].partition(":")[0]
        scale, zero = each["quantization"]
        array = sample[name]
        given[name] = np.round(array / scale + zero).astype(each["dtype"]) if scale else array
        interpreter.resize_tensor_input(each["index"], array.shape)
    interpreter.allocate_tensors()
    for each, array in zip(details, given.values(), strict=True):
        interpreter.set_tensor(each["index"], array)
    interpreter.invoke()
    outputs = [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]
    return Case(given, outputs)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what converters write to the standard error stream from C++ off the terminal."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def entries_of(
    name: str,
    make: Callable[[Size], Network],
    *,
    short: bool = False,
    without: Sequence[str] = (),
) -> Iterator[Entry]:
    """Gives a model in all forms but some."""

    def in_form(write: Callable[[Network], Made], size: Size) -> Made:
        tf.keras.utils.set_random_seed(1)
        made = write(make(size))
        tf.keras.backend.clear_session()
        return made

    forms = {"SavedModel": saved_model, "frozen graph": frozen}
    for form, write in forms.items():
        if form not in without:
            yield Entry(name, "keras", form, "TF", partial(in_form, write), short=short)
    for kind in ("float", "float16", "dynamic range", "int8"):
        form = f"TFLITE, {kind}"
        if form not in without:
            made = partial(in_form, partial(lite, kind=kind))
            yield Entry(name, "keras", form, "TFLITE", made, LITE_NOTE, short=short)
