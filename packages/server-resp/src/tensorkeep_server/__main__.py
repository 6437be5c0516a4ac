"""`python -m tensorkeep_server` and the command `tensorkeep` are the same."""

from __future__ import annotations

import signal

# Until everything is imported Ctrl-C just ends the process, without a traceback.
_interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)

from tensorkeep_server.cli import app as main  # noqa: E402 - see above

signal.signal(signal.SIGINT, _interrupt)

if __name__ == "__main__":
    main(prog_name="tensorkeep")
