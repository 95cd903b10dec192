from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from fleet import SAFE_EXIT, Fleet

from cj_stream.operations.settings import Settings
from cj_stream.streaming.process import NOT_CONFIGURED

pytestmark = pytest.mark.kafka

QUICK_SECONDS = 20.0
"""Far below the limits of a stop (60 s) and of a rebalance (60 s), which a crash must not run into."""


async def test_each_end_has_a_code_that_is_named_and_says_what_it_is_about(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port in use, a session longer than the broker takes, and a crash in the consumer's thread."""
    async with Fleet(settings, tmp_path) as fleet:
        unlucky, patient, crashing = fleet.worker(), fleet.worker(session_timeout_seconds=2000), fleet.worker()
        with socket.create_server(("127.0.0.1", int(unlucky.url.rpartition(":")[2]))) as server:
            monkeypatch.setenv("CJ_WEBPORT", "1")
            unlucky.start(may_end=True)
            patient.start(may_end=True)
            monkeypatch.delenv("CJ_WEBPORT")
            assert await fleet.ended(unlucky) == NOT_CONFIGURED
            assert f"listens on port {server.getsockname()[1]} of 127.0.0.1: end it, or set CJ_WEB_PORT" in unlucky.log
            assert "CJ_WEBPORT is no setting and changes nothing: did you mean CJ_WEB_PORT?" in unlucky.log
        assert await fleet.ended(patient) == NOT_CONFIGURED
        assert "CJ_SESSION_TIMEOUT_SECONDS=2000" in patient.log

        crashing.app = "broken_app"
        monkeypatch.setenv("BROKEN", "crashes")
        crashing.start(may_end=True)
        await fleet.until(lambda: "a mistake in the consumer's thread" in crashing.log, "it crashes")
        crashed_at = time.monotonic()
        assert await fleet.ended(crashing) == SAFE_EXIT
        assert time.monotonic() - crashed_at < QUICK_SECONDS
        assert "Traceback" in crashing.log
        assert "worker ends itself" in crashing.log
