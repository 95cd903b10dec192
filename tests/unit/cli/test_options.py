from __future__ import annotations

from pathlib import Path

import pytest

from cj_stream.cli.options import DEFAULT_URL, STACK_FILE, load_settings, worker_urls


def write_stack_file() -> None:
    STACK_FILE.parent.mkdir(parents=True)
    STACK_FILE.write_text("CJ_KAFKA_BOOTSTRAP='dev:1'\nCJ_WEB_URL='http://dev:1,http://dev:2'\n")


def test_a_running_stack_is_found_by_its_file() -> None:
    write_stack_file()
    assert worker_urls(()) == ["http://dev:1", "http://dev:2"]
    assert load_settings().kafka_bootstrap == "dev:1"


def test_the_environment_wins_over_the_file_and_an_option_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    write_stack_file()
    monkeypatch.setenv("CJ_WEB_URL", "http://env")
    monkeypatch.setenv("CJ_KAFKA_BOOTSTRAP", "env:1")
    assert worker_urls(()) == ["http://env"]
    assert worker_urls(("http://option",)) == ["http://option"]
    assert load_settings().kafka_bootstrap == "env:1"


def test_without_anything_the_usual_port_is_asked() -> None:
    assert not Path(STACK_FILE).exists()
    assert worker_urls(()) == [DEFAULT_URL]
