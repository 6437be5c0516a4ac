"""Doing a batch: stack the inputs, call the backend, split the outputs, name what went wrong.

The same steps on a worker thread and on the loop. Nothing here waits for anything but the backend.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from time import monotonic, perf_counter
from traceback import clear_frames
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.batching import split, stack
from tensorkeep.errors import BatchSizeMismatch, InternalError, RunFailed, TensorkeepError, text_of
from tensorkeep.hook_results import is_ours
from tensorkeep.model import Model, Script

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from tensorkeep.backends import Backend
    from tensorkeep.hookspecs import RunContext, ScriptCall
    from tensorkeep.runqueue import Run
    from tensorkeep.tensor import Tensor

_log = logging.getLogger(__name__)

# To clear the frame of a coroutine that waits would be to end it.
_CAN_BE_SUSPENDED: Final = CO_COROUTINE | CO_GENERATOR | CO_ASYNC_GENERATOR


class Outcome(NamedTuple):
    """How one run of a batch ended.

    Attributes:
        run: The run.
        outputs: One tensor per output, None where the output is no tensor; empty after a failure.
        error: What it failed with, None when it ended well.
        seconds: Time in the backend, of the whole batch.
    """

    run: Run
    outputs: Sequence[Tensor | None]
    error: TensorkeepError | None
    seconds: float


def execute(backend: Backend, batch: Sequence[Run], context: RunContext) -> list[Outcome]:
    """Runs a batch; one outcome per run, in the batch's order. Never raises.

    When a batch fails for another reason than its outputs' shape, its members run one by one, so
    that one bad request fails alone.
    """
    try:
        return _execute(backend, batch, context)
    except BaseException as error:  # noqa: BLE001 - a bug of ours: who waits must hear of it
        return lost(batch, error)


def lost(batch: Sequence[Run], error: BaseException) -> list[Outcome]:
    """Returns the outcomes of a batch that was lost to a bug of ours, and logs why."""
    _log.error("a batch of %d runs was lost", len(batch), exc_info=error)
    let_go(error)
    return [Outcome(run, (), InternalError(), 0.0) for run in batch]


def _execute(backend: Backend, batch: Sequence[Run], context: RunContext) -> list[Outcome]:
    context.begin(monotonic())
    started = perf_counter()
    if len(batch) == 1:
        run = batch[0]
        try:
            outputs = _call(backend, run, run.inputs, context)
        except TensorkeepError as error:
            return [Outcome(run, (), error, perf_counter() - started)]
        return [Outcome(run, outputs, None, perf_counter() - started)]
    try:
        columns = zip(*(run.inputs for run in batch), strict=True)
        joined = _call(backend, batch[0], [stack(column) for column in columns], context)
        seconds = perf_counter() - started
        shares = _share(joined, [run.rows for run in batch], batch[0].runnable.spec.backend)
    except BatchSizeMismatch as error:
        seconds = perf_counter() - started
        return [Outcome(run, (), error, seconds) for run in batch]
    except (TensorkeepError, MemoryError):
        return [outcome for run in batch for outcome in execute(backend, [run], context)]
    return [Outcome(run, share, None, seconds) for run, share in zip(batch, shares, strict=True)]


def let_go(error: BaseException) -> None:
    """Empties the frames in the traceback of a failure; the traceback can still be printed.

    They, and those that called them, hold the run's model and tensors, and the run's request holds
    the error: without this, all of them would stay until the garbage collector comes by. Frames
    that are still running stay as they are.
    """
    seen: set[int] = set()
    links: list[BaseException | None] = [error]
    while links:
        link = links.pop()
        if link is None or id(link) in seen:  # a plugin may link exceptions to a ring
            continue
        seen.add(id(link))
        clear_frames(link.__traceback__)
        if link.__traceback__ is not None:
            _clear_callers(link.__traceback__.tb_frame)
        links += (link.__cause__, link.__context__)
        if isinstance(link, BaseExceptionGroup):
            links += link.exceptions


def _clear_callers(frame: FrameType) -> None:
    caller = frame.f_back
    while caller is not None and not caller.f_code.co_flags & _CAN_BE_SUSPENDED:
        with suppress(RuntimeError):  # it is running
            caller.clear()
        caller = caller.f_back


def call_model(
    backend: Backend, model: Model, inputs: Sequence[Tensor], context: RunContext
) -> Sequence[Tensor | None]:
    """Runs a model once, on the calling thread.

    Returns:
        One tensor per output of the model, None for an output that is no tensor.

    Raises:
        TensorkeepError: The run failed.
    """
    loaded = model.loaded
    try:
        outputs = backend.model_run(loaded, inputs, context)
    except BaseException as error:  # a plugin may raise anything; its thread must go on
        if is_ours(error):
            raise
        raise RunFailed(text_of(error)) from error
    if len(outputs) != len(loaded.outputs):
        raise _wrong_count(len(outputs), len(loaded.outputs))
    return outputs


def _call_script(
    backend: Backend, script: Script, call: ScriptCall, context: RunContext
) -> Sequence[Tensor | None]:
    try:
        outputs = backend.script_run(script.native, call, context)
    except BaseException as error:  # a plugin may raise anything; its thread must go on
        if is_ours(error):
            raise
        raise RunFailed(text_of(error)) from error
    if call.outputs is None:
        return ()
    if len(outputs) != call.outputs:
        raise _wrong_count(len(outputs), call.outputs)
    return outputs


def _call(
    backend: Backend, run: Run, inputs: Sequence[Tensor], context: RunContext
) -> Sequence[Tensor | None]:
    runnable, call = run.runnable, run.call
    if call is None:
        assert isinstance(runnable, Model)  # noqa: S101 - a script comes with a call
        return call_model(backend, runnable, inputs, context)
    assert isinstance(runnable, Script)  # noqa: S101 - a model comes with none
    return _call_script(backend, runnable, replace(call, tensors=inputs), context)


def _wrong_count(found: int, expected: int) -> RunFailed:
    return RunFailed(f"the backend returned {found} outputs for {expected}")


def _share(
    joined: Sequence[Tensor | None], counts: list[int], backend: str
) -> list[Sequence[Tensor | None]]:
    total = sum(counts)
    columns: list[Sequence[Tensor | None]] = []
    for output in joined:
        # RedisAI leaves out what a batched run of TF returns without axes; others fail for it.
        if output is None or (backend == "TF" and not output.shape):
            columns.append([None] * len(counts))
        elif not output.shape or output.shape[0] != total:
            raise BatchSizeMismatch(backend)
        else:
            columns.append(split(output, counts))
    return list(zip(*columns, strict=True)) if columns else [() for _ in counts]
