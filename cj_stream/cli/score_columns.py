"""Which column of a file of judgements is which: the headings of common exports, in any case and spelling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_JUDGES = """
    judge judgeid judgename judgeno judgenumber judgeemail assessor assessorid assessorname rater raterid ratername
    user userid username participant participantid annotator annotatorid marker reviewer evaluator expert model
"""
_JUDGE = tuple(_JUDGES.split())
_SIDES = (("left", "right"), ("a", "b"), ("first", "second"), ("1", "2"), ("home", "away"))
# What sides are sides of. The plain heading comes first, then ids before what may be a whole text.
_THINGS = """
    item candidate essay representation script option choice object product portfolio response document artefact
    artifact work piece player team stimulus alternative text
"""
_STEMS = ("", *_THINGS.split())
_WINNER_HEADINGS = """
    winner winnerid winningitem winneritem winnername chosen chosenid chosenitem candidatechosen personchosen selected
    selecteditem selectedrepresentation selectedid preferred preferreditem preference better choice won verdict
    decision judgement judgment result outcome selection answer response vote score
"""
_WINNERS = tuple(_WINNER_HEADINGS.split())
_WON_AND_LOST = (
    ("chosen", "notchosen"),
    ("candidatechosen", "candidatenotchosen"),
    ("chosenid", "notchosenid"),
    ("chosenitem", "notchosenitem"),
    ("personchosen", "personnotchosen"),
    ("chosen", "rejected"),
    ("chosen", "unchosen"),
    ("winner", "loser"),
    ("winnerid", "loserid"),
    ("winningitem", "losingitem"),
    ("won", "lost"),
    ("win", "lose"),
    ("selected", "notselected"),
    ("selected", "rejected"),
    ("selectedrepresentation", "notselectedrepresentation"),
    ("preferred", "notpreferred"),
    ("preferred", "rejected"),
    ("better", "worse"),
)
_FIRST_WON = tuple(
    name
    for side in ("left", "a", "first", "1", "home")
    for name in (f"{side}won", f"{side}wins", f"{side}win", f"{side}chosen", f"chose{side}", f"item{side}won")
)

EXPECTED = "left, right and winner, or chosen and notChosen (and judge, if it is known)"


class HeadingError(ValueError):
    """The headings are not those of judgements; the text says what was found and what is needed."""


@dataclass(frozen=True)
class Columns:
    """Where to find what, as positions in a row.

    Attributes:
        judge: the judge, None when there is no such column.
        first: the item presented first; or, when ``winner`` is None, the item that won.
        second: the item presented second, or the one that lost.
        winner: which of the two won; None when the columns themselves say it.
        share: whether ``winner`` holds the win of the first item, as a number or a truth value.
        width: number of columns.

    """

    judge: int | None
    first: int
    second: int
    winner: int | None
    share: bool
    width: int


def find_columns(headings: Sequence[str]) -> Columns:
    """Find the columns by their headings.

    Raises:
        HeadingError: they cannot be found, or one is there twice.

    """
    places: dict[str, int] = {}
    for place, heading in enumerate(headings):
        name = "".join(char for char in heading.casefold() if char.isalnum())
        if name and name in places and name in _KNOWN:
            raise HeadingError(f"there are two columns {heading.strip()!r}: leave one out")
        places.setdefault(name, place)
    judge = next((places[name] for name in _JUDGE if name in places), None)
    for (first, second), winner, share in _candidates(places):
        return Columns(judge, places[first], places[second], winner, share, len(headings))
    found = ", ".join(repr(heading.strip()) for heading in headings[:12])
    raise HeadingError(f"the headings are {found}: needed are {EXPECTED}")


def _candidates(places: dict[str, int]) -> Iterator[tuple[tuple[str, str], int | None, bool]]:
    sides = next((pair for pair in _SIDE_PAIRS if set(pair) <= places.keys()), None)
    if sides is not None:
        for names, share in ((_FIRST_WON, True), (_WINNERS, False)):
            yield from ((sides, places[name], share) for name in names if name in places and name not in sides)
    yield from ((pair, None, False) for pair in _WON_AND_LOST if set(pair) <= places.keys())


def _side_pairs() -> Iterator[tuple[str, str]]:
    for stem in _STEMS:
        for left, right in _SIDES:
            if stem or left not in "12":
                yield stem + left, stem + right
                yield left + stem, right + stem
                for tag in ("id", "name"):
                    yield stem + left + tag, stem + right + tag
                    yield left + stem + tag, right + stem + tag
                    yield stem + tag + left, stem + tag + right


_SIDE_PAIRS = tuple(_side_pairs())
_KNOWN = {*_JUDGE, *_WINNERS, *_FIRST_WON, *(name for pair in (*_SIDE_PAIRS, *_WON_AND_LOST) for name in pair)}
