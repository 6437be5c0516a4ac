"""Calling a backend once: what must come back of it, and what is made of what it raises."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from traceback import clear_frames
from typing import TYPE_CHECKING, Final, NoReturn, cast

from tensorkeep.errors import (
    OutputIsNoTensor,
    RunCrashed,
    RunFailed,
    RunRefused,
    TensorkeepError,
    WorkerDied,
    WorkerTookTooLong,
    text_of,
)
from tensorkeep.hook_results import is_ours
from tensorkeep.model import Model, Script
from tensorkeep.naming import named
from tensorkeep.sharing import output_named

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from tensorkeep.hookspecs import RunContext, ScriptCall
    from tensorkeep.model import Runnable
    from tensorkeep.runqueue import Run
    from tensorkeep.tensor import Tensor

# To clear the frame of a coroutine that waits would be to end it.
_CAN_BE_SUSPENDED: Final = CO_COROUTINE | CO_GENERATOR | CO_ASYNC_GENERATOR


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


def call_model(model: Model, inputs: Sequence[Tensor], context: RunContext) -> Sequence[Tensor]:
    """Runs a model once, on the calling thread.

    Returns:
        One tensor per output of the model.

    Raises:
        OutputIsNoTensor: An output is none.
        TensorkeepError: The run failed.
    """
    check_not_refused(model)
    try:
        outputs = model.backend.model_run(model.loaded, inputs, context)
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; it is raised again
        _fail(model, error, context)
    return complete(model, outputs)


def complete(model: Model, outputs: Sequence[Tensor | None]) -> Sequence[Tensor]:
    """Returns what a run of a model returned, if it is as many tensors as it has outputs."""
    names = model.loaded.outputs
    return _complete(model, outputs, len(names), names)


def check_not_refused(runnable: Runnable) -> None:
    """Checks that a model or script may be run.

    Raises:
        RunRefused: It ended its worker too often.
    """
    crashes = runnable.crashes
    if crashes.refused:
        raise RunRefused(named(runnable), crashes.running, crashes.cause)


def failure_of(runnable: Runnable, error: BaseException, context: RunContext) -> TensorkeepError:
    """Returns what a run failed with, made of what the backend raised."""
    if isinstance(error, WorkerTookTooLong) or (
        isinstance(error, WorkerDied) and context.cancelled
    ):
        said = getattr(error, "reason", "")
        why = said if said.startswith(context.reason) else context.reason  # it may say more
        return RunFailed(f"The run was ended: {why or 'it was cancelled'}")
    if isinstance(error, WorkerDied):
        runnable.crashes.died(error.cause)
        return RunCrashed(named(runnable), error.cause)
    runnable.crashes.went_well()
    if is_ours(error):
        return cast("TensorkeepError", error)
    return RunFailed(text_of(error))


def _fail(runnable: Runnable, error: BaseException, context: RunContext) -> NoReturn:
    """Raises what a run failed with."""
    failure = failure_of(runnable, error, context)
    if failure is error:
        raise error
    raise failure from error


def _went_well(runnable: Runnable) -> None:
    if runnable.crashes.running:
        runnable.crashes.went_well()


def _complete(
    runnable: Runnable, outputs: Sequence[Tensor | None], count: int, names: Sequence[str]
) -> Sequence[Tensor]:
    """Returns outputs as they are, if they are as many as there should be, and all are tensors.

    A run has all its outputs or fails: what is stored or read under an output's name must never be
    what was there before.
    """
    _went_well(runnable)
    if len(outputs) != count:
        raise RunFailed(f"the backend returned {len(outputs)} outputs for {count}")
    for index, output in enumerate(outputs):
        if output is None:
            raise OutputIsNoTensor(output_named(index, names))
    return cast("Sequence[Tensor]", outputs)


def _call_script(script: Script, call: ScriptCall, context: RunContext) -> Sequence[Tensor]:
    check_not_refused(script)
    try:
        outputs = script.backend.script_run(script.native, call, context)
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; it is raised again
        _fail(script, error, context)
    if call.outputs is None:
        _went_well(script)
        return ()
    return _complete(script, outputs, call.outputs, ())


def call(run: Run, inputs: Sequence[Tensor], context: RunContext) -> Sequence[Tensor]:
    """Does a run, with inputs that may be others; see `call_model`."""
    runnable, asked = run.runnable, run.call
    if asked is None:
        assert isinstance(runnable, Model)  # noqa: S101 - a script comes with a call
        return call_model(runnable, inputs, context)
    assert isinstance(runnable, Script)  # noqa: S101 - a model comes with none
    return _call_script(runnable, replace(asked, tensors=inputs), context)
