from __future__ import annotations

import asyncio

import pytest

from cj_stream.cli.shared import output
from cj_stream.cli.shared.output import telling_when_slow


@pytest.mark.parametrize(("seconds", "told"), [(0.0, "No answer yet from Kafka: waiting for it.\n"), (60.0, "")])
async def test_who_is_waited_for_is_said_once_the_wait_is_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seconds: float, told: str
) -> None:
    monkeypatch.setattr(output, "SLOW_SECONDS", seconds)
    with telling_when_slow("Kafka"):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)
    assert capsys.readouterr().err == told
