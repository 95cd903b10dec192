from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cj_stream.scoring.estimation.data import Anchors, Comparisons, Floats
from cj_stream.scoring.estimation.estimator import PRIOR_SD_FLOOR, map_estimate, map_scores
from cj_stream.scoring.estimation.fit import Fit, PositionBias
from cj_stream.scoring.estimation.likelihood import Likelihood, inverse
from cj_stream.scoring.estimation.newton import SPARSE_ITEMS
from cj_stream.scoring.estimation.width import ESTIMATED_ITEMS, find_width

VEHICLES = Path(__file__).parents[3] / "examples" / "vehicles" / "vehicles_mit.json"


@dataclass(frozen=True)
class Study:
    data: Comparisons
    published: dict[str, Any]


@pytest.fixture(params=["nuisance_pairs", "vehicle_pairs", "violation_pairs"])
def study(request: pytest.FixtureRequest) -> Study:
    published = json.loads(VEHICLES.read_text(encoding="utf-8"))["studies"][request.param]
    triples = [(left, right, won) for _, left, right, won in published["comparisons"]]
    return Study(Comparisons.from_triples(len(published["items"]), triples), published)


def simulated(
    n: int, per_item: int, *, sd: float = 2.0, bias: float = 0.0, seed: int = 1
) -> tuple[Comparisons, Floats]:
    """Random pairs of a Bradley-Terry judge, and the true scores."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(0, sd, n)
    first = rng.integers(0, n, n * per_item // 2)
    second = (first + rng.integers(1, n, len(first))) % n
    probability = 1 / (1 + np.exp(-(theta[first] - theta[second] + bias)))
    return Comparisons(n, first, second, (rng.random(len(first)) < probability).astype(float)), theta


def bias_of(fit: Fit) -> PositionBias:
    """Return the position bias that was fitted."""
    assert fit.position_bias is not None
    return fit.position_bias


def log_posterior(data: Comparisons, theta: Floats, bias: float, prior_sd: float) -> float:
    """The model once more, as plainly as it can be written."""
    total = -sum(value**2 for value in theta) / (2 * prior_sd**2) - bias**2 / 2
    for i, j, share in zip(data.first, data.second, data.first_wins, strict=True):
        p = 1 / (1 + math.exp(-(theta[i] - theta[j] + bias)))
        total += share * math.log(p) + (1 - share) * math.log(1 - p)
    return float(total)


def derivatives(function: Callable[[Floats], float], at: Floats, step: float = 1e-4) -> tuple[Floats, Floats]:
    """Gradient and matrix of second derivatives by central differences."""
    size = len(at)
    e = np.eye(size) * step
    gradient = np.array([(function(at + e[i]) - function(at - e[i])) / (2 * step) for i in range(size)])
    second = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            corners = function(at + e[i] + e[j]) - function(at + e[i] - e[j])
            corners += function(at - e[i] - e[j]) - function(at - e[i] + e[j])
            second[i, j] = corners / (4 * step**2)
    return gradient, second


def test_a_very_wide_prior_gives_the_maximum_likelihood_estimate_of_r(study: Study) -> None:
    fit = map_estimate(study.data, prior_sd=1e4)
    mle = study.published["r_glm_mle"]
    assert fit.converged
    assert np.abs(fit.theta - mle["theta_sum0"]).max() < 1e-7
    assert np.abs(fit.standard_error - mle["se_sum0"]).max() < 1e-6


def test_the_left_effect_agrees_with_r_but_for_its_weak_prior(study: Study) -> None:
    fit = map_estimate(study.data, prior_sd=1e4, position=True)
    glm = study.published["r_glm_mle_with_left_effect"]
    assert bias_of(fit).estimate == pytest.approx(glm["left_effect"], abs=1e-3)
    assert bias_of(fit).standard_error == pytest.approx(glm["left_effect_se"], abs=1e-3)
    assert np.abs(fit.theta - glm["theta_sum0"]).max() < 1e-3
    assert np.abs(fit.standard_error - glm["se_sum0"]).max() < 1e-3


def test_the_default_estimate_agrees_with_the_published_scores(study: Study) -> None:
    fit = map_estimate(study.data)
    assert np.corrcoef(fit.theta, study.published["published_sirt"]["theta"])[0, 1] > 0.999
    assert fit.separation_reliability == pytest.approx(study.published["ssr_mle_rel"], abs=0.002)
    assert (fit.components, fit.strong_components) == (1, 1)


@pytest.mark.parametrize("position", [False, True])
def test_the_gradient_is_zero_and_the_covariance_the_inverse_hessian(position: bool) -> None:
    data, _ = simulated(6, 10, bias=0.5 * position)
    fit = map_estimate(data, position=position)
    bias = [bias_of(fit).estimate] if position else []
    parameters = np.concatenate((fit.theta, bias))

    def function(x: Floats) -> float:
        return log_posterior(data, x[:6], x[6] if position else 0.0, fit.prior_sd)

    gradient, hessian = derivatives(function, parameters)
    assert np.abs(gradient).max() < 1e-7
    centring = np.eye(6) - 1 / 6
    covariance = np.linalg.inv(-hessian)
    assert fit.covariance == pytest.approx(centring @ covariance[:6, :6] @ centring, abs=1e-5)
    if position:
        assert bias_of(fit).standard_error == pytest.approx(math.sqrt(covariance[6, 6]), abs=1e-5)


def test_a_position_bias_is_recovered() -> None:
    data, _ = simulated(40, 60, bias=0.8, seed=3)
    fit = map_estimate(data, position=True)
    assert abs(bias_of(fit).estimate - 0.8) < 2 * bias_of(fit).standard_error
    assert bias_of(fit).standard_error < 0.15
    assert map_estimate(data).position_bias is None


def log_evidence(data: Comparisons, sd: float) -> float:
    """Laplace's approximation of the marginal likelihood, times the hyperprior, as plainly as it can be written."""
    n, theta = data.n, map_scores(data, sd)
    curvature = Likelihood(data, sd**-2).curvature(Likelihood(data).first_win_probability(theta))
    log_determinant = np.linalg.slogdet(curvature).logabsdet  # 1 in the direction of the mean adds nothing
    height = log_posterior(data, theta, 0.0, sd) - (n - 1) * math.log(sd) - 0.5 * log_determinant
    return float(height - 0.5 * math.log(sd / 2.0) ** 2)


def test_the_evidence_agrees_with_numerical_integration() -> None:
    # Two items, seven wins to three: the evidence is an integral over their difference, N(0, 2 s^2).
    data = Comparisons.from_triples(2, [(0, 1, 1)] * 7 + [(0, 1, 0)] * 3)
    difference = np.linspace(-40, 40, 400_001)
    likelihood = np.exp(7 * difference - 10 * np.logaddexp(0, difference))

    def exact(sd: float) -> float:
        density = np.exp(-(difference**2) / (4 * sd**2)) / (sd * math.sqrt(4 * math.pi))
        return math.log((likelihood * density).sum() * (difference[1] - difference[0])) - math.log(sd / 2.0) ** 2 / 2

    for sd in (0.5, 1.0, 4.0):
        assert log_evidence(data, sd) - log_evidence(data, 2.0) == pytest.approx(exact(sd) - exact(2.0), abs=0.05)


@pytest.mark.parametrize("sd", [0.7, 1.5, 3.0])
def test_the_width_of_the_prior_is_learnt_from_the_data(sd: float) -> None:
    data, theta = simulated(100, 30, sd=sd, seed=5)
    fit = map_estimate(data)
    assert fit.prior_sd_eb == pytest.approx(theta.std(), rel=0.2)
    assert fit.prior_sd == max(PRIOR_SD_FLOOR, fit.prior_sd_eb)


@pytest.mark.parametrize("seed", range(6))
def test_the_width_of_the_prior_is_where_the_evidence_is_largest(seed: int) -> None:
    n = 15 if seed else 40
    data, _ = simulated(n, 8, sd=[1.5, 0.0, 0.5, 1.0, 2.0, 4.0][seed], seed=seed)
    widths = np.geomspace(0.1, 10, 60)
    best = widths[int(np.argmax([log_evidence(data, sd) for sd in widths]))]
    found = map_estimate(data).prior_sd_eb
    assert best / 1.09 < found < best * 1.09
    assert log_evidence(data, found) >= max(log_evidence(data, found * 0.99), log_evidence(data, found * 1.01))


@pytest.mark.parametrize("sd", [0.0, 0.7, 2.0, 4.0])
def test_the_width_for_the_reliability_is_where_the_evidence_is_largest_under_scepticism(sd: float) -> None:
    data, _ = simulated(30, 12, sd=sd, seed=8)
    search = find_width(data, position=False)

    def height(width: float) -> float:
        hyperpriors = math.log(width / 2.0) ** 2 / 2 - math.log(width / 0.2) ** 2 / (2 * 1.5**2)
        return log_evidence(data, width) + hyperpriors

    found = search.sceptical.prior_sd
    assert found < search.found.prior_sd
    assert height(found) >= max(height(found * 0.98), height(found * 1.02))


def test_posterior_means_agree_with_numerical_integration() -> None:
    # Two items, seven wins to two: the posterior of their difference, whose prior is N(0, 2 s^2).
    data, prior_sd = Comparisons.from_triples(2, [(0, 1, 1)] * 7 + [(0, 1, 0)] * 2), 1.5
    difference = np.linspace(-30, 30, 60_001)
    density = np.exp(7 * difference - 9 * np.logaddexp(0, difference) - difference**2 / (4 * prior_sd**2))
    exact = float(density @ difference / density.sum())
    likelihood, mode = Likelihood(data, prior_sd**-2), map_scores(data, prior_sd)
    probability = likelihood.first_win_probability(mode)
    mean = mode + likelihood.mean_beyond_mode(probability, likelihood.covariance(probability))
    assert abs(mode[0] - mode[1] - exact) > 0.05
    assert mean[0] - mean[1] == pytest.approx(exact, abs=0.02)
    assert mean.sum() == pytest.approx(0.0, abs=1e-12)


def test_with_many_items_the_width_is_off_by_little_against_its_own_uncertainty() -> None:
    data, _ = simulated(ESTIMATED_ITEMS, 12, sd=1.5, seed=4)
    found = map_estimate(data).prior_sd_eb
    heights = [log_evidence(data, found * factor) for factor in (0.97, 1.0, 1.03)]
    bend = (heights[0] - 2 * heights[1] + heights[2]) / math.log(1.03) ** 2
    slope = (heights[2] - heights[0]) / (2 * math.log(1.03))
    assert abs(slope / bend) < 0.25 * (-bend) ** -0.5  # distance to the top, against the evidence's own width


def test_sparse_and_dense_solutions_are_the_same() -> None:
    data, _ = simulated(SPARSE_ITEMS + 10, 10, bias=0.5, seed=3)
    fit = map_estimate(data, prior_sd=2.0, position=True)
    parameters = np.append(fit.theta, bias_of(fit).estimate)
    likelihood = Likelihood(data, 0.25, position=True, position_precision=1.0)
    probability = likelihood.first_win_probability(parameters)
    step = np.linalg.solve(likelihood.curvature(probability), likelihood.gradient(parameters, probability))
    assert np.abs(step).max() < 1e-9


@pytest.mark.parametrize("n", [12, SPARSE_ITEMS + 10])
def test_scores_alone_are_those_of_the_full_estimate(n: int) -> None:
    data, _ = simulated(n, 10)
    anchors = Anchors(np.array([1, 3]), np.array([0.5, -0.5]))
    assert map_scores(data, 1.5) == pytest.approx(map_estimate(data, prior_sd=1.5).theta, abs=1e-9)
    anchored = map_estimate(data, prior_sd=1.5, anchors=anchors, position=True)
    assert map_scores(data, 1.5, anchors=anchors, position=True) == pytest.approx(anchored.theta, abs=1e-9)


def test_without_comparisons_the_hyperprior_decides_and_all_scores_are_zero() -> None:
    fit = map_estimate(Comparisons.from_triples(5, []))
    assert fit.theta.tolist() == [0.0] * 5
    assert fit.prior_sd_eb == pytest.approx(2.0)
    assert fit.standard_error == pytest.approx(2.0 * math.sqrt(4 / 5))
    assert fit.reliability == 0.0
    assert math.isnan(fit.separation_reliability)
    assert fit.ranks.tolist() == [1, 2, 3, 4, 5]


def test_a_single_essay_has_score_zero_and_no_reliability() -> None:
    fit = map_estimate(Comparisons.from_triples(1, []), position=True)
    assert (fit.theta.tolist(), fit.standard_error.tolist()) == ([0.0], [0.0])
    assert math.isnan(fit.reliability)
    assert fit.position_bias == (0.0, 1.0)


def test_an_undefeated_essay_has_a_finite_score_and_the_first_rank() -> None:
    fit = map_estimate(Comparisons.from_triples(4, [(0, j, 1) for j in (1, 2, 3)] + [(1, 2, 1), (2, 3, 1), (3, 1, 1)]))
    assert fit.ranks[0] == 1
    assert 1 < fit.theta[0] < 5
    assert fit.strong_components == 2


def test_groups_never_compared_keep_a_wide_error_between_them() -> None:
    fit = map_estimate(Comparisons.from_triples(4, [(0, 1, 0.5), (2, 3, 0.5)] * 50), prior_sd=2)
    assert fit.components == 2
    assert fit.difference_se(0, 2) > 2 > 4 * fit.difference_se(0, 1)


@pytest.mark.parametrize("prior_sd", [0.0, -1.0, math.nan, math.inf])
def test_a_prior_without_a_width_is_refused(prior_sd: float) -> None:
    with pytest.raises(ValueError, match="positive finite"):
        map_estimate(Comparisons.from_triples(2, []), prior_sd=prior_sd)


def test_permuting_the_essays_permutes_the_result() -> None:
    data, _ = simulated(20, 8, seed=11)
    order = np.random.default_rng(2).permutation(20)
    renamed = Comparisons(20, order[data.first], order[data.second], data.first_wins)
    fit, other = map_estimate(data, position=True), map_estimate(renamed, position=True)
    assert other.theta[order] == pytest.approx(fit.theta, abs=1e-9)
    assert other.covariance[np.ix_(order, order)] == pytest.approx(fit.covariance, abs=1e-9)
    assert other.ranks[order].tolist() == fit.ranks.tolist()
    assert other.reliability == pytest.approx(fit.reliability, abs=1e-9)


def test_presenting_every_pair_the_other_way_round_turns_only_the_position_bias() -> None:
    data, _ = simulated(12, 10, bias=0.7, seed=4)
    turned = Comparisons(12, data.second, data.first, 1 - data.first_wins)
    fit, other = map_estimate(data, position=True), map_estimate(turned, position=True)
    assert other.theta == pytest.approx(fit.theta, abs=1e-9)
    assert bias_of(other).estimate == pytest.approx(-bias_of(fit).estimate, abs=1e-9)


@st.composite
def awkward_data(draw: st.DrawFn) -> Comparisons:
    n = draw(st.integers(1, 10))
    items = st.integers(0, n - 1)
    pairs = st.tuples(items, items).filter(lambda pair: pair[0] != pair[1])
    share = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1))
    rows = draw(st.lists(st.tuples(pairs, share, st.integers(1, 30)), max_size=25)) if n > 1 else []
    return Comparisons.from_triples(n, [(i, j, w) for (i, j), w, times in rows for _ in range(times)])


@settings(deadline=None, max_examples=150, print_blob=True)
@given(awkward_data(), st.one_of(st.none(), st.sampled_from([1e-3, 0.3, 2.0, 50.0, 1e4])), st.booleans())
def test_every_graph_has_a_finite_estimate(data: Comparisons, prior_sd: float | None, position: bool) -> None:
    fit = map_estimate(data, prior_sd=prior_sd, position=position)
    assert fit.converged
    assert np.isfinite(fit.theta).all()
    assert np.isfinite(fit.covariance).all()
    assert abs(fit.theta.sum()) < 1e-6
    assert (fit.standard_error > 0).all() == (data.n > 1)
    assert np.linalg.eigvalsh(fit.covariance).min() > -1e-6 * max(1.0, fit.covariance.max())
    assert sorted(fit.ranks.tolist()) == list(range(1, data.n + 1))
    assert 0 <= fit.reliability < 1 if data.n > 1 else math.isnan(fit.reliability)
    assert not fit.separation_reliability > 1
    assert 1 <= fit.components <= fit.strong_components <= data.n


@pytest.mark.parametrize("seed", range(5))
def test_coin_flips_do_not_report_a_high_reliability(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data, _ = simulated(50, 10, seed=seed)
    flips = Comparisons(50, data.first, data.second, rng.integers(0, 2, len(data)).astype(float))
    fit = map_estimate(flips)
    assert fit.reliability < 0.5
    assert fit.prior_sd_eb < 1


def test_the_reported_reliability_is_close_to_the_true_one() -> None:
    fits = [(map_estimate(data), theta) for data, theta in (simulated(40, 20, seed=seed) for seed in range(8))]
    true = np.mean([np.corrcoef(fit.theta, theta)[0, 1] ** 2 for fit, theta in fits])
    assert np.mean([fit.reliability for fit, _ in fits]) == pytest.approx(true, abs=0.04)


def test_the_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    covered = []
    for seed in range(20):
        data, theta = simulated(30, 15, seed=seed)
        low, high = map_estimate(data).interval95.T
        truth = theta - theta.mean()
        covered += ((low <= truth) & (truth <= high)).tolist()
    assert 0.9 < np.mean(covered) < 0.99


@pytest.mark.parametrize("n", [1, 7, 200, 201, 463])
def test_large_matrices_are_inverted_by_blocks(n: int) -> None:
    root = np.random.default_rng(n).normal(size=(n, n))
    matrix = root @ root.T + n * np.eye(n)
    found = inverse(matrix)
    assert np.abs(found @ matrix - np.eye(n)).max() < 1e-10
    assert np.abs(found - found.T).max() < 1e-15
