"""From the scale to what a school reports: marks with their uncertainty, and grades with their probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cj_stream.scoring.estimation.data import Floats, Integers
from cj_stream.scoring.estimation.fit import Fit
from cj_stream.scoring.quality.certainty import chance_above_item, chance_above_level

_FEWEST_ANCHORS = 2
_DECIMALS_OF_EXACT = 2
_ONE_DIGIT_FROM = 2.0


@dataclass(frozen=True)
class MarkScale:
    """A linear mapping of scores to marks: mark = intercept + slope * theta.

    Standard errors take the slope only: the line itself counts as given, though it was laid through estimated scores.

    Attributes:
        slope: marks per logit, above 0: a better item has a higher mark.
        intercept: the mark of a score of 0.

    """

    slope: float
    intercept: float

    @classmethod
    def over_range(cls, theta: Floats, low: float, high: float) -> MarkScale:
        """Give the lowest score the mark ``low`` and the highest one ``high``.

        Raises:
            ValueError: the range is empty, or all scores are equal.

        """
        if not low < high:
            raise ValueError(f"marks from {low:g} to {high:g} are no range: the lower end comes first")
        if not np.ptp(theta):
            raise ValueError("all scores are equal: they cannot be spread over a range of marks")
        slope = (high - low) / float(np.ptp(theta))
        return cls(slope, low - slope * float(theta.min()))

    @classmethod
    def through(cls, theta: Sequence[float], marks: Sequence[float]) -> MarkScale:
        """Lay the line through two anchors, or with least squares past more of them.

        Raises:
            ValueError: there are fewer than two anchors, their scores are equal, or better ones have lower marks.

        """
        if len(theta) < _FEWEST_ANCHORS:
            raise ValueError(f"{len(theta)} anchor does not make a scale of marks: give at least two")
        scores, wanted = np.asarray(theta, dtype=np.float64), np.asarray(marks, dtype=np.float64)
        centred = scores - scores.mean()
        if not np.ptp(scores):
            raise ValueError("the anchors of the marks have equal scores: take others")
        slope = float(centred @ wanted / (centred @ centred))
        if slope <= 0.0:
            raise ValueError("the anchors' marks do not rise with their scores: is one given to the wrong item?")
        return cls(slope, float(wanted.mean()) - slope * float(scores.mean()))

    def marks(self, theta: Floats) -> Floats:
        """(n,) marks of the scores."""
        return self.intercept + self.slope * theta

    def errors(self, standard_error: Floats) -> Floats:
        """(n,) standard errors of the marks."""
        return self.slope * standard_error


class Rounded(NamedTuple):
    """An estimate and its standard error, as texts with the digits that the error carries."""

    estimate: str
    error: str


def rounded(estimate: float, error: float) -> Rounded:
    """Round an error to one or two significant digits, and the estimate to the same place.

    One digit, or two when the first is a 1 (Taylor 1997, An Introduction to Error Analysis, section 2.2). An estimate
    without error, such as an anchor's, gets two decimals.
    """
    if not (math.isfinite(error) and error > 0.0):
        return Rounded(_fixed(estimate, _DECIMALS_OF_EXACT), _fixed(error, 0))
    exponent = math.floor(math.log10(error))
    decimals = int(error / 10.0**exponent < _ONE_DIGIT_FROM) - exponent
    return Rounded(_fixed(estimate, decimals), _fixed(error, decimals))


def _fixed(value: float, decimals: int) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{round(value, decimals) + 0.0:.{max(decimals, 0)}f}"  # + 0.0: a rounded -.4 is not "-0"


@dataclass(frozen=True, eq=False)
class Grading:
    """Grades, and the boundaries between them.

    Attributes:
        grades: (k + 1,) names of the grades, lowest first.
        levels: (k,) boundaries as scores, rising; who reaches a boundary has the grade above it.
        items: (k,) the item that marks each boundary, -1 for one that is a mere number.

    """

    grades: tuple[str, ...]
    levels: Floats
    items: Integers

    @classmethod
    def of(cls, fit: Fit, grades: Sequence[str], boundaries: Sequence[float | np.int64]) -> Grading:
        """Make it from boundaries that are scores (float) or indices of items that mark one (numpy integer).

        Raises:
            ValueError: the boundaries do not fit the grades, or do not rise; the text says which.

        """
        if not boundaries or len(grades) != len(boundaries) + 1:
            raise ValueError(
                f"{len(grades)} grades and {len(boundaries)} boundaries: there must be at least two grades, and one "
                "boundary between every two"
            )
        if len(set(grades)) < len(grades):
            raise ValueError("two grades have the same name")
        items = np.array([int(b) if isinstance(b, np.integer) else -1 for b in boundaries])
        scores = [float(fit.theta[b]) if isinstance(b, np.integer) else float(b) for b in boundaries]
        levels = np.array(scores)
        if not np.isfinite(levels).all():
            raise ValueError("a grade boundary is not a finite number of logits")
        for place in np.flatnonzero(np.diff(levels) <= 0).tolist():
            raise ValueError(
                f"the boundaries do not rise: {grades[place + 1]!r} begins at {levels[place]:.2f}, "
                f"{grades[place + 2]!r} at {levels[place + 1]:.2f} logits"
            )
        return cls(tuple(grades), levels, items)

    def grade_of(self, theta: Floats) -> Integers:
        """(n,) index of the grade that each score has."""
        return np.searchsorted(self.levels, theta, side="right").astype(np.int64)

    def above(self, fit: Fit) -> Floats:
        """(n, k) probability that each item truly reaches each boundary, normal approximation.

        A boundary that an item marks is as uncertain as that item, so the standard error is that of the difference.
        Such boundaries may come out in the wrong order for some item: who reaches one has reached all lower ones.
        """
        chances = np.column_stack(
            [_reaching(fit, level, item) for level, item in zip(self.levels, self.items.tolist(), strict=True)]
        )
        return np.maximum.accumulate(chances[:, ::-1], axis=1)[:, ::-1]

    def probabilities(self, fit: Fit) -> Floats:
        """(n, k + 1) probability of each grade; rows sum to 1."""
        above = self.above(fit)
        edge = np.ones((len(above), 1))
        bounds = np.hstack((edge, above, 0.0 * edge))
        return bounds[:, :-1] - bounds[:, 1:]


def _reaching(fit: Fit, level: float, item: int) -> Floats:
    if item < 0:
        return chance_above_level(fit, level)
    chances = chance_above_item(fit, item)
    chances[item] = 1.0  # it is the boundary
    return chances
