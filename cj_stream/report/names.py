"""Names of items and judges on a page: they are anybody's text, of any length."""

from __future__ import annotations

from itertools import accumulate
from unicodedata import east_asian_width

LONGEST_LABEL = 24
"""Characters of a name beside a plot, wide ones counted twice; tables have it whole."""


def shown(name: str) -> str:
    """Return a name that shows what it is: no control characters, none that turn the direction of text."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in name)


def label(name: str) -> str:
    """Return a name short enough to stand beside a plot."""
    whole = shown(name)
    widths = list(accumulate(2 if east_asian_width(char) in "WF" else 1 for char in whole))
    if not widths or widths[-1] <= LONGEST_LABEL:
        return whole
    return whole[: sum(width < LONGEST_LABEL for width in widths)] + "\N{HORIZONTAL ELLIPSIS}"
