from __future__ import annotations

import pytest

from cj_stream.engine.conditions import ConditionKind, Conditions

AWAY = ConditionKind.KAFKA_AWAY


class Clock:
    at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def conditions(clock: Clock) -> Conditions:
    return Conditions(clock)


def test_a_condition_holds_from_when_it_is_begun_until_it_is_ended(conditions: Conditions) -> None:
    conditions.begin(AWAY, "broker", "Kafka is away.", "Nothing is read.")
    (condition,) = conditions.current
    assert (condition.what, condition.meaning, condition.since) == ("Kafka is away.", "Nothing is read.", 100.0)
    conditions.end(AWAY, "broker")
    assert conditions.current == ()


def test_what_is_seen_again_keeps_its_beginning_and_gets_the_new_words(conditions: Conditions, clock: Clock) -> None:
    conditions.begin(AWAY, "broker", "for 1 s", "")
    clock.at = 160.0
    conditions.begin(AWAY, "broker", "for 60 s", "")
    (condition,) = conditions.current
    assert (condition.what, condition.since) == ("for 60 s", 100.0)


def test_conditions_of_a_kind_are_told_apart_by_their_subject(conditions: Conditions, clock: Clock) -> None:
    conditions.begin(ConditionKind.STANDING_PARTITION, "callbacks-1", "", "")
    clock.at = 101.0
    conditions.begin(ConditionKind.STANDING_PARTITION, "callbacks-0", "", "")
    conditions.end(ConditionKind.STANDING_PARTITION, "callbacks-7")
    assert [condition.subject for condition in conditions.current] == ["callbacks-1", "callbacks-0"]
    assert conditions.counts()[ConditionKind.STANDING_PARTITION] == 2


def test_every_kind_is_counted_also_when_there_is_none_of_it(conditions: Conditions) -> None:
    assert conditions.counts() == dict.fromkeys(ConditionKind, 0)
