from __future__ import annotations

import itertools
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from cj_stream.engine import start_check
from cj_stream.engine.overrides import codecs
from cj_stream.engine.provisioning import ProvisioningError
from cj_stream.operations.settings import Settings


class Broker:
    """Gives these answers about the topics, one at a time."""

    def __init__(self, *answers: list[str] | None) -> None:
        self.answers = list(answers)

    async def topic_problems(self, _bootstrap: str, _specs: Any) -> list[str]:
        answer = self.answers.pop(0)
        if answer is None:
            raise ProvisioningError("no Kafka answers")
        return answer


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []

    def refuse(problems: Sequence[str]) -> None:
        found.extend(problems)

    monkeypatch.setattr(start_check, "refuse_to_start", refuse)
    monkeypatch.setattr(start_check, "PAUSE_SECONDS", 0.0)
    return found


async def test_a_worker_waits_for_kafka_and_says_so_now_and_then(
    refused: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker(*[None] * 11, [])
    seconds = itertools.count(step=3)
    monkeypatch.setattr(start_check, "topic_problems", broker.topic_problems)
    monkeypatch.setattr(start_check, "monotonic", lambda: next(seconds))
    with capture_logs() as logs:
        await start_check.check_topics(Settings(kafka_bootstrap="127.0.0.1:1, no-such-host.invalid:9092"), [])
    assert broker.answers == []
    assert [entry["why"] for entry in logs] == ["no Kafka answers"] * 2
    assert refused == []
    assert "127.0.0.1:1: " in logs[0]["found"]
    assert "no-such-host.invalid:9092: " in logs[0]["found"]


async def test_what_takes_connections_and_is_no_kafka_is_told(
    refused: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_check, "topic_problems", Broker(None, []).topic_problems)
    with socket.create_server(("127.0.0.1", 0)) as server, capture_logs() as logs:
        await start_check.check_topics(Settings(kafka_bootstrap=f"127.0.0.1:{server.getsockname()[1]}"), [])
    assert "takes connections, but does not answer as Kafka without TLS does" in logs[0]["found"]
    assert refused == []


async def test_a_wrong_topic_keeps_the_worker_from_starting_also_after_a_wait(
    refused: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_check, "topic_problems", Broker(None, ["a topic is missing"]).topic_problems)
    await start_check.check_topics(Settings(), [])
    assert refused == ["a topic is missing"]


def test_a_codec_that_cannot_be_read_keeps_the_worker_from_starting(
    refused: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_check.check_codecs()
    assert refused == []
    monkeypatch.setattr(codecs, "find_spec", lambda _name: None)
    start_check.check_codecs()
    assert len(refused) == 3
