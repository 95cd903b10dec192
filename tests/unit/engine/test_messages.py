from __future__ import annotations

from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest

from cj_stream.contracts.event_log import (
    decode_event,
    encode_event,
)
from cj_stream.domain import events as domain_events
from cj_stream.domain.events import (
    Action,
    AnyEvent,
    BatchPoisoned,
    BatchRequested,
    CallbackReceived,
    ComparisonFailed,
    ContentLoaded,
    Event,
    JudgementsReused,
    OperatorCommand,
    OutcomePublished,
    OutcomeRefused,
    PairsPlanned,
    ProviderTold,
    RunEvent,
    ScoresComputed,
    SubmissionAccepted,
    TimeoutDue,
    VerdictReceived,
)
from cj_stream.domain.records import Context, Essay, Origin, Overrides, Scores
from cj_stream.engine.messages import (
    VERSION,
    NewerVersionError,
    PartitionOpened,
    decode_message,
    encode_message,
)

RUN: dict[str, Any] = {"batch_id": "batch-å", "run": 2}
ATTEMPT = {**RUN, "index": 17, "attempt": 3}
SCORES = Scores(
    fit=1,
    iteration=1,
    verdicts=1,
    theta=(0.5, -0.5),
    standard_error=(1.0, 1.0),
    reliability=None,
    ssr=0.5,
    comparisons=(1, 1),
    wins=(1.0, 0.0),
    components=1,
)
EVERY_KIND: list[Event | PartitionOpened] = [
    BatchRequested(
        batch_id="b",
        correlation_id="c",
        digest="d",
        essays=(Essay(id="e", storage_id="s"),),
        context=Context(language="sv", overrides=Overrides(temperature=0.5)),
        max_comparisons=7,
        completion_threshold_pct=90,
        origin=Origin(partition=1, offset=70_000, at=1700000000.5),
    ),
    CallbackReceived(
        batch_id="b", correlation_id=UUID(int=7), essay_ids=("e1", "e2"), winner="B", confidence=4.5, justification="j"
    ),
    ContentLoaded(**RUN, unusable={0: "blank"}),
    JudgementsReused(**RUN, pairs=((0, 1),), winners="A", provider="p", model="m"),
    PairsPlanned(**RUN, iteration=1, pairs=((0, 1), (1, 2))),
    SubmissionAccepted(**ATTEMPT),
    ComparisonFailed(**ATTEMPT, error_code="E", error_message="m", provider="p", model="m", answered=True),
    VerdictReceived(**ATTEMPT, winner="A", confidence=1.0, justification="j", provider="p", model="m"),
    ScoresComputed(**RUN, scoring_round=4, scores=SCORES),
    OutcomePublished(**RUN, outcome="completed:c"),
    OutcomeRefused(**RUN, outcome="result:c", why="too large"),
    ProviderTold(**RUN, why_not="it is away"),
    TimeoutDue(**RUN, due_at=1.5, opened_at=0.5),
    OperatorCommand(batch_id="b", action=Action.FINALIZE, reason="enough"),
    BatchPoisoned(batch_id="b", error="a bug"),
    PartitionOpened(nonce="n"),
]

# A message as version 1 has written it: topics hold such messages when a new version starts.
GOLDEN_MESSAGE = (
    "920191c44085a474797065b25375626d697373696f6e4163636570746564a372756e02a5696e64657811a7617474656d707403a862617463"
    "685f6964a862617463682dc3a5"
)
# The marker as version 1 has written it.
GOLDEN_MARKER = "83a474797065af506172746974696f6e4f70656e6564a56e6f6e6365a16ea862617463685f6964a0"
# A request as version 1 writes it, and as it did before the origin was noted.
GOLDEN_REQUEST = (
    "89a474797065ae4261746368526571756573746564ae636f7272656c6174696f6e5f6964a163a6646967657374a164a66573736179739192"
    "a165a173a7636f6e7465787499a27376c0c0c098c0c0cb3fe0000000000000c0c0c0c0c0c0c0c0c0af6d61785f636f6d70617269736f6e73"
    "07b8636f6d706c6574696f6e5f7468726573686f6c645f7063745aa66f726967696e9301ce00011170cb41d954fc40200000a86261746368"
    "5f6964a162"
)
GOLDEN_REQUEST_WITHOUT_ORIGIN = (
    "88a474797065ae4261746368526571756573746564ae636f7272656c6174696f6e5f6964a163a6646967657374a164a66573736179739192"
    "a165a173a7636f6e7465787499a27376c0c0c098c0c0cb3fe0000000000000c0c0c0c0c0c0c0c0c0af6d61785f636f6d70617269736f6e73"
    "07b8636f6d706c6574696f6e5f7468726573686f6c645f7063745aa862617463685f6964a162"
)


def test_every_kind_of_event_travels() -> None:
    assert {type(event) for event in EVERY_KIND} == {*get_args(AnyEvent), PartitionOpened}
    defined = {kind for kind in vars(domain_events).values() if isinstance(kind, type) and issubclass(kind, Event)}
    assert set(get_args(AnyEvent)) == defined - {Event, RunEvent}


@pytest.mark.parametrize("event", EVERY_KIND, ids=lambda event: type(event).__name__)
def test_an_event_is_read_as_it_was_sent(event: Event) -> None:
    assert decode_event(encode_event(event)) == event


def test_a_message_keeps_its_events_and_their_order() -> None:
    encoded = [encode_event(event) for event in EVERY_KIND]
    assert decode_message(encode_message(encoded)) == encoded
    assert decode_message(encode_message([])) == []


def test_one_damaged_event_leaves_the_others_readable() -> None:
    good = encode_event(EVERY_KIND[0])
    first, damaged, last = decode_message(encode_message([good, b"\xc1 no event", good]))
    assert decode_event(first) == decode_event(last) == EVERY_KIND[0]
    with pytest.raises(msgspec.MsgspecError):
        decode_event(damaged)


@pytest.mark.parametrize("value", [b"", b"{}", b"\x92\x01", b"\x92\x01\xa1x", b"\xff" * 40])
def test_what_is_not_a_message_is_refused(value: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_message(value)


def test_a_message_of_a_newer_version_is_refused_by_name() -> None:
    newer = msgspec.msgpack.encode((VERSION + 1, [encode_event(EVERY_KIND[0])]))
    with pytest.raises(NewerVersionError, match=f"version {VERSION + 1}, this worker reads up to {VERSION}: upgrade"):
        decode_message(newer)


def test_a_message_of_version_1_is_read_and_written_as_it_was() -> None:
    message = bytes.fromhex(GOLDEN_MESSAGE)
    assert [decode_event(data) for data in decode_message(message)] == [SubmissionAccepted(**ATTEMPT)]
    assert encode_message([encode_event(SubmissionAccepted(**ATTEMPT))]) == message


def test_a_request_is_read_and_written_as_it_was_with_its_origin_or_from_before_that_was_noted() -> None:
    request = EVERY_KIND[0]
    without = msgspec.structs.replace(request, origin=None)
    # As maps: one of more than 15 possible fields has a longer head, whatever it holds.
    assert _fields(encode_event(request)) == _fields(bytes.fromhex(GOLDEN_REQUEST))
    assert decode_event(bytes.fromhex(GOLDEN_REQUEST)) == request
    assert _fields(encode_event(without)) == _fields(bytes.fromhex(GOLDEN_REQUEST_WITHOUT_ORIGIN))
    assert decode_event(bytes.fromhex(GOLDEN_REQUEST_WITHOUT_ORIGIN)) == without


def _fields(event: bytes) -> object:
    return msgspec.msgpack.decode(event)


def test_the_opening_marker_is_written_and_read_as_version_1_has_it() -> None:
    assert encode_event(PartitionOpened(nonce="n")).hex() == GOLDEN_MARKER
    assert decode_event(bytes.fromhex(GOLDEN_MARKER)) == PartitionOpened(nonce="n")
