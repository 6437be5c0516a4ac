"""The command line, which writes at its end what it has imported: `python telling.py FILE serve`.

Run as a process of its own by tests of what a server imports, also in environments of their own.
"""

import atexit
import json
import sys
from pathlib import Path

from tensorkeep_server.cli import app


def tell(file):
    Path(file).write_text(json.dumps(sorted(sys.modules)))


if __name__ == "__main__":
    file, *arguments = sys.argv[1:]
    atexit.register(tell, file)
    app(arguments)
