from __future__ import annotations

import pytest
from aiokafka import errors
from aiokafka.errors import KafkaError, for_code
from faust.exceptions import ProducerSendError

from cj_stream.engine.produce_errors import InvalidRecordError, Scope, failure_of

EXPECTED: list[tuple[BaseException, Scope]] = [
    (errors.MessageSizeTooLargeError("larger than the maximum request size"), Scope.RECORD),
    (errors.RecordListTooLargeError(), Scope.RECORD),
    (InvalidRecordError(), Scope.RECORD),
    (errors.UnsupportedForMessageFormatError(), Scope.RECORD),
    (errors.InvalidTimestampError(), Scope.CLOCK),
    (errors.TopicAuthorizationFailedError("topic"), Scope.TOPIC),
    (errors.PolicyViolationError(), Scope.TOPIC),
    (errors.UnknownTopicOrPartitionError(), Scope.TOPIC),
    (errors.InvalidTopicError(), Scope.TOPIC),
    (errors.ClusterAuthorizationFailedError(), Scope.WORKER),
    (errors.SaslAuthenticationFailed(), Scope.WORKER),
    (errors.ProducerFenced(), Scope.PRODUCER),
    (errors.OutOfOrderSequenceNumber(), Scope.PRODUCER),
    (errors.NotEnoughReplicasError(), Scope.LATER),
    (errors.NotEnoughReplicasAfterAppendError(), Scope.LATER),
    (errors.KafkaTimeoutError(), Scope.LATER),
    (errors.KafkaConnectionError(), Scope.LATER),
    (errors.UnknownError(), Scope.LATER),
    (KafkaError("Unexpected error during batch delivery"), Scope.PRODUCER),
    (AssertionError("Need at least one: key or value"), Scope.MISTAKE),
]


@pytest.mark.parametrize(("error", "scope"), EXPECTED, ids=lambda value: type(value).__name__)
def test_an_error_concerns_the_record_the_topic_the_worker_or_goes_by(error: BaseException, scope: Scope) -> None:
    failure = failure_of(error)
    assert failure.scope is scope
    assert type(error).__name__ in failure.why


def test_what_faust_has_wrapped_is_told_apart_as_well() -> None:
    wrapped = ProducerSendError("Error while sending")
    wrapped.__cause__ = errors.MessageSizeTooLargeError()
    assert failure_of(wrapped).scope is Scope.RECORD


def test_the_error_that_aiokafka_does_not_know_has_a_name() -> None:
    assert for_code(87) is InvalidRecordError


def test_a_size_and_a_time_that_are_refused_name_the_setting_of_the_topic() -> None:
    assert "max.message.bytes" in failure_of(errors.MessageSizeTooLargeError()).why
    time = failure_of(errors.InvalidTimestampError()).why
    assert "message.timestamp.after.max.ms" in time
    assert "clock" in time
