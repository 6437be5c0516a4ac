"""Errors of the engine, as a client gets them."""

from __future__ import annotations

import re
from typing import Final

from tensorkeep.errors import StoreError

_WHERE: Final = (
    re.compile(r" ?script: (?:\w+, )?on @\w+:[0-9]+\.$"),
    # Before 7.0
    re.compile(r"^(?:ERR )?Error running script ?\(call to \w+\): (?:@\w+: ?[0-9]+: )*-?"),
)
_NO_RIGHT: Final = re.compile(
    "^(?:ERR )?(?:ACL failure in script: |(?=The user executing the script))"
)


def plain(error: StoreError) -> StoreError:
    """Returns an error of the engine without what it says of our script."""
    line = error.line
    for where in _WHERE:
        line = where.sub("", line)
    line = _NO_RIGHT.sub("NOPERM ", line)
    return error if line == error.line else StoreError(line)


def is_wrong_type(error: StoreError) -> bool:
    """Returns whether the engine says that a key holds another kind of value."""
    return error.line.startswith("WRONGTYPE")
