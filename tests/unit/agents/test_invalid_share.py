from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cj_stream.contracts.refusal import Refused
from cj_stream.dead_letters import invalid_share
from cj_stream.dead_letters.invalid_share import InvalidShare
from cj_stream.engine.runs import Record
from cj_stream.operations.settings import Settings

TOPIC = "requests"


class Stopped(Exception):  # noqa: N818 (the end of the process is no error of the test)
    def __init__(self, why: str, **facts: object) -> None:
        super().__init__(why)
        self.facts = facts


@pytest.fixture(autouse=True)
def _raise_instead_of_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(why: str, **facts: object) -> None:
        raise Stopped(why, **facts)

    monkeypatch.setattr(invalid_share, "end_for_bad_input", end)


def watch(**settings: Any) -> InvalidShare:
    values = {"invalid_input_share": 0.5, "invalid_input_window": 100, "invalid_input_minimum": 10, **settings}
    return InvalidShare(Settings(**values))


def bad(share: InvalidShare, count: int, *, topic: str = TOPIC, partition: int = 0, reason: str = "not_json") -> None:
    for offset in range(count):
        share.refused(Record(topic, partition, offset, 0.0, None, None), Refused(reason, "The message is no JSON."))


def good(share: InvalidShare, count: int, *, topic: str = TOPIC) -> None:
    for _ in range(count):
        share.accepted(topic)


def test_a_topic_of_rubbish_stops_the_worker_at_the_smallest_count() -> None:
    share = watch()
    bad(share, 9)
    with pytest.raises(Stopped, match="too much of the recent input is invalid"):
        bad(share, 1)


def test_a_burst_of_bad_input_among_good_stops_nothing() -> None:
    share = watch()
    for _ in range(5):
        good(share, 50)
        bad(share, 50)


def test_more_than_the_share_of_the_recent_input_stops_the_worker() -> None:
    share = watch()
    good(share, 50)
    bad(share, 50)
    with pytest.raises(Stopped):
        bad(share, 1)


def test_good_input_of_long_ago_does_not_make_up_for_rubbish() -> None:
    share = watch()
    good(share, 100_000)
    bad(share, 50)
    with pytest.raises(Stopped):
        bad(share, 1)


def test_bad_input_of_long_ago_is_forgotten() -> None:
    share = watch()
    for _ in range(20):
        bad(share, 9)
        good(share, 100)


def test_topics_are_judged_by_themselves() -> None:
    share = watch()
    bad(share, 9)
    bad(share, 9, topic="callbacks")
    good(share, 1_000, topic="callbacks")
    with pytest.raises(Stopped):
        bad(share, 1)


def test_a_share_of_one_switches_the_limit_off() -> None:
    bad(watch(invalid_input_share=1), 1_000)


def test_what_an_earlier_process_read_counts() -> None:
    share = watch()
    for offset in range(9):
        share.recall(TOPIC, 0, offset, "not_json")
    with pytest.raises(Stopped):
        bad(share, 1)


def test_the_explanation_has_topic_share_reasons_offsets_and_what_to_do() -> None:
    share = watch()
    good(share, 4)
    bad(share, 6, partition=2, reason="empty")
    with pytest.raises(Stopped) as caught:
        bad(share, 4, partition=1)
    facts = caught.value.facts
    assert facts["topic"] == TOPIC
    assert facts["invalid"] == "10 of the last 14 (71%)"
    assert facts["reasons"] == "6 x empty, 4 x not_json"
    assert facts["offsets"] == "partition 1: 0..3, partition 2: 0..5"
    assert facts["last_detail"] == "The message is no JSON."
    assert "partition 1, offset 3" in str(facts["stopped_at"])
    assert f"cj-stream dlq list --topic {TOPIC}" in str(facts["what_to_do"])
    assert "CJ_INVALID_INPUT_SHARE=1" in str(facts["what_to_do"])


def test_a_limit_that_could_never_be_reached_is_no_setting() -> None:
    with pytest.raises(ValidationError, match="CJ_INVALID_INPUT_MINIMUM"):
        Settings(invalid_input_window=10, invalid_input_minimum=11)
