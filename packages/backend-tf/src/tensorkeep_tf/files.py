"""What keeps a model from the files of the server, also where workers have no sandbox.

An operator that is told a name of something outside the graph, a file or an address, is refused.
Two kinds of them every SavedModel may have: those that restore variables and those that fill a
table. Whatever names the graph computes for these, they are turned into names in a folder of the
archive's own.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from tensorkeep.errors import ModelRejected
from tensorkeep_tf.framework import op_def_registry

if TYPE_CHECKING:
    from collections.abc import Sequence

# Messages of TensorFlow's protobufs bring no types.
NodeDef = Any

# What operators call an input or attribute that names something outside.
_NAME: Final = re.compile(
    r"filename|file_|_file$|path$|dir$|prefix(es)?$|url|address|memory_region|_source$|ops_spec"
)
# Operators that do so by another name.
_OTHERS: Final = re.compile(r"Reader|MatchingFiles|^FileSystem|^RemoteCall$")

CHECKPOINT: Final = "variables"
ASSETS: Final = "assets/"

# What reads files of the archive: which input names one, what of the name is replaced, by what.
_OF_THE_ARCHIVE: Final = {
    "RestoreV2": (0, "(?s)^.*$", CHECKPOINT),
    "InitializeTableFromTextFile": (1, "(?s)^(.*/)?", ASSETS),
    "InitializeTableFromTextFileV2": (1, "(?s)^(.*/)?", ASSETS),
}
_PRINT: Final = "PrintV2"


@cache
def _reaches_out(op: str) -> bool:
    known = op_def_registry.get(op)
    if known is None or op == _PRINT:
        return False
    names = [each.name for each in (*known.input_arg, *known.attr)]
    return bool(_OTHERS.search(op)) or any(map(_NAME.search, names))


def keep_inside(body: Sequence[NodeDef], folder: str, *, function: bool) -> None:
    """Sees to it that the nodes of a graph or function reach no files but those in a folder.

    Args:
        body: The nodes; they are changed.
        folder: Where the files of an archive are unpacked; empty when there are none.
        function: Whether it is the body of a function.

    Raises:
        ModelRejected: An operator reaches out.
    """
    for node in list(body):
        if folder and node.op in _OF_THE_ARCHIVE:
            place, pattern, kept = _OF_THE_ARCHIVE[node.op]
            name = body.add(  # type: ignore[attr-defined] # a list of messages
                name=f"{node.name}/file_of_the_archive",
                op="StaticRegexReplace",
                input=[node.input[place]],
            )
            name.attr["pattern"].s = pattern.encode()
            name.attr["rewrite"].s = f"{folder}/{kept}".encode()
            name.attr["replace_global"].b = False
            node.input[place] = f"{name.name}:output:0" if function else name.name
        elif _reaches_out(node.op):
            raise ModelRejected(f"Op {node.op} is not allowed: it can reach files or other servers")
        elif node.op == _PRINT:
            node.attr["output_stream"].s = b"stderr"  # it could be a file
