"""Show, Attend and Tell with hard attention: the soft one goes on, but half of the time a place is drawn for each word.

What is learned of where to look comes from REINFORCE (section 4.1). lambda_r is small, since the reward is that of a
whole sentence and every word of it shares in it. To learn words by such a reward, too, would take more minutes
than this has, so it begins where soft attention ended.
"""

from __future__ import annotations

from vlm_history.training.recipe import Recipe
from vlm_history.training.recipes.show_attend_and_tell import RECIPE as SOFT
from vlm_history.training.recipes.show_attend_and_tell import Attending


def _hard(description: str, steps: int, batch_size: int, looks: int) -> Recipe:
    stage = Attending(
        "hard", steps=steps, batch_size=batch_size, learning_rate=5e-4, warmup=20, evaluate_every=steps // 2,
        looks=looks, soft=SOFT.hash, ordered=True, hard=True, reward=0.1, entropy=0.01,
    )  # fmt: skip
    return Recipe("show-attend-and-tell-hard", description, SOFT.seed, (stage,))


RECIPE = _hard("Soft attention goes on as hard attention, in Korean and English", 250, 128, 256)
QUICK = _hard("A minute's worth of the recipe", 40, 64, 64)
