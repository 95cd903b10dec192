"""What a batch must come to, known in advance: the domain played through in memory, with the gateway's own judge.

The judge's verdict depends on its seed and on the pair alone. A batch that waits for all verdicts of an iteration
(threshold 1.0) therefore plans the same pairs and ends with the same scores, whatever happens to the workers.
"""

from __future__ import annotations

from support.wire.questions import question

from cj_stream.agents.requests import requested
from cj_stream.contracts.request_reader import AssessmentRequest
from cj_stream.domain import computations
from cj_stream.domain.batch import Batch
from cj_stream.domain.decider import decide
from cj_stream.domain.events import ContentLoaded, Event, OutcomePublished, VerdictReceived
from cj_stream.domain.todo import Effect, LoadContent, PlanPairs, Publish, Score, Submit, is_done, todo
from cj_stream.gateway.judges import Judge, Verdict
from cj_stream.operations.batch_policy import policy_of
from cj_stream.operations.settings import Settings


async def expected_batch(
    request: AssessmentRequest, settings: Settings, judge: Judge, *, after: Batch | None = None
) -> Batch:
    """Return the batch as it must end; ``after`` is the run before it, if there was one."""
    policy = policy_of(settings)
    batch = decide(after, requested(request), policy, at=0.0).batch
    assert batch is not None
    while not is_done(batch):
        event = await _carried_out(todo(batch)[0], batch, judge)
        batch = decide(batch, event, policy, at=0.0).batch
        assert batch is not None
    return batch


async def _carried_out(effect: Effect, batch: Batch, judge: Judge) -> Event:
    match effect:
        case LoadContent():
            return ContentLoaded(batch_id=batch.batch_id, run=batch.run)
        case PlanPairs():
            return computations.plan(batch)
        case Score():
            return computations.score(batch)
        case Submit():
            return await _judged(effect, batch, judge)
        case Publish():
            return OutcomePublished(batch_id=batch.batch_id, run=batch.run, outcome=effect.outcome.name)
    raise AssertionError(f"no such effect: {effect}")


async def _judged(effect: Submit, batch: Batch, judge: Judge) -> VerdictReceived:
    answer = await judge.judge(question(*batch.essay_ids(effect.index)))
    assert isinstance(answer, Verdict)
    return VerdictReceived(
        batch_id=batch.batch_id, run=batch.run, index=effect.index, attempt=effect.attempt, winner=answer.winner
    )
