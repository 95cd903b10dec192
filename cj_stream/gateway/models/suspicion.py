"""Finds texts that speak to their judge. A find is a flag for people to look at, and changes no verdict.

The patterns know English and Swedish. They are searched in the text as a reader sees it: in one case, without the
invisible characters that are put between letters to hide them.
"""

from __future__ import annotations

import re
import unicodedata

from cj_stream.contracts.boundaries import Essays

IN_FIRST = "instruction_in_first"
IN_SECOND = "instruction_in_second"
_PATTERN = r"""
    # Take back what was said before.
    \b(?:ignore|disregard|forget|override|skip|ignorera|bortse|strunta|glöm) {gap} {some}
    (?:above|previous|prior|preceding|earlier|before|instructions?|rubric|criteria|prompt|rules|guidelines
        |ovan|ovanstående|ovannämnda|tidigare|föregående|instruktion\w{{0,6}}|kriteri\w{{0,6}}|regler\w{{0,3}})\b
  | \b(?:new|updated|real|actual|system|developer|hidden|secret)[ -](?:instructions?|prompt|message|override)\b
    # Speak to the judge.
  | \b(?:dear|attention|note\ to|message\ to|hello|hi|to\ the) {gap} (?:the\ )? {judge}
  | \b(?:you\ are|act\ as|du\ är|agera\ som) {gap} (?:now\ |an?\ |the\ |en\ |ett\ |nu\ ){{0,3}} {judge}
  | \bas\ an?\ {judge}
    # Name the winner.
  | \b(?:choose|pick|select|prefer|favou?r|rank|rate|grade|score|mark|judge|declare|välj|föredra|ranka) {gap} {some}
    (?:(?:essay|text)[ _]?[ab]|(?:this|my)\ (?:essay|text|answer|one)
        |(?:den\ här|denna|min)\ (?:text|uppsats)\w{{0,3}})\b
  | \bessay[ _][ab] {gap} (?:is|was|are|must|should|shall|will|has|wins?|deserves?|ends?|begins?|är|vinner|ska)\b
  | \b(?:winner|better|best|vinnaren?|bättre|bästa) {gap}
    (?:(?:one|essay|text|uppsats|uppsatsen|texten) {gap})? (?:is {gap}|är {gap})? (?:essay|text|uppsats)[ _]?[ab]\b
  | \bwinner[\s"']{{0,4}}[:=]
  | \b(?:give|award|assign|ge|tilldela) {gap} {some}
    (?:(?:full|top|highest|maximum|perfect|best)\ (?:marks?|scores?|grades?|points|confidence)|högsta\ (?:betyg|poäng))
  | \bconfidence[\s"']{{0,4}}[:=]?[\s"']{{0,4}}5\b
    # Pretend to be a part of the prompt.
  | <<<\s{{0,4}}/?(?:end|essay) | <\|[a-z_]{{2,20}}\|> | \[/?inst\]
  | </?(?:system|instructions?|essay|user|assistant|think)\b
  | ^\s{{0,4}}(?:\#{{1,6}}\s{{0,4}}|\*\*\s{{0,2}})?(?:system|assistant|user|developer)\s{{0,3}}(?:\*\*)?:
  | ^[\s\W]{{0,6}}(?:essay|uppsats)[ _][ab]\s{{0,3}}:
  | \b(?:end|slut) {gap} (?:of|på) {gap} (?:the\ )?(?:essays?|uppsats(?:en)?)\b
"""
_SEARCH = re.compile(
    _PATTERN.format(
        gap=r"[\s\W]{1,12}",
        some=r"(?:\w{1,20}[\s\W]{1,6}){0,4}",
        judge=r"(?:judge|grader|assessor|evaluator|examiner|ai|llm|language\ model|assistant|chatgpt|claude|gemini"
        r"|domare|bedömare|språkmodell)\b",
    ),
    re.MULTILINE | re.VERBOSE,
)
_TAGS = range(0xE0000, 0xE0080)


def flags(essays: Essays | None) -> tuple[str, ...]:
    """Return which of the two essays looks as if it spoke to its judge; nothing when they are not known."""
    if essays is None:
        return ()
    found = zip((IN_FIRST, IN_SECOND), essays, strict=True)
    return tuple(flag for flag, essay in found if speaks_to_its_judge(essay))


def speaks_to_its_judge(text: str) -> bool:
    """Return whether a text holds what looks like an instruction, or characters that only a machine reads."""
    return any(ord(character) in _TAGS for character in text) or _SEARCH.search(_as_seen(text)) is not None


def _as_seen(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).lower()
    return "".join(character for character in folded if unicodedata.category(character) != "Cf")
