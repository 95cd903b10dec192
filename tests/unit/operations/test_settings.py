from __future__ import annotations

import pytest
from pydantic import ValidationError

from cj_stream.operations.settings import Settings
from cj_stream.operations.topic_registry import registry
from cj_stream.worker import own_input


def test_heartbeats_too_slow_for_their_session_are_refused_by_name() -> None:
    with pytest.raises(ValidationError, match=r"CJ_HEARTBEAT_SECONDS.*CJ_SESSION_TIMEOUT_SECONDS"):
        Settings(session_timeout_seconds=10, heartbeat_seconds=2.6)
    assert Settings(session_timeout_seconds=10, heartbeat_seconds=2.5).heartbeat_seconds == 2.5


@pytest.mark.parametrize("name", ["", "two words", "a/b", "x" * 101])
def test_a_worker_id_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="worker_id"):
        Settings(worker_id=name)


def test_every_setting_of_a_topic_has_its_place_in_the_registry() -> None:
    settings = Settings()
    registered = {spec.name for spec in registry(settings)}
    named = {getattr(settings, name) for name in Settings.model_fields if name.endswith("_topic")}
    assert named <= registered, "a topic that is in no registry is neither created nor checked"


def test_the_input_that_nobody_else_may_read_is_named_by_settings_that_exist() -> None:
    own = own_input(Settings())
    names = [name.removeprefix("CJ_").lower() for name in own.settings.split(", ")]
    assert [getattr(Settings(), name) for name in names] == list(own.topics)
