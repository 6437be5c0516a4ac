"""Turn a run into tables: for the terminal, and as Markdown.

A table is made once, as text; how it is drawn is decided last.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from statistics import median
from typing import TYPE_CHECKING

from figures import ONNX_RUNTIME, REDIS, TENSORKEEP, WITH_MODELS, Load
from frameworks import DIRECTLY, FRAMEWORKS, SCRIPTS
from plan import LARGE, RUNS, SETTINGS, SHAPES, SMALL
from published import MEMORY_MB, ORIGIN, REDISAI
from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from sharing import BATCH_SIZES, BATCHING, DAGS, DEVICES, ROWS, batchings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from figures import Measured, Run
    from rich.console import Console

NONE = "-"
BUSIEST = Load(50)
FLOAT_SIZE = 4
SIZES = {size: prod(shape) * FLOAT_SIZE for size, shape in SHAPES.items()}
TITLES = {
    SMALL: "Small commands beside Redis' own",
    RUNS: "Model runs beside a PING of Redis",
    LARGE: "Large tensors beside strings of Redis",
}
PAIRS = {BATCHING: "Batching", DEVICES: "Two devices", DAGS: "One DAG beside three commands"}
PAIR_NOTES = {
    BATCHING: "The same model under two keys of the same server, without and with BATCHSIZE. "
    "Inline off: `--inline-limit 0`, all runs go to a worker.",
    DEVICES: "A DAG of two runs of a heavy model, both on `CPU`, or one on `CPU` and one on "
    "`CPU:1`. The server may use all cores. The second rate divided by the first is 2 at best, "
    "and only where nothing else takes a core. What the cores allowed at that moment shows below: "
    "the same two calls of ONNX Runtime without a server, in one thread or in two.",
    DAGS: "A TENSORSET, a MODELEXECUTE and a TENSORGET that a client sends at once, as three "
    "commands or as one AI.DAGEXECUTE. A rate is of rounds, not of commands. The load is Python.",
}
PAIR_RATIOS = (
    "Ratios are the second divided by the first, median (best, or least): of the rates, of what "
    "half of the clients wait at most, and of the CPU time of the server's process."
)
HOW = (
    "Median (best, or least). `x 16`: each client sends 16 requests at once. CPU: of the server's "
    "process, per request. Others: CPUs that anything else took meanwhile."
)
DETAILS = {
    SMALL: f"{HOW} Redis is asked PING, SET and GET.",
    RUNS: f"{HOW} Redis is asked PING. Inline off: `--inline-limit 0`, all runs go to a worker.",
    LARGE: f"{HOW} Redis is asked SET and GET. One socket asks.",
    BATCHING: f"{HOW} Inline off: `--inline-limit 0`, all runs go to a worker.",
    ROWS: "Median (best, or least). Calls of ONNX Runtime without any server.",
    DEVICES: f"{HOW} One socket asks.",
    DAGS: f"{HOW} A request is a round of three commands, or one DAG.",
    FRAMEWORKS: f"{HOW} The network of examples/digits, in the form that each framework reads.",
    SCRIPTS: f"{HOW} A TorchScript function that adds two tensors of four floats.",
    SETTINGS: f"{HOW} All runs go to a worker, with `--inline-limit 0`.",
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
        *notes(run),
        image,
        *map(as_markdown, [*summaries(run), *details(run)]),
    ]
    return "\n\n".join(blocks) + "\n"


def show(run: Run, console: Console) -> None:
    """Print the tables, what matters most at last."""
    for table in [*details(run), *summaries(run)]:
        console.print(as_rich(table))
    for note in notes(run):
        console.print(note, style="dim", highlight=False)


def notes(run: Run) -> list[str]:
    """Return how the run was made, how quiet the machine was, and whose figures stand beside."""
    samples = [s for group in run.groups for each in group.measured for s in each.samples]
    others = [sample.other_cpus for sample in samples if sample.other_cpus is not None]
    if not others:
        return [*run.notes, ORIGIN]
    noise = f"Meanwhile anything else took {median(others):.1f} CPUs (median of all repetitions)."
    return [*run.notes, noise, ORIGIN]


# ---------------------------------------------------------------- what matters most
def summaries(run: Run) -> list[Table]:
    """Return the comparisons, one row each."""
    made = [
        *(against_redis(run, family) for family in TITLES),
        overhead(run),
        *(pairs(run, family) for family in PAIRS),
        savings(run),
        beside_frameworks(run),
        process(run),
    ]
    return [table for table in made if any(table.sections)]


def against_redis(run: Run, family: str) -> Table:
    """Compare Tensorkeep's rates with Redis', and the ratio with RedisAI's."""
    rows: dict[str, list[list[str]]] = {}
    for group in run.groups:
        ours, redis = group.of(TENSORKEEP), group.of(REDIS)
        if group.family != family or ours is None or redis is None:
            continue
        row = [group.load.text, rates(redis), rates(ours)]
        row.append(ratios(ours.rate / redis.rate, ours.best / redis.best))
        published = REDISAI.get((group.name, group.load))
        row.append(NONE if published is None else ratios(published.ratio, published.best_ratio))
        if family == LARGE:
            size = SIZES[group.name.partition(", ")[2]]
            row.append(f"{ours.rate * size / 1e6:,.0f}")
        rows.setdefault(group.name, []).append(row)
    header = ["", REDIS, TENSORKEEP, "ratio", "RedisAI's ratio"]
    if family == LARGE:
        header.append("MB/s")
    note = "Requests per second, and their ratio to redis-server's: median (best)."
    return Table(TITLES[family], note, header, 1, titled(rows, len(header)))


def overhead(run: Run) -> Table:
    """Show what a run over the wire costs beside a call of ONNX Runtime."""
    rows: dict[str, list[list[str]]] = {}
    direct: dict[str, str] = {}
    for group in run.groups:
        ours, called = group.of(TENSORKEEP), group.of(ONNX_RUNTIME)
        if group.family != RUNS or ours is None:
            continue
        if called is not None:
            direct[group.name] = f"{1e6 / called.best:.0f}"
        published = REDISAI.get((group.name, group.load))
        theirs = NONE
        if published is not None and published.cpu_us and published.least_cpu_us:
            theirs = f"{published.cpu_us:g} ({published.least_cpu_us:g})"
        waits = f"{ours.p50_ms * 1000:,.0f}"
        row = [group.load.text, direct.get(group.name, NONE), cpu(ours), theirs, waits]
        rows.setdefault(group.name, []).append(row)
    header = ["", "direct call", "server's CPU", "RedisAI's CPU", "client waits"]
    note = (
        "Microseconds of one run: a call of ONNX Runtime without any server (best), the CPU time "
        "of the server's process (median, and least), and what a client waits (median)."
    )
    return Table("What the way to the model costs", note, header, 1, titled(rows, len(header)))


def pairs(run: Run, family: str) -> Table:
    """Compare the second contender of each group with the first."""
    rows: dict[str, list[list[str]]] = {}
    names = ["first", "second"]
    for group in run.groups:
        if group.family != family:
            continue
        first, second = group.measured
        names = [first.who, second.who]
        row = [group.load.text, rates(first), rates(second)]
        row.append(ratios(second.rate / first.rate, second.best / first.best))
        row.append(ratios(second.p50_ms / first.p50_ms, second.least_p50_ms / first.least_p50_ms))
        row.append(cpu_ratios(first, second))
        rows.setdefault(group.name, []).append(row)
    header = ["", *names, "rates", "p50", "CPU"]
    return Table(
        PAIRS[family], f"{PAIR_NOTES[family]} {PAIR_RATIOS}", header, 1, titled(rows, len(header))
    )


def savings(run: Run) -> Table:
    """Show how much of a run's cost is shared when ONNX Runtime is called with many rows."""
    rows: list[list[str]] = []
    costs = {group.name: group.measured[0] for group in run.groups if group.load == BUSIEST}
    for group in run.groups:
        if group.family != ROWS:
            continue
        alone, together = group.measured
        size = BATCH_SIZES[group.name]
        if alone.least_cpu_us is None or together.least_cpu_us is None:
            continue
        one, many = alone.least_cpu_us, together.least_cpu_us / size
        row = [group.name, f"{size}", f"{one:.1f}", f"{many:.1f}", f"{one - many:.1f}"]
        for name in batchings(group.name):
            cost = costs[name].least_cpu_us if name in costs else None
            row.append(f"{cost:.0f}" if cost else NONE)
            row.append(ratio(cost / (cost - one + many)) if cost and cost > one else NONE)
        rows.append(row)
    header = ["", "rows", "1 row alone", "a row of many", "saved"]
    header += ["CPU", "rate", "CPU, inline off", "rate, inline off"]
    note = (
        "Microseconds of CPU time for a row, when ONNX Runtime is called directly with one row, "
        "and with as many as a batch holds (least). CPU: the server's for a request at 50 clients "
        "without BATCHSIZE (least). Rate: how many times as many requests could be answered if "
        "the call alone became cheaper by what is saved, and every batch were full. What the "
        "server itself does once for each batch instead of each request comes on top; "
        "reading, storing and answering a request is not shared."
    )
    return Table("What a batch can save", note, header, 1, [rows] if rows else [])


def beside_frameworks(run: Run) -> Table:
    """Show what each backend adds to a call of its framework."""
    rows: dict[str, list[list[str]]] = {}
    direct: dict[str, float] = {}
    for group in run.groups:
        if group.family not in {FRAMEWORKS, SCRIPTS}:
            continue
        suffix = DIRECTLY.format("")
        direct |= {each.who: 1e6 / each.best for each in group.measured}
        for each in group.measured:
            if each.who.endswith(suffix) or each.least_cpu_us is None:
                continue
            call = direct.get(DIRECTLY.format(each.who))
            over = NONE if call is None else f"{each.least_cpu_us - call:.0f}"
            row = [f"{each.who}, {group.load.text}", NONE if call is None else f"{call:.0f}"]
            row += [cpu(each), over, f"{each.p50_ms * 1000:,.0f}", rates(each)]
            rows.setdefault(group.name, []).append(row)
    header = ["", "direct call", "server's CPU", "beyond the call", "client waits", "requests/s"]
    note = (
        "Microseconds of one run: a call of the framework without any server (best), the CPU "
        "time of the server's process (median, and least), how much that least is beyond the "
        "call, and what a client waits (median)."
    )
    return Table("Backends beside their frameworks", note, header, 1, titled(rows, len(header)))


def titled(rows: Mapping[str, list[list[str]]], width: int) -> list[list[list[str]]]:
    """Return one section for each name, which stands in a row of its own above."""
    return [[[name, *[""] * (width - 1)], *those] for name, those in rows.items()]


def process(run: Run) -> Table:
    """Show how long the servers take to start, and their memory."""
    rows: dict[str, list[list[str]]] = {}
    for who, found in run.starts.items():
        times = f"{median(found):.3f} ({min(found):.3f})"
        rows.setdefault(who, []).append(["seconds to the first PONG", times, NONE])
    for who, moments in run.memory.items():
        published = {WITH_MODELS: f"{MEMORY_MB}"} if who == TENSORKEEP else {}
        rows.setdefault(who, []).extend(
            [f"MB in memory {moment}", f"{mb:.0f}", published.get(moment, NONE)]
            for moment, mb in moments.items()
        )
    note = "Seconds: median (best). RedisAI's memory: with the same three models in ONNX Runtime."
    return Table("Start and memory", note, ["", "measured", "RedisAI's"], 1, titled(rows, 3))


# ---------------------------------------------------------------- every contender
def details(run: Run) -> list[Table]:
    """Return every contender's figures."""
    made = [every_contender(run, family) for family in DETAILS]
    return [table for table in made if any(table.sections)]


def every_contender(run: Run, family: str) -> Table:
    """Show rate, latency and CPU time of each contender of a family, under the group's title."""
    header = ["", "requests/s", "p50 ms", "p99 ms", "CPU µs", "others"]
    rows = {
        f"{group.name}, {group.load.text}": [contender_row(each) for each in group.measured]
        for group in run.groups
        if group.family == family
    }
    return Table(f"In detail: {family}", DETAILS[family], header, 1, titled(rows, len(header)))


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


def ratios(median_ratio: float, best_ratio: float) -> str:
    """Return the ratio of the medians and that of the bests."""
    return f"{ratio(median_ratio)} ({ratio(best_ratio)})"


def cpu_ratios(first: Measured, second: Measured) -> str:
    """Return the ratio of the CPU times of a request, and that of the least ones."""
    times = first.cpu_us, second.cpu_us, first.least_cpu_us, second.least_cpu_us
    known = [time for time in times if time]
    if len(known) < len(times):
        return NONE
    return ratios(known[1] / known[0], known[3] / known[2])


def ratio(value: float) -> str:
    """Return a ratio with two digits that count."""
    return f"{value:.{2 if value >= 0.1 else 3}f}"


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
