"""Results as a page of the documentation and as a table on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trial import Result

SIGNS = {"works": "works", "refused": "refused", "not writable": "no file", "fails": "FAILS"}
STYLES = {"works": "green", "refused": "yellow", "not writable": "dim", "fails": "bold red"}

HEAD = """\
# Which models work

<!-- Written by `nox -s zoo`; not to be changed by hand. -->

Real architectures, with random weights where a row says nothing else, saved in every way that their
frameworks have, stored with `AI.MODELSTORE` on a running server and run with `AI.MODELEXECUTE`,
with inputs of several sizes where the file leaves them free. What comes back is compared with the
framework called directly: the type, the shape and every element.

| a cell says | which means |
|---|---|
| works | every output is what the framework itself computes |
| refused | `AI.MODELSTORE` says why, and stores nothing |
| no file | the framework itself cannot save this model so |

Numbers in brackets refer to the notes below each table. `python -m nox -s zoo` runs the list again;
the head of `zoo/entry.py` says how a model is added.
"""


def table_of(results: Sequence[Result]) -> Table:
    """Returns results as a table for a terminal."""
    table = Table(title="The zoo")
    for head in ("Model", "Form", "Outcome", "MB", "Stored, s", "Run, ms", "Difference", "Note"):
        table.add_column(head, justify="right" if head in {"MB", "Run, ms"} else "left")
    for each in results:
        worked = each.outcome == "works"
        table.add_row(
            f"{each.model} ({each.package})",
            each.form,
            f"[{STYLES[each.outcome]}]{each.outcome}[/]",
            f"{each.megabytes:.1f}",
            f"{each.stored_s:.2f}" if worked else "",
            f"{each.run_ms:.1f}" if worked else "",
            f"{each.difference:.1g}" if worked else "",
            (each.text or each.note).replace("[", r"\["),
        )
    return table


def page_of(sections: Mapping[str, tuple[str, Sequence[Result]]]) -> str:
    """Returns the page.

    Args:
        sections: For each title, with what it was measured, and the results.
    """
    return "\n".join([HEAD, *(_section(title, *each) for title, each in sections.items())])


def _section(title: str, versions: str, results: Sequence[Result]) -> str:
    forms = list(dict.fromkeys(each.form for each in results))
    models = dict.fromkeys((each.model, each.package) for each in results)
    cells = {(each.model, each.package, each.form): each for each in results}
    notes: dict[str, int] = {}
    lines = [f"| {' | '.join(['model', 'package', *forms])} |", "|---" * (len(forms) + 2) + "|"]
    for model, package in models:
        row = [model, package]
        for form in forms:
            found = cells.get((model, package, form))
            row.append(_cell(found, notes) if found else "")
        lines.append(f"| {' | '.join(row)} |")
    listed = [f"{number}. {text}" for text, number in notes.items()]
    return "\n".join([f"## {title}", "", f"With {versions}.", "", *lines, "", *listed, ""])


def _cell(result: Result, notes: dict[str, int]) -> str:
    text = _escaped(result.text) if result.outcome != "works" else result.note
    if result.size != "full" and result.outcome == "works":
        text = "; ".join(filter(None, (text, "with few and narrow layers")))
    if not text:
        return SIGNS[result.outcome]
    number = notes.setdefault(text, len(notes) + 1)
    return f"{SIGNS[result.outcome]} ({number})"


def _escaped(text: str) -> str:
    """Returns a text of a framework as Markdown shows it: as code, without marks of its own."""
    return f"`{text.replace('`', chr(39))}`"
