"""What an engine says of itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

OLDEST: Final = (6, 2)
"""The first version of Redis that has what the store needs."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Facts about an engine.

    Attributes:
        name: `redis`, `valkey` or what else it calls itself.
        version: Its own version.
        compatible: The version of Redis that it is compatible with; empty if it does not say.
        role: `master` or `slave`; empty if it does not say.
        loading: Whether it still reads its data from the disk.
        databases: Numbers of the databases that have keys.
    """

    name: str = ""
    version: str = ""
    compatible: tuple[int, ...] = ()
    role: str = ""
    loading: bool = False
    databases: tuple[int, ...] = ()

    @property
    def too_old(self) -> bool:
        """Whether it lacks what the store needs."""
        return bool(self.compatible) and self.compatible < OLDEST


def read_info(text: bytes) -> EngineInfo:
    """Reads the reply to INFO.

    Args:
        text: It; sections that are missing tell nothing.
    """
    fields = dict(
        line.split(":", 1) for line in text.decode(errors="replace").splitlines() if ":" in line
    )
    compatible = fields.get("redis_version", "")
    name = fields.get("server_name", "redis" if compatible else "")
    return EngineInfo(
        name=name,
        version=fields.get(f"{name}_version", compatible),
        compatible=tuple(int(number) for number in re.findall(r"\d+", compatible)[:3]),
        role=fields.get("role", ""),
        loading=fields.get("loading", "0") != "0",
        databases=tuple(int(name[2:]) for name in fields if re.fullmatch(r"db\d+", name)),
    )
