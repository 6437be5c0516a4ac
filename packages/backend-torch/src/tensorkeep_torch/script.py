"""Compiling scripts of TorchScript, and calling their functions.

There are two kinds of functions: entry points, which take tensors, keys and arguments, and all
others, which take the tensors one by one, as those of scripts did before there were entry points.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from tensorkeep.errors import ModelRejected, RunFailed
from tensorkeep_torch.devices import set_threads, torch_device
from tensorkeep_torch.extensions import load_operators
from tensorkeep_torch.internals import compile_source, functions_of
from tensorkeep_torch.messages import of_compiler, of_end, of_script
from tensorkeep_torch.program import Program, flattened, vet
from tensorkeep_torch.redis_calls import PYTHON, Caller, exchange, resolver
from tensorkeep_torch.tensors import from_torch, to_torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorkeep.config import BackendOptions
    from tensorkeep.hookspecs import RunContext, ScriptCall
    from tensorkeep.model import ScriptSpec
    from tensorkeep.tensor import Tensor
    from tensorkeep_torch.internals import Native

_TENSOR, _TENSORS = "Tensor", "List[Tensor]"
_ENTRY_POINT: Final = (_TENSORS, "List[str]", "List[str]")
_NOT_THERE: Final = "Function {} does not exist in the given script."
_WRONG_NUMBER: Final = "Wrong number of inputs in function {}. Expected 3 but was {}"
_WRONG_TYPES: Final = (
    "Wrong inputs type in function {0}. Expected signature similar to: "
    "def {0}(tensors: List[Tensor], keys: List[str], args: List[str])"
)


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a script.

    Attributes:
        program: What is called.
        types: The types of its parameters.
        entry_point: Whether it takes tensors, keys and arguments.
    """

    program: Program
    types: tuple[str, ...]
    entry_point: bool


@dataclass(frozen=True, slots=True)
class TorchScript:
    """A compiled script.

    Attributes:
        functions: Its functions by name.
        device: Where its tensors must be, None for host memory.
    """

    functions: Mapping[str, Function]
    device: torch.device | None


# --------------------------------------------------------------------------- compiling
def create_script(spec: ScriptSpec, source: bytes, options: BackendOptions) -> TorchScript:
    """Compiles a script.

    Raises:
        ModelRejected: It does not compile, uses what it may not, or lacks an entry point.
    """
    place = torch_device(spec.device)
    set_threads(options)
    found = _compiled(source)
    for name in spec.entry_points:
        _check_entry_point(name, found.get(name))
    vet(found.values(), place, PYTHON)
    functions = {
        name: Function(
            Program.of(function, place=place, python=PYTHON),
            _types(function),
            name in spec.entry_points,
        )
        for name, function in found.items()
    }
    return TorchScript(functions, None if place.type == "cpu" else place)


def _compiled(source: bytes) -> dict[str, Native]:
    try:
        text = source.partition(b"\0")[0].decode()
    except UnicodeDecodeError as error:
        raise ModelRejected(f"The source of a script must be UTF-8: {error}") from error
    if not text.endswith("\n"):  # the compiler wants an end of the last line
        text += "\n"
    load_operators(text)
    try:
        unit = compile_source(text, resolver({1, *_counts(text)}))
    except Exception as error:  # torch's exceptions have no base of their own
        raise ModelRejected(of_compiler(error)) from error
    return {function.name: function for function in functions_of(unit)}


def _counts(source: str) -> set[int]:
    """Returns with how many arguments behind the command a source calls `redis.execute`."""
    try:
        nodes = [*ast.walk(ast.parse(source, "<script>"))]
    except (MemoryError, RecursionError, SyntaxError, ValueError):
        return set()  # the compiler says what is wrong, in its own words
    return {
        len(node.args) + len(node.keywords) - 1
        for node in nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "execute"
    } - {-1}


def _types(function: Native) -> tuple[str, ...]:
    return tuple(each.type.annotation_str for each in function.schema.arguments)


def _check_entry_point(name: str, function: Native) -> None:
    if function is None:
        raise ModelRejected(_NOT_THERE.format(name))
    types = _types(function)
    if len(types) != len(_ENTRY_POINT):
        raise ModelRejected(_WRONG_NUMBER.format(name, len(types)))
    if types != _ENTRY_POINT:
        raise ModelRejected(_WRONG_TYPES.format(name))


# --------------------------------------------------------------------------- calling
def run_script(script: TorchScript, call: ScriptCall, run: RunContext) -> list[Tensor]:
    """Calls a function of a script; several threads may call the same one.

    Raises:
        RunFailed: There is no such function, it cannot be called so, it failed, it returned
            something else than was expected, or the run was cancelled.
    """
    name = call.function
    function = script.functions.get(name)
    if function is None:
        raise RunFailed(f"Function does not exist: {name}")
    program, device = function.program, script.device
    given = [to_torch(each, device, copy=program.writes) for each in call.tensors]
    if function.entry_point:
        # The compiler takes bytes for strings, whatever they are.
        arguments: list[object] = [given, list(call.keys), list(call.arguments)]
    else:
        arguments = _legacy_arguments(name, function.types, given)
    before = exchange(Caller(call.commands, run, device, program.writes))
    try:
        result = program(arguments, run)
        return [] if call.outputs is None else _outputs(name, result, given, call.outputs)
    except RunFailed:
        raise
    except Exception as error:  # torch's exceptions have no base of their own
        raise RunFailed(of_end(run.reason) if run.cancelled else of_script(error)) from error
    finally:
        exchange(before)


def _legacy_arguments(
    name: str, types: Sequence[str], given: Sequence[torch.Tensor]
) -> list[object]:
    """Matches tensors to parameters; a list takes all that are left."""
    if len(given) < len(types):
        raise RunFailed(f"Wrong number of inputs provided to function: {name}")
    arguments: list[object] = []
    for index, kind in enumerate(types):
        if kind == _TENSORS:
            return [*arguments, given[index:]]
        if kind != _TENSOR:
            raise RunFailed(f"Unsupported input type in function definition: {name}")
        arguments.append(given[index])
    return arguments


def _outputs(name: str, result: object, given: list[torch.Tensor], count: int) -> list[Tensor]:
    values: list[Any] = list(flattened(result))
    if not all(isinstance(each, torch.Tensor) for each in values):
        raise RunFailed(f"Function returned non-tensor values{name}")
    if len(values) != count:
        raise RunFailed(f"Function returned unexpected number of outputs - {name}")
    return [from_torch(each, given) for each in values]
