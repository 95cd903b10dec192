"""Names of items and judges on a page: they are anybody's text, of any length."""

from __future__ import annotations

LONGEST_LABEL = 26
"""Characters of a name beside a plot; tables have it whole."""


def shown(name: str) -> str:
    """Return a name that shows what it is: no control characters, none that turn the direction of text."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in name)


def label(name: str) -> str:
    """Return a name short enough to stand beside a plot."""
    whole = shown(name)
    return whole if len(whole) <= LONGEST_LABEL else whole[: LONGEST_LABEL - 1] + "\N{HORIZONTAL ELLIPSIS}"
