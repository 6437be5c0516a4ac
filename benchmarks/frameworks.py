"""What is measured of frameworks: one network run by each, each called directly, and a script.

The network is that of examples/digits, in the form that each framework reads. A framework whose
backend is not installed is left out.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from contenders import Asked, Comparison, Direct, send
from figures import TENSORKEEP, Load
from servers import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contenders import Contender
    from numpy.typing import NDArray

    from tensorkeep_server.testing import Wire

    Command = Sequence[str | bytes | int]
    Array = NDArray[np.float32]

FRAMEWORKS = "frameworks"
SCRIPTS = "scripts"
LOADS = [Load(1), Load(50)]
DIRECTLY = "{}, called directly"

FOLDER = Path(__file__).resolve().parents[1] / "examples/digits"
TOLERANCE = 1e-4
SUM = """
def add(tensors: List[Tensor], keys: List[str], args: List[str]):
    return tensors[0] + tensors[1]
"""


@dataclass(frozen=True, slots=True)
class Form:
    """The network for one framework.

    Attributes:
        file: Its file in examples/digits.
        names: Words of AI.MODELSTORE before BLOB.
        open: Makes of the file's path what calls the framework with a picture.
    """

    file: str
    names: tuple[str | int, ...]
    open: Callable[[Path], Callable[[Array], Any]]


# ---------------------------------------------------------------- the frameworks, without a server
def open_onnx(path: Path) -> Callable[[Array], Any]:
    """Open a session of ONNX Runtime."""
    import onnxruntime as ort  # noqa: PLC0415 - only what is measured is imported

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(["probabilities"], {"images": x})[0]


def open_torch(path: Path) -> Callable[[Array], Any]:
    """Load a TorchScript archive."""
    import torch  # noqa: PLC0415 - large, and only for this

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        # Deprecated, but what many people have.
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(str(path))

    @torch.inference_mode()
    def call(x: Array) -> Any:  # noqa: ANN401 - torch brings no types here
        return module(torch.from_numpy(x)).numpy()

    return call


def open_tf(path: Path) -> Callable[[Array], Any]:
    """Import a GraphDef; a session's callable is the fastest way that TensorFlow offers."""
    from tensorkeep_tf.framework import CallableOptions, tf  # noqa: PLC0415 - without its noise

    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString(path.read_bytes()), name="")
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=1
    )
    session = tf.compat.v1.Session(graph=graph, config=config)
    options = CallableOptions(feed=["images:0"], fetch=["probabilities:0"])
    options.run_options.inter_op_thread_pool = -1  # on the calling thread
    call = session._make_callable_from_options(options)  # noqa: SLF001 - the only way to it
    return lambda x: call(x)[0]


def open_tflite(path: Path) -> Callable[[Array], Any]:
    """Open an interpreter of LiteRT."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - large, and only for this

    interpreter = Interpreter(str(path), num_threads=1)
    (given,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], picture().shape)
    interpreter.allocate_tensors()

    def call(x: Array) -> Any:  # noqa: ANN401 - LiteRT brings no types
        interpreter.set_tensor(given["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(returned["index"])

    return call


FORMS = {
    "ONNX": Form("digits.onnx", (), open_onnx),
    "TORCH": Form("digits.pt", (), open_torch),
    "TF": Form("digits.pb", ("INPUTS", 1, "images", "OUTPUTS", 1, "probabilities"), open_tf),
    "TFLITE": Form("digits.tflite", (), open_tflite),
}


def installed() -> list[str]:
    """Return the names of the backends that are installed."""
    return [name for name in FORMS if find_spec(f"tensorkeep_{name.lower()}")]


@cache
def picture() -> Array:
    """Return one picture as the network takes it."""
    with np.load(FOLDER / "heldout.npz") as held_out:
        images: NDArray[np.uint8] = held_out["images"]
    return (images[:1, None] / 16).astype(np.float32)


# ---------------------------------------------------------------- what is compared
def frameworks() -> list[Comparison]:
    """Compare the backends, and each with its framework; and call a script."""
    found = []
    for load in LOADS:
        asked: list[Contender] = [
            Asked(name, partial(stored, name), server=TENSORKEEP) for name in installed()
        ]
        alone: list[Contender] = [
            Direct(DIRECTLY.format(name), partial(called, name)) for name in installed()
        ]
        contenders = [*asked, *alone] if load == Load(1) else asked
        found.append(Comparison(FRAMEWORKS, "digits", load, tuple(contenders)))
        if "TORCH" in installed():
            script: list[Contender] = [Asked("SCRIPTEXECUTE", scripted, server=TENSORKEEP)]
            if load == Load(1):
                script.append(Direct(DIRECTLY.format("SCRIPTEXECUTE"), called_script))
            found.append(Comparison(SCRIPTS, "sum of two tensors", load, tuple(script)))
    return found


def stored(name: str, wire: Wire) -> Command:
    """Store the network for a backend, run it, and compare the answer with ONNX Runtime's own."""
    form, key = FORMS[name], f"digits:{name}"
    blob = (FOLDER / form.file).read_bytes()
    x = picture()
    send(wire, ("AI.MODELSTORE", key, name, "CPU", *form.names, "BLOB", blob))
    send(wire, ("AI.TENSORSET", f"{key}:x", "FLOAT", *x.shape, "BLOB", x.tobytes()))
    run = ("AI.MODELEXECUTE", key, "INPUTS", 1, f"{key}:x", "OUTPUTS", 1, f"{key}:y")
    send(wire, run)
    check(key, np.frombuffer(wire.read("AI.TENSORGET", f"{key}:y", "BLOB"), np.float32))
    return run


def called(name: str) -> Callable[[], object]:
    """Open the network in this process, and compare its answer in the same way."""
    call = FORMS[name].open(FOLDER / FORMS[name].file)
    x = picture()
    check(name, call(x).ravel())
    return lambda: call(x)


def check(who: str, answer: Array) -> None:
    """Compare an answer with ONNX Runtime's.

    Raises:
        BenchError: It is another one.
    """
    expected = open_onnx(FOLDER / FORMS["ONNX"].file)(picture()).ravel()
    if not np.allclose(answer, expected, atol=TOLERANCE):
        raise BenchError(f"{who} answers something else than ONNX Runtime")


def scripted(wire: Wire) -> Command:
    """Store a script and two tensors, and call it."""
    send(wire, ("AI.SCRIPTSTORE", "sum", "CPU", "ENTRY_POINTS", 1, "add", "SOURCE", SUM))
    for key in ("sum:a", "sum:b"):
        send(wire, ("AI.TENSORSET", key, "FLOAT", 2, 2, "VALUES", 1, 2, 3, 4))
    call = ("AI.SCRIPTEXECUTE", "sum", "add", "INPUTS", 2, "sum:a", "sum:b", "OUTPUTS", 1, "sum:c")
    send(wire, call)
    if wire.read("AI.TENSORGET", "sum:c", "VALUES") != [b"2", b"4", b"6", b"8"]:
        raise BenchError("the script adds wrongly")
    return call


def called_script() -> Callable[[], object]:
    """Compile the script in this process."""
    import torch  # noqa: PLC0415 - large, and only for this

    unit = torch.jit.CompilationUnit(SUM)
    a = torch.arange(1.0, 5).reshape(2, 2)

    @torch.inference_mode()
    def call() -> object:
        return unit.add([a, a], [], [])

    return call
