"""What it means that a record could not be produced: whom it concerns, and what to do about it.

Hazard in aiokafka 0.14.0: it tells the class of an error only. The broker's sentence is dropped
(``producer/sender.py`` 811-879), and an error that it does not know becomes `UnknownError`; so the one for a record
that can never be stored is made known here.

Test: ``test_produce_errors.py``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from aiokafka import errors


class InvalidRecordError(errors.BrokerResponseError):
    """The topic does not store such a record, a compacted one none without a key for instance."""

    errno = 87
    message = "INVALID_RECORD"


errors.kafka_errors[InvalidRecordError.errno] = InvalidRecordError


class Scope(StrEnum):
    """Whom a failure concerns."""

    RECORD = "record"
    """This record only: it can never be stored, others can."""
    TOPIC = "topic"
    """Everything for this topic, until somebody has changed something."""
    CLOCK = "clock"
    """Ditto, because of the time that they have."""
    WORKER = "worker"
    """Everything that this worker produces, until somebody has changed something."""
    PRODUCER = "producer"
    """Everything that this producer sends; a new one may be luckier."""
    MISTAKE = "mistake"
    """A mistake of ours about this record: it did not even come to the broker."""
    LATER = "later"
    """Everything for this topic, for a while: it goes by."""


class ProduceFailure(NamedTuple):
    """A failed produce: whom it concerns, and a clause that says why and what to do."""

    scope: Scope
    why: str


_TOO_LARGE = "the record is larger than the topic takes: raise max.message.bytes of the topic"
_TIME = (
    "the topic takes no records with the time they have: compare message.timestamp.after.max.ms and "
    "message.timestamp.before.max.ms of the topic, and this worker's clock with the broker's"
)
_GRANT = "this worker may not write to the topic: grant it WRITE and DESCRIBE"
_MISSING = "the topic does not exist or may not be seen: create it, or grant this worker DESCRIBE"
_CREDENTIALS = "the cluster does not take this worker's credentials: correct them, or grant what is missing"
_RENEW = "the broker does not know this producer any more: start the worker again"
_REPLICAS = "too few of its replicas are in sync (min.insync.replicas): bring the missing brokers back"
_LEADER = "it has no leader that answers: see the brokers' logs, and whether the topic was deleted"

_FAILURES: dict[type[BaseException], ProduceFailure] = {
    errors.MessageSizeTooLargeError: ProduceFailure(Scope.RECORD, _TOO_LARGE),
    errors.RecordListTooLargeError: ProduceFailure(Scope.RECORD, _TOO_LARGE),
    errors.RecordTooLargeError: ProduceFailure(Scope.RECORD, _TOO_LARGE),
    InvalidRecordError: ProduceFailure(Scope.RECORD, "the topic stores no such record: see the broker's log for why"),
    errors.UnsupportedForMessageFormatError: ProduceFailure(
        Scope.RECORD, "the topic's message format has no room for it"
    ),
    errors.InvalidTimestampError: ProduceFailure(Scope.CLOCK, _TIME),
    errors.TopicAuthorizationFailedError: ProduceFailure(Scope.TOPIC, _GRANT),
    errors.PolicyViolationError: ProduceFailure(
        Scope.TOPIC, "a policy of the cluster forbids it: see the broker's log"
    ),
    errors.UnknownTopicOrPartitionError: ProduceFailure(Scope.TOPIC, _MISSING),
    errors.InvalidTopicError: ProduceFailure(Scope.TOPIC, "the topic's name is not legal: correct the setting"),
    errors.InvalidRequiredAcksError: ProduceFailure(Scope.TOPIC, "it takes no records with acks=all"),
    errors.ClusterAuthorizationFailedError: ProduceFailure(Scope.WORKER, _CREDENTIALS),
    errors.AuthenticationFailedError: ProduceFailure(Scope.WORKER, _CREDENTIALS),
    errors.AuthenticationMethodNotSupported: ProduceFailure(Scope.WORKER, _CREDENTIALS),
    errors.SaslAuthenticationFailed: ProduceFailure(Scope.WORKER, _CREDENTIALS),
    errors.UnsupportedSaslMechanismError: ProduceFailure(Scope.WORKER, _CREDENTIALS),
    errors.IllegalSaslStateError: ProduceFailure(Scope.WORKER, _CREDENTIALS),
    errors.SecurityDisabled: ProduceFailure(Scope.WORKER, _CREDENTIALS),
    errors.IncompatibleBrokerVersion: ProduceFailure(Scope.WORKER, "the broker is too old: upgrade it"),
    errors.UnsupportedVersionError: ProduceFailure(Scope.WORKER, "the broker is too old: upgrade it"),
    errors.ProducerFenced: ProduceFailure(Scope.PRODUCER, _RENEW),
    errors.InvalidProducerEpoch: ProduceFailure(Scope.PRODUCER, _RENEW),
    errors.InvalidProducerIdMapping: ProduceFailure(Scope.PRODUCER, _RENEW),
    errors.UnknownProducerId: ProduceFailure(Scope.PRODUCER, _RENEW),
    errors.OutOfOrderSequenceNumber: ProduceFailure(Scope.PRODUCER, _RENEW),
    errors.NotEnoughReplicasError: ProduceFailure(Scope.LATER, _REPLICAS),
    errors.NotEnoughReplicasAfterAppendError: ProduceFailure(Scope.LATER, _REPLICAS),
    errors.NotLeaderForPartitionError: ProduceFailure(Scope.LATER, _LEADER),
    errors.LeaderNotAvailableError: ProduceFailure(Scope.LATER, _LEADER),
}


def failure_of(error: BaseException) -> ProduceFailure:
    """Return whom ``error`` concerns; it is what a producer raised, or what came instead of an acknowledgement."""
    # Faust wraps what aiokafka raises.
    cause = error.__cause__ if isinstance(error.__cause__, errors.KafkaError) else error
    found = _FAILURES.get(type(cause))
    if found is not None:
        return ProduceFailure(found.scope, f"{found.why} ({type(cause).__name__})")
    if type(cause) is errors.KafkaError:
        # aiokafka's own loop has ended: nothing that is given to this producer is ever sent.
        return ProduceFailure(Scope.PRODUCER, f"the producer has ended: {cause!r}")
    if isinstance(cause, errors.KafkaError):
        return ProduceFailure(Scope.LATER, f"the broker does not take it now: {cause!r}")
    return ProduceFailure(Scope.MISTAKE, f"the record cannot be written: {cause!r}")
