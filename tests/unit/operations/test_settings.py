from __future__ import annotations

import pytest
from pydantic import ValidationError

from cj_stream.operations.settings import Settings


def test_heartbeats_too_slow_for_their_session_are_refused_by_name() -> None:
    with pytest.raises(ValidationError, match=r"CJ_HEARTBEAT_SECONDS.*CJ_SESSION_TIMEOUT_SECONDS"):
        Settings(session_timeout_seconds=10, heartbeat_seconds=2.6)
    assert Settings(session_timeout_seconds=10, heartbeat_seconds=2.5).heartbeat_seconds == 2.5


@pytest.mark.parametrize("name", ["", "two words", "a/b", "x" * 101])
def test_a_worker_id_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="worker_id"):
        Settings(worker_id=name)
