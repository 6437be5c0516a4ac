"""What scripts find under the names `redis` and `redisAI`, and whose calls those are.

TorchScript's compiler calls functions of Python as they are declared here. It knows no functions
that take any number of arguments, so there is one of TorchScript for each number that a script
uses; all of them end in the same function of Python. A thread calls one script at a time, and
what it calls finds here whose call that is.
"""

from __future__ import annotations

import builtins
import threading
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, List, NamedTuple  # noqa: UP035 - the compiler knows it by this name

import torch

from tensorkeep.errors import CommandFailed, RunFailed
from tensorkeep_torch.internals import any_of, compile_for_all, leave_to_python
from tensorkeep_torch.messages import HIDDEN, REDIS_ERROR, speakable
from tensorkeep_torch.tensors import from_torch, to_torch
from tensorkeep_torch.texts import WRAP, WRAPPED, unwrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tensorkeep.hookspecs import CommandReply, Commands, RunContext
    from tensorkeep_torch.internals import Native


class Caller(NamedTuple):
    """The call of a script that a thread is in.

    Attributes:
        commands: The way to the keyspace and to models.
        run: The run that the call is part of.
        device: Where the script's tensors are, None for host memory.
        writes: Whether the script writes to tensors.
    """

    commands: Commands
    run: RunContext
    device: torch.device | None
    writes: bool


class _Current(threading.local):
    caller: Caller | None = None


_current: Final = _Current()


def exchange(caller: Caller | None) -> Caller | None:
    """Sets whose calls those of this thread are; returns whose they were."""
    before, _current.caller = _current.caller, caller
    return before


class ScriptError(Exception):
    """What a script asked for failed; the text is for the script's author."""


# --------------------------------------------------------------------------- Python's side
# The annotations are objects, whatever `annotations` above says: TorchScript's compiler reads
# them, and knows no others.
def _execute(words):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - set below
    """Runs a command; returns its reply in a list, and of an array True and the elements."""
    caller = _caller("redis.execute")
    command, *arguments = _words(unwrapped(words))
    try:
        reply = caller.commands.execute(command.decode("utf-8", "surrogateescape"), arguments)
    except CommandFailed as error:
        raise ScriptError(speakable(f"{REDIS_ERROR}{error}")) from error
    if isinstance(reply, list):
        return [True, *map(_value, reply)]
    return [_value(reply)]


def _elements(value):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - set below
    """Returns the elements of an array within an array."""
    found = unwrapped(value)
    if isinstance(found, (list, tuple)):
        return [tuple(each) if isinstance(each, list) else each for each in found]
    raise ScriptError(f"redis.asList takes the reply of an array, not {_kind(found)}")


def _model_execute(key, inputs, num_outputs):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Runs a stored model on the tensors of a script."""
    caller = _caller("redisAI.model_execute")
    given = [from_torch(each, inputs) for each in inputs]
    try:
        name = next(_words([unwrapped(key)])).decode("utf-8", "surrogateescape")
        outputs = caller.commands.model_execute(name, given, num_outputs)
    except (CommandFailed, RunFailed) as error:
        raise ScriptError(speakable(str(error))) from error
    return [to_torch(each, caller.device, copy=caller.writes) for each in outputs]


_SIGNATURES: Final[dict[Any, dict[str, Any]]] = {
    _execute: {"words": WRAPPED, "return": List[Any]},  # noqa: UP006
    _elements: {"value": WRAPPED, "return": List[Any]},  # noqa: UP006
    _model_execute: {
        "key": WRAPPED,
        "inputs": List[torch.Tensor],  # noqa: UP006
        "num_outputs": int,
        "return": List[torch.Tensor],  # noqa: UP006
    },
}
for _function, _signature in _SIGNATURES.items():
    leave_to_python(_function, _signature)
PYTHON: Final[frozenset[object]] = frozenset(_SIGNATURES)


def _caller(what: str) -> Caller:
    caller = _current.caller
    if caller is None:
        raise ScriptError(f"{what} cannot be called in a task of torch.jit.fork")
    if caller.run.cancelled:
        raise ScriptError("the run was ended")
    return caller


def _words(arguments: list[object]) -> Iterator[bytes]:
    """Gives arguments as a command takes them; those in lists one by one."""
    for each in arguments:
        if isinstance(each, list):
            yield from _words(each)
        elif isinstance(each, bytes):
            yield each
        elif isinstance(each, str):
            yield each.encode()
        elif isinstance(each, (bool, int)):
            yield b"%d" % each
        elif isinstance(each, float):
            yield repr(each).encode()
        else:
            raise ScriptError(f"redis.execute takes str, int, float and bool, not {_kind(each)}")


def _value(reply: CommandReply) -> object:
    """Returns a reply as the compiler takes it: text as bytes, arrays within arrays as tuples."""
    if isinstance(reply, list):
        return tuple(map(_value, reply))  # a list would have to be of one type, and not empty
    return reply


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__


# --------------------------------------------------------------------------- TorchScript's side
_EXECUTE: Final = """
def {hidden}execute_{count}(cmd: str{parameters}) -> Any:
    words = torch.jit.annotate(List[Any], [cmd, {arguments}])
    reply = execute({wrap}(torch.jit.annotate(Any, words)))
    first = reply[0]
    if isinstance(first, bool):
        return reply[1:]
    return first
"""
_AS_LIST: Final = """
def {hidden}as_list(value: Any) -> List[Any]:
    if isinstance(value, List[Any]):
        return value
    return elements({wrap}(value))
"""
_MODEL_EXECUTE: Final = """
def {hidden}model_execute(key: str, inputs: List[Tensor], num_outputs: int) -> List[Tensor]:
    return model_execute({wrap}(torch.jit.annotate(Any, key)), inputs, num_outputs)
"""
_defined: Final[dict[str, Native]] = {}
_defining: Final = threading.Lock()


def resolver(counts: Iterable[int]) -> Callable[[str], object]:
    """Returns what tells the compiler of a script what names mean.

    Args:
        counts: With how many arguments behind the command it calls `redis.execute`.
    """
    redis, redis_ai = ModuleType("redis"), ModuleType("redisAI")
    redis.execute = any_of([_define_execute(count) for count in sorted(counts)])  # type: ignore[attr-defined]
    redis.asList = any_of([_define("as_list", _AS_LIST, elements=_elements)])  # type: ignore[attr-defined]
    redis_ai.model_execute = any_of(  # type: ignore[attr-defined]
        [_define("model_execute", _MODEL_EXECUTE, model_execute=_model_execute)]
    )
    modules = {"redis": redis, "redisai": redis_ai}

    def resolve(name: str) -> object:
        return _NAMES.get(name) or modules.get(name.lower())

    return resolve


# Beside torch only what may be raised: scripts of libtorch never knew more of Python.
_NAMES: Final[Mapping[str, object]] = {
    "torch": torch,
    **{
        name: value
        for name, value in vars(builtins).items()
        if isinstance(value, type) and issubclass(value, Exception)
    },
}


# What Python has to say of a script's style is nothing for the server's terminal.
warnings.filterwarnings("ignore", module="<script>")


def _define_execute(count: int) -> Native:
    names = [f"arg{number}" for number in range(1, count + 1)] if count != 1 else ["args"]
    source = _EXECUTE.replace("{parameters}", "".join(f", {name}: Any" for name in names)).replace(
        "{arguments}", ", ".join(names)
    )
    return _define(f"execute_{count}", source.replace("{count}", str(count)), execute=_execute)


def _define(name: str, source: str, **functions: object) -> Native:
    """Returns a function of TorchScript, which is kept: scripts share them."""
    with _defining:
        if name not in _defined:
            known = {"torch": torch, **functions}
            hidden = source.replace("{hidden}", HIDDEN).replace("{wrap}", WRAP)
            _defined[name] = compile_for_all(HIDDEN + name, hidden, known.get)
        return _defined[name]
