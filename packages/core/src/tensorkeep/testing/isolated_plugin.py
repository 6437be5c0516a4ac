"""What stands in for an installed backend's plugin where it is isolated, for the conformance suite.

The workers are started once for all suites of a process, and end with it.
"""

from __future__ import annotations

import atexit
from functools import cache
from typing import TYPE_CHECKING
from unittest import SkipTest

from tensorkeep.backends import Backends
from tensorkeep.errors import WorkersUnavailable
from tensorkeep.isolation import WorkerOptions

if TYPE_CHECKING:
    from tensorkeep.isolation import Isolation


def isolated_plugin(name: str) -> object:
    """Returns what stands in for the plugin of a backend.

    Args:
        name: The name of the backend's entry point.

    Raises:
        SkipTest: The backend is not installed, or there are no workers outside this process.
    """
    if not Backends().can_be_isolated(name):
        raise SkipTest(f"no installed entry point is called {name}: workers could not load it")
    try:
        return _workers().plugin(name)
    except WorkersUnavailable as error:
        raise SkipTest(str(error)) from error


@cache
def _workers() -> Isolation:
    workers = Backends().start_workers(WorkerOptions())
    atexit.register(workers.close)
    return workers
