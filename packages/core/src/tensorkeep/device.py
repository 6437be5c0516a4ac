"""Where a run takes place: parsing, printing and ordering of device names.

A device is a name, not a promise: whether this installation can use it is the backend's to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self

from tensorkeep.errors import InvalidDevice

_STRICT = re.compile(r"(CPU|GPU)(?::([0-9]{0,5}))?", re.IGNORECASE | re.ASCII)
_LOOSE = re.compile(
    r"(CPU)(?::([0-9]{1,5})\Z)?|(GPU)(?::([0-9]{1,5}))?\Z", re.IGNORECASE | re.ASCII
)


@dataclass(frozen=True, slots=True, order=True)
class Device:
    """A device such as `CPU`, `CPU:1`, `GPU` or `GPU:0`.

    Two devices are equal when they name the same run queue, whatever the case they were written
    in. `CPU:1` computes on the same processor as `CPU`, in a queue of its own.

    Attributes:
        queue: The upper-cased name: one run queue exists for each.
        kind: `CPU` or `GPU`.
        index: The number after the colon, or None.
        name: The spelling that was given, which clients get back.
    """

    queue: str
    kind: str = field(compare=False)
    index: int | None = field(compare=False)
    name: str = field(compare=False)

    @classmethod
    def parse(cls, name: str) -> Self:
        """Parses `CPU`, `GPU`, `CPU:<digits>` or `GPU:<digits>`, in any case.

        Args:
            name: The device name, at most five digits after the colon.

        Raises:
            InvalidDevice: The name is not of that form.
        """
        match = _STRICT.fullmatch(name)
        if match is None:
            msg = f"device must be CPU, GPU, CPU:<n> or GPU:<n>, not {name!r}"
            raise InvalidDevice(msg)
        return cls._make(name, match[1], match[2])

    @classmethod
    def parse_loosely(cls, name: str) -> Self:
        """Parses what RedisAI's deprecated commands took: anything that begins with `CPU`.

        Raises:
            InvalidDevice: The name neither begins with CPU nor is GPU or GPU:<n>.
        """
        match = _LOOSE.match(name)
        if match is None:
            msg = f"device must begin with CPU, or be GPU or GPU:<n>, not {name!r}"
            raise InvalidDevice(msg)
        return cls._make(name, match[1] or match[3], match[2] or match[4])

    @classmethod
    def _make(cls, name: str, kind: str, digits: str | None) -> Self:
        return cls(name.upper(), kind.upper(), int(digits) if digits else None, name)

    def __str__(self) -> str:
        return self.name


CPU = Device.parse("CPU")
