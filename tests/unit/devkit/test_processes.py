from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.engine.until import PATIENCE, until

from cj_stream.devkit.processes import free_ports, uninterrupted


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


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
from cj_stream.devkit.processes import Interrupted, run_until_signal
from cj_stream.devkit.supervision import Supervised

async def work():
    child = Supervised("child", [sys.executable, "-c", "import time; time.sleep(60)"], environment={},
                       log_path=Path(sys.argv[1]), say=print)
    await child.start()
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
