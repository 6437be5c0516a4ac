"""Which values of a store a command reads."""

from __future__ import annotations

from typing import NamedTuple


class Wanted(NamedTuple):
    """A value that a command reads.

    Attributes:
        key: Its key.
        kind: `Tensor`, `Model` or `Script`: what is under the key is handed out as such; `Record`:
            what is stored of a model or script, which is not built for it.
    """

    key: bytes
    kind: type
