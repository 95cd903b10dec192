from __future__ import annotations

import numpy as np
import pytest

from cj_stream.scoring.estimation.data import Comparisons
from cj_stream.scoring.estimation.estimator import map_estimate
from cj_stream.scoring.estimation.fit import Fit
from cj_stream.scoring.quality.marks import Grading, MarkScale, rounded

THETA = np.array([-1.5, 0.5, 2.5])


def ladder(n: int = 5, repeats: int = 4) -> Fit:
    """Fit items of which each mostly beats the one before it."""
    upset = {0}
    triples = [(i + 1, i, float(k not in upset)) for i in range(n - 1) for k in range(repeats)]
    return map_estimate(Comparisons.from_triples(n, triples))


def test_the_range_goes_to_the_lowest_and_the_highest_score() -> None:
    scale = MarkScale.over_range(THETA, 20.0, 100.0)
    assert scale.marks(THETA).tolist() == [20.0, 60.0, 100.0]


def test_errors_of_marks_take_the_slope_alone() -> None:
    scale = MarkScale.over_range(THETA, 20.0, 100.0)
    assert scale.errors(np.array([0.1, 0.3])).tolist() == pytest.approx([2.0, 6.0])


def test_two_anchors_get_exactly_their_marks() -> None:
    scale = MarkScale.through([0.5, -1.5], [55.0, 40.0])
    assert scale.marks(THETA).tolist() == pytest.approx([40.0, 55.0, 70.0])


def test_more_anchors_are_fitted_by_least_squares() -> None:
    theta, marks = [-1.0, 0.0, 2.0, 2.5], [30.0, 52.0, 70.0, 91.0]
    scale = MarkScale.through(theta, marks)
    slope, intercept = np.polyfit(theta, marks, 1)
    assert (scale.slope, scale.intercept) == pytest.approx((slope, intercept))


@pytest.mark.parametrize(
    ("theta", "marks", "message"),
    [
        ([1.0], [50.0], "1 anchor does not make a scale"),
        ([1.0, 1.0], [50.0, 60.0], "equal scores"),
        ([1.0, 2.0], [60.0, 50.0], "do not rise"),
    ],
)
def test_anchors_without_a_rising_line_are_refused(theta: list[float], marks: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MarkScale.through(theta, marks)


def test_a_range_for_equal_scores_or_without_width_is_refused() -> None:
    with pytest.raises(ValueError, match="all scores are equal"):
        MarkScale.over_range(np.zeros(3), 0.0, 100.0)
    with pytest.raises(ValueError, match="the lower end comes first"):
        MarkScale.over_range(THETA, 100.0, 0.0)


@pytest.mark.parametrize(
    ("estimate", "error", "texts"),
    [
        (72.347, 4.81, ("72", "5")),
        (72.347, 1.43, ("72.3", "1.4")),
        (72.347, 1.96, ("72.3", "2.0")),
        (72.347, 0.0312, ("72.35", "0.03")),
        (72.347, 9.61, ("72", "10")),
        (72.347, 14.2, ("72", "14")),
        (72.347, 38.0, ("70", "40")),
        (-0.04, 0.3, ("0.0", "0.3")),
        (50.0, 0.0, ("50.00", "0")),
    ],
)
def test_no_more_digits_than_the_error_carries(estimate: float, error: float, texts: tuple[str, str]) -> None:
    assert rounded(estimate, error) == texts


def test_who_reaches_a_boundary_has_the_grade_above_it() -> None:
    fit = ladder()
    grading = Grading.of(fit, ["C", "B", "A"], [float(fit.theta[1]), np.int64(3)])
    assert [grading.grades[place] for place in grading.grade_of(fit.theta)] == ["C", "B", "B", "A", "A"]


def test_a_boundary_on_the_scale_is_met_with_the_normal_probability() -> None:
    fit = ladder()
    error = fit.standard_error[0]
    grading = Grading.of(fit, ["fail", "pass"], [float(fit.theta[0] - error)])
    assert grading.above(fit)[0, 0] == pytest.approx(0.8413447)
    assert grading.probabilities(fit)[0].tolist() == pytest.approx([0.1586553, 0.8413447])


def test_a_boundary_of_an_item_is_as_uncertain_as_the_difference() -> None:
    fit = ladder()
    grading = Grading.of(fit, ["fail", "pass"], [np.int64(2)])
    above = grading.above(fit)[:, 0]
    assert above[2] == 1.0
    for i in (0, 1, 3, 4):
        assert above[i] == pytest.approx(fit.probability_better(i, 2))


def test_grade_probabilities_are_never_negative_and_sum_to_one() -> None:
    fit = ladder(8, 3)
    grading = Grading.of(fit, ["D", "C", "B", "A"], [np.int64(1), float(fit.theta[1]) + 0.01, np.int64(6)])
    probabilities = grading.probabilities(fit)
    assert (probabilities >= 0.0).all()
    assert probabilities.sum(axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("grades", "boundaries", "message"),
    [
        (["A"], [], "1 grades and 0 boundaries: there must be"),
        (["B", "A"], [0.0, 1.0], "2 grades and 2 boundaries: there must be"),
        (["C", "B", "A"], [1.0, 0.0], "'B' begins at 1.00, 'A' at 0.00"),
        (["A", "A"], [0.0], "the same name"),
        (["B", "A"], [float("nan")], "not a finite number"),
    ],
)
def test_boundaries_that_make_no_grades_are_refused(grades: list[str], boundaries: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Grading.of(ladder(), grades, boundaries)
