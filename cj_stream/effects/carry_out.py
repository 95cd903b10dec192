"""Carrying out effects: what each kind of work in `todo` really does, and the event that reports it.

This is where the domain meets the world: the content service, the LLM provider, the processor, and the outcome topics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, TypeVar

import msgspec
import structlog

from cj_stream.content.client import ContentClient, ContentUnavailable, TextMissing
from cj_stream.contracts.comparison_api import Accepted, ImmediateVerdict, NotAccepted
from cj_stream.contracts.message_limits import REASONS_LIMIT
from cj_stream.domain import computations
from cj_stream.domain.batch import Batch
from cj_stream.domain.events import (
    ComparisonFailed,
    ContentLoaded,
    Event,
    JudgementsReused,
    OutcomePublished,
    OutcomeRefused,
    ProviderTold,
    SubmissionAccepted,
    VerdictReceived,
)
from cj_stream.domain.identifiers import CorrelationIds
from cj_stream.domain.reuse import Judgements, taken_over
from cj_stream.domain.todo import Effect, LoadContent, PlanPairs, Publish, Score, Submit, TakeOver, TellProvider
from cj_stream.effects.computing import ComputationLostError, Computing
from cj_stream.effects.outcomes import outcome_message
from cj_stream.effects.patience import Patience
from cj_stream.engine.dispatcher import PostponedError
from cj_stream.engine.fence import Fence
from cj_stream.engine.publisher import Publisher, RecordRefusedError, TopicRefusesError
from cj_stream.engine.texts import (
    CUT_MARK,
    clip,
)
from cj_stream.operations.metrics import Metrics
from cj_stream.operations.settings import Settings
from cj_stream.provider.client import ProviderClient, ProviderUntold, Submission

Task = TypeVar("Task")
Result = TypeVar("Result")

log = structlog.get_logger(__name__)

CONTENT_PAUSE = 5.0
BUSY_PAUSE = 2.0
COMPUTING_PAUSE = 1.0
UNTOLD_PAUSE = 10.0
WAIT_MARGIN = 1.5
"""How much longer than the provider expects an answer is waited for."""
REASON_KEPT = 500
QUESTION_KEPT = 64 * 1024
TEXT_HASH_BYTES = 16

FindJudgements = Callable[[Batch], Awaitable[Judgements | None]]
"""Returns the verdicts that a batch wants to take over, None when there are none.

Raises `PostponedError` when who has them does not answer.
"""
LOADS_AT_ONCE = 16


def job_id(batch: Batch) -> str:
    """Return the id under which the platform knows this run."""
    return f"{batch.batch_id}-{batch.run}"


class Effects:
    """Carries out effects; an instance is the dispatcher's ``execute``."""

    def __init__(  # noqa: PLR0913 -- all that effects reach out to, by name
        self,
        settings: Settings,
        *,
        content: ContentClient,
        provider: ProviderClient,
        publisher: Publisher,
        correlation_ids: CorrelationIds,
        fence: Fence,
        metrics: Metrics,
        judgements: FindJudgements,
    ) -> None:
        self._settings = settings
        self._content = content
        self._provider = provider
        self._publisher = publisher
        self._correlation_ids = correlation_ids
        self._fence = fence
        self._metrics = metrics
        self._judgements = judgements
        self._computing = Computing()
        self._loading = asyncio.Semaphore(LOADS_AT_ONCE)
        self._patience = Patience()
        self._handlers: dict[type[Effect], Callable[[Any, Batch, int], Awaitable[Event]]] = {
            LoadContent: self._load_content,
            TakeOver: self._take_over,
            PlanPairs: self._plan_pairs,
            Score: self._score,
            Submit: self._submit,
            Publish: self._publish,
            TellProvider: self._tell_provider,
        }

    async def __call__(self, effect: Effect, batch: Batch, partition: int) -> Event:
        """Carry out ``effect``; raises `PostponedError` when it has to wait and left no trace."""
        self._fence.check()
        # Each effect has a task, and so a context, of its own: what is logged on its way names the batch.
        structlog.contextvars.bind_contextvars(batch_id=effect.batch_id)
        return await self._handlers[type(effect)](effect, batch, partition)

    def close(self) -> None:
        """Break off what is being computed."""
        self._computing.close()

    async def _load_content(self, effect: LoadContent, batch: Batch, _partition: int) -> ContentLoaded:
        try:
            async with asyncio.TaskGroup() as loading:
                tasks = [loading.create_task(self._look_at(essay.storage_id)) for essay in batch.roster.essays]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        texts = [task.result() for task in tasks]
        context = batch.roster.context
        asked = self._provider.judging(context.overrides, await self._task(batch))
        question = msgspec.json.encode(asked).decode()
        return ContentLoaded(
            batch_id=effect.batch_id,
            run=effect.run,
            unusable=_shortened({at: text for at, text in enumerate(texts) if isinstance(text, str)}),
            texts=tuple(b"" if isinstance(text, str) else text for text in texts),
            question_sha256=asked.sha256,
            question=question if len(question) <= QUESTION_KEPT else "",
        )

    async def _look_at(self, storage_id: str) -> bytes | str:
        """Return the beginning of the text's SHA-256, or why it cannot be used."""
        async with self._loading:
            try:
                text = await self._text(storage_id)
            except TextMissing as missing:
                return str(missing)
            return sha256(text.encode()).digest()[:TEXT_HASH_BYTES]

    async def _take_over(self, _effect: TakeOver, batch: Batch, _partition: int) -> JudgementsReused:
        reused = taken_over(batch, await self._judgements(batch))
        source = batch.roster.policy.judging.reuse_judgements
        log.info("verdicts taken over", run=batch.run, source=source, verdicts=len(reused.pairs), why=reused.why_none)
        return reused

    async def _text(self, storage_id: str) -> str:
        try:
            return await self._content.text(storage_id)
        except ContentUnavailable as unavailable:
            why = f"the content service is not available: {self._content.trouble or unavailable}"
            raise PostponedError(why, CONTENT_PAUSE) from unavailable

    async def _plan_pairs(self, _effect: PlanPairs, batch: Batch, _partition: int) -> Event:
        pairs = await self._computed(batch, computations.pairs_task, computations.choose_pairs)
        return computations.pairs_event(batch, pairs)

    async def _score(self, _effect: Score, batch: Batch, _partition: int) -> Event:
        scores = await self._computed(batch, computations.fit_task, computations.compute_scores)
        return computations.scores_event(batch, scores)

    async def _computed(self, batch: Batch, task: Callable[[Batch], Task], compute: Callable[[Task], Result]) -> Result:
        try:
            return await self._computing.run(len(batch.usable), lambda: task(batch), compute)
        except ComputationLostError as lost:
            raise PostponedError(str(lost), COMPUTING_PAUSE) from lost

    async def _submit(self, effect: Submit, batch: Batch, partition: int) -> Event:
        try:
            submission = await self._submission(effect, batch, partition)
        except TextMissing as missing:
            return _failed(effect, "TEXT_MISSING", str(missing))
        self._fence.check()
        answer = await self._provider.submit(submission)
        if not isinstance(answer, NotAccepted):
            self._patience.over(effect)
        if isinstance(answer, Accepted):
            return await self._accepted(effect, submission, answer)
        if isinstance(answer, ImmediateVerdict):
            self._metrics.submissions.labels("judged").inc()
            return _judged(effect, answer)
        self._metrics.submissions.labels(answer.kind).inc()
        if answer.kind == "busy":
            self._wait_or_give_up(effect, answer, batch.roster.policy.comparison_deadline)
        self._patience.over(effect)
        return _failed(effect, answer.code, answer.message)

    async def _accepted(self, effect: Submit, submission: Submission, answer: Accepted) -> Event:
        wait, longest = 60 * (answer.estimated_wait_minutes or 0.0), self._settings.slowest_judge_seconds
        if wait <= longest:
            self._metrics.submissions.labels("accepted").inc()
            return SubmissionAccepted(
                batch_id=effect.batch_id,
                run=effect.run,
                index=effect.index,
                attempt=effect.attempt,
                expected_wait=wait * WAIT_MARGIN,
            )
        self._metrics.submissions.labels("refused").inc()
        try:
            await self._provider.cancel_comparison(submission.correlation_id)
        except ProviderUntold as untold:
            log.warning("an answer that would take too long is not called off", why=str(untold))
        why = (
            f"the provider expects to answer after {wait / 3600:.1f} h, and a judge may take {longest / 3600:g} h: "
            "raise CJ_SLOWEST_JUDGE_HOURS for batches that start then, or ask a faster judge"
        )
        return _failed(effect, "JUDGE_TOO_SLOW", why)

    async def _tell_provider(self, effect: TellProvider, batch: Batch, _partition: int) -> ProviderTold:
        why_not = ""
        try:
            await self._provider.cancel_run(job_id(batch))
        except ProviderUntold as untold:
            if untold.passes and self._patience.refused_for(effect) < batch.roster.policy.comparison_deadline:
                raise PostponedError(str(untold), UNTOLD_PAUSE) from untold
            why_not = str(untold)
            log.warning("the provider is not told that a batch has ended", run=effect.run, why=why_not)
        self._patience.over(effect)
        return ProviderTold(batch_id=effect.batch_id, run=effect.run, why_not=clip(why_not, REASON_KEPT))

    def _wait_or_give_up(self, effect: Submit, answer: NotAccepted, patience: float) -> None:
        """Raise `PostponedError` unless the submission has been refused as busy for as long as an answer may take."""
        if self._patience.refused_for(effect) < patience:
            why = f"the LLM provider takes nothing now: {answer.code}: {answer.message}"
            raise PostponedError(why, answer.retry_after_seconds or BUSY_PAUSE)

    async def _submission(self, effect: Submit, batch: Batch, partition: int) -> Submission:
        first, second = (batch.roster.essays[position] for position in batch.pair(effect.index))
        context = batch.roster.context
        return Submission(
            correlation_id=self._correlation_ids.make(
                partition=partition,
                batch_id=batch.batch_id,
                run=batch.run,
                index=effect.index,
                attempt=effect.attempt,
                pair=(first.id, second.id),
            ),
            batch_id=batch.batch_id,
            job_id=job_id(batch),
            essay_a_id=first.id,
            essay_b_id=second.id,
            text_a=await self._text(first.storage_id),
            text_b=await self._text(second.storage_id),
            instructions=await self._task(batch),
            overrides=context.overrides,
            is_retry=effect.attempt > 1,
            priority=batch.roster.policy.judging.priority,
            batching_mode=batch.roster.policy.judging.batching_mode,
            traceparent=context.traceparent,
        )

    async def _task(self, batch: Batch) -> str | None:
        context = batch.roster.context
        return context.instructions or await self._task_text(context.prompt_storage_id)

    async def _task_text(self, storage_id: str | None) -> str | None:
        if storage_id is None:
            return None
        try:
            return await self._text(storage_id)
        except TextMissing as missing:
            # Essays can be compared without the task; better than not at all.
            log.warning("the text of the task is missing", storage_id=storage_id, why=str(missing))
            return None

    async def _publish(self, effect: Publish, batch: Batch, _partition: int) -> OutcomePublished | OutcomeRefused:
        try:
            topic, event = outcome_message(batch, effect.outcome, self._settings, job_id(batch))
        except Exception as error:  # the same batch always gives the same bytes: a retry would fail the same way
            log.exception("an outcome cannot be written", batch_id=effect.batch_id, outcome=effect.outcome.name)
            return _refused(effect, f"it cannot be written: {error!r}")
        try:
            await self._publisher.publish(topic, key=event.key, value=event.value)
        except RecordRefusedError as refused:
            return _refused(effect, str(refused))
        except TopicRefusesError as refuses:
            raise PostponedError(str(refuses), refuses.seconds) from refuses
        return OutcomePublished(batch_id=effect.batch_id, run=effect.run, outcome=effect.outcome.name)


def _shortened(reasons: dict[int, str]) -> dict[int, str]:
    """Cut reasons that together would not fit into a record."""
    limit = max(REASONS_LIMIT // max(len(reasons), 1), len(CUT_MARK))
    return {position: clip(reason, limit) for position, reason in reasons.items()}


def _refused(effect: Publish, why: str) -> OutcomeRefused:
    name = effect.outcome.name
    log.error("an outcome is not published", batch_id=effect.batch_id, run=effect.run, outcome=name, why=why)
    return OutcomeRefused(batch_id=effect.batch_id, run=effect.run, outcome=name, why=why)


def _failed(effect: Submit, code: str, message: str) -> ComparisonFailed:
    return ComparisonFailed(
        batch_id=effect.batch_id,
        run=effect.run,
        index=effect.index,
        attempt=effect.attempt,
        error_code=code,
        error_message=message,
    )


def _judged(effect: Submit, verdict: ImmediateVerdict) -> VerdictReceived:
    return VerdictReceived(
        batch_id=effect.batch_id,
        run=effect.run,
        index=effect.index,
        attempt=effect.attempt,
        winner=verdict.winner,
        confidence=verdict.confidence,
        justification=verdict.justification,
        provider=verdict.provider,
        model=verdict.model,
        receipt=verdict.receipt,
    )
