"""Simulate an ensemble of two flows on a coarse grid, corrected by a model that runs in the store.

Start `tensorkeep serve` first; `--help` tells the rest. What the model is worth is shown beside it:
the errors to the fine grid, with the model and without. README.md explains the parts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import flow
import numpy as np
from collect import ENSEMBLE
from member import MODEL, SCRIPT, STATES
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table
from smartredis import Client, Dataset

if TYPE_CHECKING:
    from flow import Field

FOLDER = Path(__file__).resolve().parent
SEEDS = {"member_0": 1, "member_1": 2}
STEPS, EVERY = 60, 10
REPORTS = STEPS // EVERY + 1
END_LIMIT = 60.0  # seconds that the ensemble may take longer than the fine grid
# SmartRedis reads these: one server, and patience while it loads PyTorch for the first script.
SURROUNDINGS = {"SR_DB_TYPE": "Standalone", "SR_SOCKET_TIMEOUT": "30000", "SR_LOG_LEVEL": "QUIET"}


class Report(NamedTuple):
    """What is known of the ensemble after so many steps; errors are means over its members.

    Attributes:
        step: How many.
        energy: Mean kinetic energy.
        spread: Its standard deviation among the members.
        plain: The error of the coarse grid by itself.
        corrected: The error with the model.
        step_seconds: How long a member took for a step.
    """

    step: int
    energy: float
    spread: float
    plain: float
    corrected: float
    step_seconds: float


def prepare(client: Client) -> None:
    """Store the model and the script, and forget the lists of an earlier run."""
    client.set_model_from_file(MODEL, str(FOLDER / "subgrid.onnx"), "ONNX", "CPU")
    client.set_script_from_file(SCRIPT, str(FOLDER / "subgrid.torchscript"), "CPU")
    for name in (ENSEMBLE, *(f"{member}.{STATES}" for member in SEEDS)):
        client.delete_list(name)


def start(program: str, environment: dict[str, str], **options: int) -> subprocess.Popen[bytes]:
    """Start a program of this folder."""
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, str(FOLDER / program), *flags]
    return subprocess.Popen(command, env=os.environ | environment)


def wait(name: str, program: subprocess.Popen[bytes]) -> None:
    """Wait until a program has ended.

    Raises:
        RuntimeError: It failed, or does not end.
    """
    try:
        code = program.wait(END_LIMIT)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{name} does not end") from error
    if code != 0:
        raise RuntimeError(f"{name} ended with exit code {code}")


def simulate(client: Client, progress: Progress) -> list[Report]:
    """Run the ensemble, and the fine grid beside it; return what was reported.

    Raises:
        RuntimeError: The store is not there or refused, or a program of the ensemble failed.
    """
    prepare(client)
    with ExitStack() as stack:
        programs = {}
        for name, seed in SEEDS.items():
            prefixes = {"SSKEYOUT": name, "SSKEYIN": name}
            programs[name] = start("member.py", prefixes, seed=seed, steps=STEPS, every=EVERY)
        programs["collect"] = start("collect.py", {"SSKEYIN": ",".join(SEEDS)}, reports=REPORTS)
        for program in programs.values():
            stack.callback(program.wait)
            stack.callback(program.kill)  # does nothing when it has ended
        ensemble = progress.add_task("ensemble in the store", total=REPORTS)
        truths, plains = compare(client, progress, ensemble)
        for name, program in programs.items():
            wait(name, program)
        progress.update(ensemble, completed=client.get_list_length(ENSEMBLE))
    states = map(Dataset.from_pybind, client.get_datasets_from_list(ENSEMBLE))
    return sorted(report(state, truths, plains) for state in states)


def compare(
    client: Client, progress: Progress, ensemble: TaskID
) -> tuple[list[Field], list[Field]]:
    """Solve the same flows on the fine grid, and on the coarse grid without the model.

    Returns:
        The fields after each step, [members, y, x], of the fine grid and of the coarse grid.
    """
    fine = progress.add_task("fine grid, to compare", total=STEPS)
    truths: list[Field] = []
    plains: list[Field] = []
    for truth in flow.fine_steps(list(SEEDS.values()), STEPS):
        plains.append(flow.coarse_step(plains[-1]) if plains else truth)
        truths.append(truth)
        progress.update(fine, completed=len(truths) - 1)
        progress.update(ensemble, completed=client.get_list_length(ENSEMBLE))
    return truths, plains


def report(state: Dataset, truths: list[Field], plains: list[Field]) -> Report:
    """Return what is known of one state of the ensemble."""
    step = int(state.get_meta_scalars("step")[0])
    energy, spread, seconds = (
        float(state.get_meta_scalars(name)[0]) for name in ("energy", "spread", "step_seconds")
    )
    plain, corrected = (
        float(np.mean([flow.error(*pair) for pair in zip(fields, truths[step], strict=True)]))
        for fields in (plains[step], state.get_tensor("vorticity"))
    )
    return Report(step, energy, spread, plain, corrected, seconds)


def show(reports: list[Report], console: Console) -> None:
    """Show a table of all reports."""
    table = Table(title=f"{len(SEEDS)} flows, {flow.POINTS} x {flow.POINTS} points", min_width=80)
    for name in ("time", "energy", "error", "error with model", "times smaller", "step"):
        table.add_column(name, justify="right")
    for each in reports:
        gain = each.plain / each.corrected if each.step else None
        table.add_row(
            f"{each.step * flow.STEP:.1f}",
            f"{each.energy:.4f} ± {each.spread:.4f}",
            f"{each.plain:.1%}",
            f"{each.corrected:.1%}",
            f"{gain:.1f}" if gain else "",
            f"{each.step_seconds * 1e3:.1f} ms" if gain else "",
        )
    console.print(table)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    address = os.environ.get("SSDB", "127.0.0.1:6379")
    parser.add_argument("--address", default=address, help="where the store is")
    parser.add_argument("--json", action="store_true", help="print the reports as JSON")
    options = parser.parse_args()
    console = Console(stderr=options.json)
    os.environ |= {**SURROUNDINGS, **os.environ, "SSDB": options.address}
    try:
        with Progress(console=console) as progress:
            reports = simulate(Client(None, logger_name="simulate"), progress)
    except RuntimeError as error:
        sys.exit(f"{options.address}: {error}")
    if options.json:
        print(json.dumps([each._asdict() for each in reports]))
    else:
        show(reports, console)


if __name__ == "__main__":
    main()
