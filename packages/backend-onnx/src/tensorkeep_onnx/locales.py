"""The locale by which a model makes strings upper or lower case, where the system lacks it.

The operator for it (`StringNormalizer`, as of texts that scikit-learn counts words of) asks for the
locale `en_US` unless it says otherwise, and systems in containers rarely have that. The locale
`C.UTF-8` has the same tables of letters, and is always there on today's Linux: it takes the place
of an American one that is missing. Any other is left to the runtime, which says what it lacks.
"""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING, Final

from tensorkeep_onnx.protobuf import bytes_field, fields_of, number_field
from tensorkeep_onnx.rewriting import Edit

if TYPE_CHECKING:
    from collections.abc import Iterable

_AMERICAN: Final = b"en_US"
_ALWAYS: Final = b"C.UTF-8"
_EVERY_CATEGORY: Final = 0x1FBF  # LC_ALL_MASK of glibc
_ATTRIBUTE, _OP_TYPE = 5, 4  # of NodeProto
_NAME, _STRING, _TYPE = 1, 4, 20  # of AttributeProto
_IS_STRING: Final = 3  # AttributeProto.STRING
_LOCALE: Final = b"locale"


def has_locale(name: bytes) -> bool:
    """Returns whether the system has a locale; yes where that cannot be found out."""
    if sys.platform != "linux":
        return True
    system = ctypes.CDLL(None)
    system.newlocale.restype = ctypes.c_void_p
    found = system.newlocale(_EVERY_CATEGORY, name, None)
    if not found:
        return False
    system.freelocale(ctypes.c_void_p(found))
    return True


def locale_edits(blob: bytes, nodes: Iterable[tuple[int, int]]) -> list[Edit]:
    """Returns what makes a model ask for locales that are there.

    Args:
        blob: A model that was walked over before.
        nodes: Where its nodes that change the case of strings start and end.
    """
    found = [edit for node in nodes for edit in _american(blob, *node)]
    if found and not has_locale(_AMERICAN) and has_locale(_ALWAYS):
        return found
    return []


def _american(blob: bytes, start: int, end: int) -> list[Edit]:
    """Returns what exchanges the locale of a node; nothing where that is no American one."""
    told = (
        bytes_field(_NAME, _LOCALE)
        + bytes_field(_STRING, _ALWAYS)
        + number_field(_TYPE, _IS_STRING)
    )
    attribute = bytes_field(_ATTRIBUTE, told)
    operator = Edit(start, start)
    for field in fields_of(blob, start, end):
        if field.number == _OP_TYPE:
            operator = Edit(start, field.end, (blob[start : field.end], attribute))
        elif field.number == _ATTRIBUTE:
            parts = {
                part.number: blob[part.start : part.end]
                for part in fields_of(blob, field.start, field.end)
            }
            if parts.get(_NAME) == _LOCALE:
                named = parts.get(_STRING, b"").partition(b".")[0]
                return [Edit(start, field.end, (attribute,))] if named == _AMERICAN else []
        start = field.end
    return [operator] if operator.pieces else []
