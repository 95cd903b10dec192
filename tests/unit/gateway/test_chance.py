from __future__ import annotations

import statistics

from hypothesis import given
from hypothesis import strategies as st

from cj_stream.gateway.chance import lognormal, normal, uniform


@given(st.lists(st.one_of(st.integers(), st.text())))
def test_a_draw_lies_strictly_between_0_and_1_and_depends_on_its_parts_alone(parts: list[str | int]) -> None:
    assert 0 < uniform(*parts) < 1
    assert uniform(*parts) == uniform(*parts)


def test_parts_are_kept_apart() -> None:
    assert uniform("a", "bc") != uniform("ab", "c")
    assert uniform(1, "x") != uniform("1", "x")


def test_draws_never_change_between_versions() -> None:
    assert uniform(7, "verdict", "essay-1", "essay-2") == 0.4419030672483327


def test_normal_draws_have_mean_0_and_deviation_1() -> None:
    draws = [normal("seed 1", i) for i in range(4000)]
    assert abs(statistics.mean(draws)) < 0.06
    assert abs(statistics.stdev(draws) - 1) < 0.05


def test_half_of_the_lognormal_draws_lie_below_the_median() -> None:
    draws = [lognormal(3.0, 0.8, "seed 1", i) for i in range(4000)]
    assert abs(sum(draw < 3.0 for draw in draws) / 4000 - 0.5) < 0.03
    assert lognormal(0.0, 0.8, "x") == 0
