"""Building sessions of TensorFlow from models, and running them.

What a model may be is decided before TensorFlow sees it, what went wrong is explained after; in
between a run is one call of TensorFlow.
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
from tensorkeep_tf import assets, graphs, savedmodel
from tensorkeep_tf.devices import node_device, open_session, prepare
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
    from collections.abc import Callable, Mapping, Sequence

    from tensorkeep.batch_axis import BatchAxis, Sizes
    from tensorkeep.config import BackendOptions
    from tensorkeep.hookspecs import RunContext
    from tensorkeep.model import ModelSpec
    from tensorkeep_tf.graphs import GraphDef, Survey

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

    Only loops can be ended before they are done, and only by closing their session, which ends
    whatever else runs in it. So a model with loops opens a new session after that, and runs again
    what was not meant.

    Args:
        start: Opens a session.
        dtypes: The type of each output.
        loops: Whether the model has loops.

    Attributes:
        dtypes: The type of each output.
    """

    __slots__ = ("__weakref__", "_lock", "_loops", "_opened", "_start", "dtypes")

    def __init__(
        self, start: Callable[[], _Opened], dtypes: tuple[DType, ...], *, loops: bool
    ) -> None:
        self._start = start
        self._lock = Lock()
        self._opened: _Opened | None = start()
        self._loops = loops
        self.dtypes: Final = dtypes

    def run(self, arrays: Sequence[Any], context: RunContext) -> list[Any]:
        """Runs the model; with loops, until the context says otherwise.

        Raises:
            RunFailed: It was ended.
            Exception: TensorFlow's own.
        """
        if not self._loops:
            return self._current().run(*arrays)
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
    """A graph that was looked through, and how to run it.

    Attributes:
        graph: The GraphDef.
        found: What there is in it.
        inputs: For each input what users call it, and which tensor of the graph it is.
        outputs: The same for the outputs.
        variables: For the node of each variable, the key of its value in the checkpoint.
        starter: The node that is run once before all else; empty when there is none.
        files: The files that are needed until then; None when there are none.
    """

    graph: GraphDef
    found: Survey
    inputs: list[tuple[str, str]]
    outputs: list[tuple[str, str]]
    variables: dict[str, bytes]
    starter: str
    files: savedmodel.Unpacked | None = None


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
    whole = graphs.parse(blob)
    if not spec.outputs:
        raise ModelRejected(NO_NAMES)
    if spec.signature:
        raise ModelRejected(NO_SIGNATURES)
    graphs.check_names(whole, spec.inputs, spec.outputs)
    graph = graphs.cut(whole, {graphs.node_of(each) for each in (*spec.inputs, *spec.outputs)})
    found = graphs.survey(graph)
    if found.unfrozen:
        raise ModelRejected(not_frozen(found.unfrozen))
    inputs = [(name, graphs.tensor_of(name)) for name in spec.inputs]
    outputs = [(name, graphs.tensor_of(name)) for name in spec.outputs]
    return _Source(graph, found, inputs, outputs, {}, "")


def _read_archive(spec: ModelSpec, blob: bytes) -> _Source:
    meta = savedmodel.read(blob)
    inputs, outputs = serving_tensors(meta, spec)
    starter = savedmodel.starter(meta)
    roots = {graphs.node_of(tensor) for _, tensor in (*inputs, *outputs)} | {starter} - {""}
    keys = savedmodel.checkpoint_keys(meta)
    files = assets.asset_files(meta)
    for name, tensor in inputs:
        if graphs.node_of(tensor) in files:
            raise ModelRejected(f'Input "{name}" names a file of the assets')
    graph = graphs.cut(meta.graph_def, roots, assets.FILLING)
    needed = assets.needed_files(graph, files)
    unpacked = savedmodel.Unpacked(blob, needed.values())
    assigned = assets.variables_of(graph, needed)
    assets.write_paths(graph, needed, unpacked.assets)
    found = graphs.survey(graph)
    missing = [name for name in found.variables if name not in keys and name not in assigned]
    if missing:
        raise ModelRejected(f'Invalid SavedModel: no value for the variable "{missing[0]}"')
    variables = {name: keys[name] for name in found.variables if name not in assigned}
    files_wanted = unpacked if variables or needed else None
    return _Source(graph, found, inputs, outputs, variables, starter, files_wanted)


def _build(
    graph: Any,  # noqa: ANN401 - untyped
    spec: ModelSpec,
    blob: bytes,
    options: BackendOptions,
) -> tuple[LoadedModel, int]:
    """Builds a model in an empty graph; returns it with the bytes of its weights on the CPU."""
    device = spec.device
    read = _read_archive if savedmodel.is_archive(blob) else _read_graph
    definition, found, inputs, outputs, variables, starter, files = read(spec, blob)
    weights = found.weights if device.kind == "CPU" else 0
    if options.memory_limit and weights_in_use() + weights > options.memory_limit:
        raise ModelRejected(TOO_MANY_WEIGHTS)
    graphs.place(definition, node_device(device))
    with graph.as_default():
        tf.graph_util.import_graph_def(definition, name="")
        restored = _restoring(graph, variables) if variables else None
    del definition  # TensorFlow has its own now, and this one holds all weights as well
    feeds, fetches = ([tensor for _, tensor in each] for each in (inputs, outputs))
    dtypes = [_dtype(graph, "Input", *each) for each in inputs]
    returned = [_dtype(graph, "Output", *each) for each in outputs]

    def start() -> _Opened:
        session = open_session(graph, device, options)
        with files.there() if files else nullcontext():
            if restored and files:
                session.run(restored.done, {restored.path: files.checkpoint})
            if starter:
                session.run(graph.get_operation_by_name(starter))
        return _Opened(session, prepare(session, feeds, fetches, options))

    model = LoadedModel(
        Model(start, tuple(returned), loops=found.loops),
        tuple(name for name, _ in inputs),
        tuple(name for name, _ in outputs),
        # The time that strings take depends on their lengths, which are no part of the shape.
        steady=found.steady and DType.STRING not in dtypes,
        batch_axis=_batch_axis(graph, found, inputs, outputs),
    )
    return model, weights


def _batch_axis(
    graph: Any,  # noqa: ANN401 - untyped
    found: Survey,
    inputs: Sequence[tuple[str, str]],
    outputs: Sequence[tuple[str, str]],
) -> BatchAxis:
    """Returns what is known of axis 0: free sizes, never that two of them are the same."""
    described = [
        [(name, _sizes(graph.get_tensor_by_name(tensor).shape)) for name, tensor in each]
        for each in (inputs, outputs)
    ]
    by_values = f"values may decide sizes in its operator {found.sized_by}"
    return batch_axis(described[0], described[1], by_values if found.sized_by else "")


def _sizes(shape: Any) -> Sizes:  # noqa: ANN401 - untyped
    return None if shape.rank is None else tuple(shape)


class _Restoring(NamedTuple):
    """Where to put the path of a checkpoint, and what to run then."""

    path: Any
    done: Any


def _restoring(graph: Any, variables: Mapping[str, bytes]) -> _Restoring:  # noqa: ANN401 - untyped
    """Adds nodes to a graph that read the values of its variables from a checkpoint."""
    handles = [graph.get_operation_by_name(name) for name in variables]
    path = tf.compat.v1.placeholder(tf.string, [])
    values = tf.raw_ops.RestoreV2(
        prefix=path,
        tensor_names=list(variables.values()),
        shape_and_slices=[""] * len(variables),
        dtypes=[each.get_attr("dtype") for each in handles],
    )
    assigned = [
        tf.raw_ops.AssignVariableOp(resource=each.outputs[0], value=value)
        if each.type == "VarHandleOp"
        else tf.raw_ops.Assign(ref=each.outputs[0], value=value).op
        for each, value in zip(handles, values, strict=True)
    ]
    return _Restoring(path, tf.group(assigned))


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
