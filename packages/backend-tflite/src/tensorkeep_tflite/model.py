"""Building interpreters of LiteRT from models, and running them.

An interpreter does one run at a time, so a model has as many as there are runs of it at the same
time. Each packs the weights anew: they are built when they are needed, not before.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from tensorkeep.errors import ModelRejected, RunFailed
from tensorkeep.model import LoadedModel
from tensorkeep.thread_budget import OF_POOLS
from tensorkeep_tflite.axes import axis_of
from tensorkeep_tflite.devices import OtherGraph, open_interpreter
from tensorkeep_tflite.messages import (
    CANCELLED,
    INPUT_COUNT,
    INPUT_TYPE,
    INPUT_UNSUPPORTED,
    NO_GPU,
    NO_INTERPRETER,
    NO_INVOKE,
    NO_MEMORY,
    NO_MODEL,
    NO_RESIZE,
    OUTPUT_UNSUPPORTED,
    because,
)
from tensorkeep_tflite.modelfile import IDENTIFIER, Graph, read_graph
from tensorkeep_tflite.sizes import is_steady, ranks_to_keep
from tensorkeep_tflite.tensors import BY_NUMBER, copy_in, copy_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.config import BackendOptions
    from tensorkeep.hookspecs import RunContext
    from tensorkeep.model import ModelSpec
    from tensorkeep.tensor import DType, Tensor

# Models that are still held, by the identity of their interpreters. Written by the loader thread,
# read by whoever asks for figures.
_held: Final[WeakValueDictionary[int, Interpreters]] = WeakValueDictionary()


class Runner:
    """An interpreter, for one run at a time.

    Args:
        blob: The model.
        threads: See `open_interpreter`; one is taken when the models of the process have so many
            that none are left.

    Raises:
        ModelRejected: LiteRT cannot build it, or the blob is no whole model.
    """

    __slots__ = (
        "__weakref__",
        "_inputs",
        "_interpreter",
        "_large",
        "_outputs",
        "_shapes",
        "_variables",
    )

    def __init__(self, blob: bytes, threads: int) -> None:
        if threads > 1:
            if OF_POOLS.take(threads - 1):
                weakref.finalize(self, OF_POOLS.give_back, threads - 1).atexit = False
            else:
                threads = 1
        try:
            self._interpreter = open_interpreter(blob, threads)
        except Exception as error:  # LiteRT's exceptions have no base of their own
            text = NO_MODEL if "Flatbuffer" in str(error) else NO_INTERPRETER
            raise ModelRejected(because(text, error)) from error
        self._shapes: list[tuple[int, ...]] | None = None
        self._large: set[int] = set()

    def prepare(self, graph: Graph) -> Runner:
        """Allocates what a graph of the model needs, and returns itself.

        Raises:
            ModelRejected: LiteRT cannot.
        """
        self._inputs = [each.index for each in graph.inputs]
        self._outputs = [(each.index, BY_NUMBER[each.type]) for each in graph.outputs]
        self._variables = graph.has_variables
        if graph.number:
            self._interpreter = OtherGraph(self._interpreter, graph.number)
        try:
            self._interpreter.allocate_tensors()
        except Exception as error:
            raise ModelRejected(because(NO_MEMORY, error)) from error
        return self

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor | None]:
        """Runs the model; inputs are of the right number and types.

        Raises:
            RunFailed: It failed. The interpreter must not be used again.
        """
        shapes = [tensor.shape for tensor in inputs]
        if shapes != self._shapes:
            self._resize(shapes)
        interpreter = self._interpreter
        try:
            copy_in(interpreter, self._inputs, inputs)
            if self._variables:
                interpreter.reset_all_variables()
            interpreter.invoke()
            return copy_out(interpreter, self._outputs, self._large)
        except Exception as error:  # LiteRT's exceptions have no base of their own
            raise RunFailed(because(NO_INVOKE, error)) from error

    def _resize(self, shapes: list[tuple[int, ...]]) -> None:
        interpreter = self._interpreter
        try:
            for index, shape in zip(self._inputs, shapes, strict=True):
                interpreter.resize_tensor_input(index, shape)
        except Exception as error:  # LiteRT's exceptions have no base of their own
            raise RunFailed(because(NO_RESIZE, error)) from error
        try:
            interpreter.allocate_tensors()
        except Exception as error:
            raise RunFailed(because(NO_MEMORY, error)) from error
        self._shapes = shapes


class Interpreters:
    """What `LoadedModel.native` is here.

    Args:
        blob: The model.
        graph: What is run of it.
        first: An interpreter of it.
        options: The server's settings.

    Attributes:
        takes: The type of each input, and the fewest axes that it may have: one, but for those
            that the model declares to have none.
        ranks: The number of axes that each input must have; None when any will do.

    Raises:
        ModelRejected: LiteRT cannot run it.
    """

    __slots__ = (
        "__weakref__",
        "_all",
        "_blob",
        "_graph",
        "_idle",
        "_threads",
        "_workers",
        "ranks",
        "takes",
    )

    def __init__(self, blob: bytes, graph: Graph, first: Runner, options: BackendOptions) -> None:
        self.takes: tuple[tuple[DType, int], ...] = tuple(
            (BY_NUMBER[each.type], min(len(each.shape), 1)) for each in graph.inputs
        )
        self.ranks = ranks_to_keep(graph)
        self._blob = blob
        self._graph = graph
        self._threads = options.intra_op_threads
        self._workers = options.workers
        self._all = [first.prepare(graph)]
        # The one that was used last is used next: its memory is likely to be in the caches. Only
        # single operations of the deque, so no thread needs a lock.
        self._idle = deque(self._all)

    @property
    def memory(self) -> int:
        """Bytes of weights, once for each interpreter."""
        return self._graph.weights * len(self._all)

    @property
    def most_memory(self) -> int:
        """Bytes of weights when all workers run the model at the same time."""
        return self._graph.weights * max(self._workers, len(self._all))

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor | None]:
        """Runs the model with an interpreter that nobody else uses meanwhile.

        One in which a run has failed is not used again: what it has allocated need not fit its
        tensors any more, and the next run could write beyond it.
        """
        try:
            runner = self._idle.pop()
        except IndexError:
            runner = self._another()
        try:
            outputs = runner.run(inputs)
        except BaseException:
            self._all.remove(runner)
            raise
        self._idle.append(runner)
        return outputs

    def _another(self) -> Runner:
        try:
            runner = Runner(self._blob, self._threads).prepare(self._graph)
        except ModelRejected as error:  # it was built before: memory has become scarce
            raise RunFailed(str(error)) from error
        self._all.append(runner)
        return runner


def weights_in_use() -> int:
    """Returns the bytes of weights of all models that are still held."""
    return sum(each.memory for each in _models())


def _models() -> list[Interpreters]:
    found = [reference() for reference in _held.valuerefs()]
    return [each for each in found if each is not None]


# --------------------------------------------------------------------------- building
def create_model(spec: ModelSpec, blob: bytes, options: BackendOptions) -> LoadedModel:
    """Builds a model from its serialized form.

    Raises:
        ModelRejected: It is no model, or none that may or can be built here.
    """
    if spec.device.kind != "CPU":
        raise ModelRejected(NO_GPU)
    if blob[4:8] != IDENTIFIER:
        raise ModelRejected(NO_MODEL)
    first = Runner(blob, options.intra_op_threads)  # which looks whether the file is whole
    try:
        graph = read_graph(blob, spec.signature)
    except IndexError as error:
        raise ModelRejected(because(NO_MODEL, "it names a part that it does not have")) from error
    for ends, text in ((graph.inputs, INPUT_UNSUPPORTED), (graph.outputs, OUTPUT_UNSUPPORTED)):
        for each in ends:
            if each.type not in BY_NUMBER:
                raise ModelRejected(
                    because(text, f"{each.name} is of type {each.type} of the format")
                )
    if options.memory_limit:
        most = sum(each.most_memory for each in _models()) + graph.weights * options.workers
        if most > options.memory_limit:
            raise ModelRejected(because(NO_MEMORY, "the memory limit is reached"))
    native = Interpreters(blob, graph, first, options)
    _held[id(native)] = native
    return LoadedModel(
        native,
        tuple(each.name for each in graph.inputs),
        tuple(each.name for each in graph.outputs),
        is_steady(graph),
        batch_axis=axis_of(graph),
    )


# --------------------------------------------------------------------------- running
def run_model(
    model: LoadedModel, inputs: Sequence[Tensor], context: RunContext
) -> list[Tensor | None]:
    """Runs a model; several threads may run the same one.

    LiteRT's interface for Python has no way to end a run that has begun.

    Raises:
        RunFailed: The inputs do not fit, the run failed, or it was cancelled before it began.
    """
    native: Interpreters = model.native
    if len(inputs) != len(native.takes):
        raise RunFailed(INPUT_COUNT)
    for tensor, (dtype, fewest) in zip(inputs, native.takes, strict=True):
        if tensor.dtype is not dtype:
            raise RunFailed(INPUT_TYPE)
        # Some operators divide by the sizes or read the first element without a look.
        if 0 in tensor.shape:
            raise RunFailed(because(NO_RESIZE, "an input has no elements"))
        if len(tensor.shape) < fewest:
            raise RunFailed(because(NO_RESIZE, "an input has no axes"))
    if native.ranks is not None and native.ranks != [len(tensor.shape) for tensor in inputs]:
        raise RunFailed(because(NO_RESIZE, f"inputs must have {native.ranks} axes"))
    if context.cancelled:
        raise RunFailed(because(CANCELLED, context.reason))
    return native.run(inputs)
