"""What is used here of torch beyond its public interface, all in one place.

To be looked at when torch changes. The public ways either warn each of their callers that
TorchScript grows old, or dress what they return in modules of Python, at several times the cost
of a small run, or do not exist.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch
from torch._awaits import _Await
from torch._jit_internal import FunctionModifiers
from torch.jit._state import _python_cu, _set_jit_overload_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Native: TypeAlias = Any
"""An object of torch's own that has no type in Python: a unit, function, graph, node or value."""

Wrapped: Final[Any] = _Await
"""The type of values that Python's functions are given without being converted."""

_C: Final[Any] = torch._C  # noqa: SLF001 - see above; untyped, for its types are often wrong

# For the whole process: a function is made ready in its first run, not once more in its second. A
# scripted transformer of 24 layers then takes 0.6 s for its first run instead of 1.1 and 1.8 for
# two, and the same 6 ms for each of the others; on a GPU, no kernels are compiled anew for each
# new size of a batch.
_C._jit_set_profiling_mode(False)  # noqa: FBT003, SLF001

# What torch has to say of operators that grow old while a model runs is not for those who wait for
# an answer. Only what is called from here is silent.
warnings.filterwarnings("ignore", module=r"tensorkeep_torch\.")
# Nor is that TorchScript grows old: the compiler says it of each function of torch that a script
# uses and that is not in C++.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated")

# `from_dlpack(capsule)`: without the checks of `torch.from_dlpack`, which take twice as long.
from_dlpack: Final[Callable[[object], torch.Tensor]] = _C._from_dlpack  # noqa: SLF001
# `set_gradients(bool)`, for the calling thread: 0.1 us, where `torch.no_grad()` takes 1.5.
set_gradients: Final[Callable[[bool], None]] = _C._set_grad_enabled  # noqa: SLF001


# --------------------------------------------------------------------------- compiling
def compile_source(source: str, resolve: Callable[[str], object] = lambda _: None) -> Native:
    """Compiles source of TorchScript to a unit of functions.

    Args:
        source: The source.
        resolve: Tells what names mean that the source does not define; None for nothing.

    Raises:
        Exception: torch's own: it does not compile.
    """
    unit = _C.CompilationUnit()
    unit.define(source, resolve)
    return unit


def compile_for_all(name: str, source: str, resolve: Callable[[str], object]) -> Native:
    """Compiles a function that others may call, and that is kept for ever; returns it."""
    _python_cu.define(source, resolve)  # type: ignore[arg-type] # what names mean need not be functions
    return _python_cu.find_function(name)


def any_of(functions: Sequence[Native]) -> Callable[[], None]:
    """Returns what the compiler takes for whichever of some functions fits a call.

    Args:
        functions: Functions from `compile_for_all`.
    """

    def chosen() -> None:
        """Is never called."""

    _set_jit_overload_cache(chosen, functions)
    return chosen


def leave_to_python(function: Native, annotations: dict[str, object]) -> None:
    """Has the compiler call a function of Python instead of compiling it."""
    function.__annotations__ = annotations
    function._torchscript_modifier = FunctionModifiers.IGNORE  # noqa: SLF001


def function_of(name: str, graph: Native) -> Native:
    """Returns a function that does what a graph says."""
    return _C.CompilationUnit().create_function(name, graph)


def functions_of(unit: Native) -> list[Native]:
    """Returns the functions of a unit, methods included."""
    functions: list[Native] = unit.get_functions()
    return functions


def read_module(
    package: bytes, memory: Mapping[str, torch.Tensor], device: torch.device
) -> tuple[Native, Native]:
    """Reads a module of TorchScript, the first in a package.

    Args:
        package: The package, without weights.
        memory: The memory of weights and constants, by its keys in the package.
        device: Where the weights are to be.

    Returns:
        The module, and all functions of its source as one unit.

    Raises:
        Exception: torch's own.
    """
    known = _C.DeserializationStorageContext()
    for key, content in memory.items():
        known.add_storage(key, content)
    reader = _C.PyTorchFileReader(io.BytesIO(package))
    unit = _C.CompilationUnit()
    return _C._import_ir_module_from_package(unit, reader, known, device, "0"), unit  # noqa: SLF001


def method_of(module: Native, name: str) -> Native:
    """Returns a method of a module.

    Raises:
        RuntimeError: There is none of that name.
    """
    return module._get_method(name)  # noqa: SLF001


# --------------------------------------------------------------------------- graphs
def decide(graph: Native) -> None:
    """Takes out of a graph what is switched off, without looking at tensors."""
    _C._jit_pass_constant_propagation_immutable_types(graph)  # noqa: SLF001


def inline(graph: Native) -> None:
    """Puts what a graph calls in its place."""
    _C._jit_pass_inline(graph)  # noqa: SLF001


def tags_of(operator: str, overload: str) -> Iterable[torch.Tag]:
    """Returns what torch says of an operator; nothing of those that only TorchScript has."""
    found = _C._get_operation_overload(operator, overload)  # noqa: SLF001
    tags: Iterable[torch.Tag] = () if found is None else found[2]
    return tags


def parameter_types(operator: str, overload: str) -> dict[str, str] | None:
    """Returns the types of an operator's parameters by their names, None when there is none."""
    try:
        schema = _C._get_schema(operator, overload)  # noqa: SLF001
    except RuntimeError:
        return None
    return {each.name: each.type.annotation_str for each in schema.arguments}


# --------------------------------------------------------------------------- tensors
def list_of(items: Sequence[torch.Tensor]) -> Native:
    """Returns a list that functions take as it is: one of Python's is walked through each time.

    Args:
        items: At least one tensor.
    """
    return _C.ScriptList(list(items))


def owners_of(tensor: torch.Tensor) -> tuple[int, int]:
    """Returns how many hold a tensor, and how many its memory, as torch counts them."""
    counted: Any = tensor
    memory = tensor.untyped_storage()._cdata  # noqa: SLF001
    return counted._use_count(), _C._storage_Use_Count(memory)  # noqa: SLF001


# --------------------------------------------------------------------------- schemas
def schemas_of(operator: str) -> Sequence[Native]:
    """Returns the schemas of all overloads of an operator; none when there is no such operator."""
    found: Sequence[Native] = _C._jit_get_schemas_for_operator(operator)  # noqa: SLF001
    return found


def has_composite_kernel(operator: str, overload: str) -> bool:
    """Returns whether an operator is made of other operators, as far as torch's dispatcher knows.

    What it does not know is made of others, too.
    """
    name = f"{operator}.{overload}" if overload else operator
    try:
        return bool(
            _C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd")  # noqa: SLF001
        )
    except RuntimeError:
        return True
