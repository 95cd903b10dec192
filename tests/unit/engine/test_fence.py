from __future__ import annotations

import pytest
from support.engine.fake_producer import ProcessEndedError, no_exit

from cj_stream.engine import fence as fence_module
from cj_stream.engine.fence import Fence


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(fence_module, "now", clock)
    return clock


def test_a_worker_in_touch_with_its_group_goes_on(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = no_exit(monkeypatch, "fence")
    fence = Fence(session_timeout=10)
    for _ in range(5):
        clock.now += 4.9
        fence.check()
        fence.contact(clock())
        assert fence.silence == 0
    assert reasons == []


def test_after_half_a_session_of_silence_the_process_ends(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = no_exit(monkeypatch, "fence")
    fence = Fence(session_timeout=10)
    clock.now += 5.1
    assert fence.silence == pytest.approx(5.1)
    with pytest.raises(ProcessEndedError):
        fence.check()
    assert len(reasons) == 1


def test_the_clock_counts_the_time_that_a_machine_was_suspended() -> None:
    """On Linux; where there is no such clock the monotonic one has to do."""
    assert Fence(10).silence == pytest.approx(0, abs=1)
    assert fence_module.now() > 0
