from __future__ import annotations

import pytest
from support.domain.scripted_judges import judges
from support.domain.story import BATCH, Story, requested
from unit.views.served_views import Serve, Served

from cj_stream.domain.events import Action, OperatorCommand
from cj_stream.engine.partitioning import home_partition
from cj_stream.views import batch_pages

HOME = home_partition(BATCH, 8)


@pytest.fixture
def story() -> Story:
    story = Story()
    story.start(6)
    return story


@pytest.fixture
async def worker(serve: Serve, story: Story) -> Served:
    served = await serve()
    served.open(HOME, story)
    return served


async def test_a_command_becomes_an_event_in_the_home_partition(worker: Served) -> None:
    answer = await worker.command(f"/batches/{BATCH}/cancel", data=b'{"reason": "sent by mistake"}')
    assert answer == (202, {"accepted": "cancel", "batch_id": BATCH})
    assert worker.commands == [
        (HOME, OperatorCommand(batch_id=BATCH, action=Action.CANCEL, reason="sent by mistake")),
    ]


async def test_a_command_needs_no_reason(worker: Served, story: Story) -> None:
    story.tell(story.verdict(0))
    assert (await worker.command(f"/batches/{BATCH}/finalize"))[0] == 202
    assert worker.commands[0][1] == OperatorCommand(batch_id=BATCH, action=Action.FINALIZE)


async def test_a_command_that_would_do_nothing_is_refused_with_the_reason(worker: Served) -> None:
    status, found = await worker.command(f"/batches/{BATCH}/retry")
    assert (status, found["error"]["code"]) == (409, "no_effect")
    assert "has no failed comparison to retry" in found["error"]["message"]
    assert worker.commands == []


async def test_an_unknown_batch_is_404(worker: Served) -> None:
    unknown = next(f"nobody-{i}" for i in range(100) if home_partition(f"nobody-{i}", 8) == HOME)
    assert (await worker.command(f"/batches/{unknown}/cancel"))[0] == 404
    assert worker.commands == []


async def test_without_the_token_nothing_happens(worker: Served) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        status, found = await worker.ask(f"/batches/{BATCH}/cancel", "POST", headers=headers)
        assert (status, found["error"]["code"]) == (401, "wrong_token")
    assert worker.commands == []


async def test_commands_are_off_on_a_worker_without_a_token(serve: Serve, story: Story) -> None:
    worker = await serve(operator_token=None)
    worker.open(HOME, story)
    status, found = await worker.command(f"/batches/{BATCH}/cancel")
    assert status == 403
    assert "CJ_OPERATOR_TOKEN" in found["error"]["message"]
    assert worker.commands == []


async def test_a_bad_body_is_refused(worker: Served) -> None:
    status, found = await worker.command(f"/batches/{BATCH}/cancel", data=b"because")
    assert (status, found["error"]["code"]) == (400, "bad_body")
    assert worker.commands == []


async def test_a_command_the_broker_is_slow_with_is_not_taken_back(
    worker: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_pages, "ACKNOWLEDGE_SECONDS", 0.01)
    worker.acknowledges = False

    status, found = await worker.command(f"/batches/{BATCH}/cancel")

    assert (status, found["error"]["code"]) == (503, "not_acknowledged")
    assert not worker.sent[0].cancelled(), "commits wait for it: cancelled, it would end the worker"


async def test_a_batch_is_forgotten_run_by_run_and_its_texts_leave_the_memory(serve: Serve, story: Story) -> None:
    story.play(judges)
    story.tell(requested(6, content="other"))
    story.play(judges)
    worker = await serve()
    worker.open(HOME, story)
    worker.worker.content._cache.put("storage-0", "An essay.")

    answer = await worker.command(f"/batches/{BATCH}/forget", data=b'{"reason": "asked for"}')

    assert answer == (202, {"accepted": "forget", "batch_id": BATCH})
    assert (
        worker.commands
        == [
            (HOME, OperatorCommand(batch_id=BATCH, action=Action.FORGET, reason="asked for")),
        ]
        * 2
    )
    assert len(worker.worker.content._cache) == 0


async def test_a_live_batch_is_not_forgotten(worker: Served) -> None:
    status, found = await worker.command(f"/batches/{BATCH}/forget")
    assert (status, found["error"]["code"]) == (409, "no_effect")
    assert "cancel it" in found["error"]["message"]
    assert worker.commands == []
