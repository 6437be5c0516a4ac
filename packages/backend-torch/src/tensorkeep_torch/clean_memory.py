"""Memory in which nothing is left of those who had it before.

torch takes memory as it comes. A program that does not write to all of it could read what other
clients stored there. torch's allocator for the CPU can be told to write zeros first; that is done
while such a program runs, and only then, for it costs what writes much and computes little a
third more time. Elsewhere, such as on a GPU, the program itself writes zeros to what it makes
empty.

A worker in a process of its own serves many clients, so this holds there as well.
"""

from __future__ import annotations

import ctypes
import re
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

import torch

from tensorkeep_torch.graphs import FORK, nodes, subgraph_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorkeep_torch.internals import Native

_LIBRARIES: Final = ("libc10.so", "libc10.dylib", "c10.dll")
_FLAG: Final = "FLAGS_caffe2_cpu_allocator_do_zero_fill"

_EMPTY: Final = re.compile(r"aten::\w*empty\w*")


def _allocator_flag() -> ctypes.c_bool:
    """Returns torch's own setting, for the whole process.

    Raises:
        OSError: torch has no such library.
        ValueError: The library has no such setting.
    """
    folder = Path(torch.__file__).parent / "lib"
    found = next((folder / name for name in _LIBRARIES if (folder / name).exists()), None)
    if found is None:
        raise OSError(f"torch has none of {', '.join(_LIBRARIES)} in {folder}")
    return ctypes.c_bool.in_dll(ctypes.CDLL(str(found)), _FLAG)


_flag: Final = _allocator_flag()
_lock: Final = Lock()  # guards the two: the flag is set while the number is not 0
_inside = 0


@contextmanager
def clean_memory() -> Iterator[None]:
    """Has torch write zeros to the memory that it takes; any number may be inside at a time."""
    keep_memory_clean()
    try:
        yield
    finally:
        _count(-1)


def keep_memory_clean() -> None:
    """Has torch do so for as long as the process lives."""
    _count(1)


def _count(more: int) -> None:
    global _inside  # noqa: PLW0603 - as the flag is one for the process
    with _lock:
        _inside += more
        _flag.value = _inside > 0


def fill(graph: Native) -> None:
    """Has a graph write zeros to tensors that it makes without writing anything to them."""
    for node in nodes(graph, tasks=False):
        if node.kind() == FORK:
            fill(subgraph_of(node))
        elif _EMPTY.fullmatch(node.kind()):
            zero = graph.insertConstant(0)
            zero.node().moveBefore(node)
            filled = graph.create("aten::fill_", [node.output(), zero], 1)
            filled.insertAfter(node)
            node.output().replaceAllUsesAfterNodeWith(filled, filled.output())
    graph.lint()
