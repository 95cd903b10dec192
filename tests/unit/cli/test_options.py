from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

import click
import pytest

from cj_stream.cli.shared.options import DEFAULT_URL, load_settings, start_advice, worker_urls
from cj_stream.devkit.stack_file import LOCK_NAME, STACK_FILE, stack_runs, stack_variables, write_stack_file


def running(**more: str) -> None:
    STACK_FILE.parent.mkdir(parents=True)
    variables = {"CJ_KAFKA_BOOTSTRAP": "dev:1", "CJ_WEB_URL": "http://dev:1,http://dev:2"}
    write_stack_file(STACK_FILE, variables | more)


def test_a_running_stack_is_found_by_its_file() -> None:
    running()
    assert worker_urls(()) == ["http://dev:1", "http://dev:2"]
    assert load_settings().kafka_bootstrap == "dev:1"


def test_the_environment_wins_over_the_file_and_an_option_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    running()
    monkeypatch.setenv("CJ_WEB_URL", "http://env")
    monkeypatch.setenv("CJ_KAFKA_BOOTSTRAP", "env:1")
    assert worker_urls(()) == ["http://env"]
    assert worker_urls(("http://option",)) == ["http://option"]
    assert load_settings().kafka_bootstrap == "env:1"


def test_without_anything_the_usual_port_is_asked() -> None:
    assert not Path(STACK_FILE).exists()
    assert worker_urls(()) == [DEFAULT_URL]


FOLDERS = ["plain", "two words", "it's", 'a "quoted" one', "$HOME and `date`", "back\\slash", "hash # equals =", "näme"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_whatever_a_folder_is_called_the_file_can_be_sourced_and_is_read_back(folder: str) -> None:
    running(CJ_CONTENT_SERVICE_URL=f"file:/{folder}")
    assert load_settings().content_service_url == f"file:/{folder}"
    script = f'set -a; . {STACK_FILE}; set +a; printf %s "$CJ_CONTENT_SERVICE_URL"'
    shell = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    assert (shell.stdout, shell.stderr) == (f"file:/{folder}", "")


def test_the_file_is_its_owners_alone() -> None:
    running()
    assert STACK_FILE.stat().st_mode & 0o077 == 0
    assert [path.name for path in STACK_FILE.parent.iterdir()] == [STACK_FILE.name]


def test_a_file_that_is_damaged_is_told_with_what_to_do() -> None:
    running()
    STACK_FILE.write_text("CJ_WEB_URL='http://dev")
    with pytest.raises(ValueError, match="remove it, and start dev again"):
        stack_variables()
    with pytest.raises(click.ClickException, match=r"stack.env is not what cj-stream dev writes"):
        worker_urls(())


def test_a_stack_that_was_killed_leaves_its_file_and_is_not_taken_to_run() -> None:
    assert not stack_runs()
    running()
    with STACK_FILE.with_name(LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert stack_runs()
        assert "`cj-stream dev` runs in this folder" in start_advice("CJ_X")
    assert not stack_runs()
    assert "start everything on this machine" in start_advice("CJ_X")
