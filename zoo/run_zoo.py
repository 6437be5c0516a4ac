"""Try a list of real models on a running server, against their frameworks called directly.

`nox -s zoo` runs it; `--help` tells what it can leave out. How a model is added stands at the head
of entry.py.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import redis
from entry import Size
from listing import COLLECTIONS
from page import page_of, table_of
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from trial import Result, attempt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from entry import Entry
    from listing import Collection

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs" / "zoo.md"
RESULTS = FOLDER / "results"
PATIENCE = 120.0  # seconds: to start the server, and to wait for a reply
LISTENS = re.compile(r"127\.0\.0\.1:(\d+)")


@contextmanager
def server() -> Iterator[redis.Redis]:
    """Runs a server in a process of its own, and gives a client of it."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "server.log")
        options = ("--port", "0", "--model-execution-timeout", "60000")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tensorkeep_server", "serve", *options],
                stderr=output,
                stdout=output,
                env={k: v for k, v in os.environ.items() if not k.startswith("TENSORKEEP_")},
            )
        try:
            yield redis.Redis(port=_port(process, log), socket_timeout=PATIENCE)
        finally:
            process.terminate()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        found = LISTENS.search(log.read_text(encoding="utf-8", errors="replace"))
        if found:
            return int(found[1])
        time.sleep(0.05)
    raise SystemExit(f"the server did not start:\n{log.read_text(encoding='utf-8')}")


def all_tried(entries: Sequence[Entry], size: Size, console: Console) -> list[Result]:
    """Tries entries one after the other, each on a server that is up, and shows how far it is."""
    columns = (TextColumn("{task.description:<60}"), BarColumn(), MofNCompleteColumn())
    results: list[Result] = []
    waiting = list(entries)
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bar = progress.add_task("", total=len(waiting))
        while waiting:  # a server that a model has ended is started again
            with server() as client:
                while waiting:
                    entry = waiting.pop(0)
                    progress.update(bar, description=entry.title)
                    results.append(attempt(entry, client, size))
                    progress.advance(bar)
                    gc.collect()
                    if results[-1].text.startswith("ConnectionError"):
                        break
    return results


def write(collection: Collection, results: Sequence[Result]) -> None:
    """Keeps the results of a collection, and writes the page of all that are kept."""
    packages = sorted({*(each.package for each in results), *collection.writers})
    kept = {
        "with": ", ".join(f"{each} {version(each).partition('+')[0]}" for each in packages),
        "results": [asdict(each) for each in results],
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{collection.name}.json"
    file.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(kept_page(), encoding="utf-8")


def kept_page() -> str:
    """Returns the page of all results that are kept."""
    sections: dict[str, tuple[str, list[Result]]] = {}
    for collection in COLLECTIONS:
        file = RESULTS / f"{collection.name}.json"
        if file.exists():
            kept = json.loads(file.read_text(encoding="utf-8"))
            sections[collection.title] = (
                kept["with"],
                [Result(**each) for each in kept["results"]],
            )
    return page_of(sections)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code: 1 when an entry is not as it should be."""
    names = [each.name for each in COLLECTIONS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("collections", nargs="*", metavar="COLLECTION", help=f"of {names}")
    parser.add_argument("--short", action="store_true", help="small models: the test suite's list")
    parser.add_argument("--only", default="", metavar="REGEX", help="try what this matches")
    parser.add_argument("--list", action="store_true", help="list the entries, try none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results there")
    parser.add_argument("--write", action="store_true", help="write docs/zoo.md and its results")
    options = parser.parse_args(arguments)
    if unknown := {*options.collections} - {*names}:
        parser.error(f"there is no collection {', '.join(sorted(unknown))}; there are {names}")
    console = Console(file=sys.stdout)  # as it is now: what exporters print goes elsewhere
    warnings.simplefilter("ignore")  # the exporters' own, dozens for each model
    logging.disable(logging.WARNING)
    results: list[Result] = []
    for collection in COLLECTIONS:
        if options.collections and collection.name not in options.collections:
            continue
        if missing := collection.missing():
            console.print(f"{collection.title}: left out, {', '.join(missing)} is not installed")
            continue
        entries = collection.entries(options.only)
        if options.list:
            console.print(*(each.title for each in entries), sep="\n")
            continue
        size = Size.SHORT if options.short else Size.FULL
        chosen = [each for each in entries if each.short or not options.short]
        found = all_tried(chosen, size, console)
        results += found
        if options.write:
            write(collection, found)
    if results:
        console.print(table_of(results))
    if options.json is not None:
        text = json.dumps([asdict(each) for each in results], indent=1)
        options.json.write_text(f"{text}\n", encoding="utf-8")
    return 1 if any(each.outcome == "fails" for each in results) else 0


if __name__ == "__main__":
    sys.exit(main())
