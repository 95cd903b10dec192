"""No reliability above one half without evidence that the items differ at all."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cj_stream.scoring.estimation.data import Comparisons
from cj_stream.scoring.estimation.evidence import ENOUGH, HIGHEST_WITHOUT, bounded, log_evidence
from cj_stream.scoring.estimation.likelihood import Likelihood
from cj_stream.scoring.estimation.newton import SPARSE_ITEMS, Mode, maximize
from cj_stream.scoring.simulation.accuracy import Design, Scheme, replicate
from cj_stream.scoring.simulation.judge_models import JudgeKind, JudgeModel


def evidence(data: Comparisons, spread: float, position: bool = False) -> float:
    return log_evidence(*at_mode(data, spread, position))


def at_mode(data: Comparisons, spread: float, position: bool = False) -> tuple[Likelihood, Mode]:
    likelihood = Likelihood(data, spread**-2, position, float(position))
    return likelihood, maximize(likelihood, likelihood.start())


def integrated(data: Comparisons, spread: float, position: bool) -> float:
    """The same for two items, by sums over a fine grid of their difference and the order effect."""
    difference = np.linspace(-12.0 * spread, 12.0 * spread, 1201)[:, None]  # N(0, 2 spread^2) under the prior
    order = np.linspace(-7.0, 7.0, 701)[None, :] if position else np.zeros((1, 1))
    weight = np.exp(-(difference**2) / (4.0 * spread**2)) * np.exp(-(order**2) / 2.0)
    weight /= weight.sum()

    def log_likelihood(apart: np.ndarray) -> np.ndarray:
        total = np.zeros(np.broadcast_shapes(apart.shape, order.shape))
        for first, share in zip(data.first, data.first_wins, strict=True):
            logit = (apart if first == 0 else -apart) + order
            total += share * logit - np.logaddexp(0.0, logit)
        return total

    different = (weight * np.exp(log_likelihood(difference))).sum()
    equal = (weight * np.exp(log_likelihood(np.zeros_like(difference)))).sum()
    return math.log(different / equal)


@pytest.mark.parametrize("position", [False, True])
@pytest.mark.parametrize("spread", [0.5, 1.0])
@pytest.mark.parametrize("wins", [[1.0], [0.5], [1.0, 0.0], [1.0] * 9 + [0.0], [0.7] * 12, [1.0] * 20])
def test_the_evidence_agrees_with_numerical_integration(wins: list[float], spread: float, position: bool) -> None:
    rows = [(0, 1, win) if i % 2 else (1, 0, 1.0 - win) for i, win in enumerate(wins)]
    data = Comparisons.from_triples(2, rows)
    assert evidence(data, spread, position) == pytest.approx(integrated(data, spread, position), abs=0.06)


def test_a_reliability_is_bounded_only_where_it_is_high_and_the_evidence_weak() -> None:
    even = Comparisons.from_triples(3, [(0, 1, 0.5), (1, 2, 0.5), (2, 0, 0.5)])
    assert evidence(even, 1.0) < 0.0
    assert bounded(0.8, *at_mode(even, 1.0)) == HIGHEST_WITHOUT
    assert bounded(0.3, *at_mode(even, 1.0)) == 0.3
    assert math.isnan(bounded(math.nan, *at_mode(Comparisons.from_triples(1, []), 1.0)))
    clear = Comparisons.from_triples(3, [(0, 1, 1), (1, 2, 1), (0, 2, 1)] * 10)
    assert evidence(clear, 1.0) > ENOUGH
    assert bounded(0.8, *at_mode(clear, 1.0)) == 0.8


def test_a_judge_who_always_takes_the_first_gives_no_evidence_once_the_order_is_in_the_model() -> None:
    rng = np.random.default_rng(3)
    first = rng.integers(0, 12, 120)
    data = Comparisons(12, first, (first + rng.integers(1, 12, 120)) % 12, np.ones(120))
    assert evidence(data, 1.0, position=True) < 0.0


def test_of_many_items_the_evidence_is_rather_too_small() -> None:
    n = SPARSE_ITEMS + 10
    rng = np.random.default_rng(5)
    theta, first = rng.normal(0.0, 1.0, n), rng.integers(0, n, 6 * n)
    second = (first + rng.integers(1, n, 6 * n)) % n
    won = rng.random(6 * n) < 1.0 / (1.0 + np.exp(theta[second] - theta[first]))
    data = Comparisons(n, first, second, won.astype(float))
    likelihood, mode = at_mode(data, 1.0)
    log_determinant = np.linalg.slogdet(likelihood.curvature(mode.probability)).logabsdet
    exact = likelihood.log_density(mode.parameters) - 0.5 * log_determinant + len(data) * math.log(2.0)
    assert ENOUGH < exact - 5.0 < log_evidence(likelihood, mode) < exact


@pytest.mark.parametrize("essays", [10, 30])
def test_coin_flips_do_not_seem_reliable_after_adaptive_pairs_however_often_one_looks(essays: int) -> None:
    coins = Design(essays, 1.0, JudgeModel(JudgeKind.COIN), Scheme.ADAPTIVE)
    looks = [5, 6, 7, 8, 9] if essays == 10 else [6, 8, 10, 12]
    for seed in range(8):
        assert max(at.reliability for at in replicate(coins, looks, seed)) <= HIGHEST_WITHOUT
