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


class Failure(NamedTuple):
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

_FAILURES: dict[type[BaseException], Failure] = {
    errors.MessageSizeTooLargeError: Failure(Scope.RECORD, _TOO_LARGE),
    errors.RecordListTooLargeError: Failure(Scope.RECORD, _TOO_LARGE),
    errors.RecordTooLargeError: Failure(Scope.RECORD, _TOO_LARGE),
    InvalidRecordError: Failure(Scope.RECORD, "the topic stores no such record: see the broker's log for why"),
    errors.UnsupportedForMessageFormatError: Failure(Scope.RECORD, "the topic's message format has no room for it"),
    errors.InvalidTimestampError: Failure(Scope.CLOCK, _TIME),
    errors.TopicAuthorizationFailedError: Failure(Scope.TOPIC, _GRANT),
    errors.PolicyViolationError: Failure(Scope.TOPIC, "a policy of the cluster forbids it: see the broker's log"),
    errors.UnknownTopicOrPartitionError: Failure(Scope.TOPIC, _MISSING),
    errors.InvalidTopicError: Failure(Scope.TOPIC, "the topic's name is not legal: correct the setting"),
    errors.InvalidRequiredAcksError: Failure(Scope.TOPIC, "it takes no records with acks=all"),
    errors.ClusterAuthorizationFailedError: Failure(Scope.WORKER, _CREDENTIALS),
    errors.AuthenticationFailedError: Failure(Scope.WORKER, _CREDENTIALS),
    errors.AuthenticationMethodNotSupported: Failure(Scope.WORKER, _CREDENTIALS),
    errors.SaslAuthenticationFailed: Failure(Scope.WORKER, _CREDENTIALS),
    errors.UnsupportedSaslMechanismError: Failure(Scope.WORKER, _CREDENTIALS),
    errors.IllegalSaslStateError: Failure(Scope.WORKER, _CREDENTIALS),
    errors.SecurityDisabled: Failure(Scope.WORKER, _CREDENTIALS),
    errors.IncompatibleBrokerVersion: Failure(Scope.WORKER, "the broker is too old: upgrade it"),
    errors.UnsupportedVersionError: Failure(Scope.WORKER, "the broker is too old: upgrade it"),
    errors.ProducerFenced: Failure(Scope.PRODUCER, _RENEW),
    errors.InvalidProducerEpoch: Failure(Scope.PRODUCER, _RENEW),
    errors.InvalidProducerIdMapping: Failure(Scope.PRODUCER, _RENEW),
    errors.UnknownProducerId: Failure(Scope.PRODUCER, _RENEW),
    errors.OutOfOrderSequenceNumber: Failure(Scope.PRODUCER, _RENEW),
    errors.NotEnoughReplicasError: Failure(Scope.LATER, _REPLICAS),
    errors.NotEnoughReplicasAfterAppendError: Failure(Scope.LATER, _REPLICAS),
    errors.NotLeaderForPartitionError: Failure(Scope.LATER, _LEADER),
    errors.LeaderNotAvailableError: Failure(Scope.LATER, _LEADER),
}


def failure_of(error: BaseException) -> Failure:
    """Return whom ``error`` concerns; it is what a producer raised, or what came instead of an acknowledgement."""
    # Faust wraps what aiokafka raises.
    cause = error.__cause__ if isinstance(error.__cause__, errors.KafkaError) else error
    found = _FAILURES.get(type(cause))
    if found is not None:
        return Failure(found.scope, f"{found.why} ({type(cause).__name__})")
    if type(cause) is errors.KafkaError:
        # aiokafka's own loop has ended: nothing that is given to this producer is ever sent.
        return Failure(Scope.PRODUCER, f"the producer has ended: {cause!r}")
    if isinstance(cause, errors.KafkaError):
        return Failure(Scope.LATER, f"the broker does not take it now: {cause!r}")
    return Failure(Scope.MISTAKE, f"the record cannot be written: {cause!r}")
