"""Tensorkeep's server: the AI.* commands over the Redis protocol."""

from time import perf_counter
from typing import Final

# For the line that says how long the start took: nothing of ours runs earlier.
IMPORTED_AT: Final = perf_counter()
