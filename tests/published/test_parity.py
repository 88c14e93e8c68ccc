"""What the site's table of originals shows holds: equal counts, and outputs equal to 1e-4."""

import torch

from vlm_history.published import names, parity


def test_every_published_model_has_as_many_parameters_as_the_library_s() -> None:
    counted = list(parity.counts())
    assert [each.name for each in counted] == [name for name in names() if name not in parity.UNRIVALLED]
    assert [each.ours for each in counted] == [each.theirs for each in counted]


def test_outputs_are_the_library_s_and_chance_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    held = list(parity.held())
    assert torch.equal(torch.randn(3), expected)
    assert {each.architecture for each in held} >= {
        "LSTM",
        "GoogLeNet",
        "VGG-19",
        "GPT-1",
        "GPT-2",
        "CLIP, ViT",
        "DALL-E, encoder",
        "Stable Diffusion",
    }
    for each in held:
        assert each.gap <= 1e-4 and each.largest > 0.5, each
