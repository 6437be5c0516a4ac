"""Libraries are loaded ahead of an import where that can be done, and never in its way."""

import subprocess
import sys

import pytest

from tensorkeep.libraries import load_ahead


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a file that is no library."""
    folder = tmp_path / "some_framework"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "broken.so").write_bytes(b"no library")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "some_framework"


@pytest.mark.parametrize("name", ["broken.so", "absent.so", "*/absent*.so"])
def test_what_cannot_be_loaded_is_left_to_the_import(package, name):
    assert load_ahead(package, name) is False
    __import__(package)
    sys.modules.pop(package)


def test_a_package_that_is_not_there_is_left_to_the_import():
    assert load_ahead("no_such_framework", "lib.so") is False


def test_a_package_that_was_imported_is_left_alone():
    assert load_ahead("numpy", "_core/*umath*.so") is False


def test_a_library_is_loaded_and_nothing_is_imported(tmp_path):
    program = """
import sys
from pathlib import Path
from importlib.machinery import EXTENSION_SUFFIXES
from tensorkeep.libraries import load_ahead
sys.modules.pop("ml_dtypes"), sys.path_importer_cache.clear()
assert load_ahead("ml_dtypes", "_ml_dtypes_ext*" + EXTENSION_SUFFIXES[-1])
assert "ml_dtypes" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
