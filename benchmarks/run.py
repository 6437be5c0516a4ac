"""Measure how fast Tensorkeep is beside redis-server and ONNX Runtime; nothing is judged.

Run it with `python benchmarks/run.py`, or `nox -s bench`; `--help` tells what it can leave out.
README.md says what is measured, and how.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from figures import run_from
from measure import MEMORY, STARTS, Effort, measure, steps
from plan import plan
from report import markdown, show
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from servers import BenchError, Cores, missing_tools

if TYPE_CHECKING:
    from collections.abc import Sequence

    from figures import Run

DEFAULT = Effort(repetitions=7, seconds=0.6)
QUICK = Effort(repetitions=3, seconds=0.1)
PICTURE = "results/speed.png"


def measured(only: str, effort: Effort, console: Console) -> Run:
    """Measure what `only` matches, and show how far it is."""
    if missing := missing_tools():
        raise BenchError(f"not on the PATH: {', '.join(missing)}")
    comparisons = [each for each in plan() if re.search(only, each.title)]
    extras = [extra for extra in (STARTS, MEMORY) if re.search(only, extra)]
    if not comparisons and not extras:
        titles = ", ".join([STARTS, MEMORY, *dict.fromkeys(each.name for each in plan())])
        raise BenchError(f"--only {only!r} matches nothing; there are {titles}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # A thread that draws would take the interpreter from the clients.
    with Progress(*columns, TimeRemainingColumn(), console=console, auto_refresh=False) as progress:
        bar = progress.add_task("", total=steps(comparisons, effort, extras))

        def tell(text: str) -> None:
            progress.update(bar, advance=1, description=f"{text:<40}", refresh=True)

        return measure(comparisons, effort, Cores.here(), extras, tell)


def write(run: Run, folder: Path) -> None:
    """Write the page and the picture of a run."""
    from picture import draw  # noqa: PLC0415 - only who writes needs Matplotlib

    draw(run, folder / PICTURE)
    (folder / "RESULTS.md").write_text(markdown(run, PICTURE), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="about two minutes instead of eleven")
    parser.add_argument("--only", default="", metavar="REGEX", help="measure what this matches")
    parser.add_argument("--reps", type=int, help=f"repetitions (default {DEFAULT.repetitions})")
    parser.add_argument("--secs", type=float, help=f"of each (default {DEFAULT.seconds:g})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="write RESULTS.md and picture")
    parser.add_argument("--of", type=Path, metavar="FILE", help="measure nothing, show this --json")
    options = parser.parse_args(arguments)
    console = Console()
    effort = QUICK if options.quick else DEFAULT
    effort = Effort(options.reps or effort.repetitions, options.secs or effort.seconds)
    try:
        if options.of is not None:
            run = run_from(json.loads(options.of.read_text(encoding="utf-8")))
        else:
            run = measured(options.only, effort, console)
    except BenchError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    show(run, console)
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(run), indent=1), encoding="utf-8")
    if options.write is not None:
        write(run, options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
