# ruff: noqa: INP001 - a program and no package; a test imports it by its path.
"""Renders the lists of operators known to be harmless; run it to write them anew.

It decides how the tables look, and nothing about operators.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from tensorkeep_onnx.harmless_operators import HARMLESS as OF_ONNX
from tensorkeep_torch.harmless_operators import HARMLESS as OF_TORCH

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE: Final = "harmless.md"
_BEGIN: Final = (
    "<!-- From here on docs/render_harmless.py writes: change the lists, not this page. -->\n"
)
_END: Final = "<!-- To here. -->\n"
_DTYPES: Final = {
    1: "float",
    2: "uint8",
    3: "int8",
    6: "int32",
    7: "int64",
    9: "bool",
    11: "double",
}


def render(page: str) -> str:
    """Returns the page with its tables written anew."""
    before, _, rest = page.partition(_BEGIN)
    tables = f"### ONNX\n\n{_of_onnx()}\n### TORCH\n\n{_of_torch()}"
    return f"{before}{_BEGIN}\n{tables}{_END}{rest.partition(_END)[2]}"


def _of_onnx() -> str:
    """Returns a table of operators that take the same."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for name, entry in OF_ONNX.items():
        dtypes = (
            ", ".join(_DTYPES[each] for each in sorted(entry.dtypes)) if entry.inputs[1] else ""
        )
        attributes = ", ".join(f"`{each}`" for each in sorted(entry.attributes))
        since = f"{entry.since}" if entry.since > 1 else ""
        rows.setdefault((dtypes, attributes, since), []).append(f"`{name}`")
    return _table(
        ("operators", "elements of its first input", "attributes", "since version"),
        ((", ".join(names), *key) for key, names in rows.items()),
    )


def _of_torch() -> str:
    """Returns a table of operators that take the same."""
    rows: dict[str, list[str]] = {}
    for name, entry in OF_TORCH.items():
        rows.setdefault(", ".join(entry.names), []).append(f"`{name}`")
    return _table(
        ("operators", "arguments"),
        ((", ".join(names), f"`{arguments}`") for arguments, names in rows.items()),
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = [*head]
    lines = [titles, ["---"] * len(titles), *([*row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    page = Path(__file__).with_name(PAGE)
    page.write_text(render(page.read_text(encoding="utf-8")), encoding="utf-8")
