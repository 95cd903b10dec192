from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cj_stream.scoring.estimation.data import Comparisons
from cj_stream.scoring.estimation.estimator import map_estimate
from cj_stream.scoring.simulation.accuracy import Accuracy, Design, Scheme, accuracy, expected_accuracies, replicate
from cj_stream.scoring.simulation.judge_models import JudgeKind, JudgeModel

SEED = 11
DESIGN = Design(12, 2.0, JudgeModel(), Scheme.ADAPTIVE)


def first_wins(judge: JudgeModel, difference: float, progress: float = 0.5, count: int = 40_000) -> float:
    rng = np.random.default_rng(SEED)
    return float(judge.first_wins(np.full(count, difference), np.full(count, progress), rng).mean())


def logistic(logit: float) -> float:
    return 1 / (1 + float(np.exp(-logit)))


@pytest.mark.parametrize(
    ("judge", "progress", "logit"),
    [
        (JudgeModel(), 0.0, 1.2),
        (JudgeModel(quality=0.5), 0.0, 0.6),
        (JudgeModel(position_bias=-0.7), 0.0, 0.5),
        (JudgeModel(JudgeKind.DRIFTING), 0.0, 1.8),
        (JudgeModel(JudgeKind.DRIFTING), 1.0, 0.6),
        (JudgeModel(JudgeKind.COIN, position_bias=3.0), 0.0, 0.0),
    ],
)
def test_a_judge_prefers_the_first_as_often_as_its_kind_says(judge: JudgeModel, progress: float, logit: float) -> None:
    assert first_wins(judge, 1.2, progress) == pytest.approx(logistic(logit), abs=0.01)


def test_mixed_judges_are_less_sharp_on_the_whole() -> None:
    assert 0.5 < first_wins(JudgeModel(JudgeKind.MIXED), 2.0) < logistic(2.0) - 0.01


def test_the_same_seed_gives_the_same_batch_and_another_seed_another() -> None:
    assert replicate(DESIGN, [4, 8], SEED) == replicate(DESIGN, [4, 8], SEED)
    assert replicate(DESIGN, [4, 8], SEED) != replicate(DESIGN, [4, 8], SEED + 1)


@pytest.mark.parametrize("scheme", Scheme)
def test_more_comparisons_and_better_judges_give_better_rankings(scheme: Scheme) -> None:
    design, seeds = replace(DESIGN, scheme=scheme), range(SEED, SEED + 8)
    few, many = (found.mean for found in expected_accuracies(design, [3, 10], seeds))
    assert few.spearman < many.spearman
    assert few.kendall < many.kendall
    assert few.rmse > many.rmse
    coin = expected_accuracies(replace(design, judge=JudgeModel(JudgeKind.COIN)), [10], seeds)[0].mean
    assert abs(coin.spearman) < 0.3 < many.spearman


def test_where_the_pairs_are_used_up_nothing_more_is_learnt() -> None:
    small = Design(4, 2.0, JudgeModel(), Scheme.ADAPTIVE)
    assert len(set(replicate(small, [3, 6, 20], SEED))) == 1


def test_pairs_chosen_one_at_a_time_are_as_good_as_pairs_chosen_together() -> None:
    seeds = range(SEED, SEED + 8)
    waves = (replace(DESIGN, essays=8, wave_size=size, random_rounds=3) for size in (1, 16))
    alone, together = (expected_accuracies(design, [6], seeds)[0].mean.spearman for design in waves)
    # The standard error of the difference is about 0.03.
    assert abs(alone - together) < 0.09, f"seeds {seeds}: {alone}, {together}"


def test_figures_of_a_fit_that_is_the_truth_are_perfect() -> None:
    fit = map_estimate(Comparisons.from_triples(5, [(i, j, 0.9) for i in range(5) for j in range(i)]))
    figures = accuracy(fit, fit.theta + 3.0)
    assert figures == pytest.approx(
        Accuracy(1.0, 1.0, 0.0, 1.0, fit.reliability, coverage=1.0, spread_ratio=1.0), abs=1e-12
    )
    opposite = accuracy(fit, -fit.theta)
    assert (opposite.spearman, opposite.kendall) == pytest.approx((-1.0, -1.0))


def test_means_come_with_their_monte_carlo_errors() -> None:
    several = expected_accuracies(DESIGN, [4], range(SEED, SEED + 6))[0]
    figures = [replicate(DESIGN, [4], SEED + k)[0].rmse for k in range(6)]
    assert several.mean.rmse == pytest.approx(np.mean(figures))
    assert several.error.rmse == pytest.approx(np.std(figures, ddof=1) / 6**0.5)
    assert np.isnan(expected_accuracies(DESIGN, [4], [SEED])[0].error).all()


def test_every_replication_is_told() -> None:
    told: list[int] = []
    expected_accuracies(DESIGN, [2], range(3), lambda: told.append(1))
    assert len(told) == 3


def test_coin_flips_do_not_seem_reliable_however_their_pairs_were_chosen() -> None:
    coins = replace(DESIGN, essays=30, judge=JudgeModel(JudgeKind.COIN))
    reported = np.array([[fit.reliability for fit in replicate(coins, (10, 20), seed)] for seed in range(10)])
    assert reported.max() < 0.5
    assert reported.mean() < 0.2


def test_adaptive_pairs_of_essays_that_differ_are_reported_as_reliable_as_they_are() -> None:
    found = expected_accuracies(replace(DESIGN, essays=30), (10, 20), range(10))
    for fit in (expected.mean for expected in found):
        assert -0.07 < fit.reliability - fit.squared_correlation < 0.03
