"""Shared libraries of frameworks, loaded without stopping other threads.

Python holds the interpreter while it imports a compiled module, and with it while the system loads
and initialises the libraries that the module stands on: 0.3 s of processor time for torch, 0.25 s
for TensorFlow, several times that from a cold disk. What was loaded before is only looked up then.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

_dlopen: Final = getattr(ctypes.CDLL(None), "dlopen", None) if os.name == "posix" else None
if _dlopen is not None:
    _dlopen.restype, _dlopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)


def load_ahead(package: str, *names: str, exported: bool = False) -> bool:
    """Loads shared libraries of a package that is to be imported next.

    A library that is not there, or cannot be loaded, is left to the import, which says why, and so
    are those behind it.

    Args:
        package: The package's name.
        names: Patterns of the libraries' paths within it, in the order in which they are loaded.
        exported: Whether what is loaded later may use their symbols.

    Returns:
        Whether all of them are loaded. False as well if the package is imported already.
    """
    spec = None if package in sys.modules else find_spec(package)
    if spec is None or not spec.submodule_search_locations or _dlopen is None:
        return False
    flags = os.RTLD_NOW | (os.RTLD_GLOBAL if exported else os.RTLD_LOCAL)
    for name in names:
        folders = map(Path, spec.submodule_search_locations)
        path = next((found for folder in folders for found in sorted(folder.glob(name))), None)
        # A foreign function is called without the interpreter.
        if path is None or not _dlopen(os.fsencode(path), flags):
            _log.debug("%s of %s is not loaded ahead", name, package)
            return False
    return True
