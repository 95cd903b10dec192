"""The demo and the development stack as a user meets them: as processes, to the end and interrupted."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.installation.started_commands import StartedCommand

import cj_stream

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes that were left behind in /proc"),
]

ESSAYS = Path(cj_stream.__file__).parents[1] / "examples" / "essays"
START_SECONDS, DEMO_SECONDS = 90, 150

Start = Callable[..., StartedCommand]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[StartedCommand] = []

    def command(*arguments: str) -> StartedCommand:
        started.append(StartedCommand(tmp_path, *arguments))
        return started[-1]

    yield command
    for one in started:
        one.kill_all()


def test_the_demo_comes_out_as_expected_and_leaves_files_but_no_process(start: Start, tmp_path: Path) -> None:
    demo = start("demo")
    assert demo.process.wait(DEMO_SECONDS) == 0, demo.output
    assert demo.relatives() == []
    assert list((tmp_path / "tmp").iterdir()) == []
    assert "\x1b" not in demo.output
    written = tmp_path / "var" / "demo"
    assert len((written / "vehicles.csv").read_text().splitlines()) == 1 + 25
    trouble = json.loads((written / "trouble.json").read_text())
    assert (trouble["batch"]["failure"], trouble["result"]) == ("low_success_rate", None)
    outcomes = json.loads((written / "outcomes.json").read_text())
    assert {(outcome["batch_id"], outcome["kind"]) for outcome in outcomes} == {
        ("vehicles", "completed"),
        ("vehicles", "result"),
        ("essays", "completed"),
        ("essays", "result"),
        ("trouble", "failed"),
    }
    assert len({outcome["event_id"] for outcome in outcomes}) == len(outcomes)


def test_an_interrupted_demo_leaves_nothing(start: Start, tmp_path: Path) -> None:
    demo = start("demo")
    demo.wait_for(lambda: "WAITING_CALLBACKS" in demo.output, START_SECONDS)
    demo.interrupt()
    assert demo.process.wait(60) == 128 + signal.SIGINT, demo.output
    assert demo.relatives() == []
    assert list((tmp_path / "tmp").iterdir()) == []


def open_to_others(folder: Path) -> list[Path]:
    """Return what somebody else on the machine could read of it."""
    return [path for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o077]


def test_a_stack_survives_that_each_part_is_killed_serves_the_commands_and_ends_whole(
    start: Start, tmp_path: Path
) -> None:
    dev = start("dev", "--latency", "0.3")
    dev.wait_for(lambda: "Ready" in dev.output, START_SECONDS)
    stack_file = tmp_path / "var" / "dev" / "stack.env"
    assert open_to_others(tmp_path / "var") == []
    second = start("dev", "--workers", "1")
    assert second.process.wait(START_SECONDS) == 1
    assert "another one runs in" in second.output

    for part in ("kafka.Kafka", "cj_stream.gateway.app", "cj_stream.app"):
        os.kill(dev.relatives(part)[0], signal.SIGKILL)
    dev.wait_for(lambda: "everything is ready again" in dev.output, START_SECONDS)
    for part, meaning in (
        ("Kafka", "go on by themselves"),
        ("gateway", "is answered when it runs again"),
        ("worker-", ""),
    ):
        assert re.search(
            rf"^{part}\S* ended with code -9 .*next start in .*{meaning}.*its log is /", dev.output, re.MULTILINE
        )
    submit = start("submit", str(ESSAYS), "--batch-id", "b1", "--max-comparisons", "32", "--threshold", "1.0", "--wait")
    assert submit.process.wait(START_SECONDS) == 0, submit.output
    assert "b1: final ranking, 32 verdicts" in submit.output

    dev.interrupt()
    assert dev.process.wait(60) == 0
    assert dev.relatives() == []
    assert not stack_file.exists()


def test_a_stack_with_nothing_left_to_run_ends_and_says_why(start: Start) -> None:
    dev = start("dev", "--workers", "1")
    dev.wait_for(lambda: "Ready" in dev.output, START_SECONDS)
    os.kill(dev.relatives("cj_stream.app")[0], signal.SIGTERM)
    assert dev.process.wait(60) == 1, dev.output
    assert "Error: nothing is left to run: worker-1 ended with code 0" in dev.output
    assert dev.relatives() == []
