"""The loss of Show, Attend and Tell: what it sums, what padding leaves out, and when places are drawn."""

import pytest
import torch

from tests.connect.captioners import CNN, WORDS
from vlm_history.connect.show_attend_and_tell import (
    ShowAttendAndTell,
    ShowAttendAndTellConfig,
    doubly_stochastic,
    reinforce,
)
from vlm_history.training.recipes.show_attend_and_tell import Attend
from vlm_history.training.scenes import normalised

CONFIG = ShowAttendAndTellConfig(CNN, len(WORDS), width=7, hidden=9, attention=5, dropout=0.0)
PIXELS = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
# two captions of each picture; the shorter ones are padded
TOKENS = torch.tensor([[[3, 7, 5, 2], [4, 6, 2, 0]], [[3, 7, 2, 0], [4, 6, 6, 2]]])
read, written = TOKENS.flatten(0, 1)[:, :-1], TOKENS.flatten(0, 1)[:, 1:]
said = (written != WORDS.pad).float()


def attend(hard: bool = False) -> Attend:
    torch.manual_seed(0)
    return Attend(ShowAttendAndTell(CONFIG, WORDS), even=0.1, hard=hard, reward=0.3, entropy=0.02).train()


def likelihoods(module: Attend, hard: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """log p of each caption, alpha, and the places seen: each picture twice, as it has two captions."""
    model = module.model
    annotations = model.annotate(normalised(PIXELS, CNN)).flatten(1, 2)[[0, 0, 1, 1]]
    chosen_from, alpha, looked = model.decode(annotations, read, hard)
    told = model.words(chosen_from).log_softmax(-1).gather(2, written[..., None])[..., 0]
    return (told * said).sum(1), alpha, looked


def test_soft_is_equation_14_over_the_words_that_count() -> None:
    module = attend()
    loss, words = module(PIXELS, TOKENS)
    module.model.cnn.eval()
    log_p, alpha, _ = likelihoods(module, hard=False)
    torch.testing.assert_close(loss, -log_p.sum() + 0.1 * doubly_stochastic(alpha, said).sum())
    assert int(words) == int(said.sum()) == 10
    assert float(module.baseline) == 0.0


@pytest.mark.parametrize("lot", [0.2, 0.8], ids=["drawn", "blended"])
def test_hard_draws_every_other_time(lot: float, monkeypatch: pytest.MonkeyPatch) -> None:
    module = attend(hard=True)
    module.baseline.fill_(-3.0)
    with monkeypatch.context() as patch:
        patch.setattr("vlm_history.training.recipes.show_attend_and_tell.torch.rand", lambda shape: torch.tensor(lot))
        torch.manual_seed(5)
        loss, _ = module(PIXELS, TOKENS)
    torch.manual_seed(5)
    log_p, alpha, looked = likelihoods(module, hard=lot < 0.5)
    expected = -log_p.sum() + 0.1 * doubly_stochastic(alpha, said).sum()
    if lot < 0.5:
        assert set(looked.unique().tolist()) == {0.0, 1.0}
        expected = expected + reinforce(log_p, alpha, looked, said, -3.0, 0.3, 0.02).sum()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(module.baseline, 0.9 * torch.tensor(-3.0) + 0.1 * log_p.mean())


def test_the_cnn_stays_as_it_is() -> None:
    module = attend()
    before = {name: value.clone() for name, value in module.model.cnn.state_dict().items()}
    module(PIXELS, TOKENS)
    for name, value in module.model.cnn.state_dict().items():
        torch.testing.assert_close(value, before[name], msg=name)
    assert not any(part.training for part in module.model.cnn.modules())


def test_a_padded_caption_costs_what_it_costs_alone() -> None:
    module = attend()
    together, _ = module(PIXELS[:1], TOKENS[:1])
    alone = sum(module(PIXELS[:1], TOKENS[:1, i : i + 1, :n])[0] for i, n in ((0, 4), (1, 3)))
    torch.testing.assert_close(together, alone)
