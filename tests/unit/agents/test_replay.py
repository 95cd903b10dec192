from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.wire.contract_samples import MAX_ESSAYS, changed_sample, raw

from cj_stream.contracts.message_limits import REQUEST_LIMIT
from cj_stream.contracts.refusal import Refused
from cj_stream.dead_letters.letter import StoredDeadLetter, dead_letter, read_dead_letter
from cj_stream.dead_letters.replay import why_not_again
from cj_stream.operations.settings import Settings

SETTINGS = Settings(max_essays=MAX_ESSAYS)
REQUESTS, CALLBACKS = SETTINGS.assessment_request_topic, SETTINGS.llm_provider_callback_topic


def letter(topic: str, value: bytes | None) -> StoredDeadLetter:
    refused = Refused("too_many_essays", "It has too many essays: split it.")
    moment = datetime(2026, 3, 4, tzinfo=UTC)
    written = dead_letter(key=None, value=value, topic=topic, partition=0, offset=1, timestamp=moment, refused=refused)
    return read_dead_letter(*written)


@pytest.mark.parametrize(("topic", "name"), [(REQUESTS, "request_current.json"), (CALLBACKS, "callback_success.json")])
def test_what_would_be_taken_now_can_be_sent_again(topic: str, name: str) -> None:
    assert why_not_again(letter(topic, raw(name)), SETTINGS) is None


def test_the_settings_decide_as_they_do_in_a_worker() -> None:
    why = why_not_again(letter(REQUESTS, raw("request_current.json")), Settings(max_essays=1))
    assert why is not None
    assert why.startswith("it would be refused again: too_many_essays: ")


@pytest.mark.parametrize("value", [None, b"", b"rubbish"])
@pytest.mark.parametrize("topic", [REQUESTS, CALLBACKS])
def test_what_would_be_refused_again_is_not_sent(topic: str, value: bytes | None) -> None:
    assert "refused again" in str(why_not_again(letter(topic, value), SETTINGS))


def test_a_value_that_was_cut_cannot_be_sent() -> None:
    value = changed_sample("request_current.json", "data.essay_instructions", "x" * REQUEST_LIMIT)
    why = why_not_again(letter(REQUESTS, value), SETTINGS)
    assert why == f"only the first 65536 of its {len(value)} bytes were kept: have its sender send it"


def test_a_value_that_is_not_the_one_that_was_refused_is_not_sent() -> None:
    forged = letter(REQUESTS, raw("request_current.json")).model_copy(update={"sha256": "0" * 64})
    assert "sha256 differs" in str(why_not_again(forged, SETTINGS))


@pytest.mark.parametrize("topic", [SETTINGS.batch_events_topic, SETTINGS.assessment_failed_topic, "anything"])
def test_nothing_is_sent_to_a_topic_that_is_no_input(topic: str) -> None:
    assert f"it came from {topic}" in str(why_not_again(letter(topic, raw("request_current.json")), SETTINGS))
