from __future__ import annotations

import socket
from pathlib import Path

import pytest
from support.installation.fleet import PATIENCE, SAFE_EXIT, Fleet

from cj_stream.engine.process import NOT_CONFIGURED
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka


async def test_each_end_has_a_code_that_is_named_and_says_what_it_is_about(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port in use, a session longer than the broker takes, and a crash in the consumer's thread."""
    monkeypatch.setenv("CJ_WEBPORT", "1")
    monkeypatch.setenv("BROKEN", "crashes")
    async with Fleet(settings, tmp_path) as fleet:
        unlucky, patient, crashing = fleet.worker(), fleet.worker(session_timeout_seconds=2000), fleet.worker()
        crashing.app = "support.apps.broken_app"
        with socket.create_server(("127.0.0.1", int(unlucky.url.rpartition(":")[2]))) as server:
            for worker in (unlucky, patient, crashing):
                worker.start(may_end=True)
            assert await fleet.ended(unlucky) == NOT_CONFIGURED
            assert f"listens on port {server.getsockname()[1]} of 127.0.0.1: end it, or set CJ_WEB_PORT" in unlucky.log
        assert "CJ_WEBPORT is no setting and changes nothing: did you mean CJ_WEB_PORT?" in unlucky.log
        assert await fleet.ended(patient) == NOT_CONFIGURED
        assert "CJ_SESSION_TIMEOUT_SECONDS=2000" in patient.log
        # Sooner than the limit of a stop, which a crash must not run into: nobody waits that long for it here.
        assert settings.stop_seconds > PATIENCE
        assert await fleet.ended(crashing) == SAFE_EXIT
        assert "a mistake in the consumer's thread" in crashing.log
        assert "Traceback" in crashing.log
        assert "worker ends itself" in crashing.log
