"""The small world that every system here lives in: real artwork, bilingual, exactly known."""

from vlm_history.world.concepts import Concept, concepts
from vlm_history.world.grammar import Fact, Mention
from vlm_history.world.questions import Question
from vlm_history.world.scenes import KINDS, Scene, Thing, World

__all__ = ["KINDS", "Concept", "Fact", "Mention", "Question", "Scene", "Thing", "World", "concepts"]
