from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import Any, Self

import pytest
from aiohttp import ClientError, ClientSession
from aiohttp.test_utils import unused_port
from aiokafka.errors import KafkaConnectionError
from click.testing import CliRunner

from cj_stream.cli.local.gateway import gateway
from cj_stream.gateway import run
from cj_stream.gateway.desk import Latency
from cj_stream.gateway.run import GatewayConfig, serve
from cj_stream.gateway.specs import read_benches


class FakePublisher:
    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    async def __aenter__(self) -> Self:
        if self.bootstrap == "nowhere:9092":
            raise KafkaConnectionError("nobody there")
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def publish(self, topic: str, value: bytes) -> None:
        raise AssertionError(topic, value)


@pytest.fixture(autouse=True)
def _no_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "KafkaPublisher", FakePublisher)


def config(port: int) -> GatewayConfig:
    latency = Latency(median_seconds=3600)
    return GatewayConfig("127.0.0.1", port, "localhost:9092", ["callbacks"], read_benches([], seed=0), latency)


async def health(port: int) -> Any:
    """Return the gateway's answer as soon as it listens."""
    async with asyncio.timeout(5), ClientSession() as http:
        while True:
            try:
                async with http.get(f"http://127.0.0.1:{port}/healthz") as response:
                    return await response.json()
            except ClientError:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_gateway_at_once_whatever_is_pending(number: signal.Signals) -> None:
    port = unused_port()
    serving = asyncio.create_task(serve(config(port)))
    assert (await health(port))["status"] == "ok"
    body = {
        "user_prompt": "Which is better?",
        "callback_topic": "callbacks",
        "llm_config_overrides": {"provider_override": "mock"},
        "metadata": {"essay_a_id": "a", "essay_b_id": "b"},
    }
    async with ClientSession() as http:
        response = await http.post(f"http://127.0.0.1:{port}/comparison", json=body)
        assert response.status == 202
        assert (await health(port))["pending"] == 1
        os.kill(os.getpid(), number)
        await asyncio.wait_for(serving, timeout=3)


def test_a_wrong_judge_is_refused_before_anything_starts() -> None:
    result = CliRunner().invoke(gateway, ["--judge", "x=oracle"])
    assert result.exit_code != 0
    assert "unknown kind 'oracle'" in result.output


def test_without_a_broker_it_says_so() -> None:
    result = CliRunner().invoke(gateway, ["--bootstrap", "nowhere:9092"])
    assert result.exit_code == 1
    assert "no Kafka broker at nowhere:9092" in result.output


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(gateway, ["--port", str(port)])
    assert result.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in result.output


def test_the_help_shows_an_example() -> None:
    result = CliRunner().invoke(gateway, ["--help"])
    assert result.exit_code == 0
    assert "cj-stream gateway --judge vehicles=replay:" in result.output
