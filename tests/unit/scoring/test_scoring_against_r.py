"""The estimates against those of R (glm, brglm2) on small sets with ties, shares, few comparisons and a winner always.

`r_reference.R` says how the estimates were made from `r_reference.csv`.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from cj_stream.scoring.estimation.data import Anchors, Comparisons
from cj_stream.scoring.estimation.estimates import estimate
from cj_stream.scoring.estimation.fit import Estimator, Fit

HERE = Path(__file__).parent


def rows_of(file: str) -> list[dict[str, str]]:
    return list(csv.DictReader((HERE / file).read_text(encoding="utf-8").splitlines()))


STUDIES, ESTIMATES = rows_of("r_reference.csv"), rows_of("r_reference_estimates.csv")
CASES = sorted({(row["study"], row["estimator"], row["position"], row["anchored"]) for row in ESTIMATES})


def study_of(name: str) -> tuple[Comparisons, Anchors]:
    rows = [(row["kind"], int(row["first"]), int(row["second"]), float(row["value"])) for row in STUDIES]
    mine = [row for row, whole in zip(rows, STUDIES, strict=True) if whole["study"] == name]
    judged = [row[1:] for row in mine if row[0] == "judged"]
    held = [row for row in mine if row[0] == "anchor"]
    data = Comparisons.from_triples(1 + max(max(row[:2]) for row in judged), judged)
    return data, Anchors(np.array([row[1] for row in held]), np.array([row[3] for row in held]))


def figures(fit: Fit) -> list[tuple[float, float]]:
    return [*zip(fit.theta.tolist(), fit.standard_error.tolist(), strict=True), *filter(None, [fit.position_bias])]


@pytest.mark.parametrize(("name", "estimator", "position", "anchored"), CASES)
def test_scores_and_errors_are_those_of_r(name: str, estimator: str, position: str, anchored: str) -> None:
    data, anchors = study_of(name)
    fit = estimate(data, Estimator(estimator), position=position == "1", anchors=anchors if anchored == "1" else None)
    case = (name, estimator, position, anchored)
    r = [row for row in ESTIMATES if (row["study"], row["estimator"], row["position"], row["anchored"]) == case]
    found = np.array(figures(fit))
    assert found[:, 0] == pytest.approx([float(row["theta"]) for row in r], abs=1e-8)
    assert found[:, 1] == pytest.approx([float(row["se"]) for row in r], abs=1e-5)
    assert fit.converged


def test_the_winner_who_always_won_is_in_the_sets() -> None:
    data, _ = study_of("undefeated")
    assert (data.wins_per_item() == data.comparisons_per_item()).any()
