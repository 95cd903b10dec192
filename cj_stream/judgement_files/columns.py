"""Which column of a file of judgements is which: the headings of common exports, in any case and spelling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

_JUDGES = """
    judge judgeid judgename judgeno judgenumber judgeemail assessor assessorid assessorname rater raterid ratername
    user userid username participant participantid annotator annotatorid marker reviewer evaluator expert subject
    subjectid subjectno subjectcode model
"""
_JUDGE = tuple(_JUDGES.split())
_SIDES = (("left", "right"), ("a", "b"), ("first", "second"), ("1", "2"), ("home", "away"))
# What sides are sides of. The plain heading comes first, then ids before what may be a whole text.
_THINGS = """
    item id candidate essay representation script option choice object product portfolio response document artefact
    artifact work piece player team stimulus alternative model system answer output summary text
"""
THINGS = tuple(_THINGS.split())
_STEMS = ("", *THINGS)
_WINNER_HEADINGS = """
    winner winnerid winningitem winneritem winnername chosen chosenid chosenitem candidatechosen personchosen selected
    selecteditem selectedrepresentation selectedid preferred preferreditem preference better betterid choice won verdict
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
    ("stimulusselected", "stimulusnotselected"),
    ("preferred", "notpreferred"),
    ("preferred", "rejected"),
    ("better", "worse"),
)
_FIRST_WON = tuple(
    name
    for side in ("left", "a", "first", "1", "home")
    for name in (f"{side}won", f"{side}wins", f"{side}win", f"{side}chosen", f"chose{side}", f"item{side}won")
)

_NUMBERS_OF_WINS = tuple(
    names
    for left, right in _SIDES
    for word in ("win", "wins")
    for names in ((word + left, word + right), (left + word, right + word))
)
_NUMBER_OF_TIES = ("tie", "ties", "tied", "draw", "draws")
_TIMES = ("freq", "frequency", "count", "counts")
_PRESENTED = ("left", "first", "home")

EXPECTED = (
    "left, right and winner; or chosen and notChosen; or item1, item2, win1 and win2 with numbers of wins "
    "(and judge, if it is known)"
)


class HeadingError(ValueError):
    """The headings are not those of judgements; the text says what was found and what is needed."""


@dataclass(frozen=True)
class Columns:
    """Where to find what, as positions in a row.

    Attributes:
        first: the item presented first; or, when the columns themselves say who won, the item that won.
        second: the item presented second, or the one that lost.
        winner: which of the two won; None when the columns themselves say it.
        share: whether ``winner`` holds the win of the first item, as a number or a truth value.
        wins: the numbers of wins of the first and of the second item, and of ties if there is a column for them;
            empty when a row is a judgement.
        ordered: whether it is known which item was presented first.
        judge: the judge, None when there is no such column.
        times: how many judgements a row stands for; None when it is one.
        width: number of columns.

    """

    first: int
    second: int
    winner: int | None = None
    share: bool = False
    wins: tuple[int, ...] = ()
    ordered: bool = True
    judge: int | None = None
    times: int | None = None
    width: int = 0


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
    found = _counted(places) or next(_told(places), None)
    if found is None:
        told = ", ".join(repr(heading.strip()) for heading in headings[:12])
        raise HeadingError(f"the headings (the first row) are {told}: needed are {EXPECTED}")
    times = None if found.wins else _place(_TIMES, places)
    return replace(found, judge=_place(_JUDGE, places), times=times, width=len(headings))


def _place(names: Sequence[str], places: Mapping[str, int]) -> int | None:
    return next((places[name] for name in names if name in places), None)


def _counted(places: Mapping[str, int]) -> Columns | None:
    wins = next((pair for pair in _NUMBERS_OF_WINS if set(pair) <= places.keys()), ())
    sides = _sides(places) or next(_other_sides(places, wins), None)
    if not wins or sides is None:
        return None
    numbers = tuple(places[name] for name in wins)
    ties = _place(_NUMBER_OF_TIES, places)
    ordered = any(word in sides[0] for word in _PRESENTED)
    return Columns(
        places[sides[0]], places[sides[1]], wins=numbers if ties is None else (*numbers, ties), ordered=ordered
    )


def _told(places: Mapping[str, int]) -> Iterator[Columns]:
    sides = _sides(places)
    if sides is not None:
        first, second = (places[name] for name in sides)
        for names, share in ((_FIRST_WON, True), (_WINNERS, False)):
            yield from (
                Columns(first, second, places[name], share) for name in names if name in places and name not in sides
            )
    for won, lost in _WON_AND_LOST:
        if won in places and lost in places:
            yield Columns(places[won], places[lost], ordered=False)


def _sides(places: Mapping[str, int]) -> tuple[str, str] | None:
    return next((pair for pair in _SIDE_PAIRS if set(pair) <= places.keys()), None)


def _other_sides(places: Mapping[str, int], wins: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield headings such as journal1 and journal2: where wins are counted, they can only be the items."""
    for name in places:
        if name.endswith("1") and name not in wins and name[:-1] + "2" in places:
            yield name, name[:-1] + "2"


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
_PAIRS = (*_SIDE_PAIRS, *_NUMBERS_OF_WINS, *_WON_AND_LOST)
_KNOWN = {*_JUDGE, *_WINNERS, *_FIRST_WON, *(name for pair in _PAIRS for name in pair)}
