from __future__ import annotations

import msgspec
import pytest
from support.domain.scripted_judges import judges
from support.domain.story import FIRST, SECOND, START, Story, requested

from cj_stream.domain.admission import JOINED_LIMIT, REFUSALS_KEPT, UNTOLD_KEPT
from cj_stream.domain.draft import NoteKind
from cj_stream.domain.due_outcomes import unpublished
from cj_stream.domain.policy import Judging, Policy
from cj_stream.domain.records import Origin
from cj_stream.domain.states import BatchState
from cj_stream.domain.todo import LoadContent, PlanPairs, Publish, Score
from cj_stream.scoring.pairing.pairing import PairingPolicy

ALL_BUT_PUBLISH = (LoadContent, PlanPairs, Score)


def origin(offset: int, partition: int = 0) -> Origin:
    return Origin(partition=partition, offset=offset, at=START + offset)


@pytest.fixture
def live() -> Story:
    story = Story()
    story.start(3)
    return story


@pytest.fixture
def ended() -> Story:
    story = Story()
    story.tell(requested(3))
    story.play(judges)
    story.published.clear()
    return story


def test_a_request_starts_run_1_of_its_batch() -> None:
    story = Story()
    change = story.tell(requested(3))
    assert [note.kind for note in change.notes] == [NoteKind.BATCH_STARTED]
    assert (story.batch.run, story.batch.state) == (1, BatchState.INITIALIZING)
    assert story.batch.control.created_at == story.now


def test_a_repeat_for_a_live_batch_is_ignored(live: Story) -> None:
    before = live.batch
    change = live.tell(requested(3), after=10)
    assert change.rows == ()
    assert [note.kind for note in change.notes] == [NoteKind.REQUEST_REPEATED]
    assert live.batch == before


def test_a_repeat_after_the_end_publishes_the_same_outcomes_again(ended: Story) -> None:
    judged = ended.batch
    ended.tell(requested(3), after=3600)
    assert ended.finish() == judged
    assert ended.published == [f"completed:{FIRST}", f"result:{FIRST}"]


def test_the_same_content_under_another_correlation_id_joins_and_gets_its_own_outcome(live: Story) -> None:
    change = live.tell(requested(3, SECOND))
    assert [note.kind for note in change.notes] == [NoteKind.REQUEST_JOINED]
    live.play(judges)
    assert sorted(live.published) == [f"completed:{FIRST}", f"completed:{SECOND}", f"result:{FIRST}"]


def test_whoever_joined_may_repeat_and_hears_only_its_own_outcome_again(live: Story) -> None:
    live.tell(requested(3, SECOND))
    assert live.tell(requested(3, SECOND)).rows == ()
    live.play(judges)
    live.published.clear()
    live.tell(requested(3, SECOND))
    live.finish()
    assert live.published == [f"completed:{SECOND}"]


def test_other_content_for_a_live_batch_is_refused_at_once_and_changes_nothing_else(live: Story) -> None:
    before = live.batch
    change = live.tell(requested(3, SECOND, content="poem"))
    assert [note.kind for note in change.notes] == [NoteKind.REQUEST_REFUSED]
    live.carry_out(Publish)
    assert live.published == [f"refused:{SECOND}"]
    assert "other content" in live.batch.control.refusals[0].reason
    assert (live.batch.roster, live.batch.comparisons) == (before.roster, before.comparisons)


def test_whoever_was_refused_and_asks_again_is_refused_again(live: Story) -> None:
    for _ in range(2):
        live.tell(requested(3, SECOND, content="poem"), after=60)
        live.carry_out(Publish)
    assert live.published == [f"refused:{SECOND}"] * 2
    assert len(live.batch.control.refusals) == 1


def test_only_so_many_refusals_are_kept_and_nothing_of_the_others(live: Story) -> None:
    for number in range(REFUSALS_KEPT + 20):
        live.tell(requested(3, f"00000000-0000-4000-8000-{number:012}", content="poem"))
        live.carry_out(Publish)
    assert len(live.published) == REFUSALS_KEPT + 20
    assert len(live.batch.control.refusals) == REFUSALS_KEPT
    assert len(live.batch.control.published) == REFUSALS_KEPT


def a_crowd(story: Story, count: int, content: str) -> list[str]:
    """Have ``count`` more requesters ask in one message, before any can be told; return their correlation ids."""
    ids = [f"00000000-0000-4000-8000-{number:012}" for number in range(count)]
    story.deliver(*(requested(3, correlation_id, content=content) for correlation_id in ids))
    return ids


def test_everybody_of_a_crowd_that_is_refused_at_once_is_told(live: Story) -> None:
    live.tell(requested(3, SECOND, content="poem"))
    live.carry_out(Publish)
    crowd = a_crowd(live, 3 * REFUSALS_KEPT, "poem")
    live.carry_out(Publish)
    assert live.published == [f"refused:{one}" for one in (SECOND, *crowd)]
    live.tell(requested(3, SECOND, content="poem"))
    assert len(live.batch.control.refusals) == REFUSALS_KEPT


def test_crowds_of_any_size_fit_into_one_row(live: Story) -> None:
    joined = a_crowd(live, JOINED_LIMIT + 1, "essay")
    assert live.batch.control.joined == tuple(joined[:-1])
    assert "1000 requests ask for this batch" in live.batch.control.refusals[0].reason
    refused = a_crowd(live, UNTOLD_KEPT + 20, "poem")
    assert len(msgspec.msgpack.encode(live.batch.control)) < 500_000  # half of what Kafka takes
    live.carry_out(Publish)
    assert live.published == [f"refused:{one}" for one in refused[20:]]


def test_only_outcomes_that_are_owed_are_noted_as_published(live: Story) -> None:
    live.tell(requested(3, SECOND, content="poem"))
    for outcome in (f"refused:{SECOND}", f"refused:{SECOND}", f"completed:{FIRST}", "refused:nobody"):
        live.tell(live.told(outcome))
    assert live.batch.control.published == (f"refused:{SECOND}",)


@pytest.mark.parametrize(("correlation_id", "content"), [(SECOND, "poem"), (FIRST, "poem"), (SECOND, "essay")])
def test_other_content_or_a_new_correlation_id_after_the_end_is_run_2(
    ended: Story, correlation_id: str, content: str
) -> None:
    ended.tell(requested(3, correlation_id, content))
    assert (ended.batch.run, ended.batch.state) == (2, BatchState.INITIALIZING)
    assert ended.batch.roster.seed != ended.rows_of_run(1).roster.seed
    assert ended.play(judges).run == 2
    assert sorted(ended.published) == [f"completed:{correlation_id}", f"result:{correlation_id}"]
    assert ended.rows_of_run(1).state is BatchState.COMPLETED


def test_a_second_copy_of_a_refused_request_does_not_start_a_run() -> None:
    """As after a crash: the request was forwarded, and its offset not committed."""
    story = Story()
    story.start(2, origin=origin(0))
    refused = requested(2, SECOND, content="poem", origin=origin(1))
    story.tell(refused)
    story.play(judges)
    assert story.tell(refused, after=60).rows == ()
    assert story.batch.run == 1
    story.tell(requested(2, SECOND, content="poem", origin=origin(2)))
    assert story.batch.run == 2


@pytest.mark.parametrize("number", range(4))
def test_a_second_copy_does_nothing_whatever_has_happened_since(number: int) -> None:
    """The same records in their order: one starts the batch, one joins, one starts run 2, one repeats that."""
    story = Story()
    asked = [
        requested(2, FIRST, origin=origin(5)),
        requested(2, SECOND, origin=origin(6)),
        requested(2, SECOND, content="poem", origin=origin(7)),
        requested(2, SECOND, content="poem", origin=origin(9)),
    ]
    for request in asked[:2]:
        story.tell(request)
    story.play(judges)
    for request in asked[2:]:
        story.tell(request)
    story.play(judges)
    before = story.batch
    change = story.tell(asked[number], after=3600)
    assert ([note.kind for note in change.notes], change.rows) == ([NoteKind.REQUEST_REPEATED], ())
    assert story.batch == before
    assert before.run == 2


def test_a_request_can_say_how_its_batch_is_judged_and_another_setting_stays() -> None:
    settings = Policy(reliability_target=0.9, judging=Judging(wave_size=7))
    plain = Story(settings).start(3).roster.policy
    assert plain == settings
    asked = Story(settings).start(
        3, pairing=PairingPolicy.RANDOM, stop_rules=(), reliability_target=0.0, grade_boundaries=(0.5,)
    )
    wanted = Judging(pairing=PairingPolicy.RANDOM, wave_size=7, stop_rules=(), grade_boundaries=(0.5,))
    assert asked.roster.policy == Policy(reliability_target=0.0, judging=wanted)


def test_a_request_from_another_partition_is_no_copy_whatever_its_offset() -> None:
    story = Story()
    story.start(2, origin=origin(5, partition=1))
    story.tell(requested(2, SECOND, origin=origin(3, partition=2)))
    assert story.batch.control.joined == (SECOND,)
    assert story.tell(requested(2, FIRST, origin=origin(5, partition=1))).rows == ()


def test_requests_of_a_topic_that_was_made_anew_are_no_copies() -> None:
    story = Story()
    story.start(2, origin=origin(5))
    story.tell(requested(2, SECOND, origin=Origin(partition=0, offset=0, at=START + 3600)))
    assert story.batch.control.joined == (SECOND,)


def test_a_copy_is_known_by_its_offset_even_if_upstream_sets_the_times_out_of_order() -> None:
    story = Story()
    late = requested(2, origin=Origin(partition=0, offset=5, at=START + 60))
    story.tell(late)
    story.tell(requested(2, SECOND, origin=Origin(partition=0, offset=6, at=START)))
    story.play(judges)
    story.tell(requested(2, content="poem", origin=Origin(partition=0, offset=7, at=START)))
    assert story.tell(late).rows == ()


def test_a_request_from_before_origins_were_noted_is_judged_by_its_content_alone(live: Story) -> None:
    assert live.batch.control.origins == ()
    assert live.tell(requested(3)).rows == ()
    live.tell(requested(3, SECOND))
    assert live.batch.control.joined == (SECOND,)


def test_a_run_is_never_started_twice_while_an_older_one_still_has_outcomes_to_publish() -> None:
    story = Story()
    story.tell(requested(1))
    story.carry_out(*ALL_BUT_PUBLISH)
    story.tell(requested(1, SECOND))
    story.carry_out(*ALL_BUT_PUBLISH)
    for outcome in story.owed():
        story.tell(story.told(outcome, run=2))
    assert [batch.run for batch in story.batches if unpublished(batch)] == [1]
    story.tell(requested(1, content="third"), after=1)
    assert story.batch.run == 3


def test_the_knobs_of_a_request_are_frozen_in_its_batch() -> None:
    story = Story(Policy(max_comparisons=50))
    batch = story.start(3, max_comparisons=2, completion_threshold_pct=60)
    assert (batch.roster.policy.max_comparisons, batch.roster.policy.completion_threshold_pct) == (2, 60)
    assert batch.total_comparisons == 2


def test_a_request_may_lower_the_budget_and_not_raise_it() -> None:
    story = Story(Policy(max_comparisons=4))
    batch = story.start(6, max_comparisons=1000)
    assert batch.roster.policy.max_comparisons == 4
    assert batch.total_comparisons == 4


def test_without_knobs_the_policy_of_the_moment_applies() -> None:
    policy = Policy(max_comparisons=7, completion_threshold_pct=70)
    assert Story(policy).start(3).roster.policy == policy
