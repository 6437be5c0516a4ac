"""Operators that other packages bring: loaded when a model or script first names them.

Only packages that are known here are ever imported. Which of their operators may be used is
decided where those of torch are.
"""

from __future__ import annotations

import importlib
import re
from typing import Final

from tensorkeep.errors import ModelRejected

# What may be imported, by the namespace of its operators.
_PACKAGES: Final = {"torchvision": "torchvision"}
# As TorchScript, exported programs and scripts spell it: `torch.ops.torchvision.nms`.
_NAMED: Final = re.compile(rf"\bops\.({'|'.join(_PACKAGES)})\.")


def load_operators(source: str) -> None:
    """Imports the packages whose operators a source names.

    Args:
        source: Source of TorchScript, or an exported program.

    Raises:
        ModelRejected: One is not installed, or does not fit the installed torch.
    """
    for namespace in dict.fromkeys(_NAMED.findall(source)):
        package = _PACKAGES[namespace]
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            if error.name != package:
                raise ModelRejected(_cannot(package, error)) from error
            raise ModelRejected(
                f"It has operators of {package}, which is not installed here"
            ) from error
        except Exception as error:  # of another torch's build: whatever its C++ says
            raise ModelRejected(_cannot(package, error)) from error


def _cannot(package: str, error: Exception) -> str:
    return f"It has operators of {package}, which cannot be imported: {error}"
