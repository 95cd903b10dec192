"""What a worker does with partitions that are taken away, in this order."""

from __future__ import annotations

from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from cj_stream.operations.settings import Settings
from cj_stream.worker import build_worker


class EndedError(Exception):
    """The process has ended."""


class Revoking:
    """A worker that serves two partitions, and notes what is asked of its parts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[tuple[str, set[int]]] = []
        self.acknowledged = True
        self.cut_off = 0
        self.app = build_worker(Settings())
        self.worker = self.app.service
        self.worker.log.homes.update({partition: cast("Any", None) for partition in (0, 3)})
        self.worker.batches.partitions.update({partition: cast("Any", None) for partition in (0, 3)})

        async def finished(partitions: set[int], _patience: float) -> int:
            self.steps.append(("finished", set(partitions)))
            return self.cut_off

        async def closed(_patience: float) -> int:
            return self.cut_off

        async def settled(_patience: float) -> bool:
            self.steps.append(("settled", set(self.worker.batches.partitions)))
            return self.acknowledged

        def end(why: str) -> None:
            raise EndedError(why)

        engine = self.app.engine
        monkeypatch.setattr(engine.opener, "revoked", lambda: self.steps.append(("closed", set())))
        monkeypatch.setattr(engine.releases, "drop", self._noting("held"))
        monkeypatch.setattr(self.worker.dispatcher, "drop", finished)
        monkeypatch.setattr(self.worker.dispatcher, "close", closed)
        monkeypatch.setattr(engine.sender, "settled", settled)
        monkeypatch.setattr(self.worker.windows, "drop", self._noting("wheels"))
        monkeypatch.setattr("cj_stream.engine.app.end_process", end)

    def _noting(self, what: str) -> Any:
        return lambda partitions: self.steps.append((what, set(partitions)))


@pytest.fixture
async def revoking(monkeypatch: pytest.MonkeyPatch) -> Revoking:
    return Revoking(monkeypatch)


async def test_all_that_is_served_is_given_up_also_what_a_broken_off_assignment_left_behind(revoking: Revoking) -> None:
    await revoking.app.revoked({0})
    all_of_them = {0, 3}
    assert revoking.steps == [
        ("closed", set()),
        ("held", all_of_them),
        ("finished", all_of_them),
        ("settled", all_of_them),
        ("wheels", all_of_them),
    ]
    assert revoking.worker.batches.partitions == {}


async def test_the_process_ends_when_something_is_not_acknowledged_in_time(revoking: Revoking) -> None:
    """Or it could come to lie behind the next owner's marker."""
    revoking.acknowledged = False
    with pytest.raises(EndedError, match="not acknowledged before the partitions had to be given up"):
        await revoking.app.revoked({0, 3})


@pytest.mark.parametrize(("turn", "waited"), [("revoked", 5.0), ("before_stop", 10.0)])
async def test_what_is_cut_off_is_told_with_the_setting_that_gives_it_longer(
    revoking: Revoking, turn: str, waited: float
) -> None:
    async def happen() -> None:
        await (revoking.app.revoked({0, 3}) if turn == "revoked" else revoking.app.before_stop())

    with capture_logs() as told:
        await happen()
    assert not told
    revoking.cut_off = 2
    with capture_logs() as told:
        await happen()
    (line,) = told
    assert "may be carried out twice" in line["event"]
    assert (line["effects"], line["waited_seconds"], line["setting"]) == (2, waited, "CJ_SESSION_TIMEOUT_SECONDS")
