"""Which keys each AI command uses, and whether it reads or changes what is stored there.

Told from the words of a request alone, before it is done, for the rights of the user who sent it.
What its parser finds must be among it; of a request that is wrong it may find more, or less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import keyword, parse_integer
from tensorkeep.commands.command import TO_CHANGE, TO_READ
from tensorkeep_server.commands.ai import wanted
from tensorkeep_server.dag_plan import SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorkeep.commands.args import Argument, Request
    from tensorkeep.store import Wanted

_COUNTED: Final = {
    b"INPUTS": TO_READ,
    b"OUTPUTS": TO_CHANGE,
    b"KEYS": TO_READ | TO_CHANGE,  # for the script to do what it likes
    b"ARGS": None,
}


def model_execute(request: Request) -> Iterator[tuple[Argument, int]]:
    """Of AI.MODELEXECUTE: the model, and the counted names."""
    yield from _read(wanted.record(request))
    yield from _counted(request, 2)


def script_execute(request: Request) -> Iterator[tuple[Argument, int]]:
    """Of AI.SCRIPTEXECUTE: the script, and the counted names behind the function."""
    yield from _read(wanted.record(request))
    yield from _counted(request, 3)


def model_run(request: Request) -> Iterator[tuple[Argument, int]]:
    """Of AI.MODELRUN: the model and its inputs, and what follows OUTPUTS."""
    yield from _read(wanted.model_run(request))
    outputs = False
    for word in request[2:]:
        if outputs:
            yield word, TO_CHANGE
        outputs = outputs or keyword(word) == b"OUTPUTS"


def script_run(request: Request) -> Iterator[tuple[Argument, int]]:
    """Of AI.SCRIPTRUN: the script and its inputs, and what follows OUTPUTS."""
    yield from _read(wanted.script_run(request))
    for name in wanted.names_in_any_order(request, b"OUTPUTS"):
        yield name, TO_CHANGE


def dag(request: Request) -> Iterator[tuple[Argument, int]]:
    """Of a DAG: the tensors of LOAD and PERSIST, models and scripts, and the keys of scripts."""
    yield from _read(wanted.dag(request))
    lists, begin = wanted.lists_of_dag(request)
    for word, names in lists:
        if word == b"PERSIST":
            for name in names:
                yield name, TO_CHANGE
    for at in range(begin, len(request)):
        if keyword(request[at]) == b"KEYS":
            for name in wanted.counted(request, at):
                yield name, TO_READ | TO_CHANGE


def commands_in_dag(request: Request) -> Iterator[Argument]:
    """Of a DAG: the names of the commands that it does."""
    for at in range(2, len(request)):
        if request[at - 1][:2] == SEPARATOR:
            yield keyword(request[at])


def _read(values: Sequence[Wanted]) -> Iterator[tuple[Argument, int]]:
    for each in values:
        yield each.key, TO_READ


def _counted(request: Request, at: int) -> Iterator[tuple[Argument, int]]:
    """Returns the names of lists that stand in any order, with other words between them."""
    while at + 1 < len(request):
        word = keyword(request[at])
        at += 1
        count = parse_integer(request[at]) if word in _COUNTED else None
        if count is not None and count > 0:
            at += 1
            access = _COUNTED[word]
            if access is not None:
                for name in request[at : at + count]:
                    yield name, access
            at += count
