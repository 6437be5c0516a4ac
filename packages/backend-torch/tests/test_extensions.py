"""Packages with operators are imported when a model names them, and no others are."""

from types import ModuleType

import pytest
import torch

from tensorkeep.errors import ModelRejected
from tensorkeep_torch import extensions


class Imports:
    """Stands for Python's import: each succeeds, or raises what is given."""

    def __init__(self):
        self.names = []
        self.error = None

    def __call__(self, name):
        self.names.append(name)
        if self.error is not None:
            raise self.error
        return ModuleType(name)


@pytest.fixture
def imports(monkeypatch):
    imports = Imports()
    monkeypatch.setattr(extensions.importlib, "import_module", imports)
    return imports


@pytest.fixture
def nothing_there(imports):
    imports.error = ModuleNotFoundError("No module named 'torchvision'", name="torchvision")


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("_0 = ops.torchvision.nms(boxes, scores, 0.5)", ["torchvision"]),
        ('"target": "torch.ops.torchvision.roi_align.default"', ["torchvision"]),
        ("torch.ops.torchvision.nms(a) + torch.ops.torchvision.nms(b)", ["torchvision"]),
        ("torch.ops.aten.add(a, b)", []),
        ("ops.os.system('true')", []),
        ("__torch__.torchvision.models.resnet.ResNet", []),
        ("loops.torchvision.x", []),
    ],
)
def test_only_known_packages_are_imported_and_only_when_named(imports, source, names):
    extensions.load_operators(source)

    assert imports.names == names


def test_a_package_that_is_not_there_is_named(nothing_there):
    with pytest.raises(ModelRejected, match="operators of torchvision, which is not installed"):
        extensions.load_operators("ops.torchvision.nms(x)")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("operator torchvision::nms does not exist"),
        ModuleNotFoundError("No module named 'PIL'", name="PIL"),
        ImportError("a library of another torch"),
    ],
)
def test_a_package_that_does_not_fit_says_why(imports, error):
    imports.error = error

    with pytest.raises(ModelRejected, match=f"torchvision, which cannot be imported: {error}"):
        extensions.load_operators("ops.torchvision.nms(x)")


def test_torchscript_with_operators_that_are_not_there_is_refused(
    archives, load, doubling, nothing_there
):
    source = next(name for name in archives.records(doubling) if name.endswith(".py"))
    blob = archives.changed(
        doubling, source, lambda text: text.replace(b"torch.mul(", b"ops.torchvision.nms(")
    )

    with pytest.raises(ModelRejected, match="which is not installed here"):
        load(blob)


def test_exported_programs_with_operators_that_are_not_there_are_refused(
    archives, load, doubling_export, nothing_there
):
    blob = archives.changed(
        doubling_export,
        "models/model.json",
        lambda text: text.replace(b"ops.aten.mul.Tensor", b"ops.torchvision.nms.default"),
    )

    with pytest.raises(ModelRejected, match="which is not installed here"):
        load(blob)


def test_scripts_with_operators_that_are_not_there_are_refused(compile_script, nothing_there):
    with pytest.raises(ModelRejected, match="which is not installed here"):
        compile_script("def f(x):\n    return torch.ops.torchvision.nms(x, x, 0.5)\n")


def test_models_of_an_installed_torchvision_are_run(archives, load, run):
    torchvision = pytest.importorskip("torchvision", exc_type=(ImportError, RuntimeError))

    class Best(torch.nn.Module):
        def forward(self, boxes, scores):
            return boxes[torchvision.ops.nms(boxes, scores, 0.5)]

    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], dtype=torch.float32)
    scores = torch.tensor([0.5, 0.9, 0.1])
    for blob in (archives.saved(Best()), archives.exported(Best(), (boxes, scores))):
        (output,) = run(load(blob), boxes.numpy(), scores.numpy())

        assert output.shape == (2, 4)
