"""Decided one by one or as a run, in one message or in many: the same batches, the same rows in the table."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hypothesis import given, note, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.domain.story import BATCH, Story, requested

from cj_stream.domain.events import Action, Event, OperatorCommand
from cj_stream.domain.policy import Policy
from cj_stream.domain.todo import LoadContent, PlanPairs, Score

OTHER = "another"
POLICY = Policy(retry_pool_size=2, max_attempts=2, comparisons_per_essay=2, max_iterations=2)


def two_batches() -> Story:
    story = Story(POLICY)
    story.start(5)
    story.tell(requested(4, batch_id=OTHER))
    story.carry_out(LoadContent, PlanPairs)
    return story


def some_events(story: Story, random: Random) -> list[Event]:
    """Return reports about both batches in any order, among them repeats, late ones, and a few that end a batch."""
    total = {batch.batch_id: batch.total_comparisons for batch in story.batches}
    found: list[Event] = []
    for _ in range(random.randrange(1, 60)):
        index = random.randrange(total[BATCH])
        kinds: list[Callable[[int], Event]] = [
            story.acceptance,
            story.verdict,
            story.verdict,
            story.error,
            story.refusal,
        ]
        found.append(random.choice(kinds)(index))
        if random.random() < 0.3:
            found.append(replace(story.acceptance(random.randrange(total[OTHER])), batch_id=OTHER))
        if random.random() < 0.05:
            found.append(
                random.choice([story.due(), requested(5), OperatorCommand(batch_id=OTHER, action=Action.CANCEL)])
            )
    return found


def rows(story: Story) -> dict[bytes, bytes]:
    """Return the rows in the table without their positions: those tell the messages apart."""
    return {key: value[:1] + value[9:] for key, value in story.table.data.items()}


@settings(deadline=None, print_blob=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_events_of_one_message_leave_what_they_leave_one_by_one(seed: int) -> None:
    note(f"seed {seed}")
    events = some_events(two_batches(), Random(seed))
    together, apart = two_batches(), two_batches()
    changes = together.deliver(*events)
    one_by_one = [change for event in events for change in apart.deliver(event)]
    assert changes == one_by_one
    assert list(together.batches) == list(apart.batches)
    assert rows(together) == rows(apart)
    together.check_rebuilt()
    together.carry_out(Score, PlanPairs)
    apart.carry_out(Score, PlanPairs)
    assert list(together.batches) == list(apart.batches)
