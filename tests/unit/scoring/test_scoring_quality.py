from __future__ import annotations

import json
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from cj_stream.scoring.estimation.data import Comparisons, Judges
from cj_stream.scoring.estimation.estimates import estimate
from cj_stream.scoring.estimation.estimator import map_estimate
from cj_stream.scoring.estimation.fit import Estimator
from cj_stream.scoring.estimation.reliability import (
    separation,
    separation_ratio_reliability,
    separation_reliability,
    strata,
)
from cj_stream.scoring.quality.agreement import judge_agreement, reverse_consistency
from cj_stream.scoring.quality.quality import assess
from cj_stream.scoring.quality.ranks import rank_intervals
from cj_stream.scoring.quality.residuals import expected_first_wins, item_misfit, judge_misfit
from cj_stream.scoring.quality.rounds import reliability_by_round
from cj_stream.scoring.quality.split_half import split_half
from cj_stream.scoring.quality.transitivity import circular_triads

STUDIES = json.loads(
    (Path(__file__).parents[3] / "examples" / "vehicles" / "vehicles_mit.json").read_text(encoding="utf-8")
)["studies"]
STUDY = STUDIES["nuisance_pairs"]
ROWS = STUDY["comparisons"]
DATA = Comparisons.from_triples(25, [(left, right, won) for _, left, right, won in ROWS])
_NAMES, _OF = np.unique([row[0] for row in ROWS], return_inverse=True)
JUDGES = Judges(tuple(map(str, _NAMES)), _OF)


def judges_of(*names: str) -> Judges:
    known = tuple(sorted(set(names)))
    return Judges(known, np.array([known.index(name) for name in names]))


@pytest.mark.parametrize("name", STUDIES)
def test_infit_and_outfit_agree_with_the_published_ones(name: str) -> None:
    triples = [(left, right, won) for _, left, right, won in STUDIES[name]["comparisons"]]
    data, published = Comparisons.from_triples(25, triples), STUDIES[name]["published_sirt"]
    misfit = item_misfit(data, estimate(data, Estimator.NMM))
    # The published scores stopped short of their solution; the largest outfit, 26.5, feels it most.
    assert misfit.infit == pytest.approx(published["infit"], rel=2e-4)
    assert misfit.outfit == pytest.approx(published["outfit"], rel=2e-3)


def test_misfit_is_the_mean_squared_residual() -> None:
    data = Comparisons.from_triples(3, [(0, 1, 1), (0, 2, 1), (1, 2, 0), (2, 0, 0.5)])
    fit = map_estimate(data, position=True)
    p = expected_first_wins(data, fit)
    squared, variance = (data.first_wins - p) ** 2, p * (1 - p)
    misfit = item_misfit(data, fit)
    of_1 = [0, 2]
    assert misfit.infit[1] == pytest.approx(squared[of_1].sum() / variance[of_1].sum())
    assert misfit.outfit[1] == pytest.approx((squared / variance)[of_1].mean())
    judged = judge_misfit(data, judges_of("x", "y", "x", "x"), fit)
    assert judged.outfit[1] == pytest.approx(squared[1] / variance[1])
    assert math.isnan(item_misfit(Comparisons.from_triples(2, []), map_estimate(DATA)).infit[0])


def test_a_judge_who_answers_at_random_and_one_who_contradicts_are_flagged() -> None:
    rng = np.random.default_rng(3)
    theta = np.linspace(-3, 3, 20)
    first = rng.integers(0, 20, 1200)
    second = (first + rng.integers(1, 20, 1200)) % 20
    judge = np.arange(1200) % 12
    won = (rng.random(1200) < 1 / (1 + np.exp(theta[second] - theta[first]))).astype(float)
    won[judge == 4] = 1 - won[judge == 4]
    data = Comparisons(20, first, second, won)
    misfit = judge_misfit(data, Judges(tuple("abcdefghijkl"), judge), map_estimate(data))
    assert np.flatnonzero(misfit.unusual).tolist() == [4]
    assert np.flatnonzero(misfit.out_of_range).tolist() == [4]


def test_agreement_counts_couples_of_different_judges_on_the_same_pair() -> None:
    data = Comparisons.from_triples(3, [(0, 1, 1), (1, 0, 0), (0, 1, 0), (0, 2, 1), (0, 2, 0), (1, 2, 1)])
    agreement = judge_agreement(data, judges_of("x", "y", "z", "x", "x", "y"))
    # Of the first pair, x and y agree and z with neither; x alone saw the second pair; the third was seen once.
    assert (agreement.rate, agreement.couples) == (pytest.approx(1 / 3), 3)
    assert agreement.per_judge[:3] == pytest.approx([0.5, 0.5, 0.0])
    nothing = judge_agreement(Comparisons.from_triples(2, []), judges_of())
    assert (math.isnan(nothing.rate), nothing.couples) == (True, 0)


def test_agreement_is_what_counting_by_hand_gives_on_a_study() -> None:
    couples = [
        (a, b)
        for a, b in combinations(ROWS, 2)
        if {a[1], a[2]} == {b[1], b[2]} and a[0] != b[0]
    ]  # fmt: skip
    same = [(a[3] == b[3]) == (a[1] == b[1]) for a, b in couples]
    agreement = judge_agreement(DATA, JUDGES)
    assert (agreement.couples, agreement.rate) == (len(couples), pytest.approx(np.mean(same)))


def test_a_tie_agrees_by_half() -> None:
    data = Comparisons.from_triples(2, [(0, 1, 0.5), (0, 1, 1)])
    assert judge_agreement(data, judges_of("x", "y")).rate == 0.5


def test_reverse_consistency_compares_both_orders_of_one_judge() -> None:
    data = Comparisons.from_triples(2, [(0, 1, 1), (1, 0, 1), (0, 1, 1), (1, 0, 0)])
    found = reverse_consistency(data, judges_of("x", "x", "y", "y"))
    assert (found.rate, found.couples) == (0.5, 2)
    assert found.per_judge.tolist() == [0.0, 1.0]


def test_circles_are_counted_among_decided_triples() -> None:
    circle = [(0, 1, 1), (1, 2, 1), (2, 0, 1)]
    assert circular_triads(Comparisons.from_triples(4, [*circle, (0, 3, 1), (1, 3, 1)])) == (2, 1)
    assert circular_triads(Comparisons.from_triples(3, [(0, 1, 1), (1, 2, 1), (0, 2, 1)])).share == 0
    assert math.isnan(circular_triads(Comparisons.from_triples(3, circle[:2])).share)


def test_a_quarter_of_the_triads_of_coin_flips_is_circular() -> None:
    rng = np.random.default_rng(1)
    pairs = list(combinations(range(30), 2))
    flips = Comparisons.from_triples(30, [(i, j, float(rng.integers(2))) for i, j in pairs])
    triads = circular_triads(flips)
    assert triads.decided == math.comb(30, 3)
    assert triads.share == pytest.approx(0.25, abs=0.02)


def test_rank_intervals_hold_the_rank_and_narrow_with_data() -> None:
    few, many = (map_estimate(DATA.where(np.arange(len(DATA)) < m)) for m in (100, len(DATA)))
    for fit in (few, many):
        low, high = rank_intervals(fit).T
        assert ((low <= fit.ranks) & (fit.ranks <= high)).all()
        assert (rank_intervals(fit) == rank_intervals(fit)).all()
    widths = [np.ptp(rank_intervals(fit), axis=1).mean() for fit in (few, many)]
    assert widths[1] < 0.5 * widths[0]
    certain = map_estimate(Comparisons.from_triples(2, [(0, 1, 1)] * 400))
    assert rank_intervals(certain).tolist() == [[1, 1], [2, 2]]


def test_split_halves_correlate_on_real_data_and_not_on_coin_flips() -> None:
    fit = map_estimate(DATA)
    halves = split_half(DATA, JUDGES, fit, seed=1, splits=30)
    assert halves == split_half(DATA, JUDGES, fit, seed=1, splits=30)
    assert halves.by_judges
    assert 0.8 < halves.low <= halves.median <= halves.high < 1
    rng = np.random.default_rng(0)
    flips = Comparisons(25, DATA.first, DATA.second, rng.integers(0, 2, len(DATA)).astype(float))
    noise = split_half(flips, None, map_estimate(flips), seed=1, splits=30)
    assert not noise.by_judges
    assert abs(noise.median) < 0.4
    assert math.isnan(split_half(DATA.where(DATA.first < 0), None, fit).median)
    pair = Comparisons.from_triples(2, [(0, 1, 1.0), (1, 0, 0.0)] * 5)
    assert math.isnan(split_half(pair, None, map_estimate(pair)).median), "two items always correlate by 1 or -1"


def test_reliability_grows_by_whole_rounds_up_to_the_whole() -> None:
    rounds = reliability_by_round(DATA.where(np.arange(len(DATA)) < 250), most=5)
    assert [entry.comparisons for entry in rounds] == [12, 72, 120, 180, 250]
    assert rounds[-1].per_item == 20
    assert rounds[-1].reliability == map_estimate(DATA.where(np.arange(len(DATA)) < 250)).reliability
    assert rounds[0].reliability < rounds[2].reliability < rounds[-1].reliability
    assert reliability_by_round(DATA.where(DATA.first < 0)) == []


def test_the_two_coefficients_called_ssr_differ_on_noise() -> None:
    theta, covariance = np.array([-1.0, 0.0, 1.0]), np.eye(3)
    assert separation_reliability(theta, covariance) == 0
    assert separation_ratio_reliability(theta, covariance) == 0.5
    assert math.isnan(separation_ratio_reliability(np.zeros(3), covariance))


def test_separation_and_strata_follow_their_formulas() -> None:
    assert separation(0.8) == pytest.approx(2.0)
    assert strata(separation(0.8)) == pytest.approx(3.0)
    assert separation(-0.4) == 0
    assert math.isnan(separation(math.nan))
    assert separation(1.0) == math.inf


def test_a_study_is_assessed_as_a_whole() -> None:
    fit = map_estimate(DATA)
    quality = assess(DATA, fit, JUDGES, seed=5)
    assert quality.order is not None
    assert quality.judges is not None
    assert quality.order.first_wins == pytest.approx(np.mean([row[3] for row in ROWS]))
    assert abs(quality.order.bias.estimate) < 0.2
    assert quality.judges.comparisons.sum() == len(DATA)
    assert quality.separation == pytest.approx(separation(fit.separation_reliability))
    assert quality.triads.share < 0.1
    bare = assess(DATA, fit, ordered=False)
    assert (bare.order, bare.judges) == (None, None)
