from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.engine.until import until

from cj_stream.devkit import supervision
from cj_stream.devkit.supervision import CannotStartError, Supervised

Run = Callable[[str], Supervised]

SLEEP = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
ENDS = """
import sys, structlog
from cj_stream.operations.logs import configure_logs
configure_logs({format!r}, "INFO")
from cj_stream.engine import process
process.{end}
"""


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def run(log: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(supervision, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(supervision, "POLL_SECONDS", 0.01)

    def make(code: str) -> Supervised:
        child = Supervised(
            "child", [sys.executable, "-c", code], environment={"GREETING": "hi"}, log_path=log, say=said.append
        )
        child.consequence = "others wait"
        return child

    return make


async def test_a_process_gets_its_environment_and_writes_to_its_log(run: Run, log: Path) -> None:
    child = run("import os; print(os.environ['GREETING'])")
    await child.start()
    await until(lambda: child.has_ended)
    assert log.read_text() == "hi\n"
    assert child.failures == 0


async def test_a_process_that_fails_is_started_again_and_its_end_told_with_all_that_helps(
    run: Run, said: list[str], log: Path
) -> None:
    child = run("print('Error: no memory'); raise SystemExit(70)")
    await child.start()
    await until(lambda: child.restarts >= 1)
    await child.stop(1)
    assert said[0] == f"child ended with code 70: no memory; next start in 0.01 s; others wait; its log is {log}"


@pytest.mark.parametrize("log_format", ["console", "json"])
@pytest.mark.parametrize(
    ("end", "told"),
    [
        (
            "refuse_to_start(['the topic \"a\" isn\\'t there'])",
            'code 78: the topic "a" isn\'t there; it is not started',
        ),
        ("end_for_bad_input('most is bad', topic='t', exit='why=\\'x')", "code 65: most is bad; it is not started"),
    ],
)
async def test_a_worker_that_must_not_be_started_again_is_told_in_its_own_words(
    run: Run, said: list[str], log_format: str, end: str, told: str
) -> None:
    child = run(ENDS.format(format=log_format, end=end))
    await child.start()
    await until(lambda: child.has_ended)
    assert len(said) == 1
    assert f"child ended with {told} again" in said[0]
    assert child.restarts == 0


async def test_the_reason_is_that_of_this_end_and_not_of_one_before(run: Run, said: list[str], log: Path) -> None:
    log.write_text("Error: long ago\n")
    child = run("raise SystemExit(78)")
    await child.start()
    await until(lambda: child.has_ended)
    assert "child ended with code 78; it is not started again" in said[0]


async def test_a_process_that_ends_again_and_again_at_once_is_given_up(
    run: Run, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "QUICK_ENDS", 3)
    child = run("raise SystemExit(70)")
    await child.start()
    await until(lambda: child.has_ended)
    assert [("next start" in line, "given up after 3 ends in a row" in line) for line in said] == [
        (True, False),
        (True, False),
        (False, True),
    ]


async def test_one_that_ran_steadily_in_between_is_not_given_up(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "QUICK_ENDS", 2)
    monkeypatch.setattr(supervision, "STEADY_SECONDS", 0.0)
    child = run("raise SystemExit(70)")
    await child.start()
    await until(lambda: child.failures >= 4)
    assert not child.has_ended
    await child.stop(1)


async def test_a_killed_process_is_started_again_and_the_signal_is_named(run: Run, said: list[str]) -> None:
    child = run(SLEEP)
    await child.start()
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.pid not in {None, first})
    await child.stop(1)
    assert child.pid is None
    assert "child ended with code -9 (SIGKILL: by somebody, or by the system for want of memory)" in said[0]


async def test_what_cannot_be_started_again_is_told_and_tried_again(run: Run, said: list[str], log: Path) -> None:
    child = run(SLEEP)
    await child.start()
    log.unlink()
    log.mkdir()
    os.kill(child.pid or 0, signal.SIGKILL)
    await until(lambda: len(said) >= 2)
    assert f"child could not be started: {log}: Is a directory; next start in" in said[1]
    log.rmdir()
    await until(lambda: child.pid is not None)
    await child.stop(1)


async def test_a_first_start_that_fails_is_an_error(run: Run, log: Path) -> None:
    log.mkdir()
    with pytest.raises(CannotStartError, match="Is a directory"):
        await run(SLEEP).start()


async def test_stopping_ends_a_process_that_does_not_listen(run: Run, said: list[str], log: Path) -> None:
    child = run(STUBBORN)
    await child.start()
    await until(lambda: log.read_text() == "up\n")
    began = time.monotonic()
    await child.stop(0.3)
    assert child.pid is None
    assert 0.3 <= time.monotonic() - began < 3
    assert "was killed" in said[0]


async def test_a_stopped_process_stays_down(run: Run, said: list[str]) -> None:
    child = run(SLEEP)
    await child.start()
    await child.stop(5)
    assert child.pid is None
    assert (child.failures, said) == (0, [])
