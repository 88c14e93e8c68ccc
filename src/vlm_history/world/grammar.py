"""The world's language: what can be said of a scene, in Korean and in English, and read back.

A `Fact` is what a caption says, apart from its words. Each caption is a `Template` filled in; a template belongs to
one kind of fact and one language, and says how its gaps are filled:

- English: `{a}` a bare name, `{A}` with its article ("a cat", "an apple", "scissors"), `{a:the}` ("the cat"),
  `{a:is}` "is" or "are" as the name before it demands, `{a:n}` counted ("three cats").
- Korean: `{a}` a bare name, `{a:이/가}` with the particle that its last sound asks for (through hangulpy),
  `{a:n}` and `{a:n:이/가}` counted ("고양이 세 마리가").

`parse` is the way back and is as strict as a teacher: a caption counts only if the grammar would have said it so,
particles and articles right. "A cat left of an apple" and "an apple right of a cat" are one fact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from hangulpy import josa

from vlm_history.errors import InputError
from vlm_history.world.concepts import CATEGORIES, Concept

LANGUAGES = ("ko", "en")
RELATIONS = ("left", "right", "above", "below")
CONVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}
SIZES = ("big", "small")

NUMBERS = {"en": ("", "one", "two", "three", "four"), "ko": ("", "한", "두", "세", "네")}
ADJECTIVES = {"en": {"big": "big", "small": "small"}, "ko": {"big": "큰", "small": "작은"}}
YES_NO = {"en": ("yes", "no"), "ko": ("네", "아니요")}
WHERE = {
    "en": {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"},
    "ko": {"left": "왼쪽", "right": "오른쪽", "above": "위", "below": "아래"},
}


def check_language(language: str) -> str:
    """Return the language, or raise `InputError` if it is neither "ko" nor "en"."""
    if language not in LANGUAGES:
        raise InputError(f'expected language "ko" or "en", got {language!r}; choose one of the two')
    return language


@dataclass(frozen=True)
class Mention:
    """A concept as a caption names it: its hexcode, and "big" or "small" where the caption says so."""

    hexcode: str
    size: str | None = None


@dataclass(frozen=True)
class Fact:
    """What a caption says.

    kind "one": one mention. "pair": two, the first being `relation` of the second; `relation` is left or above, the
    other two being said from the other side. "count": one mention, `number` of it. "many": three or four different
    ones, in the order of their hexcodes.
    """

    kind: str
    mentions: tuple[Mention, ...]
    relation: str | None = None
    number: int = 1


def pair_fact(first: Mention, relation: str, second: Mention) -> Fact:
    """The fact that `first` is left of / right of / above / below `second`, in its one canonical form."""
    if relation in ("right", "below"):
        first, second, relation = second, first, CONVERSE[relation]
    return Fact("pair", (first, second), relation)


@dataclass(frozen=True)
class Template:
    """A sentence with gaps; `relation` is the one between its {a} and its {b}."""

    kind: str
    text: str
    relation: str | None = None


def _english() -> tuple[Template, ...]:
    pair: list[Template] = []
    for relation, short in (
        ("left", "left of"),
        ("right", "right of"),
        ("above", "above"),
        ("below", "below"),
    ):
        long = WHERE["en"][relation]
        pair += [Template("pair", f"{{A}} {short} {{B}}", relation)]
        pair += [Template("pair", f"{{A}} {long} {{B}}", relation)] if long != short else []
        pair += [
            Template("pair", f"{{A}} {{a:is}} {long} {{B}}", relation),
            Template("pair", f"there {{a:is}} {{A}} {long} {{B}}", relation),
        ]
    pair += [
        Template("pair", "{A} on the left and {B} on the right", "left"),
        Template("pair", "{A} at the top and {B} at the bottom", "above"),
        Template("pair", "{B} with {A} on the left", "left"),
        Template("pair", "{B} with {A} on the right", "right"),
        Template("pair", "{B} with {A} above", "above"),
        Template("pair", "{B} with {A} below", "below"),
    ]
    for relation, first, second in (("left", "on the left", "on the right"), ("above", "at the top", "at the bottom")):
        pair += [
            Template("pair", f"{first} {{a:is}} {{A}} and {second} {{B}}", relation),
            Template("pair", f"{first} there {{a:is}} {{A}} and {second} {{B}}", relation),
        ]
    one = [Template("one", t) for t in ("{A}", "there {a:is} {A}", "a picture of {A}", "an image of {A}")]
    count = [Template("count", t) for t in ("{a:n}", "there {a:are} {a:n}", "a picture of {a:n}", "an image of {a:n}")]
    many = [Template("many", t) for t in ("{list}", "there {a:is} {list}", "a picture of {list}", "an image of {list}")]
    return tuple(one + pair + count + many)


def _korean() -> tuple[Template, ...]:
    pair: list[Template] = []
    for relation in RELATIONS:
        side = WHERE["ko"][relation]
        pair += [
            Template("pair", f"{{b}} {side}에 {{a:이/가}} {verb}", relation)
            for verb in ("있다", "있습니다", "보인다", "보입니다")
        ]
        pair += [
            Template("pair", f"{{a:이/가}} {{b}} {side}에 있다", relation),
            Template("pair", f"{{a:은/는}} {{b}} {side}에 있습니다", relation),
            Template("pair", f"{{b}} {side}에 있는 {{a}}", relation),
        ]
    for relation, first, second in (("left", "왼쪽", "오른쪽"), ("above", "위", "아래")):
        pair += [
            Template("pair", f"{first}에는 {{a:이/가}}, {second}에는 {{b:이/가}} 있다", relation),
            Template("pair", f"{first}에 {{a:이/가}} 있고 {second}에 {{b:이/가}} 있습니다", relation),
        ]
    verbs = ("있다", "있습니다", "보인다", "보입니다")
    one = [Template("one", "{a}"), *(Template("one", f"{{a:이/가}} {verb}") for verb in verbs)]
    count = [Template("count", "{a:n}"), *(Template("count", f"{{a:n:이/가}} {verb}") for verb in verbs)]
    many = [Template("many", "{list}"), *(Template("many", f"{{list:이/가}} {verb}") for verb in verbs)]
    return tuple(one + pair + count + many)


TEMPLATES: dict[str, tuple[Template, ...]] = {"en": _english(), "ko": _korean()}

Names = Mapping[str, Concept]
"""hexcode -> concept."""


def plural_only(concept: Concept) -> bool:
    """True for names that English knows in the plural alone: scissors, but not bread, which has no plural at all."""
    return concept.article == "" and concept.en.endswith("s")


def noun(mention: Mention, names: Names, language: str) -> str:
    """The name with its size, without article: "big cat", "큰 고양이"."""
    concept = names[mention.hexcode]
    name = concept.en if language == "en" else concept.ko
    return f"{ADJECTIVES[language][mention.size]} {name}" if mention.size else name


def with_article(mention: Mention, names: Names) -> str:
    """The English name with its indefinite article, which an adjective changes: "an apple", "a big apple"."""
    article = names[mention.hexcode].article
    if mention.size and article:
        article = "a"
    return f"{article} {noun(mention, names, 'en')}".strip()


def counted(mention: Mention, number: int, names: Names, language: str) -> str:
    """So many of a kind: "three cats", "고양이 세 마리"."""
    concept = names[mention.hexcode]
    if language == "en":
        return f"{NUMBERS['en'][number]} {concept.plural if number > 1 else concept.en}"
    return f"{concept.ko} {NUMBERS['ko'][number]} {concept.counter}"


def listed(mentions: Sequence[Mention], names: Names, language: str) -> str:
    """A list as it is written: "a cat, an apple and a car", "고양이, 사과와 자동차"."""
    if language == "en":
        words = [with_article(m, names) for m in mentions]
        return f"{', '.join(words[:-1])} and {words[-1]}"
    words = [noun(m, names, "ko") for m in mentions]
    return f"{', '.join(words[:-2])}, {josa(words[-2], '와/과')} {words[-1]}"


_GAP = re.compile(r"\{(\w+)(?::([^:}]+))?(?::([^}]+))?\}")


def realise(template: Template, mentions: Sequence[Mention], number: int, names: Names, language: str) -> str:
    """Fill in a template; {a} and {A} are the first mention, {b} and {B} the second, {list} all of them."""

    def fill(gap: re.Match[str]) -> str:
        which, form, particle = gap.groups()
        if which == "list":
            text = listed(mentions, names, language)
            return josa(text, form) if form else text
        mention = mentions[0 if which in "aA" else 1]
        if which in "AB":
            return with_article(mention, names)
        if form == "n":
            text = counted(mention, number, names, language)
            return josa(text, particle) if particle else text
        if form == "is":
            return "are" if plural_only(names[mention.hexcode]) else "is"
        if form == "are":
            return "are" if number > 1 else "is"
        text = noun(mention, names, language)
        return josa(text, form) if form else text

    return _GAP.sub(fill, template.text)


def captions(
    fact: Fact, names: Names, language: str, order: Sequence[Mention] | None = None, leading: Mention | None = None
) -> list[str]:
    """Every way in which the grammar says a fact.

    Args:
        fact: what is to be said.
        names: hexcode -> concept.
        language: "ko" or "en".
        order: for "many", the order in which the mentions are told; that of the fact if None.
        leading: for "pair", the mention that is to be named first; either may be if None.

    Returns:
        The paraphrases, always in the same order.
    """
    check_language(language)
    told = []
    for template in TEMPLATES[language]:
        if template.kind != fact.kind:
            continue
        mentions: Sequence[Mention] = order or fact.mentions
        if fact.kind == "pair":
            first, second = fact.mentions
            if template.relation == fact.relation:
                mentions = (first, second)
            elif template.relation == CONVERSE[fact.relation or "left"]:
                mentions = (second, first)
            else:
                continue
            text = template.text.lower()
            if leading is not None and leading != mentions[text.index("{b") < text.index("{a")]:
                continue
        told.append(realise(template, mentions, fact.number, names, language))
    return told


# Names are masked by characters that Unicode leaves to private use, before a caption is matched.
_FIRST_MASK = 0xE000
_NOUN = {
    language: f"(?:{'an? ' if language == 'en' else ''})?(?:(?:{'|'.join(adjectives.values())}) )?[\ue000-\uf8ff]"
    for language, adjectives in ADJECTIVES.items()
}


class Reader:
    """Reads captions back, for one set of concepts.

    Args:
        concepts: the concepts whose names may occur.
    """

    def __init__(self, concepts: Sequence[Concept]) -> None:
        self.names: dict[str, Concept] = {c.hexcode: c for c in concepts}
        self._lookup = {
            "en": {c.en: c.hexcode for c in concepts},
            "ko": {c.ko: c.hexcode for c in concepts},
        }
        self._plurals = {c.plural: c.hexcode for c in concepts}
        self._patterns = {
            language: [(template, _pattern(template, language)) for template in TEMPLATES[language]]
            for language in LANGUAGES
        }
        # Longer names are tried before those that they begin with; a number is followed by a counter, not a name.
        before = {"en": r"(?<!\w)", "ko": r"(?<![가-힣])(?<!한 )(?<!두 )(?<!세 )(?<!네 )"}
        after = {"en": r"(?!\w)", "ko": ""}
        self._mention = {}
        for language, lookup in self._lookup.items():
            said = sorted({*lookup, *(self._plurals if language == "en" else ())}, key=lambda n: (-len(n), n))
            self._mention[language] = re.compile(f"{before[language]}(?:{'|'.join(said)}){after[language]}")

    def _hexcode(self, name: str, language: str) -> str:
        return self._lookup[language].get(name) or self._plurals[name]

    def parse(self, caption: str, language: str) -> Fact | None:
        """Read a caption.

        Args:
            caption: one sentence.
            language: "ko" or "en".

        Returns:
            Its fact, or None if the grammar would not say it so.
        """
        check_language(language)
        caption = " ".join(caption.split())
        named: list[str] = []

        def mask(name: re.Match[str]) -> str:
            named.append(self._hexcode(name.group(), language))
            return chr(_FIRST_MASK + len(named) - 1)

        # With its names masked a caption has no accidental particles or adjectives: 접은 우산은, a small plane.
        masked = self._mention[language].sub(mask, caption)
        if len(named) > 4:
            return None
        for template, pattern in self._patterns[language]:
            found = pattern.fullmatch(masked)
            if not found:
                continue
            fact, order = self._fact(template, found.groupdict(), named, language)
            mentions = (fact.mentions if order is None else order) if fact else ()
            if fact and realise(template, mentions, fact.number, self.names, language) == caption:
                return fact
        return None

    def _fact(
        self, template: Template, parts: dict[str, str], named: Sequence[str], language: str
    ) -> tuple[Fact | None, Sequence[Mention] | None]:
        """The fact that a matched template tells, and the order in which it names its mentions."""

        def read(text: str) -> Mention:
            sizes = [key for key, adjective in ADJECTIVES[language].items() if adjective in text]
            return Mention(named[ord(text[-1]) - _FIRST_MASK], sizes[0] if sizes else None)

        if template.kind == "many":
            mentions = [read(text) for text in re.findall(_NOUN[language], parts["list"])]
            if len({m.hexcode for m in mentions}) != len(mentions):
                return None, None
            return Fact("many", tuple(sorted(mentions, key=lambda m: m.hexcode))), mentions
        a = read(parts["a"])
        if template.kind == "count":
            return Fact("count", (a,), None, NUMBERS[language].index(parts["number"])), None
        if template.kind == "one":
            return Fact("one", (a,)), None
        b = read(parts["b"])
        if a.hexcode == b.hexcode:
            return None, None
        return pair_fact(a, template.relation or "left", b), (a, b)

    def mentioned(self, caption: str, language: str) -> list[Concept]:
        """The concepts that a caption names, each once, in order, whether or not the grammar would say it so."""
        check_language(language)
        found: dict[str, Concept] = {}
        for match in self._mention[language].finditer(caption):
            hexcode = self._hexcode(match.group(), language)
            found.setdefault(hexcode, self.names[hexcode])
        return list(found.values())


def _pattern(template: Template, language: str) -> re.Pattern[str]:
    """The template as a regular expression over masked captions: a loose one, since `parse` says the fact again."""
    numbers = "|".join(n for n in NUMBERS[language] if n)
    one = _NOUN[language]
    glue = r"(?:, | and )" if language == "en" else r"(?:, |[와과] )"

    def gap(match: re.Match[str]) -> str:
        which, form, particle = match.groups()
        if form in ("is", "are"):
            return "(?:is|are)"
        if which == "list":
            ending = f"(?:{form.replace('/', '|')})" if form else ""
            return f"(?P<list>{one}(?:{glue}{one}){{2,3}}){ending}"
        if form == "n":
            ending = f"(?:{particle.replace('/', '|')})" if particle else ""
            return f"(?P<number>{numbers}) (?P<a>{one})" if language == "en" else (
                f"(?P<a>{one}) (?P<number>{numbers}) [가-힣]+?{ending}"
            )  # fmt: skip
        ending = f"(?:{form.replace('/', '|')})" if form else ""
        return f"(?P<{which.lower()}>{one}){ending}"

    pieces, at = [], 0
    for match in _GAP.finditer(template.text):
        pieces += [re.escape(template.text[at : match.start()]), gap(match)]
        at = match.end()
    return re.compile("".join(pieces) + re.escape(template.text[at:]))


@lru_cache(maxsize=8)
def _reader(concepts: tuple[Concept, ...]) -> Reader:
    return Reader(concepts)


def parse(caption: str, language: str, concepts: Sequence[Concept]) -> Fact | None:
    """See `Reader.parse`; the reader of a tuple of concepts is kept."""
    return _reader(tuple(concepts)).parse(caption, language)


def mentioned(caption: str, language: str, concepts: Sequence[Concept]) -> list[Concept]:
    """See `Reader.mentioned`; the reader of a tuple of concepts is kept."""
    return _reader(tuple(concepts)).mentioned(caption, language)


def category_name(concept: Concept, language: str) -> str:
    """The concept's category in a language: "animal", "동물"."""
    return CATEGORIES[concept.category][language]
