from __future__ import annotations

import math

import pytest

from cj_stream.devkit.correlation import pearson, spearman


def test_a_linear_relation_has_a_pearson_correlation_of_one() -> None:
    assert pearson([1, 2, 4], [10, 20, 40]) == pytest.approx(1)
    assert pearson([1, 2, 4], [-1, -2, -4]) == pytest.approx(-1)


def test_spearman_sees_the_order_only() -> None:
    assert spearman([1, 2, 3, 4], [1, 10, 100, 1000]) == pytest.approx(1)
    assert pearson([1, 2, 3, 4], [1, 10, 100, 1000]) < 0.9


def test_equal_values_share_their_ranks() -> None:
    # Ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4.
    assert spearman([1, 2, 2, 3], [1, 3, 2, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_a_constant_scale_agrees_with_nothing() -> None:
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))
