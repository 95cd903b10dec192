"""Scripts for the provider in a `Story`: what it sends about a submission, and when."""

from __future__ import annotations

from support.domain.story import Replies, Story

from cj_stream.domain.events import CallbackReceived, ComparisonFailed, Event, SubmissionAccepted
from cj_stream.domain.todo import Submit


def judges(story: Story, submit: Submit) -> Replies:
    """Accepts after a second and prefers, a minute later, the essay with the lower number."""
    return [(1.0, _acceptance(submit)), (60.0, _verdict(story, submit))]


def refuses(_story: Story, submit: Submit) -> Replies:
    """Takes nothing."""
    return [(1.0, _refusal(submit))]


def errs(story: Story, submit: Submit) -> Replies:
    """Accepts, and answers every time that it could not judge."""
    return [(1.0, _acceptance(submit)), (60.0, story.error(submit.index, submit.attempt, submit.run))]


def keeps_silent(_story: Story, submit: Submit) -> Replies:
    """Accepts and never calls back."""
    return [(1.0, _acceptance(submit))]


def judges_late(story: Story, submit: Submit) -> Replies:
    """Judges a quarter of an hour after the deadline of the comparison."""
    late = story.policy.comparison_deadline + 900.0
    return [(1.0, _acceptance(submit)), (late, _verdict(story, submit))]


def judges_twice(story: Story, submit: Submit) -> Replies:
    """Sends every verdict twice, the second time the other way round."""
    first = _verdict(story, submit)
    second = story.verdict(submit.index, "B" if first.winner == "A" else "A", submit.attempt, submit.run)
    return [(1.0, _acceptance(submit)), (60.0, first), (61.0, second)]


def _acceptance(submit: Submit) -> Event:
    return SubmissionAccepted(batch_id=submit.batch_id, run=submit.run, index=submit.index, attempt=submit.attempt)


def _refusal(submit: Submit) -> Event:
    return ComparisonFailed(
        batch_id=submit.batch_id, run=submit.run, index=submit.index, attempt=submit.attempt, error_code="REFUSED"
    )


def _verdict(story: Story, submit: Submit) -> CallbackReceived:
    batch = next(batch for batch in story.batches if batch.key == (submit.batch_id, submit.run))
    first, second = batch.pair(submit.index)
    return story.verdict(submit.index, "A" if first < second else "B", submit.attempt, submit.run)
