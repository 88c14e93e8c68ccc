"""What recipes are watched by."""

from typing import Any

import pytest

from vlm_history.world import Scene, World


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> list[Scene]:
    """Every scene that is drawn by lot from now on."""
    scenes: list[Scene] = []
    real = World.sample

    def watching(self: World, *chosen: Any, **named: Any) -> Scene:
        scenes.append(real(self, *chosen, **named))
        return scenes[-1]

    monkeypatch.setattr(World, "sample", watching)
    return scenes
