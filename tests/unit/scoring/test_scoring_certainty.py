from __future__ import annotations

import numpy as np
import pytest

from cj_stream.scoring.estimation.data import Comparisons
from cj_stream.scoring.estimation.estimator import map_estimate
from cj_stream.scoring.estimation.fit import Fit
from cj_stream.scoring.quality.certainty import classification_accuracy

SEED = 3


def fit_of(comparisons_per_pair: int, n: int = 8) -> Fit:
    rng = np.random.default_rng(SEED)
    theta = np.linspace(-2, 2, n)
    triples = [
        (i, j, float(rng.random() < 1 / (1 + np.exp(theta[j] - theta[i]))))
        for i in range(n)
        for j in range(i)
        for _ in range(comparisons_per_pair)
    ]
    return map_estimate(Comparisons.from_triples(n, triples))


def test_the_expected_share_of_right_grades_is_what_draws_from_the_posterior_give() -> None:
    fit, levels = fit_of(2), [-1.0, 0.5]
    draws = np.random.default_rng(SEED).multivariate_normal(fit.theta, fit.covariance, 200_000)
    grades = np.digitize(draws, levels)
    right = [np.bincount(grades[:, item], minlength=3).max() / len(draws) for item in range(fit.n)]
    assert classification_accuracy(fit, levels) == pytest.approx(np.mean(right), abs=0.003)


def test_a_boundary_marked_by_an_essay_moves_with_it_and_leaves_it_out() -> None:
    fit, mark = fit_of(2), 3
    draws = np.random.default_rng(SEED).multivariate_normal(fit.theta, fit.covariance, 200_000)
    above = (draws > draws[:, [mark]]).mean(axis=0)
    others = np.delete(np.maximum(above, 1 - above), mark)
    assert classification_accuracy(fit, marks=[mark]) == pytest.approx(others.mean(), abs=0.003)


def test_more_comparisons_make_grades_more_certain_and_more_grades_less() -> None:
    few, many = fit_of(1), fit_of(30)
    assert (classification_accuracy(few, [0.1]) or 0) < (classification_accuracy(many, [0.1]) or 0)
    assert (classification_accuracy(few, [0.1, -0.8, 1.0]) or 0) < (classification_accuracy(few, [0.1]) or 0)


def test_the_order_of_the_boundaries_does_not_matter() -> None:
    fit = fit_of(2)
    assert classification_accuracy(fit, [1.0, -1.0], [2]) == classification_accuracy(fit, [-1.0, 1.0], [2])


def test_without_boundaries_or_essays_to_grade_there_is_no_certainty() -> None:
    assert classification_accuracy(fit_of(1)) is None
    assert classification_accuracy(map_estimate(Comparisons.from_triples(1, [])), marks=[0]) is None
