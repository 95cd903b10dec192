"""The estimates against published ones: R's glm and BradleyTerry2, and sirt's scales."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unit.scoring.known_tables import (
    BASEBALL,
    BASEBALL_HOME_EFFECT,
    BASEBALL_SCORES,
    CITATION_SCORES,
    CITATIONS,
    JOURNALS,
    TEAMS,
    expanded,
)

from cj_stream.scoring.estimation.data import Comparisons
from cj_stream.scoring.estimation.estimates import estimate
from cj_stream.scoring.estimation.fit import Estimator, Fit

STUDIES = json.loads(
    (Path(__file__).parents[3] / "examples" / "vehicles" / "vehicles_mit.json").read_text(encoding="utf-8")
)["studies"]


def comparisons(study: dict[str, Any]) -> Comparisons:
    return Comparisons.from_triples(
        len(study["items"]), [(left, right, won) for _, left, right, won in study["comparisons"]]
    )


def against(fit: Fit, base: int, other: int) -> tuple[float, float]:
    return float(fit.theta[other] - fit.theta[base]), fit.difference_se(other, base)


@pytest.mark.parametrize("name", STUDIES)
def test_maximum_likelihood_agrees_with_r_on_the_vehicles(name: str) -> None:
    fit, r = estimate(comparisons(STUDIES[name]), Estimator.MLE), STUDIES[name]["r_glm_mle"]
    assert np.abs(fit.theta - r["theta_sum0"]).max() < 1e-8
    assert np.abs(fit.standard_error - r["se_sum0"]).max() < 1e-5
    assert fit.converged


@pytest.mark.parametrize("name", STUDIES)
def test_the_left_effect_agrees_with_r_on_the_vehicles(name: str) -> None:
    fit = estimate(comparisons(STUDIES[name]), Estimator.MLE, position=True)
    r = STUDIES[name]["r_glm_mle_with_left_effect"]
    assert np.abs(fit.theta - r["theta_sum0"]).max() < 1e-8
    assert np.abs(fit.standard_error - r["se_sum0"]).max() < 1e-5
    assert fit.position_bias is not None
    assert fit.position_bias.estimate == pytest.approx(r["left_effect"], abs=1e-8)
    assert fit.position_bias.standard_error == pytest.approx(r["left_effect_se"], abs=1e-5)


@pytest.mark.parametrize("name", STUDIES)
def test_the_adjusted_scale_agrees_with_the_published_one(name: str) -> None:
    # The published scale stopped short of its solution, by about 2e-4.
    fit, published = estimate(comparisons(STUDIES[name]), Estimator.NMM), STUDIES[name]["published_sirt"]
    assert np.abs(fit.theta - published["theta"]).max() < 1e-3
    assert np.abs(fit.standard_error - published["se_diag"]).max() < 1e-4
    assert fit.separation_reliability == pytest.approx(STUDIES[name]["ssr_mle_rel"], abs=1e-5)


def test_the_citations_agree_with_r() -> None:
    fit = estimate(expanded(JOURNALS, CITATIONS), Estimator.MLE)
    for name, (score, error) in CITATION_SCORES.items():
        found = against(fit, 0, JOURNALS.index(name))
        assert found == pytest.approx((score, error), abs=6e-6)


def test_the_baseball_season_agrees_with_r() -> None:
    fit = estimate(expanded(TEAMS, BASEBALL), Estimator.MLE)
    for name, (score, error) in BASEBALL_SCORES.items():
        assert against(fit, 0, TEAMS.index(name)) == pytest.approx((score, error), abs=6e-5)
    home = estimate(expanded(TEAMS, BASEBALL), Estimator.MLE, position=True).position_bias
    assert home == pytest.approx(BASEBALL_HOME_EFFECT, abs=6e-6)


@pytest.mark.parametrize("position", [False, True])
def test_the_bias_reduced_estimate_maximizes_the_likelihood_times_jeffreys_prior(position: bool) -> None:
    data = expanded(TEAMS, BASEBALL)
    n, fit = data.n, estimate(data, Estimator.FIRTH, position=position)
    order = np.ones((len(data), int(position)))
    design = np.hstack((np.eye(n)[data.first] - np.eye(n)[data.second], order))

    def height(parameters: np.ndarray[Any, Any]) -> float:
        logit = design @ parameters
        p = 1 / (1 + np.exp(-logit))
        information = (design.T * (p * (1 - p))) @ design
        information[:n, :n] += 1 / n
        log_likelihood = data.first_wins @ logit - np.log1p(np.exp(logit)).sum()
        return float(log_likelihood + 0.5 * np.linalg.slogdet(information).logabsdet)

    top = np.append(fit.theta, [fit.position_bias.estimate] if fit.position_bias else [])
    for direction in np.eye(len(top)):
        slope = (height(top + 1e-4 * direction) - height(top - 1e-4 * direction)) / 2e-4
        assert abs(slope) < 1e-6
    assert fit.converged
    assert np.ptp(fit.theta) < np.ptp(estimate(data, Estimator.MLE, position=position).theta)
