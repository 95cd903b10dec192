from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from cj_stream.cli.main import COMMANDS, main
from cj_stream.cli.shared.output import echo_json, reporting
from cj_stream.engine.starting import settings_problems
from cj_stream.operations.settings import NAMES, Settings


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_help_lists_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert all(entry.summary in result.output for entry in COMMANDS.values())


def test_the_help_imports_no_command() -> None:
    code = (
        "import sys; from cj_stream.cli.main import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    imported = output.splitlines()[-1].split()
    assert "cj_stream.cli.main" in imported
    assert {"aiokafka", "aiohttp", "faust", "numpy", "pydantic"}.isdisjoint(imported)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_help_with_an_example(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output


def test_an_unknown_command_is_an_error() -> None:
    result = CliRunner().invoke(main, ["rank"])
    assert result.exit_code != 0
    assert "No such command 'rank'" in result.stderr


def test_an_expected_error_is_one_sentence_on_standard_error() -> None:
    @click.command()
    def command() -> None:
        with reporting(OSError):
            raise OSError("the disk is full: free some space")

    result = CliRunner().invoke(command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: the disk is full: free some space\n"


def test_json_output_takes_dataclasses_and_paths(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass
    class Found:
        folder: Path
        count: int

    echo_json([Found(Path("a/b"), 2)])
    assert json.loads(capsys.readouterr().out) == [{"folder": "a/b", "count": 2}]


def test_a_bad_setting_is_told_by_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CJ_PARTITIONS", "0")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert settings_problems(caught.value, NAMES) == ["CJ_PARTITIONS: Input should be greater than 0"]


def test_settings_that_contradict_each_other_are_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CJ_BATCH_MAX_AGE_HOURS", "1")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert settings_problems(caught.value, NAMES) == [
        "CJ_BATCH_MAX_AGE_HOURS must not be shorter than CJ_BATCH_TIMEOUT_HOURS"
    ]


def test_the_settings_are_listed_with_value_default_and_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CJ_PARTITIONS", "12")
    rows = json.loads(CliRunner().invoke(main, ["settings", "--json"]).stdout)
    by_variable = {row["variable"]: row for row in rows}
    assert len(rows) == len(Settings.model_fields)
    assert all(row["description"] for row in rows)
    assert (by_variable["CJ_PARTITIONS"]["value"], by_variable["CJ_PARTITIONS"]["default"]) == (12, 8)
    assert not by_variable["CJ_PARTITIONS"]["is_default"]


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_secret_is_never_printed(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CJ_OPERATOR_TOKEN", "open-sesame")
    result = CliRunner().invoke(main, ["settings", *arguments])
    assert result.exit_code == 0
    assert "CJ_OPERATOR_TOKEN" in result.output
    assert "open-sesame" not in result.output


def test_asking_about_a_broker_that_was_never_started_fails_with_advice(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["kafka", "status", "--folder", str(tmp_path / "kafka"), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["running"] is False
    assert "cj-stream kafka start" in result.stderr


def test_topics_without_a_broker_fail_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CJ_KAFKA_BOOTSTRAP", "127.0.0.1:9")
    result = CliRunner().invoke(main, ["topics", "check"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: no Kafka answers at 127.0.0.1:9")
