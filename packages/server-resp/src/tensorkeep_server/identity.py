"""What the server says that it is, to clients that ask."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

# Clients parse three integers and choose by them which commands they may send. Ours behaves as
# this Redis does; which Tensorkeep it is stands in INFO's tensorkeep_version.
REDIS_VERSION: Final = "7.0.15"

# The RedisAI whose behaviour is followed: its last, which never got another number.
AI_VERSION: Final = "99.99.99"
AI_VERSION_NUMBER: Final = 999999
AI_LOW_LEVEL_API_VERSION: Final = 1
AI_ENCODING_VERSION: Final = 4


def tensorkeep_version() -> str:
    """Returns the version of Tensorkeep."""
    return version("tensorkeep-server")
