"""`python -m tensorkeep_server` and the command `tensorkeep` are the same."""

from __future__ import annotations

from tensorkeep_server.cli import app as main

if __name__ == "__main__":
    main(prog_name="tensorkeep")
