from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from until import PATIENCE, until

from cj_stream.devkit import processes
from cj_stream.devkit.processes import Supervised, free_ports, uninterrupted

SLEEP = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def run(tmp_path: Path, said: list[str]) -> Callable[[str], Supervised]:
    def make(code: str) -> Supervised:
        command = [sys.executable, "-c", code]
        return Supervised("child", command, environment={"GREETING": "hi"}, log_path=tmp_path / "log", say=said.append)

    return make


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_process_gets_its_environment_and_writes_to_its_log(run: Callable[[str], Supervised]) -> None:
    child = run("import os; print(os.environ['GREETING'])")
    child.start()
    await until(lambda: child.has_ended)
    assert child.last_lines() == "hi"
    assert child.failures == 0


async def test_a_process_that_fails_is_started_again_and_said_to_be(
    run: Callable[[str], Supervised], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "FIRST_PAUSE", 0.01)
    child = run("raise SystemExit(70)")
    child.start()
    await until(lambda: child.failures >= 2)
    await child.stop(1)
    assert "child ended with code 70" in said[0]


async def test_a_process_that_cannot_start_with_its_settings_is_not_started_again(
    run: Callable[[str], Supervised],
) -> None:
    child = run("print('wrong setting'); raise SystemExit(78)")
    child.start()
    await until(lambda: child.has_ended)
    assert child.last_lines() == "wrong setting"


async def test_a_killed_process_is_started_again(run: Callable[[str], Supervised]) -> None:
    child = run(SLEEP)
    child.start()
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.pid not in {None, first})
    await child.stop(1)
    assert child.pid is None


async def test_stopping_ends_a_process_that_does_not_listen(run: Callable[[str], Supervised], said: list[str]) -> None:
    child = run(STUBBORN)
    child.start()
    await until(lambda: child.last_lines() == "up")
    began = time.monotonic()
    await child.stop(0.3)
    assert child.pid is None
    assert 0.3 <= time.monotonic() - began < 3
    assert "was killed" in said[0]


async def test_a_stopped_process_stays_down(run: Callable[[str], Supervised]) -> None:
    child = run(SLEEP)
    child.start()
    await child.stop(5)
    assert child.pid is None
    assert child.failures == 0


def test_ports_are_the_preferred_ones_or_others_and_all_different() -> None:
    taken, *_ = free_ports([0])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", taken))
        listener.listen()
        ports = free_ports([taken, 0, 0])
    assert taken not in ports
    assert len(set(ports)) == 3
    assert free_ports([taken]) == [taken]


async def test_work_that_must_not_be_interrupted_is_finished_before_the_cancellation_is_felt() -> None:
    done: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0.05)
        done.append("work")

    task = asyncio.create_task(uninterrupted(work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["work"]


PARENT = """
import asyncio, sys
from pathlib import Path
from cj_stream.devkit.processes import Interrupted, Supervised, run_until_signal

async def work():
    child = Supervised("child", [sys.executable, "-c", "import time; time.sleep(60)"], environment={},
                       log_path=Path(sys.argv[1]), say=print)
    child.start()
    print(child.pid, flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        print("tidying", flush=True)
        await asyncio.sleep(0.3)
        await child.stop(5)
        print("tidied", flush=True)

try:
    run_until_signal(work())
except Interrupted as interrupted:
    sys.exit(interrupted.exit_code)
"""


@pytest.fixture
def parent(tmp_path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_however_often_it_comes_lets_the_clean_up_run_to_its_end(
    parent: subprocess.Popen[str], number: signal.Signals
) -> None:
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(number)
        assert parent.stdout.readline() == "tidying\n"
        parent.send_signal(number)
        assert parent.stdout.read() == "tidied\n"
        assert parent.wait(PATIENCE) == 128 + number
    assert not alive(child)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
async def test_a_process_dies_with_a_parent_that_is_killed(parent: subprocess.Popen[str]) -> None:
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait(PATIENCE)
        await until(lambda: not alive(child))
