"""A serialized model with some of its fields exchanged, as pieces that need not be joined.

The weights of a model are not copied: they are views of the bytes that it came in.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tensorkeep_onnx.modelproto import CHILDREN
from tensorkeep_onnx.protobuf import head_of, read_field

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Piece: TypeAlias = "bytes | memoryview"


class Edit(NamedTuple):
    """A field, or several that follow each other, that something else takes the place of.

    Attributes:
        start: Where the fields start in the model.
        end: Where they end.
        pieces: What stands there instead: whole fields, or nothing.
    """

    start: int
    end: int
    pieces: tuple[Piece, ...] = ()


def rewritten(blob: Piece, edits: Iterable[Edit]) -> list[Piece]:
    """Returns a model with edits in it; all lengths around them are set right.

    Args:
        blob: The model, which was walked over before.
        edits: The edits, none within another; each of fields of a message that `CHILDREN` leads to.
    """
    view = memoryview(blob)
    pieces, _ = _message(view, "ModelProto", 0, len(view), sorted(edits, key=lambda each: each[:2]))
    return pieces


def _message(
    view: memoryview, kind: str, start: int, end: int, edits: Sequence[Edit]
) -> tuple[list[Piece], int]:
    """Returns the pieces of a message, and their bytes."""
    pieces: list[Piece] = []
    copied, position, left = start, start, deque(edits)
    while left:
        if position == left[0].start:
            edit = left.popleft()
            pieces += [view[copied:position], *edit.pieces]
            copied = position = edit.end
            continue
        field = read_field(view, position)
        inner = [edit for edit in left if edit.start < field.end]
        if inner:  # it holds what they are about
            child = CHILDREN[kind][field.number]
            within, size = _message(view, child, field.start, field.end, inner)
            pieces += [view[copied:position], head_of(field.number, size), *within]
            copied = field.end
            for _ in inner:
                left.popleft()
        position = field.end
    pieces.append(view[copied:end])
    return pieces, sum(map(len, pieces))
