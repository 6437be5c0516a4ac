"""Which values of a store each command reads, told from the words of its request alone.

A remote store fetches them in one go before the command is done. A request that is wrong is judged
later, by the command's own parser: here it merely names fewer keys, or some that nobody looks at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import keyword, parse_integer
from tensorkeep.model import Model, Script
from tensorkeep.store import Record, Wanted
from tensorkeep.tensor import Tensor
from tensorkeep_server.dag_plan import SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tensorkeep.commands.args import Argument, Request

_SCOPES: Final = frozenset({b"KEYS", b"INPUTS", b"ARGS", b"OUTPUTS"})
_RUNS_IN_DAGS: Final[dict[bytes, type]] = {
    b"AI.MODELEXECUTE": Model,
    b"AI.MODELRUN": Model,
    b"AI.SCRIPTEXECUTE": Script,
    b"AI.SCRIPTRUN": Script,
}


def tensor(request: Request) -> Sequence[Wanted]:
    """Of AI.TENSORGET key: the tensor."""
    return _all(Tensor, request[1:2])


def record(request: Request) -> Sequence[Wanted]:
    """Of a command that describes the model or script under its key: that."""
    return _all(Record, request[1:2])


def model_execute(request: Request) -> Sequence[Wanted]:
    """Of AI.MODELEXECUTE key INPUTS count input ...: the model and its inputs."""
    return [*_all(Model, request[1:2]), *_all(Tensor, counted(request, 2))]


def model_run(request: Request) -> Sequence[Wanted]:
    """Of AI.MODELRUN key [TIMEOUT ms] INPUTS input ... OUTPUTS ...: the model and its inputs."""
    return [*_all(Model, request[1:2]), *_all(Tensor, _up_to_outputs(request, 2))]


def script_execute(request: Request) -> Sequence[Wanted]:
    """Of AI.SCRIPTEXECUTE key function, and scopes in any order: the script and its INPUTS."""
    wanted = _all(Script, request[1:2])
    at = 3
    while at + 1 < len(request) and (word := keyword(request[at])) in _SCOPES:
        names = counted(request, at)
        if word == b"INPUTS":
            wanted += _all(Tensor, names)
        count = parse_integer(request[at + 1])
        at += 2 + max(count or 0, 0)
    return wanted


def script_run(request: Request) -> Sequence[Wanted]:
    """Of AI.SCRIPTRUN key function [TIMEOUT ms] INPUTS input ... OUTPUTS ...: as above."""
    return [*_all(Script, request[1:2]), *_all(Tensor, names_in_any_order(request, b"INPUTS"))]


def dag(request: Request) -> Sequence[Wanted]:
    """Of a DAG: the tensors of LOAD, and the models and scripts of its operations."""
    lists, begin = lists_of_dag(request)
    wanted = [each for word, names in lists if word == b"LOAD" for each in _all(Tensor, names)]
    for at in range(begin + 1, len(request)):
        if request[at - 1][:2] == SEPARATOR:
            kind = _RUNS_IN_DAGS.get(keyword(request[at]))
            if kind is not None:
                wanted += _all(kind, request[at + 1 : at + 2])
    return wanted


def lists_of_dag(request: Request) -> tuple[list[tuple[bytes, Sequence[Argument]]], int]:
    """Returns the lists of LOAD and PERSIST, each with its word, and where the operations begin.

    Like the parser it takes what follows ROUTING or a count as it is, whatever it is called.
    """
    lists: list[tuple[bytes, Sequence[Argument]]] = []
    at = 1
    while at < len(request) and request[at][:2] != SEPARATOR:
        word = keyword(request[at])
        if word in {b"LOAD", b"PERSIST"}:
            names = counted(request, at)
            at += 1 + len(names)
            if any(name[:3] == b"|>\0" for name in names):
                names = [*names, SEPARATOR]  # which it may be taken for
            lists.append((word, names))
        elif word in {b"ROUTING", b"TIMEOUT"}:
            at += 1
        at += 1
    return lists, at


def counted(request: Request, at: int) -> Sequence[Argument]:
    """Returns the names behind a word at `at` and a count."""
    count = parse_integer(request[at + 1]) if at + 1 < len(request) else None
    return request[at + 2 : at + 2 + count] if count and count > 0 else ()


def _up_to_outputs(request: Request, at: int) -> Sequence[Argument]:
    """Returns the names behind INPUTS, which stands at `at` or behind TIMEOUT, up to OUTPUTS."""
    if at < len(request) and keyword(request[at]) == b"TIMEOUT":
        at += 2
    if at >= len(request) or keyword(request[at]) != b"INPUTS":
        return ()
    names = request[at + 1 :]
    return names[: next((n for n, name in enumerate(names) if keyword(name) == b"OUTPUTS"), None)]


def names_in_any_order(request: Request, section: bytes) -> Sequence[Argument]:
    """Returns the names of a section of AI.SCRIPTRUN.

    They stand in any order, and `$` is no name, nor is what follows TIMEOUT.
    """
    names: list[Argument] = []
    inside = False
    words = iter(request[3:])
    for name in words:
        word = keyword(name)
        if word in {b"INPUTS", b"OUTPUTS"}:
            inside = word == section
        elif word == b"TIMEOUT":
            next(words, None)
        elif inside and word != b"$":
            names.append(name)
    return names


def _all(kind: type, keys: Iterable[Argument]) -> list[Wanted]:
    return [Wanted(bytes(key), kind) for key in keys]
