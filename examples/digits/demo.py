"""Start a server, let it recognise handwritten digits, and show what it answers and how fast.

Run it with `python examples/digits/demo.py`; `--help` tells what else it can do. What goes over the
wire is in asking.py, how the server is started and stopped in serving.py. README.md says what is
measured, and how.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

try:
    import redis
    from asking import Figures, HeldOut, load_files, measure
    from pictures import picture
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.table import Table
    from rich.text import Text
    from serving import HOST, Server, ServerError, serving
except ModuleNotFoundError as missing:
    sys.exit(f'{missing.name} is not installed; try: pip install "tensorkeep[server,onnx]"')

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from asking import Answers
    from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent
SHOWN = 4
PICTURE_WIDTH = 19  # with the space beside it
LEAST_ACCURACY = 0.97
LARGEST_DIFFERENCE = 1e-5


class DemoError(Exception):
    """The demonstration cannot go on, or the answers are not what they have to be."""


def demonstrate(port: int | None, console: Console, *, stay: bool, as_json: bool) -> None:
    """Run the whole demonstration, from the start of the server to its end."""
    try:
        model, held_out = load_files(FOLDER)
    except (OSError, KeyError, ValueError) as error:
        raise DemoError(f"{error}; `nox -s train` writes digits.onnx and heldout.npz") from error
    with serving(port) as server:
        console.print(f"The server is ready on {HOST}:{server.port}.", highlight=False)
        with bars(console) as progress:
            figures, answers = measure(server, model, held_out, progress)
        if as_json:
            print(json.dumps({"port": server.port, **dataclasses.asdict(figures)}), flush=True)
        else:
            show_pictures(held_out, answers, console)
            show_figures(figures, console)
        check(figures)
        if stay:
            stay_until_interrupted(server, console)
    console.print("The server has ended cleanly after SIGTERM: exit code 0.", highlight=False)


def bars(console: Console) -> Progress:
    """Return progress bars that draw only when told to.

    A drawing thread would take the interpreter from the clients that are being measured.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    return Progress(*columns, console=console, auto_refresh=False)


def show_pictures(held_out: HeldOut, answers: Answers, console: Console) -> None:
    """Show the first pictures, and last the hardest: wrong answers first, then unsure ones."""
    count = max(1, min(SHOWN, console.width // PICTURE_WIDTH))
    right = answers.argmax(axis=1) == held_out.labels
    numbers = [*range(count - 1), int((right + answers.max(axis=1)).argmin())]
    grid = Table.grid(padding=(0, PICTURE_WIDTH - 16, 0, 0))
    grid.add_row(*(picture(held_out.pixels[number], console) for number in numbers))
    grid.add_row(*(caption(answers[n], int(held_out.labels[n])) for n in numbers))
    console.print()
    console.print(grid)
    console.print("The last one is the hardest for the network: a wrong answer, if there is one.\n")


def caption(probabilities: NDArray[np.float32], label: int) -> Text:
    """Say what the network takes a picture for, how sure it is, and what the picture shows."""
    answer = int(probabilities.argmax())
    right = answer == label
    text = Text(f"answer {answer}, {probabilities[answer]:.1%}\ntruly  {label}, ")
    return text.append("right" if right else "WRONG", "green" if right else "bold red")


def show_figures(figures: Figures, console: Console) -> None:
    """Show the table of what was measured."""
    wrong = round((1 - figures.accuracy) * figures.images)
    lone = f"{figures.lone_p50_ms:.2f} ms / {figures.lone_p99_ms:.2f} ms"
    batch_rate = figures.images / figures.batch_p50_ms * 1000
    batch = f"{figures.batch_p50_ms:.2f} ms ({batch_rate:,.0f}/s)"
    table = Table("what", "measured", title="digits in Tensorkeep", title_justify="left")
    table.add_row("accuracy", f"{figures.accuracy:.2%} ({wrong} of {figures.images} wrong)")
    far = figures.largest_difference
    shown = f"{far:.1e}" if far else "0, bit for bit the same"
    table.add_row("largest difference to ONNX Runtime called directly", shown)
    table.add_row("start-up until PING is answered", f"{figures.startup_seconds:.2f} s")
    table.add_row("storing the model, loads ONNX Runtime", f"{figures.store_seconds:.2f} s")
    table.add_row("lone client, one request: p50 / p99", lone)
    table.add_row(
        f"{figures.clients} client threads at once",
        f"{figures.requests_per_second:,.0f} requests/s",
    )
    table.add_row(f"all {figures.images} pictures as one batch: p50", batch)
    console.print(table)
    console.print(
        "A request sets one picture, runs the model and gets the answer, in one pipeline.\n",
        highlight=False,
    )


def check(figures: Figures) -> None:
    """Refuse answers that are not good enough, or not those of ONNX Runtime."""
    if figures.accuracy < LEAST_ACCURACY:
        raise DemoError(
            f"accuracy is {figures.accuracy:.2%}, expected {LEAST_ACCURACY:.0%} or more"
        )
    # Not "difference > limit": a NaN has to be refused too.
    if not figures.largest_difference <= LARGEST_DIFFERENCE:
        raise DemoError(
            f"an answer differs by {figures.largest_difference:.1e} from ONNX Runtime's own, "
            f"expected {LARGEST_DIFFERENCE} or less"
        )


def stay_until_interrupted(server: Server, console: Console) -> None:
    """Tell how to connect, and wait for Ctrl-C."""
    console.print(
        f"""\
The server stays until Ctrl-C. The model is under the key digits, the first picture under x, its
answer under y. In another terminal:

redis-cli -p {server.port} AI.MODELGET digits META
redis-cli -p {server.port} AI.MODELEXECUTE digits INPUTS 1 x OUTPUTS 1 y
redis-cli -p {server.port} AI.TENSORGET y VALUES

Or in Python:

import numpy as np, redis
client = redis.Redis(port={server.port})
held_out = np.load({str(FOLDER / "heldout.npz")!r})
picture = (held_out["images"][7] / 16).astype(np.float32)
client.execute_command("AI.TENSORSET", "x", "FLOAT", 1, 1, 8, 8, "BLOB", picture.tobytes())
client.execute_command("AI.MODELEXECUTE", "digits", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
answer = np.frombuffer(client.execute_command("AI.TENSORGET", "y", "BLOB"), np.float32)
print("answer", answer.argmax(), "truly", held_out["labels"][7])
""",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    try:
        server.wait()
    except KeyboardInterrupt:
        console.print("Stopping.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(
        description="Start a Tensorkeep server, let it recognise handwritten digits, show figures."
    )
    parser.add_argument("--port", type=int, help="where the server listens (default: a free port)")
    parser.add_argument("--stay", action="store_true", help="let the server run until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print the figures for programs")
    options = parser.parse_args(arguments)
    # However the program is asked to end, the server ends first. A shell's background job ignores
    # SIGINT unless told otherwise.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        # With --json, standard output is for the figures alone.
        console = Console(stderr=options.json)
        demonstrate(options.port, console, stay=options.stay, as_json=options.json)
    except (DemoError, ServerError) as error:
        return failed(str(error))
    except redis.RedisError as error:
        return failed(f"the server answered with an error, or not at all: {error}")
    except KeyboardInterrupt:
        failed("interrupted; the server has been stopped")
        return 128 + signal.SIGINT  # as shells count
    return 0


def failed(text: str) -> int:
    """Say on standard error why the demonstration ends and return the exit code for that."""
    console = Console(stderr=True)
    console.print(Text(f"The demonstration ends here: {text}", "red"), soft_wrap=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
