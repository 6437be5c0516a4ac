"""Imports TensorFlow without what its compiled modules print while they are loaded.

No setting reaches that: on a processor for which oneDNN is on, TensorFlow says so before it looks
how much it may say.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from typing import TYPE_CHECKING, Final

from tensorkeep.libraries import load_ahead
from tensorkeep.noise import logged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

_COMPILED = "._pywrap"  # so all of them are called


class _QuietLoader(ExtensionFileLoader):
    """Loads a compiled module. It holds the interpreter, so no other thread prints meanwhile."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        with logged("TensorFlow"):
            return super().create_module(spec)


class _QuietFinder:
    """Finds TensorFlow's compiled modules, and nothing else."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith("tensorflow.") or _COMPILED not in name:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is ExtensionFileLoader:
            spec.loader = _QuietLoader(spec.loader.name, spec.loader.path)
        return spec


# What TensorFlow's own lines begin with. Its libraries are loaded while other threads may print.
_ITS_OWN: Final = (
    r"WARNING: All log messages before absl|[IWEF]\d{4} |\d{4}-\d\d-\d\d .*: [IWEF] tensorflow"
)


def load_libraries(*, quiet: bool) -> None:
    """Loads what TensorFlow's compiled modules stand on, without stopping other threads.

    Args:
        quiet: Whether what they print goes to the log.
    """
    with logged("TensorFlow", only=_ITS_OWN) if quiet else nullcontext():
        load_ahead(
            "tensorflow",
            "libtensorflow_framework.so*",
            "libtensorflow_cc.so*",
            "python/_pywrap_tensorflow_internal.so",
        )


@contextmanager
def quiet_import() -> Iterator[None]:
    """Has what is imported meanwhile loaded quietly."""
    finder = _QuietFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
