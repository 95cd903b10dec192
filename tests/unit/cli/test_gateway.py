"""``cj-stream gateway``: its options become settings, and what is wrong is told before anything is started."""

from __future__ import annotations

import os
from typing import Any

import pytest
from support.installation.command_runs import run_command

from cj_stream.cli.local import gateway as module


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The settings with which gateways were started, with the topics there."""
    found: list[dict[str, str]] = []

    async def created(*_: Any) -> list[str]:
        return []

    def execv(_program: str, arguments: list[str]) -> None:
        assert arguments[2:5] == ["faust", "-A", "cj_stream.gateway.app"]
        found.append({name: value for name, value in os.environ.items() if name.startswith("CJ_GATEWAY_")})

    monkeypatch.setattr(module, "create_topics", created)
    monkeypatch.setattr(os, "execv", execv)
    # What the command puts there does not stay.
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return found


def test_options_become_settings_and_win_over_those_of_the_environment(started: list[dict[str, str]]) -> None:
    os.environ["CJ_GATEWAY_WEB_PORT"] = "7000"
    os.environ["CJ_GATEWAY_SEED"] = "5"
    outcome = run_command(
        "gateway", "--port", "8123", "--judge", "a=simulated:seed=1", "--judge", "b=simulated", "--allow-topic", "t"
    )
    assert outcome.exit_code == 0, outcome.output
    (settings,) = started
    assert settings["CJ_GATEWAY_WEB_PORT"] == "8123"
    assert settings["CJ_GATEWAY_SEED"] == "5"
    assert settings["CJ_GATEWAY_JUDGES"] == "a=simulated:seed=1;b=simulated"
    assert settings["CJ_GATEWAY_CALLBACK_TOPICS"] == "t"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--judge", "x=oracle"], "unknown kind 'oracle'"),
        (["--judge", "x"], "write it as NAME=SPEC"),
        (["--bootstrap", "no port"], "CJ_GATEWAY_KAFKA_BOOTSTRAP: must be host:port"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_started(
    started: list[dict[str, str]], options: list[str], complaint: str
) -> None:
    outcome = run_command("gateway", *options)
    assert outcome.exit_code == 2
    assert complaint in outcome.output
    assert not started


def test_the_help_shows_an_example() -> None:
    assert "cj-stream gateway --judge vehicles=replay:" in run_command("gateway", "--help").output
