"""The source of a script, looked through before the compiler sees it.

torch's compiler holds Python's interpreter for as long as it works on what it is given, some 30 us
for a line, and longer than that for what is nested deeply. So it is given a long script function
by function, others are served between two of them, and no function may be larger than it takes a
twentieth of a second for.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tensorkeep.errors import ModelRejected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_MOST_BYTES: Final = 512 * 1024
_MOST_FUNCTION_BYTES: Final = 64 * 1024  # what Python's parser takes 30 ms for
_MOST_NODES: Final = 10_000  # of a function, as Python's parser counts; some 1,200 short lines
_MOST_BLOCKS: Final = 50  # that lie in one another; what the compiler does grows with the square
_MOST_NESTED: Final = 1_000  # the compiler's own stack ends at some 5,000
_MOST_TUPLES: Final = 50_000  # see `_weight`; what the compiler takes some milliseconds for
_MOST_TYPES: Final = 15  # that lie in one another, and indices: time doubles with each
_SHORT: Final = 8 * 1024  # bytes of what is compiled in one piece
_TOKEN: Final = re.compile(r"\w+|[^\w\s]")
_DEFINITION: Final = re.compile(r"^(?=def\b)", re.MULTILINE)
_BLOCKS: Final = (ast.For, ast.FunctionDef, ast.If, ast.While, ast.With)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the source that is compiled at once.

    Attributes:
        text: The source, behind as many empty lines as there are lines before it.
        names: The names of the functions that it defines.
        needs: The names that it uses.
        counts: With how many arguments behind the command it calls `redis.execute`.
    """

    text: str
    names: frozenset[str]
    needs: frozenset[str]
    counts: frozenset[int]


def pieces_of(source: str) -> list[Piece]:
    """Returns the pieces of a script, in an order in which they can be compiled.

    Short source that Python cannot parse is one piece, for the compiler to say so in its own words.

    Raises:
        ModelRejected: It is too long, a function is, or too much is nested in it.
    """
    if len(source) > _MOST_BYTES:
        raise ModelRejected(f"A script must not have more than {_MOST_BYTES} bytes")
    if len(source) <= _SHORT:
        return [_piece(source, 0)]
    line, found = 0, []
    for text in _DEFINITION.split(source):
        if text.strip():
            found.append(_piece(text, line))
        line += text.count("\n")
    return _sorted(found)


def _piece(text: str, line: int) -> Piece:
    if len(text) > _MOST_FUNCTION_BYTES:
        raise ModelRejected(
            f"A function of a script must not have more than {_MOST_FUNCTION_BYTES} bytes,"
            f" and the one at line {line + 1} has {len(text)}"
        )
    padded = f"{chr(10) * line}{text}"
    try:
        tree = ast.parse(text, "<script>")
    except (MemoryError, RecursionError) as error:
        raise ModelRejected(f"{_nested(line)}: {error}") from error
    except (SyntaxError, ValueError) as error:
        if isinstance(error, IndentationError) and "too many levels" in str(error):
            raise ModelRejected(f"{_nested(line)}: {error.msg}") from error
        # How deep it goes is not known then, but no deeper than it has tokens.
        if len(text) > _SHORT or len(_TOKEN.findall(text)) > _MOST_NESTED:
            raise ModelRejected(f"The source cannot be parsed: {error}") from error
        return Piece(padded, frozenset(), frozenset(), frozenset({1}))
    nodes = _measured(tree, line)
    return Piece(
        padded,
        frozenset(each.name for each in tree.body if isinstance(each, ast.FunctionDef)),
        frozenset(each.id for each in nodes if isinstance(each, ast.Name)),
        frozenset({1, *(_count(each) for each in nodes if _calls_execute(each))} - {-1}),
    )


def _measured(tree: ast.Module, line: int) -> list[ast.AST]:
    """Returns all nodes of some source.

    Raises:
        ModelRejected: A function has too many, or too much is nested.
    """
    found: list[ast.AST] = []
    results: dict[str, int] = {}
    for function in tree.body:
        before = len(found)
        waiting: list[tuple[ast.AST, int, int, int]] = [(function, 0, 0, 0)]
        while waiting:
            node, depth, blocks, types = waiting.pop()
            found.append(node)
            blocks += isinstance(node, _BLOCKS)
            types += isinstance(node, ast.Subscript)
            if depth > _MOST_NESTED or blocks > _MOST_BLOCKS + 1 or types > _MOST_TYPES:
                raise ModelRejected(_nested(line + function.lineno - 1))
            children = ast.iter_child_nodes(node)
            waiting += ((each, depth + 1, blocks, types) for each in children)
            if len(found) - before > _MOST_NODES:
                raise ModelRejected(
                    f"A function of a script must not be as long as the one at line"
                    f" {line + function.lineno}: it has more than {_MOST_NODES} parts"
                )
        if isinstance(function, ast.FunctionDef):
            try:
                results[function.name] = _heaviest_result(found[before:], results)
            except RecursionError as error:
                raise ModelRejected(_nested(line + function.lineno - 1)) from error
            if results[function.name] > _MOST_TUPLES:
                raise ModelRejected(_nested(line + function.lineno - 1))
    return found


def _heaviest_result(nodes: Sequence[ast.AST], results: Mapping[str, int]) -> int:
    """Returns the weight of what a function returns, or of a tuple in it that weighs too much."""
    known, heaviest = dict(results), 0
    statements = [each for each in nodes if isinstance(each, ast.Assign | ast.Return | ast.Expr)]
    for statement in sorted(statements, key=lambda each: (each.lineno, each.col_offset)):
        weight = _weight(statement.value, known)
        if weight > _MOST_TUPLES:
            return weight
        if isinstance(statement, ast.Return):
            heaviest = max(heaviest, weight)
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                known.update([*_assigned(target, statement.value, known)])
    return heaviest


def _assigned(
    target: ast.expr, value: ast.expr, known: Mapping[str, int]
) -> Iterator[tuple[str, int]]:
    """Gives the names in a target, with the weights of what they get."""
    if isinstance(target, ast.Name):
        yield target.id, _weight(value, known)
    elif isinstance(target, ast.Tuple):
        parts = value.elts if isinstance(value, ast.Tuple) else [value] * len(target.elts)
        for each, part in zip(target.elts, parts, strict=False):
            yield from _assigned(each, part, known)


def _weight(node: ast.expr | None, known: Mapping[str, int]) -> int:
    """Returns what the compiler has to do for a tuple's type.

    It compares each part twice, and those of a sum more often.
    """
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Name):
        return known.get(node.id, 0)
    if isinstance(node, ast.IfExp):
        return _weight(node.body, known)
    if isinstance(node, ast.Subscript):
        weight = _weight(node.value, known)
        return weight if isinstance(node.slice, ast.Slice) else weight // 2
    if isinstance(node, ast.BinOp):
        return 8 * (_weight(node.left, known) + _weight(node.right, known))
    if isinstance(node, ast.Tuple | ast.List):
        return 1 + 2 * sum(_weight(each, known) for each in node.elts)
    return 0


def _nested(line: int) -> str:
    return f"Too much lies in one another in the function at line {line + 1}"


def _calls_execute(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "execute"
    )


def _count(node: ast.AST) -> int:
    """Returns how many arguments a call has behind its first."""
    if not isinstance(node, ast.Call):
        return -1
    return len(node.args) + len(node.keywords) - 1


def _sorted(pieces: Sequence[Piece]) -> list[Piece]:
    """Returns pieces in an order in which each needs those before it alone.

    Those that need each other keep their places, for the compiler to say so.
    """
    owner = {name: index for index, piece in enumerate(pieces) for name in piece.names}
    ordered: list[Piece] = []
    seen: set[int] = set()
    for start in range(len(pieces)):
        path = [] if start in seen else [(start, iter(sorted(pieces[start].needs)))]
        seen.add(start)
        while path:
            index, needs = path[-1]
            needed = next(
                (owner[name] for name in needs if owner.get(name) not in {None, *seen}), None
            )
            if needed is None:
                ordered.append(pieces[index])
                path.pop()
            else:
                seen.add(needed)
                path.append((needed, iter(sorted(pieces[needed].needs))))
    return ordered
