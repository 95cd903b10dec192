"""What becomes of a stack whose parts end, with small processes in place of its parts."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from support.engine.until import until

from cj_stream.devkit import supervision
from cj_stream.devkit.stack import Stack, StackError
from cj_stream.devkit.supervision import Supervised

REFUSES = "raise SystemExit(78)"
STAYS = "import time; time.sleep(60)"


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setattr(supervision, "FIRST_PAUSE", 0.01)
    return Stack(tmp_path)


async def add_worker(stack: Stack, code: str) -> Supervised:
    name = f"worker-{len(stack._workers) + 1}"
    command = [sys.executable, "-c", code]
    worker = Supervised(name, command, environment={}, log_path=stack.folder / f"{name}.log", say=lambda _: None)
    stack._workers.append(worker)
    await worker.start()
    return worker


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


async def test_it_ends_when_no_worker_is_left_and_says_how_each_ended(stack: Stack) -> None:
    for _ in range(2):
        await add_worker(stack, REFUSES)
    with pytest.raises(StackError, match=r"nothing is left to run: worker-1 ended with code 78; worker-2 ended with"):
        await stack.run(wait_for_ever())


async def test_it_goes_on_with_the_workers_that_are_left(stack: Stack) -> None:
    gone = await add_worker(stack, REFUSES)
    left = await add_worker(stack, STAYS)

    async def work() -> str:
        await until(lambda: gone.has_ended)
        stack._check_that_something_runs()
        return "done"

    assert await stack.run(work()) == "done"
    await left.stop(5)


async def test_a_failure_of_the_work_is_its_own(stack: Stack) -> None:
    left = await add_worker(stack, STAYS)

    async def work() -> None:
        raise LookupError("not there")

    with pytest.raises(LookupError, match="not there"):
        await stack.run(work())
    await left.stop(5)


async def test_a_part_that_never_becomes_ready_ends_the_start_with_its_reason(stack: Stack) -> None:
    await add_worker(stack, "print('Error: no such folder'); raise SystemExit(1)")
    with pytest.raises(StackError, match=r"worker-1 does not start, it ended with code 1: no such folder; its log is"):
        await stack._wait_until_ready()
    await stack._stop()


async def test_a_folder_that_cannot_be_is_told_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StackError, match=r"file/sub: Not a directory"):
        async with Stack(file / "sub"):
            pass
