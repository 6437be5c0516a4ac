"""The files of a model, for programs that store it: those beside it, and no others."""

import subprocess
import sys

import pytest

from tensorkeep.errors import InvalidModelFile
from tensorkeep.model_files import files_of


@pytest.fixture
def saved(graphs, tmp_path):
    """Writes a model with tensors in files into a folder of its own: `saved("w.data", ...)`."""

    def saved(*locations, name="model.onnx"):
        tensors = [graphs.external(f"w{at}", place) for at, place in enumerate(locations)]
        path = tmp_path / "folder" / name
        path.parent.mkdir()
        path.write_bytes(graphs.model([], [], [], tensors))
        return path

    return saved


def test_a_model_whose_weights_are_within_is_one_file(saved):
    path = saved()
    assert files_of("ONNX", path) == {"model.onnx": path}


def test_files_are_named_as_they_lie_beside_the_model(saved):
    path = saved("w.data", "./w.data", "parts/1", "parts/../2", name="model.bin")
    for name in ("w.data", "parts/1", "2"):
        (path.parent / name).parent.mkdir(exist_ok=True)
        (path.parent / name).touch()

    assert files_of("onnx", path) == {"model.bin.onnx": path} | {
        name: path.parent / name for name in ("w.data", "parts/1", "2")
    }


@pytest.mark.parametrize("place", ["../secret", "/etc/hostname", "parts/../../secret", "", "."])
def test_no_file_of_another_folder_is_taken(saved, place):
    path = saved(place)
    (path.parent.parent / "secret").touch()

    with pytest.raises(InvalidModelFile, match="is no file beside it"):
        files_of("ONNX", path)


def test_a_link_that_leads_out_of_the_folder_is_not_followed(saved, tmp_path):
    (tmp_path / "secret").touch()
    path = saved("w.data")
    (path.parent / "w.data").symlink_to(tmp_path / "secret")

    with pytest.raises(InvalidModelFile, match="leads out of its folder"):
        files_of("ONNX", path)


def test_where_the_model_is_a_link_its_files_may_be_links_to_the_same_folder(saved, tmp_path):
    path = saved("w.data")
    cache = tmp_path / "cache"
    cache.mkdir()
    path.rename(cache / "blob1")
    path.symlink_to(cache / "blob1")
    (cache / "blob2").touch()
    (path.parent / "w.data").symlink_to(cache / "blob2")

    assert sorted(files_of("ONNX", path)) == ["model.onnx", "w.data"]


def test_a_file_that_is_missing_is_named(saved):
    with pytest.raises(InvalidModelFile, match=r'"w\.data" beside it, which is missing'):
        files_of("ONNX", saved("w.data"))


@pytest.mark.parametrize("content", [b"", b"no model", b"PK\3\4"])
def test_what_is_no_model_is_left_to_the_server(tmp_path, content):
    path = tmp_path / "file.onnx"
    path.write_bytes(content)
    assert files_of("ONNX", path) == {"file.onnx": path}


def test_models_of_backends_that_say_nothing_are_one_file(tmp_path):
    assert files_of("NOSUCH", tmp_path / "m") == {"m": tmp_path / "m"}


def test_the_framework_is_not_imported(saved):
    program = (
        "import sys; from pathlib import Path; from tensorkeep.model_files import files_of;"
        f"files_of('ONNX', Path({str(saved())!r}));"
        "sys.exit('onnxruntime' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
