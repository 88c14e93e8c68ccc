"""What can be asked of a scene, and how one can talk about it: the same in Korean and in English."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from hangulpy import josa

from vlm_history.world import splits
from vlm_history.world.concepts import Concept
from vlm_history.world.grammar import (
    CONVERSE,
    NUMBERS,
    WHERE,
    YES_NO,
    Mention,
    category_name,
    counted,
    listed,
    noun,
    plural_only,
    with_article,
)

if TYPE_CHECKING:
    from vlm_history.world.scenes import Scene


@dataclass(frozen=True)
class Question:
    """A question about a scene, with its answer, in one language.

    kind is what, where, how_many, yes_no or category; `about` is what is asked and answered, apart from the words:
    the same tuple in both languages.
    """

    kind: str
    text: str
    answer: str
    about: tuple[str, ...]


def questions(scene: Scene, language: str) -> list[Question]:
    names, korean = scene.world.reader.names, language == "ko"
    yes, no = YES_NO[language]
    asked: list[Question] = []
    about: tuple[str, ...]

    def the(mention: Mention) -> str:
        return noun(mention, names, "ko") if korean else f"the {noun(mention, names, 'en')}"

    def an(mention: Mention) -> str:
        return noun(mention, names, "ko") if korean else with_article(mention, names)

    def verb(mention: Mention) -> str:
        return "are" if plural_only(names[mention.hexcode]) else "is"

    if scene.relation:
        a, b = (t.mention for t in scene.things)
        for first, second, relation in ((a, b, scene.relation), (b, a, CONVERSE[scene.relation])):
            side = WHERE[language][relation]
            about = (first.hexcode, relation, second.hexcode)
            asked.append(
                Question("what", f"{the(second)} {side}에 무엇이 있나요?", noun(first, names, "ko"), about)
                if korean
                else Question("what", f"what is {side} {the(second)}?", noun(first, names, "en"), about)
            )
            asked.append(
                Question("where", f"{josa(the(first), '은/는')} 어디에 있나요?", f"{the(second)} {side}", about)
                if korean
                else Question("where", f"where {verb(first)} {the(first)}?", f"{side} {the(second)}", about)
            )
        for relation, answer in ((scene.relation, yes), (CONVERSE[scene.relation], no)):
            side = WHERE[language][relation]
            about = (a.hexcode, relation, b.hexcode, "yes" if answer == yes else "no")
            text = (
                f"{josa(the(a), '이/가')} {the(b)} {side}에 있나요?"
                if korean
                else f"{verb(a)} {the(a)} {side} {the(b)}?"
            )
            asked.append(Question("yes_no", text, answer, about))
    present = {t.concept.hexcode: t for t in scene.things}
    if scene.kind == "count":
        mention, number = scene.things[0].mention, len(scene.things)
        concept = scene.things[0].concept
        about = (mention.hexcode, str(number))
        asked.append(
            Question("how_many", f"{josa(concept.ko, '이/가')} 몇 {concept.counter} 있나요?",
                     f"{NUMBERS['ko'][number]} {concept.counter}", about)
            if korean
            else Question("how_many", f"how many {concept.plural} are there?", NUMBERS["en"][number], about)
        )  # fmt: skip
    else:
        number = len(scene.things)
        asked.append(
            Question("how_many", "모두 몇 가지가 있나요?", f"{NUMBERS['ko'][number]} 가지", ("all", str(number)))
            if korean
            else Question("how_many", "how many things are there?", NUMBERS["en"][number], ("all", str(number)))
        )
    if scene.kind == "one":
        mention = scene.things[0].mention
        about = (mention.hexcode,)
        asked.append(
            Question("what", "무엇이 있나요?", noun(mention, names, "ko"), about)
            if korean
            else Question("what", "what is there?", noun(mention, names, "en"), about)
        )
    absent = _absent(scene)
    for concept, answer in ((scene.things[0].concept, yes), (absent, no)):
        mention = Mention(concept.hexcode)
        about = (concept.hexcode, "present", "yes" if answer == yes else "no")
        text = f"{josa(concept.ko, '이/가')} 있나요?" if korean else f"{verb(mention)} there {an(mention)}?"
        asked.append(Question("yes_no", text, answer, about))
    for hexcode, thing in present.items():
        if not splits.kept_for_knowledge(hexcode):  # only text teaches those: see the splits
            asked.append(category_question(thing.concept, language))
    return asked


def category_question(concept: Concept, language: str) -> Question:
    """Ask of what kind a concept is; also of those concepts of which no scene's `questions` ask it."""
    text = (
        f"{josa(concept.ko, '은/는')} 어떤 종류인가요?"
        if language == "ko"
        else f"what kind of thing {'are' if plural_only(concept) else 'is'} the {concept.en}?"
    )
    about = (concept.hexcode, concept.category)
    return Question("category", text, category_name(concept, language), about)


def _absent(scene: Scene) -> Concept:
    """A concept that is not in the scene; with each that is, a pair of the scene's own split, if one is found."""
    here = {t.concept for t in scene.things}
    pool = scene.world.drawn_by(scene.artist)
    pairs = splits.SPLITS[scene.split][0] if scene.world.pack is None and scene.split in splits.SPLITS else None
    draw = Random(f"absent/{scene.seed}").random
    for _ in range(1000):
        other = pool[int(draw() * len(pool))]
        if other not in here and all(pairs in (None, splits.pair_split(other.hexcode, c.hexcode)) for c in here):
            return other
    return next(c for c in pool if c not in here)


def dialogue(scene: Scene, language: str) -> list[tuple[str, str]]:
    names, korean = scene.world.reader.names, language == "ko"
    mentions = [t.mention for t in scene.things]
    first = scene.things[0].concept
    if scene.kind == "count":
        number = len(scene.things)
        if korean:
            return [
                ("무엇이 보이나요?", f"{josa(first.ko, '이/가')} 보입니다."),
                (
                    "그것이 몇 " + first.counter + " 있나요?",
                    f"{NUMBERS['ko'][number]} {josa(first.counter, '이에요/예요')}.",
                ),
            ]
        return [
            (
                "what do you see?",
                f"I see {counted(mentions[0], number, names, 'en') if number == 1 else first.plural}.",
            ),
            ("how many of them are there?", f"{NUMBERS['en'][number]}."),
        ]
    if scene.relation:
        a, b = mentions
        side, back = (WHERE[language][r] for r in (scene.relation, CONVERSE[scene.relation]))
        an, bn = (noun(m, names, language) for m in (a, b))
        if korean:
            return [
                ("무엇이 보이나요?", f"{josa(an, '와/과')} {josa(bn, '이/가')} 보입니다."),
                (f"{josa(an, '은/는')} 어디에 있나요?", f"{bn} {side}에 있습니다."),
                (f"그 {back}에는 무엇이 있나요?", f"{josa(bn, '이/가')} 있습니다."),
            ]
        be = "are" if plural_only(names[a.hexcode]) else "is"
        return [
            ("what do you see?", f"I see {with_article(a, names)} and {with_article(b, names)}."),
            (f"where {be} the {an}?", f"{side} the {bn}."),
            (f"and what is {back} it?", f"{with_article(b, names)}."),
        ]
    if scene.kind == "many":
        told = listed(mentions, names, language)
        number = len(mentions)
        if korean:
            return [
                ("무엇이 보이나요?", f"{josa(told, '이/가')} 보입니다."),
                ("모두 몇 가지인가요?", f"{NUMBERS['ko'][number]} 가지입니다."),
            ]
        return [("what do you see?", f"I see {told}."), ("how many is that?", f"{NUMBERS['en'][number]}.")]
    kind = category_name(first, language)
    shown = noun(mentions[0], names, "ko") if korean else with_article(mentions[0], names)
    turns = (
        [("무엇이 보이나요?", f"{josa(shown, '이/가')} 보입니다.")]
        if korean
        else [("what do you see?", f"I see {shown}.")]
    )
    if not splits.kept_for_knowledge(first.hexcode):
        turns.append(
            ("그것은 어떤 종류인가요?", f"{kind}입니다.") if korean else ("what kind of thing is it?", f"{kind}.")
        )
    return turns
