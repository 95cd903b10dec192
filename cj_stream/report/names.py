"""Names of items and judges on a page: they are anybody's text, of any length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from unicodedata import east_asian_width

LONGEST_LABEL = 24
"""Characters of a name beside a plot, wide ones counted twice; tables have it whole."""
_BEFORE_THE_DIFFERENCE = 4
_CUT = "\N{HORIZONTAL ELLIPSIS}"


def shown(name: str) -> str:
    """Return a name that shows what it is: no control characters, none that turn the direction of text."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in name)


def labels(names: Sequence[str]) -> list[str]:
    """Return each name short enough to stand beside a plot, and names that differ with labels that differ.

    A name that is too long is cut at its end. Where that makes two of them the same, the middle is left out instead,
    then what they have in common at the beginning; what is the same all the same is numbered.
    """
    found = _told_apart(names, [_cut(shown(name)) for name in names], _both_ends)
    found = _told_apart(names, found, _where_they_differ)
    return _told_apart(names, found, _numbered)


def _told_apart(
    names: Sequence[str], labelled: Sequence[str], another: Callable[[Sequence[str]], Sequence[str]]
) -> list[str]:
    """Replace labels that several names have, by others made from those names together."""
    places: dict[str, list[int]] = {}
    for place, each in enumerate(labelled):
        places.setdefault(each, []).append(place)
    found = list(labelled)
    for group in places.values():
        if len(group) > 1:
            for place, each in zip(group, another([shown(names[place]) for place in group]), strict=True):
                found[place] = each
    return found


def _both_ends(names: Sequence[str]) -> list[str]:
    half = (LONGEST_LABEL - 1) // 2
    return [_cut(name, half) + _cut(name[::-1], half)[:-1][::-1] if _is_long(name) else name for name in names]


def _where_they_differ(names: Sequence[str]) -> list[str]:
    same = max(_alike(names) - _BEFORE_THE_DIFFERENCE, 0)
    return [_cut((_CUT if same else "") + name[same:]) for name in names]


def _alike(names: Sequence[str]) -> int:
    """Return how many characters the names have in common at their beginning."""
    shortest = min(map(len, names))
    return next((at for at in range(shortest) if len({name[at] for name in names}) > 1), shortest)


def _numbered(names: Sequence[str]) -> list[str]:
    return [f"{_cut(name, LONGEST_LABEL - len(f' #{at}'))} #{at}" for at, name in enumerate(names, 1)]


def _is_long(name: str) -> bool:
    return sum(_width(char) for char in name) > LONGEST_LABEL


def _cut(name: str, longest: int = LONGEST_LABEL) -> str:
    widths = list(accumulate(_width(char) for char in name))
    if not widths or widths[-1] <= longest:
        return name
    return name[: sum(width < longest for width in widths)] + _CUT


def _width(char: str) -> int:
    return 2 if east_asian_width(char) in "WF" else 1
