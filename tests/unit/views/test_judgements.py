"""Where a batch finds the verdicts that it wants to take over."""

from __future__ import annotations

import pytest
from support.domain.scripted_judges import judges
from support.domain.story import BATCH, Story, requested
from unit.views.served_views import Serve, Served

from cj_stream.domain.batch import Batch
from cj_stream.domain.reuse import judgements_of
from cj_stream.engine.dispatcher import PostponedError
from cj_stream.engine.partitioning import home_partition

HOME = home_partition(BATCH, 8)


@pytest.fixture
def story() -> Story:
    story = Story()
    story.start(4)
    story.play(judges)
    return story


@pytest.fixture
async def owner(serve: Serve, story: Story) -> Served:
    served = await serve()
    served.open(HOME, story)
    return served


def asking(source: str) -> Batch:
    """A batch that wants the verdicts of another."""
    story = Story()
    story.tell(requested(4, batch_id="asks", reuse_judgements=source))
    return next(iter(story.batches))


async def test_the_worker_that_has_the_batch_finds_them_in_its_table(owner: Served, story: Story) -> None:
    found = await owner.worker.judgements.find(asking(BATCH))
    assert found == judgements_of(story.batch)
    assert len(found.verdicts) == 6


async def test_another_worker_asks_the_one_that_has_it(serve: Serve, owner: Served, story: Story) -> None:
    other = await serve()
    other.knows({owner.url: [HOME], other.url: []})
    assert await other.worker.judgements.find(asking(BATCH)) == judgements_of(story.batch)


async def test_a_batch_that_nobody_knows_has_none(serve: Serve, owner: Served) -> None:
    unknown = next(name for number in range(99) if home_partition(name := f"b{number}", 8) == HOME)
    other = await serve()
    other.knows({owner.url: [HOME], other.url: []})
    assert await owner.worker.judgements.find(asking(unknown)) is None
    assert await other.worker.judgements.find(asking(unknown)) is None


async def test_a_worker_that_does_not_answer_is_waited_for(serve: Serve) -> None:
    other = await serve()
    with pytest.raises(PostponedError, match=BATCH):
        await other.worker.judgements.find(asking(BATCH))
    other.knows({"http://127.0.0.1:9": [HOME]})
    with pytest.raises(PostponedError, match=BATCH):
        await other.worker.judgements.find(asking(BATCH))


async def test_a_new_run_of_a_batch_takes_those_of_the_run_before(owner: Served, story: Story) -> None:
    before = judgements_of(story.batch)
    story.tell(requested(4, correlation_id="c2", reuse_judgements=BATCH))
    assert story.batch.run == 2
    assert await owner.worker.judgements.find(story.batch) == before


async def test_texts_are_told_by_their_hashes_only(owner: Served) -> None:
    status, answer = await owner.ask(f"/batches/{BATCH}/judgements")
    assert status == 200
    assert set(answer["judgements"]) == {"question_sha256", "verdicts", "provider", "model"}
