from __future__ import annotations

from datetime import UTC, datetime

from cj_stream.contracts.refusal import Refused
from cj_stream.dead_letters.letter import StoredDeadLetter, dead_letter, read_dead_letter
from cj_stream.dead_letters.recall import PastInput, past_inputs


def letter(offset: int, *, topic: str = "requests", partition: int = 0) -> StoredDeadLetter:
    written = dead_letter(
        key=None,
        value=b"x",
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp=datetime(2026, 3, 4, tzinfo=UTC),
        refused=Refused("not_json", "The message is no JSON."),
    )
    return read_dead_letter(*written)


def test_the_inputs_before_the_committed_offset_are_remembered_with_why_they_were_refused() -> None:
    past = list(past_inputs([letter(7), letter(9)], {("requests", 0): 10}, window=4))
    assert past == [
        PastInput("requests", 0, offset, {7: "not_json", 9: "not_json"}.get(offset)) for offset in range(6, 10)
    ]


def test_what_was_refused_and_not_committed_will_be_read_again_and_is_not_remembered() -> None:
    assert list(past_inputs([letter(0)], {("requests", 0): 0}, window=4)) == []
    assert list(past_inputs([letter(0)], {}, window=4)) == []


def test_all_partitions_of_a_topic_make_up_its_share() -> None:
    past = list(past_inputs([letter(1)], {("requests", 0): 2, ("requests", 1): 3}, window=2))
    assert [entry[1:] for entry in past] == [(0, 0, None), (1, 1, None), (0, 1, "not_json"), (1, 2, None)]


def test_topics_without_dead_letters_are_left_out() -> None:
    past = list(past_inputs([letter(0)], {("requests", 0): 1, ("callbacks", 0): 5}, window=4))
    assert {entry.topic for entry in past} == {"requests"}


def test_two_dead_letters_of_one_input_are_one_input() -> None:
    assert len(list(past_inputs([letter(0), letter(0)], {("requests", 0): 1}, window=4))) == 1
