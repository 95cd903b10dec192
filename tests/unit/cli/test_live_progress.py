from __future__ import annotations

import io

import pytest
from rich.console import Console
from unit.cli.fake_views import FakeViews, detail, explanation

from cj_stream.cli.batches import live_progress
from cj_stream.cli.batches.live_progress import show_until_ended
from cj_stream.cli.shared.views_client import ViewError, ViewsClient

UNKNOWN = (404, {"error": {"code": "unknown_batch", "message": "There is no batch 'b1'."}})
DONE = detail(
    state="COMPLETED",
    completed_comparisons=20,
    reliability=0.914,
    stop_reason="reliability_reached",
    current_iteration=2,
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_progress, "POLL_SECONDS", 0.01)


async def shown(views: FakeViews, *batch_ids: str, terminal: bool = False, patience: float = 5.0) -> str:
    """Watch until the end and return what was printed."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    async with ViewsClient([views.url]) as client:
        await show_until_ended(client, batch_ids, console, patience=patience)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def test_without_a_terminal_every_change_is_one_line_and_no_control_sequence(views: FakeViews) -> None:
    views.answer("/batches/b1", (200, detail()), (200, detail()), (200, detail(completed_comparisons=9)), (200, DONE))
    views.answer("/batches/b1/explain", (200, explanation()))
    output = await shown(views, "b1")
    first, last = output.splitlines()
    assert first == "b1: WAITING_CALLBACKS, iteration 1, 7 verdicts of at most 40, reliability -"
    assert last.endswith("reliability 0.91: reliability_reached")
    assert "\x1b" not in output


async def test_in_a_terminal_a_bar_shows_state_verdicts_and_what_is_waited_for(views: FakeViews) -> None:
    views.answer("/batches/b1", (200, detail()), (200, DONE))
    views.answer("/batches/b1/explain", (200, explanation()))
    output = await shown(views, "b1", terminal=True)
    assert "7/40 verdicts" in output
    assert "3 callbacks are awaited." in output
    assert "20/20 verdicts" in output


async def test_a_batch_that_was_just_requested_is_waited_for(views: FakeViews) -> None:
    views.answer("/batches/b1", UNKNOWN, UNKNOWN, (200, DONE))
    assert "COMPLETED" in await shown(views, "b1")


async def test_a_batch_that_never_appears_is_given_up(views: FakeViews) -> None:
    views.answer("/batches/b1", UNKNOWN)
    with pytest.raises(ViewError, match="There is no batch"):
        await shown(views, "b1", patience=0.05)


async def test_a_worker_that_is_away_for_a_moment_does_not_end_the_watch(views: FakeViews) -> None:
    views.answer("/batches/b1", (200, detail()), (500, "restarting"), (200, DONE))
    views.answer("/batches/b1/explain", (200, explanation()))
    assert "COMPLETED" in await shown(views, "b1")


async def test_several_batches_are_watched_until_the_last_has_ended(views: FakeViews) -> None:
    views.answer("/batches/b1", (200, DONE))
    views.answer("/batches/b2", (200, detail("b2")), (200, detail("b2", state="FAILED", failure="low_success_rate")))
    views.answer("/batches/b2/explain", (200, explanation("b2")))
    output = await shown(views, "b1", "b2")
    assert output.splitlines()[-1].startswith("b2: FAILED")
    assert output.splitlines()[-1].endswith("low_success_rate")
    assert sum(path == "/batches/b1" for _, path in views.asked) == 1


async def test_a_hostile_id_neither_draws_nor_commands_the_terminal(views: FakeViews) -> None:
    hostile = "\x1b]0;owned\x07[bold]x"
    views.answer("/batches/%1B%5D0%3Bowned%07%5Bbold%5Dx", (200, DONE | {"batch_id": hostile}))
    output = await shown(views, hostile)
    assert "\x1b" not in output
    assert "[bold]x: COMPLETED" in output
