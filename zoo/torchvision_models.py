"""Networks of the package torchvision, its detectors among them, which need its own operators."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
import torchvision
from torch.jit import is_scripting  # type: ignore[attr-defined] # documented, not listed
from torch_forms import Network, entries_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entry import Entry, Size

CLASSIFIERS = {
    "ResNet-50": "resnet50",
    "MobileNet V3 small": "mobilenet_v3_small",
    "EfficientNet B0": "efficientnet_b0",
    "Swin T": "swin_t",
}
DETECTORS = {
    "SSDlite": "ssdlite320_mobilenet_v3_large",
    "Faster R-CNN": "fasterrcnn_mobilenet_v3_large_320_fpn",
}


def entries() -> Iterator[Entry]:
    """Gives all entries."""
    for name, function in CLASSIFIERS.items():
        yield from entries_of(name, "torchvision", partial(classifier, function))
    yield from entries_of("DeepLab V3", "torchvision", segmenter)
    for name, function in DETECTORS.items():
        yield from entries_of(name, "torchvision", partial(detector, function))


def classifier(function: str, _: Size) -> Network:
    """Makes a classifier of pictures; there is one size of each."""
    module = torchvision.models.get_model(function, weights=None, num_classes=10)
    samples = [{"x": torch.rand(count, 3, 224, 224)} for count in (2, 3)]
    return Network(module, samples, {"x": {0: "batch"}})


def segmenter(_: Size) -> Network:
    """Makes a network that returns a dict: what each pixel shows."""
    module = torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=5
    )
    samples = [{"x": torch.rand(count, 3, 128, 128)} for count in (2, 3)]
    return Network(module, samples, {"x": {0: "batch"}})


class Detector(torch.nn.Module):
    """A detector of one picture, as a module that takes and returns tensors.

    Those of torchvision take a list of pictures of different sizes, and return one of dicts.
    """

    def __init__(self, function: str) -> None:
        super().__init__()
        self.model = torchvision.models.get_model(
            function, weights=None, weights_backbone=None, num_classes=5
        )

    def forward(self, picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns boxes, labels and scores."""
        found = self.model([picture])
        if is_scripting():
            (detections,) = found[1]
        else:
            (detections,) = found
        return detections["boxes"], detections["labels"], detections["scores"]


def detector(function: str, _: Size) -> Network:
    """Makes a detector; as its weights are random, many of its boxes have one score."""
    samples = [{"picture": torch.rand(3, 200, 300)} for _ in range(2)]
    return Network(Detector(function), samples, ties=True)
