from __future__ import annotations

from cj_stream.engine.clock import SUBJECT, Clock
from cj_stream.engine.conditions import ConditionKind, Conditions

TOLERANCE = 30.0
HOUR = 3600.0


class Machine:
    """A machine whose clock the test sets."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.conditions = Conditions(lambda: self.at)
        self.clock = Clock(lambda: self.at, self.conditions, TOLERANCE)

    def told(self) -> str:
        (condition,) = self.conditions.current
        assert (condition.kind, condition.subject) == (ConditionKind.CLOCK, SUBJECT)
        return condition.what


def test_what_is_stored_between_sending_and_acknowledgement_shows_no_difference() -> None:
    machine = Machine()
    machine.at = 1090.0
    machine.clock.appended(1000.0, 1045.0)
    assert (machine.clock.ahead, machine.clock.now()) == (0.0, 1090.0)
    assert machine.conditions.current == ()


def test_a_clock_five_hours_ahead_is_told_and_the_brokers_time_is_gone_by() -> None:
    machine = Machine()
    machine.clock.appended(1000.0, 1000.0 - 5 * HOUR)
    assert machine.clock.now() == 1000.0 - 5 * HOUR
    assert machine.told() == "This worker's clock is 18000 s ahead of the broker's: set it, by NTP for instance."


def test_a_clock_that_is_behind_is_told_and_the_brokers_time_is_gone_by() -> None:
    machine = Machine()
    machine.at = 1001.0
    machine.clock.appended(1000.0, 1001.0 + HOUR)
    assert machine.clock.now() == 1001.0 + HOUR
    assert "3600 s behind the broker's" in machine.told()


def test_a_clock_that_is_right_again_is_no_condition_any_more() -> None:
    machine = Machine()
    machine.clock.appended(1000.0, 1000.0 - HOUR)
    machine.clock.appended(1000.0, 1000.0)
    assert machine.conditions.current == ()
    assert machine.clock.now() == 1000.0


def test_a_small_difference_is_taken_into_account_and_is_nobodys_business() -> None:
    machine = Machine()
    machine.clock.appended(1000.0, 1000.0 - TOLERANCE)
    assert machine.clock.now() == 970.0
    assert machine.conditions.current == ()
