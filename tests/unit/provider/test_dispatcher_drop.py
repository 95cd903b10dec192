from __future__ import annotations

import asyncio

from support.domain.story import BATCH, Story, requested
from support.engine.until import until
from unit.provider.effects_on_demand import LONG, PARTITION, World, dispatcher, idle, indexes, new, waiting

from cj_stream.domain.todo import LoadContent, Submit


async def test_drop_waits_for_what_is_under_way_and_starts_nothing_more(world: World) -> None:
    dispatch = dispatcher(world, workers=2)
    dispatch.committed(PARTITION, 0, [waiting()])
    dispatch.committed(PARTITION + 1, 0, [new("other")])
    await until(lambda: len(world.running) == 3)
    dropping = asyncio.ensure_future(dispatch.drop({PARTITION}, LONG))
    await idle()
    assert not dropping.done()
    await world.finish(Submit(BATCH, 1, 0, 1), Submit(BATCH, 1, 1, 1))
    assert await dropping == 0
    dispatch.tick()
    await idle()
    assert indexes(world.started) == [0, 1]
    assert (dispatch.in_hand, list(world.running)) == (1, [LoadContent("other", 1)])


async def test_drop_cancels_and_counts_what_takes_too_long(world: World) -> None:
    dispatch = dispatcher(world, workers=2)
    dispatch.committed(PARTITION, 0, [waiting()])
    await until(lambda: len(world.running) == 2)
    assert await dispatch.drop({PARTITION}, 0.01) == 2
    await until(lambda: not world.running)
    assert sorted(indexes(world.cancelled)) == [0, 1]
    assert dispatch.in_hand == 0


async def test_a_partition_that_comes_back_starts_afresh_and_keeps_what_it_started(world: World) -> None:
    dispatch = dispatcher(world)
    batch = waiting()
    dispatch.committed(PARTITION, 0, [batch])
    await until(lambda: len(world.running) == 6)
    await dispatch.drop({PARTITION}, 0.01)
    dispatch.committed(PARTITION, 0, [batch])
    await until(lambda: len(world.cancelled) == 6 and len(world.started) == 12)
    await idle()
    dispatch.tick()
    await idle()
    assert indexes(world.started) == [*range(6), *range(6)]
    assert dispatch.in_hand == 6


async def test_close_starts_nothing_more_and_waits_for_everything_under_way(world: World) -> None:
    dispatch = dispatcher(world, workers=2)
    dispatch.committed(PARTITION, 0, [waiting()])
    await until(lambda: len(world.running) == 2)
    closing = asyncio.ensure_future(dispatch.close(LONG))
    await idle()
    dispatch.committed(PARTITION, 0, [new("late")])
    dispatch.tick()
    await world.finish()
    assert await closing == 0
    assert indexes(world.started) == [0, 1]
    assert len(world.started) == 2


async def test_close_counts_what_takes_too_long(world: World) -> None:
    dispatch = dispatcher(world, workers=2)
    dispatch.committed(PARTITION, 0, [waiting()])
    await until(lambda: len(world.running) == 2)
    assert await dispatch.close(0.01) == 2


async def test_close_also_waits_for_work_of_batches_that_are_over(world: World) -> None:
    story = Story()
    story.tell(requested(1))
    dispatch = dispatcher(world)
    dispatch.committed(PARTITION, 0, [story.batch])
    await until(lambda: world.running)
    dispatch.committed(PARTITION, 0, [story.finish()])
    closing = asyncio.ensure_future(dispatch.close(LONG))
    await idle()
    assert not closing.done()
    await world.finish()
    await closing
