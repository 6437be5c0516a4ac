"""Formulas over sizes of inputs, such as `L['x'].size()[0] > 2`; exported programs bring them.

torch runs such text as code of Python. Here it is read as arithmetic and nothing else, for an
archive may come from anywhere.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from tensorkeep_torch.translation import Unsupported

Shapes: TypeAlias = Sequence[tuple[int, ...]]
Formula: TypeAlias = Callable[[Shapes], float]
Path: TypeAlias = tuple[str | int, ...]
"""How a formula names an input: `('x', 0)` stands for `L['x'][0]`."""

_OPERATORS: Final[Mapping[type[ast.AST], Callable[..., Any]]] = {
    ast.Add: operator.add,
    ast.And: lambda *values: all(values),
    ast.Div: operator.truediv,
    ast.Eq: operator.eq,
    ast.FloorDiv: operator.floordiv,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Mod: operator.mod,
    ast.Mult: operator.mul,
    ast.Not: operator.not_,
    ast.NotEq: operator.ne,
    ast.Or: lambda *values: any(values),
    ast.Pow: math.pow,  # of floats: whole numbers could grow without end
    ast.Sub: operator.sub,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "abs": abs,
    "max": max,
    "min": min,
    "math.ceil": math.ceil,
    "math.floor": math.floor,
    "math.sqrt": math.sqrt,
    "math.trunc": math.trunc,
    "torch.sym_float": float,
    "torch.sym_int": int,
    "torch.sym_max": max,
    "torch.sym_min": min,
}


def formula_of(text: str, numbers: Mapping[Path, int]) -> Formula:
    """Returns a formula as a function of the shapes of the inputs.

    Args:
        text: The formula.
        numbers: The number of the input that each path names.

    Raises:
        Unsupported: It is none, or none that is understood.
    """
    try:
        return _compiled(ast.parse(text, mode="eval").body, numbers)
    except (SyntaxError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise Unsupported(f"the condition {text}") from error


def holds(formula: Formula, shapes: Shapes) -> bool:
    """Returns whether a formula is true of some shapes; one that has no value is not."""
    try:
        return bool(formula(shapes))
    except (ArithmeticError, ValueError, IndexError):  # such as a division by a size that is 0
        return False


def _compiled(node: ast.expr, numbers: Mapping[Path, int]) -> Formula:
    match node:
        case ast.Constant(value=int() | float() as value):
            return lambda _: value
        case ast.Subscript(
            ast.Call(ast.Attribute(value=tensor, attr="size"), [], []), ast.Constant(int(axis))
        ):
            number = numbers[_path(tensor)]
            return lambda shapes: shapes[number][axis]
    function, operands = _application(node)
    parts = [_compiled(each, numbers) for each in operands]
    return lambda shapes: function(*[part(shapes) for part in parts])


def _application(node: ast.expr) -> tuple[Callable[..., Any], Sequence[ast.expr]]:
    """Returns what a node applies, and to what."""
    match node:
        case ast.BinOp(left, kind, right):
            return _OPERATORS[type(kind)], [left, right]
        case ast.UnaryOp(kind, operand):
            return _OPERATORS[type(kind)], [operand]
        case ast.BoolOp(kind, values):
            return _OPERATORS[type(kind)], values
        case ast.Compare(left, kinds, others):
            return _comparison([_OPERATORS[type(kind)] for kind in kinds]), [left, *others]
        case ast.Call(function, arguments, []):
            return _FUNCTIONS[ast.unparse(function)], arguments
    raise ValueError("neither a number nor a size nor arithmetic of them")


def _comparison(functions: Sequence[Callable[..., Any]]) -> Callable[..., bool]:
    """Returns what compares each value with the next."""
    return lambda *values: all(
        compare(one, other)
        for compare, one, other in zip(functions, values, values[1:], strict=False)
    )


def _path(node: ast.expr) -> Path:
    match node:
        case ast.Name("L"):
            return ()
        case ast.Subscript(inner, ast.Constant(str() | int() as key)):
            return (*_path(inner), key)
    raise ValueError("no input")
