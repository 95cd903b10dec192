from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace
from support.domain.scripted_judges import judges
from support.domain.story import BATCH, SECOND, Story, requested
from support.engine.until import until
from unit.provider.effects_on_demand import PARTITION, World, dispatcher, idle, indexes, new, waiting

from cj_stream.domain.batch import Batch, evolve
from cj_stream.domain.events import ContentLoaded
from cj_stream.domain.policy import Policy
from cj_stream.domain.states import BatchState
from cj_stream.domain.todo import Effect, LoadContent, PlanPairs, Publish, Score, Submit, duties, todo
from cj_stream.engine.dispatcher import PostponedError


async def test_nothing_is_started_before_a_commit_hands_the_batch_over(world: World) -> None:
    dispatch = dispatcher(world)
    dispatch.tick()
    await idle()
    assert world.started == []
    dispatch.committed(PARTITION, 1, [new()])
    await until(lambda: world.started)
    assert world.started == [LoadContent(BATCH, 1)]
    assert dispatch.in_hand == 1


async def test_an_effect_in_hand_is_not_started_twice(world: World) -> None:
    dispatch = dispatcher(world)
    batch = waiting()
    dispatch.committed(PARTITION, 1, [batch])
    await until(lambda: len(world.started) == 6)
    dispatch.tick()
    dispatch.committed(PARTITION, 2, [batch])
    await idle()
    assert indexes(world.started) == [0, 1, 2, 3, 4, 5]


async def test_an_effect_whose_report_is_not_committed_stays_in_hand(world: World) -> None:
    dispatch = dispatcher(world)
    batch = new()
    dispatch.committed(PARTITION, 0, [batch])
    await until(lambda: world.running)
    await world.finish()
    assert world.log == [ContentLoaded(batch_id=BATCH, run=1)]
    dispatch.committed(PARTITION, 0, [batch])
    dispatch.tick()
    await idle()
    assert (len(world.started), dispatch.in_hand) == (1, 1)


async def test_a_report_that_was_applied_and_committed_frees_its_effect(world: World) -> None:
    story = Story()
    story.tell(requested(4))
    dispatch = dispatcher(world)
    dispatch.committed(PARTITION, 0, [story.batch])
    await until(lambda: world.running)
    await world.finish()
    story.tell(world.log[0])
    dispatch.committed(PARTITION, 1, [story.batch])
    await until(lambda: len(world.started) == 2)
    assert world.started == [LoadContent(BATCH, 1), PlanPairs(BATCH, 1, 1)]
    assert dispatch.in_hand == 1


async def test_an_effect_that_is_still_to_be_done_after_its_report_was_committed_is_started_again(world: World) -> None:
    dispatch = dispatcher(world)
    dispatch.committed(PARTITION, 0, [new()])
    await until(lambda: world.running)
    await world.finish()
    dispatch.committed(PARTITION, 1, [])
    await until(lambda: len(world.started) == 2)
    assert world.started == [LoadContent(BATCH, 1)] * 2


async def test_commits_of_other_partitions_free_nothing(world: World) -> None:
    dispatch = dispatcher(world)
    dispatch.committed(PARTITION, 0, [new()])
    await until(lambda: world.running)
    await world.finish()
    dispatch.committed(PARTITION + 1, 100, [])
    dispatch.tick()
    await idle()
    assert len(world.started) == 1


async def test_an_effect_that_was_cancelled_is_started_again_at_the_next_tick(world: World) -> None:
    dispatch = dispatcher(world)
    dispatch.committed(PARTITION, 0, [new()])
    await until(lambda: world.running)
    world.running[LoadContent(BATCH, 1)].cancel()
    await until(lambda: dispatch.in_hand == 0)
    dispatch.tick()
    await until(lambda: len(world.started) == 2)


async def test_only_a_batch_that_changed_is_asked_what_it_has_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def counted(batch: Batch) -> list[Effect]:
        asked.append(batch.batch_id)
        return duties(batch)

    monkeypatch.setattr("cj_stream.effects.batch_work.duties", counted)
    dispatch = dispatcher(world)
    dispatch.committed(PARTITION, 0, [new("a"), new("b"), new("c")])
    await until(lambda: len(world.running) == 3)
    assert asked == ["a", "b", "c"]
    dispatch.tick()
    dispatch.committed(PARTITION, 1, [])
    assert asked == ["a", "b", "c"]
    world.running[LoadContent("b", 1)].cancel()
    await until(lambda: dispatch.in_hand == 2)
    dispatch.tick()
    assert asked == ["a", "b", "c", "b"]
    dispatch.committed(PARTITION, 2, [new("c")])
    assert asked == ["a", "b", "c", "b", "c"]


async def test_a_batch_that_rests_when_it_changes_is_looked_at_when_it_wakes(world: World) -> None:
    dispatch = dispatcher(world)
    story = Story()
    story.tell(requested(4))
    dispatch.committed(PARTITION, 0, [story.batch])
    await until(lambda: world.running)
    await world.fail(LoadContent(BATCH, 1), PostponedError("the content service is away", 0.05))
    story.carry_out(LoadContent)
    dispatch.committed(PARTITION, 0, [story.batch])
    dispatch.tick()
    await idle()
    assert world.started == [LoadContent(BATCH, 1)]
    await until(lambda: len(world.started) == 2)
    assert world.started[1] == PlanPairs(BATCH, 1, 1)


async def test_an_unforeseen_error_rests_its_batch_and_leaves_the_others_alone(world: World) -> None:
    dispatch = dispatcher(world)
    dispatch.committed(PARTITION, 0, [new("bad"), new("good")])
    await until(lambda: len(world.running) == 2)
    await world.fail(LoadContent("bad", 1), RuntimeError("a bug"))
    dispatch.tick()
    await idle()
    assert dispatch.postponed == {("bad", 1): "a bug"}
    assert Counter(effect.batch_id for effect in world.started) == {"bad": 1, "good": 1}


async def test_a_postponed_effect_rests_its_batch_says_why_and_wakes(world: World) -> None:
    dispatch = dispatcher(world)
    dispatch.committed(PARTITION, 0, [new()])
    await until(lambda: world.running)
    await world.fail(LoadContent(BATCH, 1), PostponedError("the content service is away", 0.05))
    assert dispatch.postponed == {(BATCH, 1): "the content service is away"}
    dispatch.tick()
    await idle()
    assert (len(world.started), dispatch.in_hand) == (1, 0)
    await until(lambda: len(world.started) == 2)
    await world.finish()
    assert dispatch.postponed == {}


async def test_an_outcome_that_waits_for_its_topic_is_told_although_another_one_went_out(world: World) -> None:
    story = Story()
    story.tell(requested(3))
    story.play(judges)
    batch = evolve(story.batch, [replace(story.batch.control, published=())])
    dispatch = dispatcher(world)
    dispatch.committed(PARTITION, 0, [batch])
    completed, result = todo(batch)
    await until(lambda: len(world.running) == 2)
    await world.fail(result, PostponedError("the topic takes no records now", 0.05))
    await world.finish(completed)
    assert dispatch.postponed == {(BATCH, 1): "the topic takes no records now"}
    await until(lambda: result in world.running)
    await world.finish(result)
    assert dispatch.postponed == {}


async def test_what_postponed_work_that_nobody_wants_any_more_is_told_no_longer(world: World) -> None:
    dispatch = dispatcher(world)
    batch = waiting()
    dispatch.committed(PARTITION, 0, [batch])
    await until(lambda: world.running)
    await world.fail(Submit(BATCH, 1, 0, 1), PostponedError("busy", 0.05))
    ended = evolve(batch, [replace(batch.control, state=BatchState.FAILED, finished_at=1.0)])
    dispatch.committed(PARTITION, 1, [ended])
    assert dispatch.postponed
    await until(lambda: not dispatch.postponed)


async def test_a_batch_that_rests_submits_nothing_until_it_wakes(world: World) -> None:
    dispatch = dispatcher(world, workers=2)
    dispatch.committed(PARTITION, 0, [waiting()])
    await until(lambda: len(world.running) == 2)
    await world.fail(Submit(BATCH, 1, 0, 1), PostponedError("busy", 0.05))
    await world.finish()
    assert indexes(world.started) == [0, 1]
    await until(lambda: len(world.started) == 4)
    assert indexes(world.started) == [0, 1, 0, 2]


async def test_submissions_under_way_never_exceed_the_workers(world: World) -> None:
    dispatch = dispatcher(world, workers=4)
    dispatch.committed(PARTITION, 0, [waiting(12, "a"), waiting(12, "b"), new("c")])
    while len(world.log) < 49:
        await until(lambda: world.running)
        assert sum(isinstance(effect, Submit) for effect in world.running) <= 4
        await world.finish(next(iter(world.running)))
    assert world.most == 5, "four submissions, and the texts of a batch that need no worker of the pool"
    assert len(set(world.started)) == len(world.started) == 49


async def test_a_batch_has_no_more_comparisons_in_flight_than_its_policy_allows(world: World) -> None:
    dispatch = dispatcher(world)
    dispatch.committed(PARTITION, 0, [waiting(12, policy=Policy(max_concurrent_comparisons=5))])
    await until(lambda: world.running)
    await world.finish()
    assert indexes(world.started) == [0, 1, 2, 3, 4]


async def test_a_retry_waits_for_what_was_started_before_it_when_the_limit_is_reached(world: World) -> None:
    story = Story(Policy(max_concurrent_comparisons=2, retry_pool_size=2))
    story.start(4)
    dispatch = dispatcher(world)
    dispatch.committed(PARTITION, 0, [story.batch])
    await idle()
    story.tell(story.error(0))
    dispatch.committed(PARTITION, 0, [story.batch])
    await idle()
    assert indexes(world.started) == [0, 1, 2]
    story.tell(story.error(1))
    assert [(effect.index, effect.attempt) for effect in story.submissions()] == [(0, 2), (1, 2)]
    dispatch.committed(PARTITION, 0, [story.batch])
    await idle()
    assert indexes(world.started) == [0, 1, 2, 0]


async def test_batches_take_turns_in_portions_of_one_matching(world: World) -> None:
    dispatch = dispatcher(world, workers=1)
    dispatch.committed(PARTITION, 0, [waiting(12, "large"), waiting(4, "small")])
    while len(world.log) < 30:
        await until(lambda: world.running)
        await world.finish()
    order = "".join(effect.batch_id[0] for effect in world.started)
    assert order[:12] == "ls" * 6, "one worker: a portion is one submission, so the small one is not kept waiting"


async def test_a_portion_is_one_submission_for_every_second_essay(world: World) -> None:
    dispatch = dispatcher(world, workers=9)
    dispatch.committed(PARTITION, 0, [waiting(12, "large"), waiting(4, "small")])
    await until(lambda: len(world.running) == 9)
    portions = "".join(effect.batch_id[0] for effect in world.started)
    assert portions == "llllll" + "ss" + "l"


async def test_a_finished_batch_is_forgotten(world: World) -> None:
    story = Story()
    story.tell(requested(1))
    dispatch = dispatcher(world)
    dispatch.committed(PARTITION, 0, [story.batch])
    await until(lambda: world.running)
    story.finish()
    dispatch.committed(PARTITION, 0, [story.batch])
    await world.finish()
    dispatch.committed(PARTITION, 1, [])
    dispatch.tick()
    await idle()
    assert (len(world.started), dispatch.in_hand) == (1, 0)


async def test_all_that_is_not_a_submission_is_started_at_once(world: World) -> None:
    story = Story()
    story.start(3)
    for index in range(3):
        story.tell(story.verdict(index))
    scoring = story.batch
    story.tell(requested(3, SECOND, content="other"))
    dispatch = dispatcher(world, workers=1)
    dispatch.committed(PARTITION, 0, [story.batch])
    await until(lambda: len(world.started) == 2)
    assert {type(effect) for effect in world.started} == {Publish, Score}
    assert scoring.control.scoring_round == 1
