"""How Sphinx builds the documentation; `nox -s docs` runs it, with every warning an error."""

import importlib
import pkgutil
import tomllib
import typing
from pathlib import Path

# These are imported before TYPE_CHECKING is set below, which is for our own modules.
import hypothesis  # noqa: F401
import numpy.typing as npt  # noqa: F401
import pytest  # noqa: F401

import tensorkeep

ROOT = Path(__file__).parents[1]

project = "Tensorkeep"
author = "The Tensorkeep developers"
copyright = f"2026, {author}"
release = tomllib.loads((ROOT / "packages/core/pyproject.toml").read_text())["project"]["version"]
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Tensorkeep {release}"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# In our docstrings `name` is code, as in Markdown.
default_role = "code"
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"

# -n reports every name without a page. Names of other projects have none here, and neither have the
# engine and its loop, what commands are made of, and variables of types.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!tensorkeep).*"),
    (r"py:.*", r"tensorkeep\.(commands|engine|loop|watch)\..*"),
    (r"py:.*", r"tensorkeep\..*\._T"),
]

# Our modules import what only annotations need under TYPE_CHECKING. Imported with it set, they let
# autodoc resolve those names; the layers are free of cycles, so the imports succeed.
typing.TYPE_CHECKING = True
for module in pkgutil.walk_packages(tensorkeep.__path__, "tensorkeep."):
    importlib.import_module(module.name)
typing.TYPE_CHECKING = False
