"""For tests: runs code in a process that is confined as a worker is; tells which files are open."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Final

DENIED: Final = r"\[Errno (1|13)\]"
"""What is said when the operating system refuses something, as a regular expression."""

_BEGIN: Final = """
import json, os, sys
from tensorkeep_workers_process.confinement import confine
from tensorkeep_workers_process.memory_limit import limit_memory
from tensorkeep_workers_process.readable_files import plan
found = {}
def attempt(name, action):
    try:
        found[name] = repr(action())
    except BaseException as error:
        found[name] = f"{type(error).__name__}: {error}"
"""
_END: Final = """
print(json.dumps(found), flush=True)
os._exit(0)
"""


def confined(code: str, *, before: str = "", limit: int = 0) -> dict[str, str]:
    """Runs code in a confined process.

    Args:
        code: The code. It calls `attempt(name, action)`, which notes what the action returns, or
            how it fails.
        before: Code that runs before the process is confined, such as imports.
        limit: Bytes of memory that it may take; 0 for any number.

    Returns:
        What was noted, by name.

    Raises:
        ChildProcessError: The process died; the text is what it printed.
    """
    confine = f"limit_memory({limit})\nconfine(plan())\n"
    program = "\n".join((_BEGIN, dedent(before), confine, dedent(code), _END))
    ran = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )
    if ran.returncode:
        raise ChildProcessError(f"exit code {ran.returncode}: {ran.stdout}{ran.stderr}")
    found: dict[str, str] = json.loads(ran.stdout.splitlines()[-1])
    return found


def open_files() -> set[str]:
    """Returns the open descriptors of this process, each with what it leads to.

    What leads to `/proc` is left out: workers of other tests are looked at there all the time.
    """
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # it has just been closed
            target = str(each.readlink())
            if not target.startswith("/proc/"):
                found.add(f"{each.name} {target}")
    return found
