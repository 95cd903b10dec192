"""Do the verdicts contradict one another? Circular triads: A beats B, B beats C, C beats A."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cj_stream.scoring.estimation.data import Comparisons, sum_per_item


class Triads(NamedTuple):
    """Triples of items of which every two have been compared with a majority for one.

    Attributes:
        decided: number of such triples.
        circular: how many of them are circles.

    """

    decided: int
    circular: int

    @property
    def share(self) -> float:
        """Share of circles: 0 without contradictions, 1/4 for coin flips (Kendall and Babington Smith 1940)."""
        return self.circular / self.decided if self.decided else float("nan")


def circular_triads(data: Comparisons) -> Triads:
    """Count the circular triads among the majorities of the pairs; pairs without a majority are left out."""
    n = data.n
    surplus = sum_per_item(data.cells, 2.0 * data.first_wins - 1.0, n * n).reshape(n, n)
    beats = (surplus - surplus.T > 0).astype(np.float64)
    # Ways of length three back to the start; each circle has three starts.
    circular = round(float(((beats @ beats) * beats.T).sum()) / 3.0)
    decided = beats + beats.T
    return Triads(round(float(((decided @ decided) * decided).sum()) / 6.0), circular)
