"""Start a server with a switch interval of Python's that the command line does not offer.

Only the benchmarks use it: `python benchmarks/switching.py SECONDS --port PORT`. All runs go to a
worker, so that a thread competes with the loop.
"""

from __future__ import annotations

import argparse
import signal
from typing import TYPE_CHECKING

import uvloop

from tensorkeep.config import EngineConfig
from tensorkeep_server.app import serve
from tensorkeep_server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("seconds", type=float)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(arguments)
    engine = EngineConfig(intra_op_parallelism=1, inline_limit=0)
    settings = Settings(port=options.port, engine=engine, switch_interval=options.seconds)
    uvloop.run(serve(settings, signals=(signal.SIGTERM,)))


if __name__ == "__main__":
    main()
