"""The source in a TorchScript archive, parsed by Python and held to a small grammar.

torch's own compiler ends the process over thousands of brackets or terms, and what it takes may
loop, recurse or reach anything. Here source is split into short pieces before it is parsed, has no
loops, and calls nothing but what `known` contains. What else there is raises `Unreadable`.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Final

from tensorkeep_torch.module_state import Unreadable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_LONGEST: Final = 2**20  # bytes of all source
_LONGEST_PIECE: Final = 8_000  # characters: parsed in some 2 ms, in which nobody else is served
_LONGEST_LINE: Final = 2_000
_DEEPEST: Final = 20  # of brackets
_MOST_PIECES: Final = 5_000
_STRANGE: Final = re.compile(r"[^\n\x20-\x7e]|[\\#;`$!]|\"\"\"|'''|\b\d+_|\b0[xXoObB]")
_DEFINITION: Final = re.compile(r"(?:class|def) (\w+)")
# Methods that are more than methods to Python or to torch.
_SPECIAL: Final = re.compile(r"__(?!len__|contains__|dir__)\w+__|.*hook.*")

# What may be called beside operators: it makes, compares and checks plain values.
_BUILT_IN: Final = frozenset(("annotate", "unchecked_cast", "uninitialized"))
_ROOTS: Final = frozenset(("torch", "ops", "__torch__", "CONSTANTS"))
_RAISE: Final = "ops.prim.RaiseException"
# A function of torch itself has a loop. It is told by its text.
_VERIFY_BATCH_SIZE: Final = """
def _verify_batch_size(size: List[int]) -> NoneType:
    NAME = NAME
    NAME = size[0]
    NAME = NAME
    for i in range(torch.sub(torch.len(size), 2)):
        NAME = torch.mul(NAME, size[torch.add(i, 2)])
        NAME = NAME
    if torch.eq(NAME, 1):
        ops.prim.RaiseException(torch.format(NAME, size), NAME)
    else:
        pass
    return None
"""


@dataclass(frozen=True, slots=True)
class Class:
    """A class of the archive.

    Attributes:
        attributes: The types of its attributes, as text, by name.
        constants: The values of those that are constants.
        methods: By name.
    """

    attributes: dict[str, str] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    methods: dict[str, ast.FunctionDef] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """All source of an archive, by full names such as `__torch__.torch.nn.functional.relu`."""

    classes: dict[str, Class] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)


def read_source(files: dict[str, str], known: Collection[str]) -> Source:
    """Reads the source of an archive.

    Args:
        files: The text of each file, by the name of its module.
        known: The operators that may be called, such as `torch.relu`.

    Raises:
        Unreadable: It has what was not tested.
    """
    if sum(map(len, files.values())) > _LONGEST:
        raise Unreadable("it has too much source")
    source, pieces = Source(), 0
    for module, text in files.items():
        if found := _STRANGE.search(text):
            raise Unreadable(f"its source has the character {found[0]!r}")
        for head, piece in _pieces(text):
            pieces += 1
            if pieces > _MOST_PIECES:
                raise Unreadable("it has too much source")
            _add(source, module, head, _parsed(piece), known)
    return source


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Gives the functions, and lines in between, of some source.

    Yields:
        The name of the class that the piece is in, if any, and the piece.
    """
    head, piece = "", [""]
    for line in text.split("\n"):
        if len(line) > _LONGEST_LINE:
            raise Unreadable("its source has a line that is too long")
        if not line.startswith(" ") and line:
            yield head, "\n".join(piece)
            found = _DEFINITION.match(line)
            if not found:
                raise Unreadable(f"its source has {line[:50]!r} outside of a function")
            if line.startswith("class "):
                if line != f"class {found[1]}(Module):":
                    raise Unreadable(f"{found[1][:50]} is not a module")
                head, piece = found[1], []
                yield head, ""
            else:
                head, piece = "", [line]
        elif head and line.startswith("  ") and line[2:3] != " ":
            yield head, "\n".join(piece)
            piece = [line[2:]]
        else:
            piece.append(line[2:] if head else line)
    yield head, "\n".join(piece)


def _parsed(piece: str) -> list[ast.stmt]:
    if len(piece) > _LONGEST_PIECE:
        raise Unreadable("a function in its source is too long")
    depth = 0
    for each in re.findall(r"[\[({})\]]", piece):
        depth += 1 if each in "[({" else -1
        if depth > _DEEPEST:
            raise Unreadable("its source has too many brackets in each other")
    try:
        return ast.parse(piece).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable("its source is none") from error


def _add(
    source: Source, module: str, head: str, body: list[ast.stmt], known: Collection[str]
) -> None:
    found = source.classes.setdefault(f"{module}.{head}", Class()) if head else None
    for one in body:
        if isinstance(one, ast.FunctionDef):
            check_function(one, known)
            place = source.functions if found is None else found.methods
            name = f"{module}.{one.name}" if found is None else one.name
            if name in place:
                raise Unreadable(f"{one.name[:50]} is there twice")
            place[name] = one
        elif found is None:
            raise Unreadable("its source has something outside of functions")
        else:
            _add_attribute(found, one)


def _add_attribute(target: Class, one: ast.stmt) -> None:
    match one:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=value):
            pass
        case ast.Assign(
            targets=[
                ast.Subscript(value=ast.Name(id="__annotations__"), slice=ast.Constant(str(name)))
            ],
            value=kind,
        ):
            value = None
        case ast.Assign(targets=[ast.Name(id="__parameters__" | "__buffers__")], value=ast.List()):
            return
        case _:
            raise Unreadable("a class has what was not tested")
    if name in target.attributes:
        raise Unreadable(f"{name[:50]} is there twice")
    if value is not None:
        constant_of(value)
        target.constants[name] = value
    target.attributes[name] = ast.unparse(kind)


# --------------------------------------------------------------------------- the grammar
def check_function(function: ast.FunctionDef, known: Collection[str]) -> None:
    """Raises what a function has that was not tested."""
    if _SPECIAL.fullmatch(function.name):
        raise Unreadable(f"{function.name[:50]} is called by torch itself")
    if _is_verify_batch_size(function):
        function.body[:] = [ast.Return(ast.Constant(None))]  # it checks a shape, and may raise
        return
    given = function.args
    if given.vararg or given.kwarg or given.kwonlyargs or given.posonlyargs or given.kw_defaults:
        raise Unreadable(f"{function.name[:50]} takes arguments that were not tested")
    if not _ROOTS.union(_PYTHONS).isdisjoint(each.arg for each in given.args):
        raise Unreadable(f"{function.name[:50]} takes arguments that were not tested")
    for default in given.defaults:
        constant_of(default)
    if function.decorator_list:
        raise Unreadable(f"{function.name[:50]} is decorated")
    _check_body(function.body, known)
    _check_texts(function)


def _check_texts(function: ast.FunctionDef) -> None:
    """Raises unless texts that are put together are used for messages only.

    A text that is put into itself a few times over fills the memory, and torch computes what is
    constant when it compiles, whether it is ever run or not.
    """
    parts = [*ast.walk(function)]
    calls = [each for each in parts if isinstance(each, ast.Call)]
    messages = {
        argument
        for call in calls
        if path_of(call.func) in {_RAISE, "torch.warn"}
        for argument in call.args
    }
    texts = {call for call in calls if path_of(call.func) == "torch.format"}
    named = {
        target.id: one.value
        for one in parts
        if isinstance(one, ast.Assign) and one.value in texts
        for target in one.targets
        if isinstance(target, ast.Name)
    }
    uses = {
        each
        for each in parts
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load) and each.id in named
    }
    if not uses <= messages or not texts <= messages | {*named.values()}:
        raise Unreadable("its source puts texts together for more than messages")


def _is_verify_batch_size(function: ast.FunctionDef) -> bool:
    if function.name != "_verify_batch_size":
        return False
    text = re.sub(
        r"'[^'\n]*'|\"[^\"\n]*\"|\b(?:size_prods\d*|_\d+)\b", "NAME", ast.unparse(function)
    )
    return text.strip() == _VERIFY_BATCH_SIZE.strip()


def _check_body(body: list[ast.stmt], known: Collection[str]) -> None:
    for one in body:
        match one:
            case ast.Assign(targets=[ast.Name() | ast.Tuple() as target], value=value):
                _check_targets(target.elts if isinstance(target, ast.Tuple) else [target])
                _check(value, known)
            case ast.AnnAssign(target=ast.Name() as target, value=ast.expr() as value):
                _check_targets([target])
                _check(value, known)
            case ast.Return(value=value):
                if value is not None:
                    _check(value, known)
            case ast.Expr(value=ast.Call() as value):
                _check(value, known)
            case ast.If(test=test, body=first, orelse=other):
                _check(test, known)
                _check_body(first, known)
                _check_body(other, known)
            case ast.Pass():
                pass
            case _:
                raise Unreadable(f"its source has a {type(one).__name__} statement")


def _check_targets(targets: list[ast.expr]) -> None:
    for each in targets:
        if not isinstance(each, ast.Name) or each.id in _ROOTS | _PYTHONS:
            raise Unreadable("its source assigns to what was not tested")


def _check(value: ast.expr, known: Collection[str]) -> None:
    match value:
        case ast.Constant():
            constant_of(value)
        case ast.Name() | ast.Attribute():
            if path_of(value).partition(".")[0] in {"torch", "ops"}:
                raise Unreadable("its source has an operator that is not called at once")
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            for part in parts:
                _check(part, known)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant()):
            constant_of(value)
        case ast.Subscript(value=ast.Name(), slice=ast.Constant(int())):
            pass
        case ast.Call():
            _check_call(value, known)
        case _:
            raise Unreadable(f"its source has a {type(value).__name__} expression")


def _check_call(call: ast.Call, known: Collection[str]) -> None:
    called = call.func.id if isinstance(call.func, ast.Name) else ""
    if called == "getattr":
        _check_getattr(call)
        return
    _check_called(call.func, known)
    for argument in call.args[1 if called in _BUILT_IN else 0 :]:  # the first is a type
        _check(argument, known)
    for keyword in call.keywords:
        if keyword.arg is None:
            raise Unreadable("its source has a call that was not tested")
        _check(keyword.value, known)


def _check_getattr(call: ast.Call) -> None:
    """Raises unless an attribute is asked for by a name that is no word, as those in lists are."""
    match call:
        case ast.Call(
            args=[ast.Name() | ast.Attribute() as owner, ast.Constant(str())], keywords=[]
        ):
            if path_of(owner).partition(".")[0] not in {"torch", "ops"}:
                return
    raise Unreadable("its source has a getattr that was not tested")


def _check_called(called: ast.expr, known: Collection[str]) -> None:
    path = path_of(called)
    first, dot, _ = path.partition(".")
    if first in {"torch", "ops"} and path not in known and path != _RAISE:
        raise Unreadable(f"{path[:60]} is not on the list of operators known to be harmless")
    # Others are functions and methods of the archive, and names for them.
    if not dot and first in _PYTHONS - _BUILT_IN:
        raise Unreadable(f"{path[:60]} was not tested")


_PYTHONS: Final = frozenset(
    (
        *("int", "float", "bool", "str", "len", "range", "list", "dict", "tuple", "print", "fork"),
        *("min", "max", "sum", "isinstance", "getattr", "hasattr", "setattr", "ord", "chr", "abs"),
        *("annotate", "unchecked_cast", "uninitialized", "complex", "round", "sorted", "type"),
    )
)


def path_of(value: ast.expr) -> str:
    """Returns a name with dots.

    Raises:
        Unreadable: It is none.
    """
    names = []
    while isinstance(value, ast.Attribute):
        names.append(value.attr)
        value = value.value
    if not isinstance(value, ast.Name):
        raise Unreadable("its source has an attribute of what was not tested")
    return ".".join([value.id, *reversed(names)])


def constant_of(value: ast.expr) -> object:
    """Returns the value of a constant, or of a list or tuple of constants.

    Raises:
        Unreadable: It is none.
    """
    match value:
        case ast.Constant(value=None | bool() | str() as found):
            return found
        case ast.Constant(value=float() as found) if isfinite(found):
            return found
        case ast.Constant(value=int() as found) if found < 2**63:
            return found
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant() as inner):
            number = constant_of(inner)
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                return -number
            raise Unreadable("its source has a constant that was not tested")
        case ast.List(elts=parts):
            return [constant_of(part) for part in parts]
        case ast.Tuple(elts=parts):
            return tuple(constant_of(part) for part in parts)
        case _:
            raise Unreadable("its source has a constant that was not tested")
