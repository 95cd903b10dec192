from __future__ import annotations

import pytest

from cj_stream.gateway.judges import Limits
from cj_stream.gateway.models.rates import DEFAULT_WAIT_SECONDS, LONGEST_WAIT_SECONDS, duration, limits_in, wait_in

NOW = 1_800_000_000.0
"""2027-01-15, 08:00:00 UTC."""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12ms", 0.012), ("6m0s", 360), ("1h2m3.5s", 3723.5), ("250us", 0.00025), ("1s", 1), ("", None), ("6m0", None),
     ("-1s", None), ("s", None), ("1d", None), ("1s ", None)],
)  # fmt: skip
def test_durations_are_read_as_go_writes_them(text: str, seconds: float | None) -> None:
    assert duration(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "7200"}, 7200),
        ({"retry-after": "Fri, 15 Jan 2027 08:01:30 GMT"}, 90),
        ({"retry-after": "2027-01-15T08:01:30Z"}, 90),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "0", "retry-after": "2"}, 2),
        ({"retry-after": "-1"}, DEFAULT_WAIT_SECONDS),
        ({"retry-after": "0"}, DEFAULT_WAIT_SECONDS),
        ({"retry-after": "soon"}, DEFAULT_WAIT_SECONDS),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, DEFAULT_WAIT_SECONDS),
        ({"retry-after": "Fri, 99 Foo 99999 99:99:99 GMT"}, DEFAULT_WAIT_SECONDS),
        ({"retry-after": "nan"}, DEFAULT_WAIT_SECONDS),
        ({"retry-after": "1e300"}, LONGEST_WAIT_SECONDS),
        ({"retry-after": "\u0663"}, DEFAULT_WAIT_SECONDS),
        ({}, DEFAULT_WAIT_SECONDS),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 360),
        ({"x-ratelimit-remaining-tokens": "9", "x-ratelimit-reset-tokens": "6m0s"}, DEFAULT_WAIT_SECONDS),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "12ms",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "3s",
            },
            3,
        ),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2027-01-15T08:00:07+00:00",
            },
            7,
        ),
        (
            {
                "retry-after": "2",
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2027-01-15T08:00:07Z",
            },
            2,
        ),
    ],
)
def test_the_wait_that_is_asked_for_is_found(headers: dict[str, str], seconds: float) -> None:
    assert wait_in(headers, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("headers", "limits"),
    [
        ({}, None),
        ({"x-ratelimit-limit-requests": "500", "x-ratelimit-limit-tokens": "200000"}, Limits(500, 200_000)),
        ({"x-ratelimit-limit-requests": "-1", "x-ratelimit-limit-tokens": "0"}, None),
        ({"x-ratelimit-limit-requests": "-1", "x-ratelimit-limit-tokens": "30000"}, Limits(None, 30_000)),
        ({"x-ratelimit-limit-requests": "many"}, None),
        ({"x-ratelimit-limit-requests": "inf"}, None),
        ({"anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-tokens-limit": "9000"}, Limits(50, 9000)),
        (
            {"anthropic-ratelimit-input-tokens-limit": "8000", "anthropic-ratelimit-tokens-limit": "9000"},
            Limits(None, 8000),
        ),
    ],
)
def test_the_limits_of_both_families_are_found(headers: dict[str, str], limits: Limits | None) -> None:
    assert limits_in(headers) == limits


def test_a_limit_is_only_ever_lowered() -> None:
    assert Limits(100, None).lowered(Limits(500, 9000)) == Limits(100, 9000)
    assert Limits(100, 50).lowered(None) == Limits(100, 50)
