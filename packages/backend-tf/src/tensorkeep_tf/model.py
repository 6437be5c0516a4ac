"""Building sessions of TensorFlow from models, and running them.

A GraphDef and a SavedModel both become one graph with a session; a run is one call of TensorFlow.
"""

from __future__ import annotations

import weakref
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tensorkeep.batch_axis import batch_axis
from tensorkeep.errors import ModelRejected, RunFailed, TensorkeepError
from tensorkeep.model import LoadedModel
from tensorkeep.tensor import DType, Tensor
from tensorkeep_tf import graphs, savedmodel, sizes
from tensorkeep_tf.devices import node_device, open_session, prepare
from tensorkeep_tf.files import keep_inside
from tensorkeep_tf.framework import dismantle_graph, tf
from tensorkeep_tf.messages import (
    NO_NAMES,
    NO_SIGNATURES,
    TOO_MANY_WEIGHTS,
    cancelled,
    failed_run,
    not_frozen,
    readable,
)
from tensorkeep_tf.signatures import serving_tensors
from tensorkeep_tf.tensors import dtype_of, from_results

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.batch_axis import BatchAxis, Sizes
    from tensorkeep.config import BackendOptions
    from tensorkeep.hookspecs import RunContext
    from tensorkeep.model import ModelSpec
    from tensorkeep_tf.graphs import GraphDef

# Bytes of weights on the CPU by the model that they belong to. The end of a model removes its own,
# whoever held it last; only single operations of the dictionary, so no thread needs a lock.
_weights: Final[dict[int, int]] = {}


def weights_in_use() -> int:
    """Returns the bytes of weights of all models on the CPU that are still held."""
    return sum(list(_weights.values()))


# --------------------------------------------------------------------------- what is built
@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """A session, and what runs it."""

    session: Any
    run: Callable[..., list[Any]]


class Model:
    """What `LoadedModel.native` is here.

    A run can be ended only by closing its session, which ends whatever else runs in it. So a new
    session is opened after that, and what was not meant runs again.

    Args:
        start: Opens a session.
        dtypes: The type of each output.

    Attributes:
        dtypes: The type of each output.
    """

    __slots__ = ("__weakref__", "_lock", "_opened", "_start", "dtypes")

    def __init__(self, start: Callable[[], _Opened], dtypes: tuple[DType, ...]) -> None:
        self._start = start
        self._lock = Lock()
        self._opened: _Opened | None = start()
        self.dtypes: Final = dtypes

    def run(self, arrays: Sequence[Any], context: RunContext) -> list[Any]:
        """Runs the model until the context says otherwise.

        Raises:
            RunFailed: It was ended.
            Exception: TensorFlow's own.
        """
        while not context.cancelled:
            opened = self._current()

            def end(opened: _Opened = opened) -> None:
                self._close(opened)

            context.on_cancel(end)
            try:
                return opened.run(*arrays)
            except tf.errors.CancelledError:
                if self._opened is opened:  # closed by nobody here
                    raise
            finally:
                context.on_cancel(None)
        raise RunFailed(cancelled(context.reason))

    def _current(self) -> _Opened:
        with self._lock:
            if self._opened is None:
                self._opened = self._start()
            return self._opened

    def _close(self, opened: _Opened) -> None:
        # Without the lock: whoever ends runs cannot wait until a session is open. If another is
        # lost by chance, one more is opened.
        if self._opened is opened:
            self._opened = None
        opened.session.close()


# --------------------------------------------------------------------------- building
class _Source(NamedTuple):
    """A graph that was read, and how to run it.

    Attributes:
        graph: The GraphDef, cut down to what is needed.
        inputs: For each input what users call it, and which tensor of the graph it is.
        outputs: The same for the outputs.
        archive: Where the graph comes from; None for a GraphDef alone.
    """

    graph: GraphDef
    inputs: list[tuple[str, str]]
    outputs: list[tuple[str, str]]
    archive: savedmodel.Archive | None = None


def create_model(spec: ModelSpec, blob: bytes, options: BackendOptions) -> LoadedModel:
    """Builds a session from a GraphDef, or from a SavedModel in a zip archive.

    Raises:
        ModelRejected: It is neither, or one that may not or cannot be built here.
    """
    graph = tf.Graph()
    try:
        model, weights = _build(graph, spec, blob, options)
    except BaseException as error:
        dismantle_graph(graph)
        if isinstance(error, TensorkeepError) or not isinstance(error, Exception):
            raise
        raise ModelRejected(readable(error)) from error
    key = id(model.native)
    _weights[key] = weights
    weakref.finalize(model.native, _free, key, graph).atexit = False
    return model


def _read_graph(spec: ModelSpec, blob: bytes) -> _Source:
    graph = graphs.parse(blob)
    if not spec.outputs:
        raise ModelRejected(NO_NAMES)
    if spec.signature:
        raise ModelRejected(NO_SIGNATURES)
    graphs.check_names(graph, spec.inputs, spec.outputs)
    inputs = [(name, graphs.tensor_of(name)) for name in spec.inputs]
    outputs = [(name, graphs.tensor_of(name)) for name in spec.outputs]
    graph = graphs.cut(graph, _nodes(inputs, outputs))
    for name in graphs.variables(graph):
        raise ModelRejected(not_frozen(name))
    return _Source(graph, inputs, outputs)


def _read_archive(spec: ModelSpec, blob: bytes) -> _Source:
    archive = savedmodel.Archive(blob)
    inputs, outputs = serving_tensors(archive.graph, spec)
    graph = graphs.cut(archive.graph.graph_def, _nodes(inputs, outputs))
    return _Source(graph, inputs, outputs, archive)


def _nodes(*tensors: Sequence[tuple[str, str]]) -> set[str]:
    return {graphs.node_of(tensor) for each in tensors for _, tensor in each}


def _build(
    graph: Any,  # noqa: ANN401 - untyped
    spec: ModelSpec,
    blob: bytes,
    options: BackendOptions,
) -> tuple[LoadedModel, int]:
    """Builds a model in an empty graph; returns it with the bytes of its weights on the CPU."""
    device = spec.device
    read = _read_archive if savedmodel.is_archive(blob) else _read_graph
    definition, inputs, outputs, archive = read(spec, blob)
    sized_by, steady = sizes.sized_by(definition), sizes.is_steady(definition)
    steps = []
    if archive:  # now with what prepares it
        steps = archive.preparing(variables=any(graphs.variables(definition)))
        roots = {graphs.node_of(name) for op, feeds in steps for name in (op, *feeds)}
        definition = graphs.cut(archive.graph.graph_def, roots | _nodes(inputs, outputs))
    for number, body in enumerate(graphs.bodies(definition)):
        keep_inside(body, archive.folder if archive else "", function=number > 0)
    weights = graphs.weights(definition) if device.kind == "CPU" else 0
    if options.memory_limit and weights_in_use() + weights > options.memory_limit:
        raise ModelRejected(TOO_MANY_WEIGHTS)
    graphs.place(definition, node_device(device))
    with graph.as_default():
        tf.graph_util.import_graph_def(definition, name="")
    del definition  # TensorFlow has its own now, and this one holds all weights as well
    feeds, fetches = ([tensor for _, tensor in each] for each in (inputs, outputs))
    dtypes = [_dtype(graph, "Input", *each) for each in inputs]
    returned = [_dtype(graph, "Output", *each) for each in outputs]

    def start() -> _Opened:
        session = open_session(graph, device, options)
        with archive.unpacked() if archive else nullcontext():
            for op, values in steps:
                session.run(graph.get_operation_by_name(op), values)
        return _Opened(session, prepare(session, feeds, fetches, options))

    model = LoadedModel(
        Model(start, tuple(returned)),
        tuple(name for name, _ in inputs),
        tuple(name for name, _ in outputs),
        # The time that strings take depends on their lengths, which are no part of the shape.
        steady=steady and DType.STRING not in dtypes,
        batch_axis=_batch_axis(graph, sized_by, inputs, outputs),
    )
    return model, weights


def _batch_axis(
    graph: Any,  # noqa: ANN401 - untyped
    sized_by: str,
    inputs: Sequence[tuple[str, str]],
    outputs: Sequence[tuple[str, str]],
) -> BatchAxis:
    """Returns what is known of axis 0: free sizes, never that two of them are the same."""
    described = [
        [(name, _sizes(graph.get_tensor_by_name(tensor).shape)) for name, tensor in each]
        for each in (inputs, outputs)
    ]
    by_values = f"values may decide sizes in its operator {sized_by}" if sized_by else ""
    return batch_axis(described[0], described[1], by_values)


def _sizes(shape: Any) -> Sizes:  # noqa: ANN401 - untyped
    return None if shape.rank is None else tuple(shape)


def _dtype(graph: Any, what: str, name: str, tensor: str) -> DType:  # noqa: ANN401 - untyped
    try:
        found = graph.get_tensor_by_name(tensor).dtype
    except KeyError as error:  # a node without outputs
        raise ModelRejected(f'{what} node "{name}" gives no tensor') from error
    dtype = dtype_of(found)
    if dtype is None:
        names = ", ".join(each.name for each in DType)
        raise ModelRejected(
            f'{what} "{name}" is of type {found.name}; it must be a tensor of {names}'
        )
    return dtype


def _free(key: int, graph: Any) -> None:  # noqa: ANN401 - untyped
    """Forgets a model; the graph's cycles would keep its weights until garbage is collected."""
    _weights.pop(key, None)
    dismantle_graph(graph)


# --------------------------------------------------------------------------- running
def run_model(
    model: LoadedModel, inputs: Sequence[Tensor], context: RunContext
) -> list[Tensor | None]:
    """Runs a model; several threads may run the same one.

    Raises:
        RunFailed: The inputs do not fit, the run failed, or it was cancelled.
    """
    native: Model = model.native
    if len(inputs) != len(model.inputs):
        raise RunFailed(f"Expected {len(model.inputs)} inputs but got {len(inputs)}")
    try:
        results = native.run([each.numpy() for each in inputs], context)
        return from_results(results, native.dtypes)
    except RunFailed:
        raise
    except Exception as error:  # TensorFlow raises errors of its own, and Python's
        raise RunFailed(failed_run(error)) from error
