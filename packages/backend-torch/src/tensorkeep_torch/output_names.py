"""What the outputs of an exported program are called: as their keys, where it returns dicts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorkeep_torch.translation import Json


def output_names(program: Json) -> list[str]:
    """Returns a name for each value that a program returns, empty for those without one.

    What lies in a dict, or in an object of a class whose members have names, is called by its key,
    with the way from there to it: `logits`, `boxes.0`.

    Args:
        program: The program.

    Raises:
        Exception: It makes no sense.
    """
    signature = program["graph_module"]["module_call_graph"][0]["signature"]
    return list(_names(json.loads(signature["out_spec"])[1], ""))


def _names(tree: Json, name: str) -> Iterator[str]:
    if tree["type"] is None:
        yield name
        return
    children: Sequence[Json] = tree["children_spec"]
    keys = _keys(tree, len(children))
    for index, child in enumerate(children):
        own = str(index) if keys is None else keys[index]
        below = f"{name}.{own}" if name else ("" if keys is None else own)
        yield from _names(child, below)


def _keys(tree: Json, count: int) -> list[str] | None:
    """Returns the keys of a dict or members of an object; None where there are places only."""
    try:
        context = json.loads(tree["context"])
    except ValueError:  # of a named tuple: the name of its class
        return None
    if type(context) is not list or len(context) != count:
        return None
    return [str(each) for each in context] if count else None
