from __future__ import annotations

import pytest

from cj_stream.provider.breaker import BreakerState, CircuitBreaker


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(clock, failures_to_open=5, recovery_seconds=60)


def fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        assert breaker.admit() == 0
        breaker.failed()


def test_four_failures_in_a_row_leave_the_circuit_closed(breaker: CircuitBreaker) -> None:
    fail(breaker, 4)
    assert breaker.state is BreakerState.CLOSED
    assert breaker.admit() == 0


def test_the_fifth_failure_in_a_row_opens_it_for_a_minute(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 5)
    assert breaker.state is BreakerState.OPEN
    assert breaker.admit() == 60
    clock.now += 45
    assert breaker.admit() == 15


def test_a_success_between_starts_the_count_again(breaker: CircuitBreaker) -> None:
    fail(breaker, 4)
    breaker.succeeded()
    fail(breaker, 4)
    assert breaker.state is BreakerState.CLOSED


def test_after_the_recovery_time_one_caller_probes_and_the_others_wait(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += 60
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.admit() == 0
    assert breaker.admit() > 0


def test_a_probe_that_succeeds_closes_the_circuit(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += 60
    breaker.admit()
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED
    assert [breaker.admit(), breaker.admit()] == [0, 0]


def test_a_probe_that_fails_opens_it_for_another_minute(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += 60
    fail(breaker, 1)
    assert breaker.state is BreakerState.OPEN
    assert breaker.admit() == 60


def test_a_cancelled_probe_leaves_the_place_to_another(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += 60
    breaker.admit()
    breaker.abandoned()
    assert breaker.admit() == 0


def test_calls_that_were_under_way_when_it_opened_do_not_prolong_it(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += 10
    breaker.failed()
    assert breaker.admit() == 50
