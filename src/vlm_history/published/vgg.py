"""VGG-19 as torchvision names it, and as timm does, whose first two of the last three layers are convolutions.

timm slides these over a grid larger than 7 x 7 and averages the logits, where torchvision, and VGG here, first
averages the grid: the two agree on pictures of up to 255 pixels a side.
"""

from __future__ import annotations

from vlm_history.connect.cnn import VGG, VGGConfig
from vlm_history.published.adapter import Adapter

# Where the convolutions of each stage stand among the ReLUs and poolings.
_FEATURES = ((0, 2), (5, 7), (10, 12, 14, 16), (19, 21, 23, 25), (28, 30, 32, 34))
_CONVOLUTIONS = {
    f"stages.{stage}.{convolution}": f"features.{theirs}"
    for stage, places in enumerate(_FEATURES)
    for convolution, theirs in enumerate(places)
}

TORCHVISION = Adapter(
    ours_to_theirs={**_CONVOLUTIONS, "first": "classifier.0", "second": "classifier.3", "classifier": "classifier.6"}
)
TIMM = Adapter(
    ours_to_theirs={**_CONVOLUTIONS, "first": "pre_logits.fc1", "second": "pre_logits.fc2", "classifier": "head.fc"},
    kernels={"first": (7, 7), "second": (1, 1)},
)


def build() -> VGG:
    """The published architecture: 143,667,240 parameters."""
    return VGG(VGGConfig())
