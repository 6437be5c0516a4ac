"""Turn a run into tables: for the terminal, and as Markdown.

A table is made once, as text; how it is drawn is decided last.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from statistics import median
from typing import TYPE_CHECKING

from figures import ONNX_RUNTIME, REDIS, TENSORKEEP, Load
from plan import LARGE, RUNS, SETTINGS, SHAPES, SMALL
from published import MEMORY_MB, ORIGIN, REDISAI
from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from figures import Measured, Run
    from rich.console import Console

NONE = "-"
FLOAT_SIZE = 4
SIZES = {size: prod(shape) * FLOAT_SIZE for size, shape in SHAPES.items()}
TITLES = {
    SMALL: "Small commands beside Redis' own",
    RUNS: "Model runs beside a PING of Redis",
    LARGE: "Large tensors beside strings of Redis",
}
CLIENTS = "clients"
HOW = (
    "Median (best, or least); `50 x 16` is 50 clients, each with 16 requests under way. CPU: of the "
    "server's process, per request. Others: CPUs that anything else took meanwhile."
)
DETAILS = {
    SMALL: f"{HOW} Redis is asked PING, SET and GET.",
    RUNS: f"{HOW} Redis is asked PING. Inline off: with `--inline-limit 0` every run goes to a worker.",
    LARGE: f"{HOW} Redis is asked SET and GET. One socket asks.",
    SETTINGS: f"{HOW} Every run goes to a worker, with `--inline-limit 0`.",
}
PREFACE = """\
# Speed

`nox -s bench -- --write benchmarks` wrote this page and the picture. It ran Tensorkeep, a real
`redis-server` and ONNX Runtime side by side, in turn.

Rates are requests per second: the median of the repetitions, and in brackets the best. The machine
is shared and never quiet; the same row moves by 20 to 50 % from minute to minute. So compare ratios
that were taken in the same run, and bests with bests.
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as text.

    Attributes:
        title: What it shows.
        note: What a reader has to know besides.
        header: The columns.
        labels: How many of them, from the left, are names; the others are figures.
        sections: Rows that belong together.
    """

    title: str
    note: str
    header: Sequence[str]
    labels: int
    sections: Sequence[Sequence[Sequence[str]]]


def markdown(run: Run, picture: str) -> str:
    """Return the page of a run.

    Args:
        run: The run.
        picture: Where its picture lies, as the page links to it.
    """
    machine = [f"- {name}: {text}" for name, text in run.machine.items()]
    image = f"![Requests per second compared with those of redis-server]({picture})"
    blocks = [
        PREFACE.rstrip(),
        f"Measured on {run.date}:",
        "\n".join(machine),
        *run.notes,
        ORIGIN,
        image,
        *map(as_markdown, [*summaries(run), *details(run)]),
    ]
    return "\n\n".join(blocks) + "\n"


def show(run: Run, console: Console) -> None:
    """Print the tables, what matters most at last."""
    for table in [*details(run), *summaries(run)]:
        console.print(as_rich(table))
    for note in (*run.notes, ORIGIN):
        console.print(note, style="dim", highlight=False)


# ---------------------------------------------------------------- what matters most
def summaries(run: Run) -> list[Table]:
    """Return the comparisons, one row each."""
    made = [*(against_redis(run, family) for family in TITLES), overhead(run), process(run)]
    return [table for table in made if any(table.sections)]


def against_redis(run: Run, family: str) -> Table:
    """Compare Tensorkeep's rates with Redis', and the ratio with RedisAI's."""
    sections: dict[str, list[list[str]]] = {}
    for group in run.groups:
        ours, redis = group.of(TENSORKEEP), group.of(REDIS)
        if group.family != family or ours is None or redis is None:
            continue
        row = [group.name, str(group.load), rates(redis), rates(ours)]
        row.append(f"{ours.rate / redis.rate:.2f} ({ours.best / redis.best:.2f})")
        published = REDISAI.get((group.name, group.load))
        row.append(NONE)
        if published is not None:
            row[-1] = f"{published.ratio:.2f} ({published.best_ratio:.2f})"
        if family == LARGE:
            size = SIZES[group.name.partition(", ")[2]]
            row.append(f"{ours.rate * size / 1e6:,.0f}")
        sections.setdefault(group.name, []).append(row)
    header = ["", CLIENTS, REDIS, TENSORKEEP, "ratio", "RedisAI's ratio"]
    if family == LARGE:
        header.append("Tensorkeep, MB/s")
    note = "Requests per second, and their ratio to redis-server's: median (best)."
    return Table(TITLES[family], note, header, 2, list(sections.values()))


def overhead(run: Run) -> Table:
    """Show what a run over the wire costs beside a call of ONNX Runtime."""
    sections = []
    direct: dict[str, float] = {}
    for group in run.groups:
        ours, called = group.of(TENSORKEEP), group.of(ONNX_RUNTIME)
        if group.family != RUNS or ours is None:
            continue
        if called is not None:
            direct[group.name] = 1e6 / called.best
            sections.append([])
        published = REDISAI.get((group.name, group.load))
        theirs = published and published.cpu_us
        least = published and published.least_cpu_us
        row = [group.name, str(group.load)]
        row.append(f"{direct[group.name]:.0f}" if group.name in direct else NONE)
        row += [cpu(ours), f"{theirs:g} ({least:g})" if theirs and least else NONE]
        row.append(f"{ours.p50_ms * 1000:.0f}" if group.load == Load(1) else NONE)
        sections = sections or [[]]
        sections[-1].append(row)
    header = ["", CLIENTS, "direct call", "server's CPU", "RedisAI's CPU", "wait of a lone client"]
    note = (
        "Microseconds of one run: a call of ONNX Runtime without any server (best), the CPU time "
        "of the server's process (median, and least), and what a lone client waits (median)."
    )
    return Table("What the way to the model costs", note, header, 2, sections)


def process(run: Run) -> Table:
    """Show how long the servers take to start, and their memory."""
    sections = [
        [
            ["seconds to the first PONG", who, f"{median(found):.3f} ({min(found):.3f})", NONE]
            for who, found in run.starts.items()
        ]
    ]
    for who, moments in run.memory.items():
        published = {"with the three models": f"{MEMORY_MB}"} if who == TENSORKEEP else {}
        sections.append(
            [
                [f"MB in memory {moment}", who, f"{mb:.0f}", published.get(moment, NONE)]
                for moment, mb in moments.items()
            ]
        )
    note = "Seconds: median (best)."
    return Table("Start and memory", note, ["", "", "measured", "RedisAI's"], 2, sections)


# ---------------------------------------------------------------- every contender
def details(run: Run) -> list[Table]:
    """Return every contender's figures."""
    made = [every_contender(run, family) for family in (*TITLES, SETTINGS)]
    return [table for table in made if any(table.sections)]


def every_contender(run: Run, family: str) -> Table:
    """Show rate, latency and CPU time of each contender of a family, under the group's title."""
    header = ["", "requests/s", "p50 ms", "p99 ms", "CPU µs", "others"]
    sections = [
        [
            [f"{group.name}, {group.load}", *[""] * (len(header) - 1)],
            *map(contender_row, group.measured),
        ]
        for group in run.groups
        if group.family == family
    ]
    return Table(f"In detail: {family}", DETAILS[family], header, 1, sections)


def contender_row(measured: Measured) -> list[str]:
    """Return one contender's row."""
    others = measured.other_cpus
    return [
        measured.who,
        rates(measured),
        milliseconds(measured.p50_ms),
        milliseconds(measured.p99_ms),
        cpu(measured),
        NONE if others is None else f"{others:.2f}",
    ]


# ---------------------------------------------------------------- figures as text
def rates(measured: Measured) -> str:
    """Return median and best rate."""
    return f"{short(measured.rate)} ({short(measured.best)})"


def short(rate: float) -> str:
    """Return a rate with three digits that count."""
    if rate >= 1e6:
        return f"{rate / 1e6:.2f}M"
    if rate >= 1e4:
        return f"{rate / 1e3:.{1 if rate < 1e5 else 0}f}k"
    return f"{rate:,.{1 if rate < 100 else 0}f}"


def cpu(measured: Measured) -> str:
    """Return median and least CPU time per request in microseconds."""
    if measured.cpu_us is None or measured.least_cpu_us is None:
        return NONE
    digits = 1 if measured.cpu_us < 10 else 0
    return f"{measured.cpu_us:,.{digits}f} ({measured.least_cpu_us:,.{digits}f})"


def milliseconds(time: float) -> str:
    """Return a time with the digits that count."""
    return f"{time:.{3 if time < 10 else 1}f}"


# ---------------------------------------------------------------- drawing
def as_rich(table: Table) -> RichTable:
    """Return a table for the terminal."""
    drawn = RichTable(
        title=table.title,
        title_justify="left",
        title_style="bold",
        caption=table.note,
        caption_justify="left",
        box=SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    for number, name in enumerate(table.header):
        label = number < table.labels
        drawn.add_column(name, justify="left" if label else "right")
    for section in table.sections:
        for row in section:
            drawn.add_row(*row, style=None if any(row[1:]) else "italic")
    return drawn


def as_markdown(table: Table) -> str:
    """Return a table as Markdown with its title and note."""
    rows = [row for section in table.sections for row in section]
    marks = ["---" if number < table.labels else "---:" for number in range(len(table.header))]
    lines = ["| " + " | ".join(row) + " |" for row in [table.header, marks, *rows]]
    return f"## {table.title}\n\n{table.note}\n\n" + "\n".join(lines)
