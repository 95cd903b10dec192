from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cj_stream.scoring.estimation.data import Anchors, Comparisons
from cj_stream.scoring.estimation.estimates import estimate
from cj_stream.scoring.estimation.existence import NoEstimateError, Obstacle, Reason, unbounded, unbounded_order
from cj_stream.scoring.estimation.fit import Estimator
from cj_stream.scoring.estimation.graph import components
from cj_stream.scoring.estimation.likelihood import Likelihood
from cj_stream.scoring.estimation.newton import maximize
from cj_stream.scoring.quality.residuals import expected_first_wins

CIRCLE = [(0, 1, 1), (1, 2, 1), (2, 0, 1)]


rows = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from([0.0, 0.5, 1.0])).filter(lambda r: r[0] != r[1]),
    min_size=1,
    max_size=14,
)


def obstacles(n: int, triples: list[tuple[int, int, float]], kind: Estimator = Estimator.MLE) -> list[Obstacle]:
    with pytest.raises(NoEstimateError) as caught:
        estimate(Comparisons.from_triples(n, triples), kind)
    return list(caught.value.obstacles)


def test_an_undefeated_and_a_winless_item_are_to_blame() -> None:
    found = obstacles(5, [*CIRCLE, (3, 0, 1), (3, 1, 1), (2, 4, 1)])
    assert found == [Obstacle(Reason.UNBEATEN, (3,)), Obstacle(Reason.WINLESS, (4,))]


def test_items_of_which_the_same_is_true_are_told_together() -> None:
    found = obstacles(5, [*CIRCLE, *((extra, 0, 1.0) for extra in (3, 4))])
    assert found == [Obstacle(Reason.UNBEATEN, (3, 4))]


def test_the_error_names_the_items_and_what_to_use_instead() -> None:
    error = NoEstimateError(Estimator.MLE, [Obstacle(Reason.UNBEATEN, (1,))], 2)
    assert str(error) == (
        "there is no finite estimate of the kind mle: 'item 1' never lost to any other item. "
        "Use the estimator map, firth or nmm, or judge more comparisons with these items"
    )
    assert "'Zoë' never lost" in error.text(["Adam", "Zoë"])


def test_groups_are_to_blame_where_no_single_item_is_undefeated() -> None:
    circles = [*CIRCLE, (3, 4, 1), (4, 5, 1), (5, 3, 1)]
    assert set(obstacles(6, [*circles, (0, 3, 1)])) == {
        Obstacle(Reason.UNBEATEN, (0, 1, 2)),
        Obstacle(Reason.WINLESS, (3, 4, 5)),
    }
    assert obstacles(8, [*circles, (6, 7, 0.5), (0, 3, 0.5)]) == [Obstacle(Reason.UNLINKED, (6, 7))]


def test_the_bias_reduced_estimate_needs_a_connected_graph_only() -> None:
    chain = Comparisons.from_triples(3, [(0, 1, 1), (1, 2, 1)])
    fit = estimate(chain, Estimator.FIRTH)
    assert fit.theta == pytest.approx([fit.theta[0], 0.0, -fit.theta[0]], abs=1e-9)
    assert fit.theta[0] == pytest.approx(math.log(3))  # each comparison counts as 1.5 to .5
    found = obstacles(5, [*CIRCLE, (3, 4, 0.5)], Estimator.FIRTH)
    assert found == [Obstacle(Reason.UNLINKED, (3, 4))]


@pytest.mark.parametrize("wins", [[1.0], [1.0, 1.0], [1.0, 1.0, 0.5], [1.0] * 2000 + [0.0]])
def test_the_bias_reduced_estimate_converges_where_a_comparison_decides_alone(wins: list[float]) -> None:
    # Of two items the equation can be solved by hand: half a win is added for each.
    data = Comparisons.from_triples(3, [(i, i + 1, win) for i in (0, 1) for win in wins])
    fit = estimate(data, Estimator.FIRTH)
    apart = math.log((sum(wins) + 0.5) / (len(wins) - sum(wins) + 0.5))
    assert fit.converged
    assert fit.theta == pytest.approx([apart, 0.0, -apart], abs=1e-9)


def test_the_adjusted_scale_is_finite_on_chains_and_gives_unlinked_groups_a_mean_of_zero_each() -> None:
    fit = estimate(Comparisons.from_triples(5, [(0, 1, 1), (1, 2, 1), (3, 4, 1), (3, 4, 1)]), Estimator.NMM)
    assert np.isfinite(fit.theta).all()
    assert fit.theta[:3].sum() == pytest.approx(0, abs=1e-6)
    # Two wins of two become 2 - .3 of two: log(1.7 / .3) apart.
    assert fit.theta[3] - fit.theta[4] == pytest.approx(math.log(1.7 / 0.3), abs=1e-6)
    assert fit.standard_error[3] == pytest.approx((2 * 0.85 * 0.15) ** -0.5, abs=1e-6)
    assert obstacles(3, [(0, 1, 1)], Estimator.NMM) == [Obstacle(Reason.UNCOMPARED, (2,))]


def test_an_adjusted_scale_without_an_end_is_refused() -> None:
    # The ends lose or win .3 of one verdict, the middle less of two: what is left for the middle pair is a whole win.
    assert obstacles(4, [(1, 0, 1), (1, 2, 1), (3, 2, 1)], Estimator.NMM) == [Obstacle(Reason.UNREACHABLE, (2, 3))]
    hubs = [*((0, i, 1.0) for i in range(2, 12)), (0, 1, 1.0), *((i, 1, 1.0) for i in range(12, 22))]
    with pytest.raises(NoEstimateError, match="Use the estimator map or firth"):
        estimate(Comparisons.from_triples(22, hubs), Estimator.NMM)


@settings(deadline=None, max_examples=60, print_blob=True)
@given(rows, st.booleans())
def test_the_adjusted_scale_meets_the_adjusted_totals_or_is_refused(
    triples: list[tuple[int, int, float]], position: bool
) -> None:
    data = Comparisons.from_triples(1 + max(max(row[:2]) for row in triples), triples)
    try:
        fit = estimate(data, Estimator.NMM, position=position)
    except NoEstimateError:
        return
    expected, count = expected_first_wins(data, fit), data.comparisons_per_item()
    excess = Comparisons(data.n, data.first, data.second, expected).wins_per_item() - data.wins_per_item()
    excess -= 0.3 * (1 - 2 * data.wins_per_item() / count)
    # What the adjustments of a group of linked items do not add up to is shared out among them.
    groups = components(data).labels
    shared = (np.bincount(groups, excess) / np.bincount(groups))[groups]
    assert excess == pytest.approx(shared, abs=1e-5)
    assert np.isfinite(fit.standard_error).all()


def test_an_order_effect_that_explains_every_win_is_refused() -> None:
    always_first = Comparisons.from_triples(3, [*CIRCLE, (1, 0, 1)])
    with pytest.raises(NoEstimateError, match="order of presentation"):
        estimate(always_first, Estimator.MLE, position=True)
    estimate(always_first, Estimator.FIRTH, position=True)


def test_an_order_that_the_items_determine_cannot_be_told_from_the_scores() -> None:
    data = Comparisons.from_triples(4, [(i, j, w) for i in (0, 1) for j in (2, 3) for w in (0, 1, 1)])
    for kind in (Estimator.MLE, Estimator.FIRTH, Estimator.NMM):
        with pytest.raises(NoEstimateError, match="Do without the position term"):
            estimate(data, kind, position=True)
    assert np.isfinite(estimate(data, Estimator.MAP, position=True).theta).all()


@pytest.mark.parametrize("length", [3, 40, 400])
def test_an_order_along_a_chain_cannot_be_told_however_long_the_chain(length: int) -> None:
    chain = Comparisons.from_triples(length, [(i, i + 1, won) for i in range(length - 1) for won in (0, 1, 1)])
    for kind in (Estimator.MLE, Estimator.FIRTH, Estimator.NMM):
        with pytest.raises(NoEstimateError, match="Do without the position term"):
            estimate(chain, kind, position=True)


TIES_OF_ONE_PRESENTED_FIRST = [(0, i, 0.5) for i in range(1, 5)]


@settings(deadline=None, max_examples=60, print_blob=True)
@given(rows, st.booleans())
@example(TIES_OF_ONE_PRESENTED_FIRST, True)
@example([*TIES_OF_ONE_PRESENTED_FIRST, (0, 1, 1.0)], True)
@example([*TIES_OF_ONE_PRESENTED_FIRST, (1, 0, 0.5)], True)
def test_there_is_one_finite_estimate_exactly_when_nothing_stands_in_its_way(
    triples: list[tuple[int, int, float]], position: bool
) -> None:
    """Widen a prior and move its centre away as fast: what is left of it are the directions that the data leave open.

    A likelihood has exactly one finite maximum unless it never falls along some direction. Where it rises for ever the
    scores grow with the prior's width. Where it stays level they follow the prior's centre: if one item was presented
    first in all comparisons, its score and the order effect can be exchanged for each other, ties or not.
    """
    data = Comparisons.from_triples(5, triples)
    refused = unbounded(data) or (position and unbounded_order(data))
    towards = np.array([0.9, -0.7, 0.5, -0.4, -0.3, 0.8])[: 5 + position]

    def reach(sd: float) -> float:
        # Precision times centre: this prior is N(sd * towards, sd**2).
        likelihood = Likelihood(data, sd**-2, position, sd**-2, tilt=towards / sd)
        return float(np.abs(maximize(likelihood, likelihood.start()).parameters).max())

    assert (reach(1e6) > 1.2 * reach(1e3)) == bool(refused)
    if not refused:
        assert estimate(data, Estimator.MLE, position=position).converged


@pytest.mark.parametrize("kind", list(Estimator))
def test_anchors_stay_and_place_the_others(kind: Estimator) -> None:
    rng = np.random.default_rng(7)
    truth = np.linspace(-1.5, 1.5, 8)
    first = rng.integers(0, 8, 400)
    second = (first + rng.integers(1, 8, 400)) % 8
    won = (rng.random(400) < 1 / (1 + np.exp(truth[second] - truth[first]))).astype(float)
    data = Comparisons(8, first, second, won)
    free = estimate(data, kind)
    held = np.array([0, 4])
    shifted = estimate(data, kind, anchors=Anchors(held, free.theta[held] + 10))
    # Held where they would be anyway, anchors only move the scale.
    assert shifted.theta == pytest.approx(free.theta + 10, abs=1e-2 if kind is Estimator.FIRTH else 1e-6)
    assert shifted.theta[held].tolist() == (free.theta[held] + 10).tolist()
    assert shifted.standard_error[held].tolist() == [0.0, 0.0]
    assert shifted.anchored == (0, 4)
    if kind is not Estimator.NMM:
        assert shifted.standard_error[2] == pytest.approx(
            float(np.sqrt(conditional_variance(free.covariance, held)[2])),
            rel=1e-6 if kind is not Estimator.FIRTH else 0.01,
        )


def conditional_variance(covariance: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Variances of the scores relative to the held ones, when these are known."""
    n = len(covariance)
    information = np.linalg.pinv(covariance, rcond=1e-10)
    free = np.setdiff1d(np.arange(n), held)
    variances = np.zeros(n)
    variances[free] = np.diag(np.linalg.inv(information[np.ix_(free, free)]))
    return variances


def test_one_anchor_moves_the_scale_and_is_what_errors_refer_to() -> None:
    data = Comparisons.from_triples(3, [*CIRCLE, *CIRCLE, (0, 1, 0)])
    fit = estimate(data, Estimator.MLE)
    anchored = estimate(data, Estimator.MLE, anchors=Anchors(np.array([1]), np.array([5.0])))
    assert anchored.theta == pytest.approx(fit.theta - fit.theta[1] + 5, abs=1e-9)
    assert anchored.standard_error == pytest.approx([fit.difference_se(i, 1) for i in range(3)], abs=1e-9)


def test_anchors_make_an_estimate_exist_where_they_bound_it() -> None:
    data = Comparisons.from_triples(3, [(0, 1, 1), (1, 2, 1)])
    anchored = estimate(data, Estimator.MLE, anchors=Anchors(np.array([0, 2]), np.array([1.0, -1.0])))
    assert anchored.theta == pytest.approx([1.0, 0.0, -1.0], abs=1e-9)


@pytest.mark.parametrize(
    ("items", "theta", "message"),
    [([], [], "0 anchors"), ([1, 1], [0.0, 0.0], "given twice"), ([1], [math.inf], "finite"), ([9], [0.0], "index")],
)
def test_bad_anchors_are_refused(items: list[int], theta: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate(Comparisons.from_triples(3, CIRCLE), anchors=Anchors(np.array(items), np.array(theta)))
