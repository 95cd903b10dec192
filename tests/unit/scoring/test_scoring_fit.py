from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cj_stream.scoring.estimation.data import Comparisons
from cj_stream.scoring.estimation.estimator import map_estimate
from cj_stream.scoring.estimation.fit import Fit
from cj_stream.scoring.estimation.reliability import eap_reliability, separation_reliability


def fit_of(theta: list[float], covariance: Any) -> Fit:
    n = len(theta)
    return Fit(
        theta=np.array(theta, dtype=float),
        covariance=np.array(covariance, dtype=float),
        prior_sd=2.0,
        prior_sd_eb=2.0,
        position_bias=None,
        reliability=0.8,
        separation_reliability=0.8,
        comparisons_per_item=np.zeros(n, dtype=np.int64),
        wins_per_item=np.zeros(n),
        components=1,
        strong_components=1,
        converged=True,
        iterations=3,
    )


def test_ranks_are_a_strict_order_and_equal_scores_go_by_index() -> None:
    assert fit_of([0.5, -1.0, 0.5, 0.0], np.eye(4)).ranks.tolist() == [1, 4, 2, 3]


def test_the_interval_reaches_1_96_standard_errors_either_way() -> None:
    fit = fit_of([1.0, -1.0], [[0.25, 0.0], [0.0, 1.0]])
    assert fit.interval95 == pytest.approx(np.array([[0.02, 1.98], [-2.96, 0.96]]), abs=1e-3)


def test_the_error_of_a_difference_uses_the_covariance() -> None:
    fit = fit_of([1.0, -1.0], [[1.0, 0.6], [0.6, 1.0]])
    assert fit.difference_se(0, 1) == pytest.approx(math.sqrt(0.8))
    assert fit.difference_se(0, 0) == 0.0


def test_the_probability_of_being_better_follows_the_normal_distribution() -> None:
    fit = fit_of([0.98, -0.98], [[0.5, 0.0], [0.0, 0.5]])
    assert fit.probability_better(0, 1) == pytest.approx(0.975, abs=1e-4)
    assert fit.probability_better(0, 1) + fit.probability_better(1, 0) == pytest.approx(1.0)
    assert fit.probability_better(0, 0) == 0.5


def test_a_fit_counts_comparisons_and_wins() -> None:
    fit = map_estimate(Comparisons.from_triples(3, [(0, 1, 1), (0, 2, 0.5)]))
    assert fit.n == 3
    assert fit.comparisons_per_item.tolist() == [2, 1, 1]
    assert fit.wins_per_item.tolist() == [1.5, 0.0, 0.5]
    assert fit.ranks.tolist() == [1, 3, 2]


def test_the_reliabilities_follow_their_formulas() -> None:
    theta, covariance = np.array([-2.0, 0.0, 2.0]), np.eye(3)
    assert eap_reliability(theta, covariance) == pytest.approx((8 / 3) / (8 / 3 + 1))
    assert separation_reliability(theta, covariance) == pytest.approx(1 - 1 / 4)


def test_noise_may_make_the_separation_reliability_negative() -> None:
    assert separation_reliability(np.array([-0.1, 0.1]), np.eye(2)) < 0
