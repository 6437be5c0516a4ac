"""Building sessions of ONNX Runtime from models, and running them.

What a model may be is decided before the runtime sees it, what went wrong is explained after; in
between a run is one call of the runtime.
"""

from __future__ import annotations

import os
import re
import sys
import weakref
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import onnxruntime
from onnxruntime import RunOptions

from tensorkeep.errors import ModelRejected, RunFailed
from tensorkeep.model import LoadedModel
from tensorkeep.tensor import DType, Tensor
from tensorkeep.thread_budget import OF_POOLS
from tensorkeep_onnx.axes import axis_of
from tensorkeep_onnx.devices import open_session
from tensorkeep_onnx.messages import TOO_MANY_WEIGHTS, failed_run, is_out_of_memory, readable
from tensorkeep_onnx.source import read_source
from tensorkeep_onnx.tensors import BY_NAME, from_result, from_value, to_feed, to_value
from tensorkeep_onnx.zipmap import as_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tensorkeep.config import BackendOptions
    from tensorkeep.device import Device
    from tensorkeep.hookspecs import RunContext
    from tensorkeep_onnx.rewriting import Piece
    from tensorkeep_onnx.source import Source

_TENSOR: Final = re.compile(r"(?:optional\()?tensor\((\w+)\)\)?")
_COPIED: Final = 2**20  # bytes; see _offered

# Bytes of weights on the CPU by the session that they belong to. The end of a session removes its
# own, whoever held it last; only single operations of the dictionary, so no thread needs a lock.
_weights: Final[dict[int, int]] = {}
_pools_are_shared = False
_arena_size = 0  # of the arena that sessions are given now


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Session:
    """What `LoadedModel.native` is here.

    Attributes:
        run: The runtime's own `run(output_names, feeds, run_options)`.
        values: The same with `OrtValue`s, for models that return BFLOAT16; otherwise None.
        dtypes: The type that each input takes.
        plain: Whether all inputs are numbers that NumPy knows.
        limited: Whether runs take their memory from the arena of limited size.
        classes: For each output the number of classes of which it has probabilities, 0 for other
            outputs; empty when there are no such outputs.
    """

    run: Callable[[Sequence[str], dict[str, Any], RunOptions], list[Any]]
    values: Callable[[Sequence[str], dict[str, Any], RunOptions], list[Any]] | None
    dtypes: tuple[DType, ...]
    plain: bool
    limited: bool
    classes: tuple[int, ...] = ()


def weights_in_use() -> int:
    """Returns the bytes of weights of all models on the CPU that are still held."""
    return sum(list(_weights.values()))


# --------------------------------------------------------------------------- building
def create_model(blob: bytes, device: Device, options: BackendOptions) -> LoadedModel:
    """Builds a session from a serialized model.

    Raises:
        ModelRejected: It is no model, or none that may or can be built here.
    """
    source = read_source(blob)
    weights = source.weights if device.kind == "CPU" else 0
    if options.memory_limit and weights_in_use() + weights > options.memory_limit:
        raise ModelRejected(TOO_MANY_WEIGHTS)
    with ExitStack() as if_it_fails:
        threads = _threads_of_pools(options)
        own = not _pools_are_shared and OF_POOLS.take(threads)
        if own:
            if_it_fails.callback(OF_POOLS.give_back, threads)
        try:
            chosen = _session_options(options, source.library, own_pools=own)
            if source.files:
                views = [*source.files.values()]
                chosen.add_external_initializers_from_files_in_memory(
                    [*source.files], views, [len(view) for view in views]
                )
            with _offered(source.pieces) as offer:
                session = open_session(offer, chosen, device)
        except Exception as error:  # the runtime's exceptions have no base of their own
            raise ModelRejected(readable(error)) from error
        model = _loaded(session, source, limited=bool(options.memory_limit))
        if_it_fails.pop_all()
    key = id(model.native)
    _weights[key] = weights
    finished = partial(_forget, key, threads if own else 0)
    weakref.finalize(model.native, finished).atexit = False
    return model


def _forget(key: int, threads: int) -> None:
    """Forgets a model whose session has ended."""
    _weights.pop(key, None)
    OF_POOLS.give_back(threads)


def _loaded(session: Any, source: Source, *, limited: bool) -> LoadedModel:  # noqa: ANN401 - untyped
    inputs, outputs = session.get_inputs(), session.get_outputs()
    dtypes = tuple(_dtype("Input", each) for each in inputs)
    for each in outputs:
        if _TENSOR.fullmatch(each.type):  # what is no tensor is not returned: any type will do
            _dtype("Output", each)
    values = None
    if any("bfloat16" in each.type for each in outputs):
        if DType.STRING in dtypes:
            raise ModelRejected("A model that takes STRING cannot return BFLOAT16")
        values = session.run_with_ort_values
    native = Session(
        # The method behind the public `run`, which checks names and types that are checked here:
        # a third of the time of a tiny run.
        run=session._sess.run,  # noqa: SLF001
        values=values,
        dtypes=dtypes,
        plain=not {DType.STRING, DType.BFLOAT16} & {*dtypes},
        limited=limited,
        classes=tuple(source.classes.get(each.name, 0) for each in outputs)
        if source.classes
        else (),
    )
    return LoadedModel(
        native,
        tuple(each.name for each in inputs),
        tuple(each.name for each in outputs),
        # The time that strings take depends on their lengths, which are no part of the shape.
        steady=source.steady and DType.STRING not in dtypes,
        batch_axis=axis_of(
            source.model, *([(e.name, e.shape) for e in each] for each in (inputs, outputs))
        ),
        optional_outputs=tuple(
            number
            for number, each in enumerate(outputs)
            if not _TENSOR.fullmatch(each.type) or each.type.startswith("optional")
        ),
    )


def _dtype(what: str, argument: Any) -> DType:  # noqa: ANN401 - the runtime brings no types
    match = _TENSOR.fullmatch(argument.type)
    dtype = BY_NAME.get(match[1]) if match else None
    if dtype is None:
        names = ", ".join(each.name for each in DType)
        raise ModelRejected(
            f"{what} {argument.name} is of type {argument.type}; it must be a tensor of {names}"
        )
    return dtype


def _threads_of_pools(options: BackendOptions) -> int:
    """Returns how many threads a session starts that has pools of its own."""
    intra = options.intra_op_threads or os.cpu_count() or 1
    inter = options.inter_op_threads
    return intra - 1 + (inter if inter > 1 else 0)  # one of the former is the caller's


def _share_pools(options: BackendOptions) -> None:
    """Sets up the pools that sessions share; from then on the runtime takes no others."""
    global _pools_are_shared  # noqa: PLW0603 - as the runtime has one such pool per process
    if not _pools_are_shared:
        onnxruntime.set_global_thread_pool_sizes(
            options.intra_op_threads, max(options.inter_op_threads, 1)
        )
        _pools_are_shared = True


def _session_options(
    options: BackendOptions, library: str, *, own_pools: bool
) -> onnxruntime.SessionOptions:
    chosen = onnxruntime.SessionOptions()
    if library:
        chosen.register_custom_ops_library(library)
    if own_pools:
        chosen.intra_op_num_threads = options.intra_op_threads
        chosen.inter_op_num_threads = options.inter_op_threads
    else:
        _share_pools(options)
        chosen.use_per_session_threads = False
    if options.inter_op_threads > 1:  # otherwise the runtime has no use for the setting
        chosen.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    # Idle threads of a pool spin by default, waiting for work, and take a core from the server
    # and from other models: a small convolutional model run every millisecond used 1.04 cores
    # instead of 0.15. It costs a run that is spread over threads up to 40 µs of waking them.
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    chosen.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # The runtime's own format, which it would recognise by itself, may name files too.
    chosen.add_session_config_entry("session.load_model_format", "ONNX")
    # Without an arena, memory goes back at once, and an output kept in the keyspace keeps only
    # itself. It costs time only where single tensors are larger than about 32 MB.
    chosen.enable_cpu_mem_arena = bool(options.memory_limit)
    if options.memory_limit:
        _limit_memory(options.memory_limit)
        chosen.add_session_config_entry("session.use_env_allocators", "1")
    return chosen


def _limit_memory(limit: int) -> None:
    """Sets up the one arena from which all sessions built from now on take their memory.

    Args:
        limit: Its size in bytes. Weights do not lie in it: they are counted when a model is built.
    """
    global _arena_size  # noqa: PLW0603 - as the runtime has one arena per process
    if limit == _arena_size:
        return
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    # "Same as requested": doubling would reserve more than is needed, and reach the limit early.
    arena = onnxruntime.OrtArenaCfg({"max_mem": limit, "arena_extend_strategy": 1})
    onnxruntime.create_and_register_allocator(memory, arena)
    _arena_size = limit


@contextmanager
def _offered(pieces: Sequence[Piece]) -> Iterator[bytes | str]:
    """Gives a model in the form in which the runtime takes it without stopping other threads.

    The runtime copies bytes while it holds the interpreter: 0.65 ms for each MB, in which a
    server serves nobody. A file it reads without; large models are offered as one in memory.
    """
    if sys.platform != "linux" or sum(map(len, pieces)) < _COPIED:
        yield b"".join(pieces)
        return
    descriptor = os.memfd_create("tensorkeep-onnx")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.writelines(pieces)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


# --------------------------------------------------------------------------- running
def run_model(
    model: LoadedModel, inputs: Sequence[Tensor], context: RunContext
) -> list[Tensor | None]:
    """Runs a model; several threads may run the same one.

    Raises:
        RunFailed: The inputs do not fit, the run failed, or it was cancelled.
    """
    session: Session = model.native
    if len(inputs) != len(model.inputs):
        raise RunFailed(f"Expected {len(model.inputs)} inputs but got {len(inputs)}")
    options = RunOptions()  # new for each run, for 0.2 µs: what was told to terminate stays so

    def terminate() -> None:
        options.terminate = True

    context.on_cancel(terminate)
    try:
        if session.limited:
            return _run_limited(session, model, inputs, options)
        return _run(session, model, inputs, options)
    except Exception as error:  # the runtime's exceptions have no base of their own
        text = failed_run(error, model.inputs, session.dtypes, inputs)
        if context.reason:
            text = f"{text}: {context.reason}"
        raise RunFailed(text) from error
    finally:
        context.on_cancel(None)


def _run(
    session: Session, model: LoadedModel, inputs: Sequence[Tensor], options: RunOptions
) -> list[Tensor | None]:
    if session.values is not None:
        given = {name: to_value(each) for name, each in zip(model.inputs, inputs, strict=True)}
        values = session.values(model.outputs, given, options)
        outputs = [from_value(each._ortvalue) for each in values]  # noqa: SLF001 - it speaks DLPack
    else:
        if session.plain:
            feeds = {name: each.numpy() for name, each in zip(model.inputs, inputs, strict=True)}
        else:
            feeds = {name: to_feed(each) for name, each in zip(model.inputs, inputs, strict=True)}
        outputs = [from_result(each) for each in session.run(model.outputs, feeds, options)]
    if session.classes:
        named = zip(model.outputs, outputs, session.classes, strict=True)
        return [as_rows(*each) for each in named]
    return outputs


def _run_limited(
    session: Session, model: LoadedModel, inputs: Sequence[Tensor], options: RunOptions
) -> list[Tensor | None]:
    # The arena gives back what is free at the end of a run. Otherwise it keeps pieces of all
    # sizes, and soon refuses what is below the limit.
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    try:
        outputs = _run(session, model, inputs, options)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        # The outputs of the run before were still in the arena at its end. They are not now.
        outputs = _run(session, model, inputs, options)
    # Outputs may be kept for long, and what is kept is not for the runs to make room for.
    return [
        each
        if each is None or each.dtype is DType.STRING
        else Tensor.from_numpy(each.numpy().copy())
        for each in outputs
    ]
