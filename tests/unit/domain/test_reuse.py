"""Verdicts of another run on the same texts are taken over, and nothing else is."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.domain.scripted_judges import judges
from support.domain.story import BATCH, Story, requested

from cj_stream.domain.batch import Batch
from cj_stream.domain.policy import Policy
from cj_stream.domain.records import ComparisonStatus, Receipt
from cj_stream.domain.reuse import Judgements, judgements_of, taken_over
from cj_stream.domain.states import BatchState
from cj_stream.domain.todo import LoadContent, TakeOver, todo
from cj_stream.scoring.quality.stopping import StopReason

OTHER = "another-batch"


def broke(essays: int = 6, max_cost: float = 0.5) -> Story:
    """A batch that has ended because its money was spent."""
    story = Story()
    story.start(essays, max_cost=max_cost)
    while story.batch.state is BatchState.WAITING_CALLBACKS:
        for submit in story.submissions():
            story.tell(story.acceptance(submit.index))
            told = story.verdict(submit.index)
            story.tell(replace(told, receipt=Receipt(input_tokens=1, cost=0.1)))
    story.finish()
    assert story.batch.control.stop_reason == StopReason.MONEY_SPENT
    return story


def verdicts(batch: Batch) -> set[tuple[tuple[str, str], str | None]]:
    return {
        (batch.essay_ids(row.index), row.winner) for row in batch.comparisons if row.status is ComparisonStatus.JUDGED
    }


def test_more_money_starts_a_run_that_takes_over_the_verdicts() -> None:
    story = broke()
    before = verdicts(story.batch)
    story.tell(replace(requested(6, max_cost=5.0), digest="more money", correlation_id="c2"))
    story.carry_out(LoadContent)
    assert [type(effect) for effect in todo(story.batch)] == [TakeOver]
    story.carry_out(TakeOver)
    batch = story.batch
    assert (batch.run, batch.control.reused) == (2, len(before))
    assert verdicts(batch) == before
    assert batch.progress.spending.dollars == 0.0
    assert batch.progress.spending.reused == len(before)
    story.check_rebuilt()
    batch = story.play(judges)
    assert batch.finished
    assert verdicts(batch) > before


def test_what_was_taken_over_does_not_make_the_next_verdicts_look_cheap() -> None:
    story = broke()
    story.tell(replace(requested(6, max_cost=5.0), digest="more money", correlation_id="c2"))
    story.finish()
    assert len(story.submissions()) == 3, "nothing was paid in this run, so its price is unknown"


def test_a_run_that_ended_otherwise_is_not_taken_over_unless_asked() -> None:
    story = Story()
    story.start(4)
    story.play(judges)
    story.tell(replace(requested(4), digest="again", correlation_id="c2"))
    story.finish()
    assert (story.batch.run, story.batch.control.reused) == (2, None)
    story.play(judges)
    story.tell(replace(requested(4, reuse_judgements=BATCH), digest="and again", correlation_id="c3"))
    story.finish()
    assert story.batch.control.reused == 6


def begun(story: Story) -> Batch:
    """A batch whose texts are loaded, and that asks for the verdicts of another."""
    story.tell(requested(4, reuse_judgements=OTHER))
    story.carry_out(LoadContent)
    return story.batch


def found(*pairs: tuple[int, int], question: str = "question") -> Judgements:
    texts = [f"essay-{number}".encode() for number in range(9)]
    return Judgements(question, tuple((texts[a], texts[b], "A") for a, b in pairs), "openai", "m")


def test_only_pairs_of_the_same_two_texts_in_the_order_in_which_they_were_shown_are_taken_over() -> None:
    reused = taken_over(begun(Story()), found((0, 1), (3, 2), (0, 7), (8, 7)))
    assert (reused.pairs, reused.winners) == (((0, 1), (3, 2)), "AA")
    assert (reused.provider, reused.model, reused.why_none) == ("openai", "m", "")


def test_a_pair_is_taken_over_no_more_often_than_it_may_be_judged() -> None:
    repeated = found((0, 1), (1, 0), (0, 1))
    assert taken_over(begun(Story()), repeated).pairs == ((0, 1),)
    policy = Policy()
    twice = Story(replace(policy, judging=replace(policy.judging, judgements_per_pair=2)))
    assert taken_over(begun(twice), repeated).pairs == ((0, 1), (1, 0))


def test_no_more_are_taken_over_than_the_batch_may_have() -> None:
    assert taken_over(begun(Story(Policy(max_comparisons=2))), found((0, 1), (2, 3), (0, 2))).pairs == ((0, 1), (2, 3))


@pytest.mark.parametrize(
    ("judgements", "why"),
    [
        (None, "no such batch"),
        (found((0, 1), question="another"), "another template, rubric, task or model"),
        (found((0, 1), question=""), "another template, rubric, task or model"),
        (found((7, 8)), "no two of the texts are the same"),
    ],
)
def test_where_nothing_can_be_taken_over_the_batch_begins_as_others_do_and_says_why(
    judgements: Judgements | None, why: str
) -> None:
    story = Story()
    reused = taken_over(begun(story), judgements)
    assert why in reused.why_none
    story.tell(reused)
    assert (story.batch.control.reused, story.batch.plans) == (0, ())
    assert story.play(judges).state is BatchState.COMPLETED


def test_a_report_that_comes_twice_changes_nothing() -> None:
    story = Story()
    reused = taken_over(begun(story), found((0, 1), (2, 3)))
    story.tell(reused)
    before = story.batch
    assert story.tell(reused).rows == ()
    assert story.batch == before


def test_a_run_from_before_texts_had_hashes_has_nothing_to_take_over() -> None:
    story = Story()
    story.start(4)
    assert story.batch.content is not None
    old = replace(story.batch, content=replace(story.batch.content, texts=(), question_sha256=""))
    assert judgements_of(old) == Judgements("")
