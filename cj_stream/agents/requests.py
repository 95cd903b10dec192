"""The requests agent: reads what upstream asks for and forwards it to the batch's home partition.

What could be judged and then not be told of is refused here, see `largest_outcomes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from uuid import UUID

import msgspec

from cj_stream.contracts.outcome_writer import refused_event
from cj_stream.contracts.refusal import Refused
from cj_stream.contracts.request_reader import AssessmentRequest, read_request
from cj_stream.domain.events import BatchRequested, Event
from cj_stream.domain.identifiers import content_uuid, outcome_event_id
from cj_stream.domain.records import Context, Essay, Origin, Overrides
from cj_stream.effects.largest_outcomes import refuse_untellable
from cj_stream.effects.refusal_answers import Answers
from cj_stream.engine.dead_letters import DeadLetters
from cj_stream.engine.forwarder import EventTooLargeError, Forwarder
from cj_stream.engine.partitioning import home_partition
from cj_stream.engine.runs import Record, Run, in_portions
from cj_stream.engine.texts import moment
from cj_stream.operations.settings import Settings


class RequestsAgent:
    """Handles one run of the request topic at a time."""

    def __init__(
        self,
        settings: Settings,
        forwarder: Forwarder[Event],
        answers: Answers,
        dead_letters: DeadLetters,
        limits: Mapping[str, int],
    ) -> None:
        self._settings = settings
        self._forwarder = forwarder
        self._answers = answers
        self._dead_letters = dead_letters
        self._limits = limits

    async def handle(self, run: Run) -> None:
        """Forward each request, or refuse it: to the dead letters, and to upstream where it can be told."""
        async for record in in_portions(run.records):
            await self._handle(record)

    async def _handle(self, record: Record) -> None:
        try:
            self._take(record, read_request(record.value, max_essays=self._settings.max_essays))
        except Refused as refused:
            await self._dead_letters.put(record, refused)
            if refused.answerable:
                await self._answer(record, refused)
        else:
            self._dead_letters.accepted(record.topic)

    def _take(self, record: Record, request: AssessmentRequest) -> None:
        origin = Origin(partition=record.partition, offset=record.offset, at=record.timestamp)
        event = msgspec.structs.replace(requested(request), origin=origin)
        try:
            refuse_untellable(event, self._settings, self._limits)
            self._forwarder.forward(home_partition(event.batch_id, self._settings.partitions), event)
        except EventTooLargeError as error:
            raise _addressed(
                Refused("too_large", f"{error}: split the batch, or shorten its texts."), request
            ) from error
        except Refused as refused:
            raise _addressed(refused, request) from None

    async def _answer(self, record: Record, refused: Refused) -> None:
        # The same refusal has the same id and the same bytes, however often the message is read.
        digest = sha256(record.value or b"").hexdigest()
        event_id = outcome_event_id(str(refused.batch_id), 0, f"refused:{digest}", str(refused.correlation_id))
        answer = refused_event(refused, event_id, moment(record.timestamp))
        await self._answers.send(refused, answer)


def _addressed(refused: Refused, request: AssessmentRequest) -> Refused:
    return refused.addressed(request.batch_id, request.correlation_id, is_request=True)


def requested(request: AssessmentRequest) -> BatchRequested:
    """Return the request as an event of the domain."""
    essays = tuple(Essay(id=essay.essay_id, storage_id=essay.text_storage_id) for essay in request.essays)
    context = Context(
        language=request.language,
        course_code=request.course_code,
        prompt_storage_id=request.prompt_storage_id,
        instructions=request.essay_instructions,
        overrides=Overrides(**msgspec.structs.asdict(request.overrides)),
        assignment_id=request.assignment_id,
        user_id=request.user_id,
        org_id=request.org_id,
        traceparent=request.traceparent,
    )
    threshold = request.completion_threshold
    event = BatchRequested(
        batch_id=request.batch_id,
        correlation_id="",
        digest="",
        essays=essays,
        context=msgspec.structs.replace(context, traceparent=None),
        max_comparisons=request.max_comparisons,
        completion_threshold_pct=None if threshold is None else round(threshold * 100),
        pairing=request.pairing_policy,
        stop_rules=request.stop_rules,
        reliability_target=request.reliability_target,
        grade_boundaries=request.grade_boundaries,
        max_cost=request.max_cost,
        reuse_judgements=request.reuse_judgements,
    )
    # By way of a dictionary: a struct of more than 15 fields has another first byte, and digests lie in rows.
    digest = sha256(msgspec.msgpack.encode(msgspec.to_builtins(event))).hexdigest()
    correlation_id: UUID = request.correlation_id or content_uuid(digest)
    return msgspec.structs.replace(
        event,
        correlation_id=str(correlation_id),
        digest=digest,
        context=context,
        # How soon and in which groups the verdicts come changes nothing of what is asked for.
        priority=request.priority,
        batching_mode=request.batching_mode,
    )
