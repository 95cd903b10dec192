from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import faust
import pytest

from cj_stream.engine.overrides.faust_app import HardenedApp


class Stopping(HardenedApp):
    """An app at the end of its stop: all that Faust does is done."""

    def __init__(self, *, acknowledged: bool, interrupted: bool, silence: float = 1.0) -> None:
        self.steps: list[Any] = []
        sender = SimpleNamespace(settled=self._settled, interrupted=interrupted)
        watchdog = SimpleNamespace(stopping=lambda: self.steps.append("only the stop is watched"))
        self.acknowledged = acknowledged
        store = SimpleNamespace(close=lambda *, clean: self.steps.append(clean))
        self.engine: Any = SimpleNamespace(
            local_store=store, sender=sender, watchdog=watchdog, fence=SimpleNamespace(silence=silence, session=10.0)
        )
        self.life: Any = SimpleNamespace(before_stop=self._before_stop, after_stop=self._after_stop)

    async def _settled(self, _patience: float) -> bool:
        self.steps.append("settled")
        return self.acknowledged

    async def _before_stop(self) -> None:
        self.steps.append("finished")

    async def _after_stop(self) -> None:
        self.steps.append("closed")


@pytest.fixture(autouse=True)
def _stopped_faust(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stopped(app: Stopping) -> None:
        app.steps.append("stopped")

    monkeypatch.setattr(faust.App, "on_stop", stopped)


@pytest.mark.parametrize(
    ("acknowledged", "interrupted", "clean"), [(True, False, True), (False, False, False), (True, True, False)]
)
async def test_the_local_store_is_trusted_only_if_all_in_it_is_acknowledged_and_nothing_went_wrong(
    *, acknowledged: bool, interrupted: bool, clean: bool
) -> None:
    app = Stopping(acknowledged=acknowledged, interrupted=interrupted)
    await app.on_stop()
    assert app.steps == ["stopped", "settled", "closed", clean]


async def test_the_local_store_of_a_worker_that_was_frozen_for_a_session_is_not_trusted() -> None:
    app = Stopping(acknowledged=True, interrupted=False, silence=10.5)
    await app.on_stop()
    assert app.steps[-1] is False


async def test_what_is_under_way_is_finished_before_anything_stops_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stops(app: Stopping) -> None:
        app.steps.append("stops")

    monkeypatch.setattr(faust.App, "stop", stops)
    app = Stopping(acknowledged=True, interrupted=False)
    await app.stop()
    assert app.steps == ["only the stop is watched", "finished", "stops"]
    await app.stop()
    assert app.steps[3:] == ["stops"]
