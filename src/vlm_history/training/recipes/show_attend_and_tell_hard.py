"""Show, Attend and Tell with hard attention: as the soft one, but half of the time one place is drawn for each word.

What is learned of where to look comes from REINFORCE (section 4.1). lambda_r is small, since the reward is that of a
whole sentence and every word of it shares in it. It is what a chapter compares soft attention with: the
same names learned first, then a third of the steps of the first round of captions, and no second one.
"""

from __future__ import annotations

from dataclasses import replace

from vlm_history.training.recipe import Recipe
from vlm_history.training.recipes.show_attend_and_tell import QUICK as SOFT_QUICK
from vlm_history.training.recipes.show_attend_and_tell import RECIPE as SOFT
from vlm_history.training.recipes.show_attend_and_tell import Attending


def _hard(soft: Recipe, description: str) -> Recipe:
    stages = [
        replace(stage, steps=stage.steps // 3, hard=True, reward=0.1, entropy=0.01)
        if isinstance(stage, Attending)
        else stage
        for stage in soft.stages[:2]
    ]
    return Recipe("show-attend-and-tell-hard", description, soft.seed, tuple(stages))


RECIPE = _hard(SOFT, "On the CNN expert a decoder with hard attention learns captions in Korean and English")
QUICK = _hard(SOFT_QUICK, "A minute's worth of the recipe")
