from __future__ import annotations

from random import Random

import pytest

from cj_stream.gateway.judges import Limits
from cj_stream.gateway.limiter import Bucket, Limiter


def starts(limits: Limits, share: float, tokens: list[float], seconds: float) -> list[tuple[float, float]]:
    """Return when calls with these estimates start, one after the other as soon as they may, and their tokens."""
    limiter, now, found = Limiter(0.0), 0.0, []
    limiter.set(limits, share, now)
    for estimate in tokens:
        now += limiter.wait(estimate, now)
        if now > seconds:
            break
        limiter.take(estimate, now)
        found.append((now, estimate))
    return found


def most_in_a_minute(found: list[tuple[float, float]]) -> tuple[int, float]:
    windows = [[tokens for at, tokens in found if start <= at < start + 60] for start, _ in found]
    return max(map(len, windows)), max(map(sum, windows))


def test_no_minute_has_more_requests_than_the_limit_and_hardly_any_fewer() -> None:
    found = starts(Limits(requests_per_minute=600), 1.0, [100.0] * 7000, 600)
    assert most_in_a_minute(found)[0] <= 600
    assert len(found) >= 0.97 * 600 * 10


def test_no_minute_has_more_tokens_than_the_limit_whatever_the_sizes() -> None:
    random = Random(3)
    sizes = [random.uniform(100, 5000) for _ in range(5000)]
    found = starts(Limits(tokens_per_minute=200_000), 1.0, sizes, 600)
    # A call larger than the bucket takes it below zero: so much may be over, once.
    assert most_in_a_minute(found)[1] <= 200_000 + 5000
    assert sum(tokens for _, tokens in found) >= 0.95 * 200_000 * 10


def test_shares_add_up_to_the_limit() -> None:
    limits = Limits(requests_per_minute=600)
    parts = [starts(limits, share, [1.0] * 7000, 600) for share in (3 / 8, 5 / 8)]
    together = sorted(parts[0] + parts[1])
    assert most_in_a_minute(together)[0] <= 600
    assert len(together) >= 0.97 * 6000


def test_the_first_minute_is_not_doubled() -> None:
    assert len([at for at, _ in starts(Limits(requests_per_minute=60), 1.0, [1.0] * 200, 60)]) <= 60


def test_both_limits_bind_whichever_is_reached_first() -> None:
    limits = Limits(requests_per_minute=600, tokens_per_minute=60_000)
    assert len(starts(limits, 1.0, [10.0] * 1000, 60)) > 500
    assert len(starts(limits, 1.0, [1000.0] * 1000, 60)) < 61


def test_what_was_reserved_and_not_used_comes_back() -> None:
    limiter = Limiter(0.0)
    limiter.set(Limits(tokens_per_minute=61_500), 1.0, 0.0)
    limiter.take(3000, 0.0)
    assert limiter.wait(1000, 0.0) == pytest.approx(4.0)
    limiter.settle(3000, 1000, 0.0)
    assert limiter.wait(1000, 0.0) == pytest.approx(2.0)


def test_a_lower_limit_holds_at_once_and_a_higher_one_begins_with_what_is_there() -> None:
    bucket = Bucket(0.0)
    bucket.set(615, 1.0, 0.0)
    assert bucket.wait(10, 1.0) == 0
    bucket.set(61.5, 1.0, 1.0)
    bucket.take(1, 1.0)
    assert bucket.wait(1, 1.0) == pytest.approx(1.0)
    bucket.set(6150, 1.0, 1.0)
    assert bucket.wait(100, 1.0) == pytest.approx(1.0)


def test_without_a_limit_nothing_waits_and_without_a_share_everything_does() -> None:
    limiter = Limiter(0.0)
    assert limiter.wait(1e9, 0.0) == 0
    limiter.set(Limits(requests_per_minute=60), 0.0, 0.0)
    assert limiter.wait(1, 100.0) == float("inf")


def test_a_call_costs_what_it_fills_of_the_limit_that_binds() -> None:
    limiter = Limiter(0.0)
    assert limiter.cost(500) == 1
    limiter.set(Limits(requests_per_minute=600, tokens_per_minute=200_000), 1.0, 0.0)
    assert limiter.cost(100) == pytest.approx(1 / 600)
    assert limiter.cost(2000) == pytest.approx(0.01)
