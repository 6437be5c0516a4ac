"""Doing a batch: stack the inputs, call the backend, split the outputs, name what went wrong.

The same steps on a worker thread and on the loop. Nothing here waits for anything but the backend.
Which shared runs can be relied on is decided by `sharing`; here they are run, and tried.
"""

from __future__ import annotations

import logging
from functools import partial
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.batch_axis import AxisKind
from tensorkeep.batching import split, stack
from tensorkeep.calling import (
    call,
    call_model,
    check_not_refused,
    complete,
    failure_of,
    let_go,
)
from tensorkeep.errors import InternalError, OutOfMemory, RunCrashed, RunRefused, TensorkeepError
from tensorkeep.headroom import HEADROOM
from tensorkeep.model import Model
from tensorkeep.sharing import FLOATS, alike, are_close, output_named
from tensorkeep.trial import SaysNothingError, UnexpectedRowsError, compare, probe

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from tensorkeep.hookspecs import RunContext
    from tensorkeep.runqueue import Run
    from tensorkeep.tensor import Tensor

_log = logging.getLogger(__name__)

_SOON_STACKED: Final = 2**20
"""Bytes that are stacked in a fraction of a millisecond."""


class Outcome(NamedTuple):
    """How one run of a batch ended.

    Attributes:
        run: The run.
        outputs: One tensor per output; empty after a failure.
        error: What it failed with, None when it ended well.
        seconds: Time in the backend: of the whole batch where its members shared a run.
        shared: Whether they did.
        told: Whether it was made known before the batch was over.
    """

    run: Run
    outputs: Sequence[Tensor]
    error: TensorkeepError | None
    seconds: float
    shared: bool = False
    told: bool = False


def seconds_of(outcomes: Sequence[Outcome]) -> float:
    """Returns how long the backend was busy with a batch."""
    if outcomes[0].shared:
        return outcomes[0].seconds
    return sum([outcome.seconds for outcome in outcomes])


def execute(
    batch: Sequence[Run],
    context: RunContext,
    tell: Callable[[list[Outcome]], object] | None = None,
    failed: Exception | None = None,
) -> list[Outcome]:
    """Runs a batch; one outcome per run, in the batch's order. Never raises.

    Its members share a run of the model where that is known to give each what it gets alone. What
    is not known yet is found out, and they get what they got alone. When a shared run fails, its
    members run one by one, so that one bad request fails alone.

    Args:
        batch: The runs.
        context: The context of all of them.
        tell: Called with all outcomes as soon as they are known, where more is to be found out
            then with further runs of the model: nobody has to wait for those.
        failed: What a shared run of them failed with, where they have had one.
    """
    told: list[Outcome] = []

    def tell_early(outcomes: list[Outcome]) -> None:
        if tell is not None:
            tell(outcomes)
            told.extend(outcome._replace(told=True) for outcome in outcomes)

    try:
        if failed is None:
            outcomes = _execute(batch, context, tell_early)
        else:
            outcomes = _alone(batch, context, failed)
    except BaseException as error:  # noqa: BLE001 - a bug of ours: who waits must hear of it
        outcomes = lost(batch, error)
    return told or outcomes


def lost(batch: Sequence[Run], error: BaseException) -> list[Outcome]:
    """Returns the outcomes of a batch that was lost to a lack of memory, or to a bug of ours.

    The log says why in the latter case.
    """
    if isinstance(error, MemoryError):
        HEADROOM.relieve()
        let_go(error)
        return [Outcome(run, (), OutOfMemory(), 0.0) for run in batch]
    _log.error("a batch of %d runs was lost", len(batch), exc_info=error)
    let_go(error)
    return [Outcome(run, (), InternalError(), 0.0) for run in batch]


def _execute(
    batch: Sequence[Run], context: RunContext, tell: Callable[[list[Outcome]], None]
) -> list[Outcome]:
    if len(batch) == 1:
        return [_run_alone(batch[0], context)]
    model = batch[0].runnable
    assert isinstance(model, Model)  # noqa: S101 - calls of scripts come one by one
    if model.unshared:  # it may have turned out since they were put together
        return [_run_alone(run, context) for run in batch]
    if not _may_be_relied_on(model, batch):
        if model.sharing.trying:  # another worker, which this one overtakes
            return [_run_alone(run, context) for run in batch]
        return _try_sharing(model, batch, context, tell)
    started = perf_counter()
    try:
        shares = _shares(model, [run.inputs for run in batch], context)
    except (UnexpectedRowsError, TensorkeepError, MemoryError) as error:
        return _alone(batch, context, error)
    return _shared(batch, shares, perf_counter() - started)


def _alone(batch: Sequence[Run], context: RunContext, failed: Exception) -> list[Outcome]:
    """Runs the members of a batch one by one after a shared run of them failed."""
    model = batch[0].runnable
    assert isinstance(model, Model)  # noqa: S101 - calls of scripts come one by one
    if isinstance(failed, UnexpectedRowsError):
        model.sharing.refuse(str(failed))
    else:
        let_go(failed)
    outcomes = [_run_alone(run, context) for run in batch]
    if isinstance(failed, RunCrashed) and all(outcome.error is None for outcome in outcomes):
        model.sharing.refuse(_ended_worker(failed.cause))
    return outcomes


def _ended_worker(cause: str) -> str:
    return f"a shared run ended its worker process where each member alone did not: {cause}"


def _shared(
    batch: Sequence[Run], shares: Sequence[Sequence[Tensor]], seconds: float
) -> list[Outcome]:
    return [
        Outcome(run, share, None, seconds, shared=True)
        for run, share in zip(batch, shares, strict=True)
    ]


def _run_alone(run: Run, context: RunContext) -> Outcome:
    context.begin(monotonic())
    started = perf_counter()
    try:
        outputs = call(run, run.inputs, context)
    except TensorkeepError as error:
        return Outcome(run, (), error, perf_counter() - started)
    return Outcome(run, outputs, None, perf_counter() - started)


# --------------------------------------------------------------------------- without a thread
def inputs_of_one_run(batch: Sequence[Run]) -> Sequence[Tensor] | None:
    """Returns what a model is given to run a batch, for who calls it without `execute`.

    None where it takes `execute`: for a script, and for members that are not known to be able to
    share a run, or that have to be stacked and take long to.
    """
    model = batch[0].runnable
    if not isinstance(model, Model) or model.crashes.refused:
        return None
    if len(batch) == 1:
        return batch[0].inputs
    if model.unshared or not _may_be_relied_on(model, batch):
        return None
    if sum([tensor.nbytes for run in batch for tensor in run.inputs]) > _SOON_STACKED:
        return None
    return _stacked([run.inputs for run in batch])


def outcomes_of_one_run(
    batch: Sequence[Run],
    result: Sequence[Tensor | None] | Exception,
    context: RunContext,
    seconds: float,
) -> list[Outcome]:
    """Returns the outcomes of a batch that was run so.

    Args:
        batch: The runs.
        result: What the hook `model_run` returned or raised.
        context: The context of all of them.
        seconds: How long it took.

    Raises:
        Exception: What a shared run failed with: its members have to run alone, see `execute`.
    """
    model = batch[0].runnable
    assert isinstance(model, Model)  # noqa: S101 - see inputs_of_one_run
    try:
        if isinstance(result, Exception):
            raise failure_of(model, result, context)
        outputs = complete(model, result)
    except TensorkeepError as error:
        if len(batch) > 1:
            raise
        return [Outcome(batch[0], (), error, seconds)]
    if len(batch) == 1:
        return [Outcome(batch[0], outputs, None, seconds)]
    return _shared(batch, _cut(model, outputs, _counts(batch)), seconds)


# --------------------------------------------------------------------------- sharing a run
def _shares(
    model: Model, members: Sequence[Sequence[Tensor]], context: RunContext
) -> list[Sequence[Tensor]]:
    """Runs the inputs of several members as one, and returns what each member gets.

    Raises:
        UnexpectedRowsError: The outputs cannot be cut.
        TensorkeepError: The run failed.
        MemoryError: There is no memory for the stacked inputs.
    """
    context.begin(monotonic())
    joined = call_model(model, _stacked(members), context)
    return _cut(model, joined, [inputs[0].shape[0] for inputs in members])


def _stacked(members: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    return [stack(column) for column in zip(*members, strict=True)]


def _cut(model: Model, joined: Sequence[Tensor], counts: Sequence[int]) -> list[Sequence[Tensor]]:
    """Returns what each member gets of the outputs of a shared run.

    Raises:
        UnexpectedRowsError: The outputs cannot be cut.
    """
    reason = _without_rows(joined, sum(counts), model.loaded.outputs)
    if reason:
        raise UnexpectedRowsError(reason)
    if not joined:
        return [() for _ in counts]
    return list(zip(*[split(output, counts) for output in joined], strict=True))


def _without_rows(outputs: Sequence[Tensor], rows: int, names: Sequence[str]) -> str:
    """Returns which output does not have so many rows; empty when all have."""
    for index, output in enumerate(outputs):
        if output.shape[:1] != (rows,):
            name = output_named(index, names)
            return f"{name} of a run of {rows} rows is {list(output.shape)}, not as many rows"
    return ""


def _counts(batch: Sequence[Run]) -> list[int]:
    return [run.rows for run in batch]


def _may_be_relied_on(model: Model, batch: Sequence[Run]) -> bool:
    """Returns whether a shared run is known to give its members what they get alone."""
    if model.loaded.batch_axis.kind is AxisKind.KNOWN:
        return True
    signature, sizes = _signature(model, batch)
    sharing = model.sharing
    if sharing.is_proven(signature, sizes):
        return True
    same = alike([run.inputs for run in batch])
    return same is not None and sharing.is_proven(signature, sizes, same)


def _signature(model: Model, batch: Sequence[Run]) -> tuple[Hashable, set[int]]:
    """Returns for which batches a trial of this one tells something: inputs and sizes.

    Where the model declares its batch axis, that is all of them.
    """
    if model.loaded.batch_axis.kind is AxisKind.DECLARED:
        return None, set()
    counts = _counts(batch)
    return tuple([(t.dtype, t.shape[1:]) for t in batch[0].inputs]), {sum(counts), *counts}


def _try_sharing(
    model: Model,
    batch: Sequence[Run],
    context: RunContext,
    tell: Callable[[list[Outcome]], None],
) -> list[Outcome]:
    """Runs the members of a batch alone, and compares that with what they get of shared runs."""
    outcomes = [_run_alone(run, context) for run in batch]
    if context.cancelled or any(outcome.error is not None for outcome in outcomes):
        return outcomes  # nothing can be said of the model
    alone = [outcome.outputs for outcome in outcomes]
    members = [run.inputs for run in batch]
    names = model.loaded.outputs
    same = alike(members)
    reasons = [_without_rows(*each, names) for each in zip(alone, _counts(batch), strict=True)]
    reason = next(filter(None, reasons), "")
    if not reason:
        declared = model.loaded.batch_axis.kind is AxisKind.DECLARED
        telling = declared and any(tensor.dtype in FLOATS for tensor in members[0])
        if same is None and not (telling or _differ(alone)):
            return outcomes  # exchanged or mixed rows could not be told from right ones
        tell(outcomes)
        shares = partial(_shares_of_trial, model, context)
        model.sharing.trying = True
        try:
            reason = compare(shares, members, alone, names)
            if not (reason or model.sharing.knows(_signature(model, batch)[0])):
                reason = probe(shares, members, names)
        except SaysNothingError:
            return outcomes
        finally:
            model.sharing.trying = False
    if reason:
        model.sharing.refuse(reason)
    else:
        model.sharing.prove(*_signature(model, batch), same)
    return outcomes


def _shares_of_trial(
    model: Model, context: RunContext, members: Sequence[Sequence[Tensor]]
) -> list[Sequence[Tensor]]:
    """Runs members as one, in a trial; see `trial.Shares`."""
    try:
        return _shares(model, members, context)
    except MemoryError:
        raise SaysNothingError from None
    except RunCrashed as error:  # no further rows are tried then
        raise UnexpectedRowsError(_ended_worker(error.cause)) from None
    except TensorkeepError as error:
        let_go(error)
        if context.cancelled:
            raise SaysNothingError from None
        raise


def _differ(alone: Sequence[Sequence[Tensor]]) -> bool:
    """Returns whether runs gave different outputs, by more than rounding."""
    first, *others = alone
    return any(
        one.dtype is not other.dtype or one.shape != other.shape or not are_close(one, other)
        for each in others
        for one, other in zip(each, first, strict=True)
    )


def refused(run: Run) -> Outcome | None:
    """Returns the outcome of a run that is not even tried; None for one that may be."""
    try:
        check_not_refused(run.runnable)
    except RunRefused as error:
        return Outcome(run, (), error, 0.0)
    return None
