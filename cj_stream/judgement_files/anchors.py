"""Anchors of ``cj-stream score``: items whose score is known, from the command line or from a file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

import numpy as np

from cj_stream.scoring.estimation.data import Anchors

_COLUMNS = 2


def read_anchors(pairs: Sequence[str], content: bytes | None) -> dict[str, float]:
    """Return the score of each anchor, from ``id=theta`` texts and from a CSV with the columns id and theta.

    Raises:
        ValueError: an anchor cannot be read, or is given two scores; the text says which.

    """
    given = [read_pair(pair) for pair in pairs] + (_rows(content) if content is not None else [])
    anchors: dict[str, float] = {}
    for name, theta in given:
        if anchors.setdefault(name, theta) != theta:
            raise ValueError(f"the anchor {name!r} has two scores, {anchors[name]:g} and {theta:g}")
    return anchors


def anchors_among(items: Sequence[str], anchors: dict[str, float]) -> Anchors | None:
    """Return the anchors by the indices of ``items``; None when there are none.

    Raises:
        ValueError: an anchor is none of the items.

    """
    unknown = sorted(anchors.keys() - set(items))
    if unknown:
        raise ValueError(f"there is no item {', '.join(map(repr, unknown))} to be an anchor")
    index = {name: i for i, name in enumerate(items)}
    names = sorted(anchors)
    return (
        Anchors(np.array([index[name] for name in names]), np.array([anchors[name] for name in names]))
        if names
        else None
    )


def read_pair(text: str, what: str = "theta") -> tuple[str, float]:
    """Return an item and its ``what`` from a text of the form ``id=number``.

    Raises:
        ValueError: it is not of that form.

    """
    name, separator, value = text.rpartition("=")
    if not separator or not name.strip():
        raise ValueError(f"the anchor {text!r} is not of the form id={what}, such as essay-7=1.25")
    return name.strip(), _finite(value, what, f"of the anchor {name.strip()!r}")


def _finite(text: str, what: str, where: str) -> float:
    try:
        value = float(text.strip())
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"the {what} {text.strip()!r} {where} is not a finite number")
    return value


def _rows(content: bytes) -> list[tuple[str, float]]:
    text = content.decode("utf-8-sig", errors="replace")
    delimiter = next((mark for mark in ";\t" if mark in text.partition("\n")[0]), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    anchors = []
    for place, (line, row) in enumerate(rows):
        if len(row) < _COLUMNS:
            raise ValueError(f"line {line} of the anchors needs two columns, id and theta")
        if place == 0 and not _is_number(row[1]):
            continue  # the headings
        anchors.append((row[0].strip(), _finite(row[1], "theta", f"in line {line} of the anchors")))
    return anchors


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
