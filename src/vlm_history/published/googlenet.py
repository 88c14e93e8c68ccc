"""GoogLeNet as torchvision names it (and, with the same names, ships it). timm has none: its Inceptions begin at v3."""

from __future__ import annotations

from vlm_history.connect.cnn import GoogLeNet, GoogLeNetConfig
from vlm_history.published.adapter import Adapter

_BRANCHES = {
    "one": "branch1",
    "three.0": "branch2.0",
    "three.1": "branch2.1",
    "five.0": "branch3.0",
    "five.1": "branch3.1",
    "pooled": "branch4.1",
}
_UNITS = {
    "first": "conv1",
    "second": "conv2",
    "third": "conv3",
    **{
        f"inceptions.{i}.{ours}": f"inception{name}.{theirs}"
        for i, name in enumerate(("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"))
        for ours, theirs in _BRANCHES.items()
    },
}

TORCHVISION = Adapter(
    ours_to_theirs={
        **{f"{ours}.conv": f"{theirs}.conv" for ours, theirs in _UNITS.items()},
        **{f"{ours}.norm": f"{theirs}.bn" for ours, theirs in _UNITS.items()},
        "classifier": "fc",
    },
    ignored=("aux1.", "aux2."),
)


def build() -> GoogLeNet:
    """The published architecture: 6,624,904 parameters."""
    return GoogLeNet(GoogLeNetConfig())
