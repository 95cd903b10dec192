from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace
from support.domain.scripted_judges import judges
from support.domain.story import BATCH, FIRST, SECOND, Story, requested

from cj_stream.domain.draft import NoteKind
from cj_stream.domain.events import (
    Action,
    BatchPoisoned,
    CallbackReceived,
    ComparisonFailed,
    OperatorCommand,
    SubmissionAccepted,
    VerdictReceived,
)
from cj_stream.domain.policy import Judging, Policy
from cj_stream.domain.records import ComparisonStatus
from cj_stream.domain.states import BatchState
from cj_stream.domain.todo import LoadContent, PlanPairs, Publish, Score


@pytest.fixture
def story() -> Story:
    story = Story()
    story.start(4)
    return story


def foreign(story: Story, index: int, **fields: object) -> CallbackReceived:
    """An answer under an id that is not ours, which echoes what was compared."""
    callback = replace(story.verdict(index), correlation_id=uuid4(), essay_ids=story.batch.essay_ids(index))
    return replace(callback, **fields)


def test_a_callback_finds_its_comparison_by_its_id_alone(story: Story) -> None:
    callback = replace(story.verdict(2, "B"), batch_id="")
    assert story.batches.resolve(callback) == VerdictReceived(
        batch_id=BATCH, run=1, index=2, attempt=1, winner="B", confidence=4.0, provider="openai", model="judge-1"
    )


def test_an_error_callback_becomes_an_answered_failure(story: Story) -> None:
    assert story.batches.resolve(story.error(1)) == ComparisonFailed(
        batch_id=BATCH,
        run=1,
        index=1,
        attempt=1,
        error_code="EXTERNAL_SERVICE_ERROR",
        error_message="try later",
        provider="openai",
        answered=True,
    )


def test_a_callback_with_any_bit_of_its_id_flipped_changes_nothing(story: Story) -> None:
    genuine = story.verdict(2)
    assert genuine.correlation_id is not None
    number = genuine.correlation_id.int
    before = story.batch
    for bit in range(128):
        change = story.tell(replace(genuine, correlation_id=UUID(int=number ^ 1 << bit)))
        assert [note.kind for note in change.notes] == [NoteKind.CALLBACK_ORPHAN], bit
    assert story.batch == before


def test_the_echo_finds_the_comparison_of_an_answer_under_a_foreign_id(story: Story) -> None:
    story.tell(foreign(story, 3))
    assert story.batch.comparisons[3].status is ComparisonStatus.JUDGED


def test_the_echo_finds_the_comparison_of_an_answer_without_id(story: Story) -> None:
    story.tell(foreign(story, 3, correlation_id=None))
    assert story.batch.comparisons[3].status is ComparisonStatus.JUDGED


def test_an_echo_of_the_swapped_pair_or_another_batch_is_an_orphan(story: Story) -> None:
    first, second = story.batch.essay_ids(0)
    for fields in ({"essay_ids": (second, first)}, {"batch_id": "another"}, {"essay_ids": None}):
        change = story.tell(foreign(story, 0, **fields))
        assert [note.kind for note in change.notes] == [NoteKind.CALLBACK_ORPHAN]
    assert story.batch.progress.judged == 0


def test_a_damaged_id_of_ours_is_not_healed_by_its_echo(story: Story) -> None:
    genuine = story.verdict(0)
    assert genuine.correlation_id is not None
    damaged = UUID(int=genuine.correlation_id.int ^ 1)
    change = story.tell(foreign(story, 0, correlation_id=damaged))
    assert [note.kind for note in change.notes] == [NoteKind.CALLBACK_ORPHAN]


def test_the_echo_means_the_run_that_is_being_judged() -> None:
    story = Story()
    story.tell(requested(2))
    story.play(judges)
    story.tell(requested(2))
    story.start(2, correlation_id=SECOND)
    assert [batch.run for batch in story.batches] == [1, 2]
    assert story.batches.newest(BATCH) == story.batch
    for swap in (False, True):
        first, second = story.batch.essay_ids(0)
        story.tell(foreign(story, 0, essay_ids=(second, first) if swap else (first, second)))
    assert (story.batch.run, story.batch.progress.judged) == (2, 1)


def test_two_batches_with_the_same_essays_do_not_get_each_others_verdicts(story: Story) -> None:
    story.tell(requested(4, batch_id="another"))
    story.carry_out(LoadContent, PlanPairs)
    story.tell(story.verdict(0))
    other = story.batches.newest("another")
    assert other is not None
    assert (story.batch.progress.judged, other.progress.judged) == (1, 0)


def test_events_of_unknown_batches_and_runs_change_nothing(story: Story) -> None:
    before = story.batch
    for batch_id, run in (("another", 1), (BATCH, 2)):
        change = story.tell(SubmissionAccepted(batch_id=batch_id, run=run, index=0, attempt=1))
        assert (change.batch, change.rows) == (None, ())
        assert [note.kind for note in change.notes] == [NoteKind.EVENT_STALE]
    assert story.batch == before


def test_an_event_that_the_table_knows_already_is_passed_over(story: Story) -> None:
    """After a take-over: a cancel that is read again must not hit the run that was started after it."""
    cancel = OperatorCommand(batch_id=BATCH, action=Action.CANCEL)
    story.tell(cancel)
    story.start(2, correlation_id=SECOND)
    change = story.batches.decide(cancel, story.now, lambda batch: batch.run == 2)
    assert ([note.kind for note in change.notes], change.rows) == ([NoteKind.EVENT_REPLAYED], ())
    assert story.batches.decide(cancel, story.now, lambda _: False).rows


def test_a_request_is_decided_although_the_table_knows_the_run_before(story: Story) -> None:
    """The rows of two runs of one message can be stored in part: those of the first run only."""
    story.play(judges)
    change = story.batches.decide(requested(2, SECOND, content="poem"), story.now, lambda _: True)
    assert change.batch is not None
    assert change.batch.run == 2


def test_a_finished_batch_is_let_go_and_found_again_in_the_table(story: Story) -> None:
    ended = story.play(judges)
    story.tell(requested(2, batch_id="another"), after=1)
    assert [batch.batch_id for batch in story.batches] == ["another"]
    assert story.batches.newest(BATCH) == ended


def test_an_event_in_the_same_message_as_the_last_publication_sees_the_batch_as_it_is() -> None:
    """The table is written at the end of a message: until then it has not heard of the publication."""
    story = Story()
    story.tell(requested(1))
    story.carry_out(LoadContent)
    outcomes = story.owed()
    story.deliver(*(story.told(outcome) for outcome in outcomes), story.acceptance(0), story.told(outcomes[0]))
    story.check_rebuilt()
    assert story.owed() == []
    story.tell(requested(1, batch_id="another"), after=1)
    assert [batch.batch_id for batch in story.batches] == ["another"]
    assert story.owed() == []


def test_a_batch_asked_for_again_in_the_message_that_ended_it_is_kept_until_it_was_told_again() -> None:
    story = Story()
    story.tell(requested(1))
    story.carry_out(LoadContent)
    story.deliver(*(story.told(outcome) for outcome in story.owed()), requested(1))
    story.tell(requested(1, batch_id="another"), after=1)
    assert [batch.batch_id for batch in story.batches] == [BATCH, "another"]
    story.carry_out(Publish)
    assert story.published == [f"completed:{FIRST}", f"result:{FIRST}"]


def test_an_echo_means_the_first_comparison_of_its_pair() -> None:
    story = Story(Policy(judging=Judging(judgements_per_pair=2), completion_threshold_pct=100))
    story.start(2)
    pairs = [story.batch.essay_ids(row.index) for row in story.batch.comparisons]
    for index, pair in enumerate(pairs):
        assert story.batch.find(pair) == pairs.index(pair), index
    assert story.batch.find(("essay-0", "essay-0")) is None
    assert story.batch.find(("essay-0", "nobody's")) is None


@pytest.mark.parametrize("index", [999, -1])
def test_a_batch_whose_event_cannot_be_decided_ends_as_failed_with_the_error(story: Story, index: int) -> None:
    bad = SubmissionAccepted(batch_id=BATCH, run=1, index=index, attempt=1)
    with pytest.raises(IndexError):
        story.batches.decide(bad, story.now)
    story.batches.apply(story.batches.poison(bad, "IndexError(999)", story.now))
    assert (story.batch.state, story.batch.control.failure) == (BatchState.FAILED, "internal_error")
    assert story.batch.control.failure_details == {"error": "IndexError(999)"}
    assert story.owed() == [f"failed:{FIRST}"]


def test_the_poisoned_event_of_a_finished_run_does_not_end_the_next_run() -> None:
    story = Story()
    story.tell(requested(1))
    story.carry_out(LoadContent, PlanPairs, Score, Publish)
    story.tell(requested(2, SECOND))
    bad = SubmissionAccepted(batch_id=BATCH, run=1, index=999, attempt=1)
    change = story.batches.poison(bad, "a bug", story.now)
    assert change.rows == ()
    story.batches.apply(change)
    assert (story.batch.run, story.batch.state) == (2, BatchState.INITIALIZING)


def test_a_poisoned_callback_ends_the_batch_it_belongs_to_whatever_it_claims(story: Story) -> None:
    story.tell(requested(2, batch_id="innocent"))
    callback = replace(story.verdict(0), batch_id="innocent")
    change = story.batches.poison(callback, "a bug", story.now)
    assert change.batch is not None
    assert (change.batch.batch_id, change.batch.state) == (BATCH, BatchState.FAILED)


def test_poison_for_an_unknown_batch_changes_nothing(story: Story) -> None:
    change = story.tell(BatchPoisoned(batch_id="unknown", error="a bug"))
    assert (change.batch, change.rows) == (None, ())


def test_a_new_owner_takes_over_what_the_table_holds(story: Story) -> None:
    story.tell(story.acceptance(0))
    story.tell(story.verdict(1))
    before = list(story.batches)
    story.crash()
    assert list(story.batches) == before
