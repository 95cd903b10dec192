"""Marks and grades on the command line: how they are asked for, and what becomes of it once there are scores."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import click
import numpy as np

from cj_stream.judgement_files.anchors import read_pair
from cj_stream.report.analysis import Marking
from cj_stream.scoring.estimation.fit import Fit
from cj_stream.scoring.quality.marks import Grading, MarkScale

_BY_ITEM = "item:"
_ENDS = 2

Command = TypeVar("Command", bound=Callable[..., object])


@dataclass(frozen=True)
class MarkRequest:
    """The options as they were given; ``made`` turns them into marks once there are scores."""

    marks: str | None
    anchors: tuple[str, ...]
    grades: str | None

    def made(self, fit: Fit, items: Sequence[str]) -> Marking:
        """Return the marks and grades for a fit.

        Raises:
            ValueError: they cannot be read, name an item that there is not, or do not fit the scores.

        """
        scale, origin = self._scale(fit, items)
        return Marking(scale, origin, None if self.grades is None else _grading(self.grades, fit, items))

    def _scale(self, fit: Fit, items: Sequence[str]) -> tuple[MarkScale | None, str]:
        if self.marks is not None and self.anchors:
            raise ValueError("--marks and --mark exclude each other: give a range, or anchors")
        if self.marks is not None:
            low, high = _range(self.marks)
            return MarkScale.over_range(fit.theta, low, high), f"lowest score {low:g}, highest {high:g}"
        if self.anchors:
            known = dict(read_pair(anchor, "mark") for anchor in self.anchors)
            theta = [float(fit.theta[_place(name, items)]) for name in known]
            return MarkScale.through(theta, list(known.values())), f"through {len(known)} anchors: {_told(known)}"
        return None, ""


def mark_options(command: Command) -> Command:
    """Add ``--marks``, ``--mark`` and ``--grades``; the command receives ``marks``, ``mark_anchors``, ``grades``."""
    for option in (
        click.option("--grades", metavar="SPEC", help="Grades, lowest first, with the boundaries between them."),
        click.option(
            "--mark", "mark_anchors", multiple=True, metavar="ID=MARK", help="The mark of an item; two or more."
        ),
        click.option(
            "--marks", metavar="LOW,HIGH", help="Marks from LOW for the lowest score to HIGH for the highest."
        ),
    ):
        command = option(command)
    return command


def _range(text: str) -> tuple[float, float]:
    ends = [_number(part) for part in text.split(",")]
    if len(ends) != _ENDS or not all(map(math.isfinite, ends)):
        raise ValueError(f"--marks {text!r} is not of the form low,high, such as 0,100")
    return ends[0], ends[1]


def _grading(spec: str, fit: Fit, items: Sequence[str]) -> Grading:
    cells = [cell.strip() for cell in next(csv.reader([spec], skipinitialspace=True), [])]
    return Grading.of(fit, cells[::2], [_boundary(cell, items) for cell in cells[1::2]])


def _boundary(cell: str, items: Sequence[str]) -> float | np.int64:
    if cell.startswith(_BY_ITEM):
        return np.int64(_place(cell.removeprefix(_BY_ITEM).strip(), items))
    level = _number(cell)
    if not math.isfinite(level):
        raise ValueError(
            f"the grade boundary {cell!r} is neither a number of logits nor an item: write grades and boundaries in "
            "turn, lowest first, such as C,-0.5,B,item:essay-7,A"
        )
    return level


def _place(name: str, items: Sequence[str]) -> int:
    try:
        return items.index(name)
    except ValueError:
        raise ValueError(f"there is no item {name!r} to set marks or grades by") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _told(known: dict[str, float]) -> str:
    return ", ".join(f"{name} = {mark:g}" for name, mark in known.items())
