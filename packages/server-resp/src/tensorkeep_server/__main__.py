"""The command line."""

from __future__ import annotations

import signal
import sys

from tensorkeep_server.app import serve
from tensorkeep_server.settings import Settings


def main() -> None:
    """Temporary."""
    import uvloop
    port = int(sys.argv[sys.argv.index("--port") + 1]) if "--port" in sys.argv else 6379
    uvloop.run(serve(Settings(port=port), lambda s: print('ready on', s.address, flush=True), signals=(signal.SIGTERM, signal.SIGINT)))


if __name__ == "__main__":
    main()
