"""Trying a shared run of a model: against its members alone, and with other rows beside them.

Nobody is given what these runs return. How a model is run is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeAlias

from tensorkeep.errors import TensorkeepError
from tensorkeep.probes import grouped, orders, pairs, stand_ins
from tensorkeep.sharing import alike, difference, influence
from tensorkeep.tensor import Tensor

Members: TypeAlias = Sequence[Sequence[Tensor]]
"""The inputs, or the outputs, of each member of a batch."""

Shares: TypeAlias = Callable[[Members], Members]
"""Runs the inputs of members as one and returns the outputs of each.

Raises `SaysNothingError`, `UnexpectedRowsError`, or a `TensorkeepError` where the run failed.
"""


class UnexpectedRowsError(Exception):
    """A shared run did not give a row of each output for each row of the inputs."""


class SaysNothingError(Exception):
    """A shared run was ended or found no memory."""


def compare(shares: Shares, members: Members, alone: Members, names: Sequence[str]) -> str:
    """Returns what is wrong with shared runs, in several orders of the members.

    Args:
        shares: Does a shared run.
        members: The inputs of each member.
        alone: Their outputs alone.
        names: Names of the outputs, perhaps empty ones.

    Returns:
        The end of a sentence for people; empty when nothing is.

    Raises:
        SaysNothingError: It cannot be said.
    """
    together = grouped(members)
    for order in orders(len(members))[: None if alike(members) is None else 1]:
        places = [together[at] for at in order]
        try:
            found = shares([members[place] for place in places])
        except UnexpectedRowsError as error:
            return str(error)
        except TensorkeepError as error:
            return _fails(error)
        for share, place in zip(found, places, strict=True):
            reason = difference(share, alone[place], names)
            if reason:
                return reason
    return ""


def probe(shares: Shares, members: Members, names: Sequence[str]) -> str:
    """Returns which output of a member changes with what the other rows hold.

    In the same place of a batch of the same sizes kernels compute a row in the same way, to the
    last bit, whatever other rows hold; unless a batch as it is does not repeat itself. Two members
    are enough, for this must not take much longer than the comparison.

    Args:
        shares: Does a shared run.
        members: The inputs of each member, of which `compare` found nothing wrong.
        names: Names of the outputs, perhaps empty ones.

    Returns:
        The end of a sentence for people; empty when none does.

    Raises:
        SaysNothingError: It cannot be said.
    """
    together = grouped(members)
    for pair in pairs(members[together[0]], members[together[-1]]):
        reason = _influenced(shares, pair, names)
        if reason:
            return reason
    return ""


def _influenced(shares: Shares, pair: Members, names: Sequence[str]) -> str:
    """Probes with one pair of members; see `probe`."""
    try:
        usual, again = shares(pair), shares(pair)
    except UnexpectedRowsError as error:
        return str(error)
    except TensorkeepError:
        return ""  # the model does not take such rows
    first = 0 if alike(pair) is None else 1  # its own rows would be what is there
    for place in (0, 1):
        exact = not influence(again[place], usual[place], names, exact=True)
        for batch in islice(stand_ins(pair, place), first, None):
            try:
                found = shares(batch)[place]
            except UnexpectedRowsError as error:
                return str(error)
            except TensorkeepError:
                continue  # nor such
            reason = influence(found, usual[place], names, exact=exact)
            if reason:
                return reason
    return ""


def _fails(error: TensorkeepError) -> str:
    return f"a shared run fails where each member alone does not: {error}"
