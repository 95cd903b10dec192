from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from support.domain.story import Story, requested
from support.engine.until import until

from cj_stream.domain import computations
from cj_stream.domain.todo import LoadContent
from cj_stream.effects.computing import SMALL_ESSAYS, ComputationLostError, Computing

LARGE = SMALL_ESSAYS + 1
ASK = "__import__('os').getpid()"


@pytest.fixture
def computing() -> Iterator[Computing]:
    made = Computing()
    yield made
    made.close()


async def where(computing: Computing, essays: int) -> int:
    """The id of the process that computes for this many essays."""
    return int(await computing.run(essays, lambda: ASK, eval))


async def test_a_large_computation_runs_in_a_process_that_is_kept_and_a_small_one_in_this(computing: Computing) -> None:
    elsewhere = await where(computing, LARGE)
    assert elsewhere != os.getpid()
    assert await where(computing, LARGE) == elsewhere
    assert await where(computing, SMALL_ESSAYS) == os.getpid()


async def test_small_computations_come_one_after_the_other_and_none_in_the_event_loop_s_thread(
    computing: Computing,
) -> None:
    alone = threading.Lock()

    def compute(_: object) -> int:
        assert alone.acquire(blocking=False)
        time.sleep(0.001)
        alone.release()
        return threading.get_ident()

    threads = await asyncio.gather(*(computing.run(SMALL_ESSAYS, lambda: None, compute) for _ in range(20)))
    assert threading.get_ident() not in threads


async def test_pairs_and_scores_are_the_same_wherever_they_are_computed(computing: Computing) -> None:
    story = Story()
    story.tell(requested(12))
    story.carry_out(LoadContent)
    pairs = await computing.run(LARGE, lambda: computations.pairs_task(story.batch), computations.choose_pairs)
    assert computations.pairs_event(story.batch, pairs) == computations.plan(story.batch)
    story.tell(computations.plan(story.batch))
    for index in range(20):
        story.tell(story.verdict(index))
    scores = await computing.run(LARGE, lambda: computations.fit_task(story.batch), computations.compute_scores)
    assert computations.scores_event(story.batch, scores) == computations.score(story.batch)


async def test_what_is_asked_for_at_the_same_time_is_answered_each_with_its_own(computing: Computing) -> None:
    asked = [computing.run(LARGE, partial(str, text), str.upper) for text in ("a", "b", "c")]
    assert await asyncio.gather(*asked) == ["A", "B", "C"]


async def test_after_its_process_was_killed_the_next_computation_has_another(
    computing: Computing, tmp_path: Path
) -> None:
    killed, begun = await where(computing, LARGE), tmp_path / "begun"
    long = f"__import__('pathlib').Path({str(begun)!r}).touch() or __import__('time').sleep(600)"
    lost = asyncio.create_task(computing.run(LARGE, lambda: long, eval))
    await until(begun.exists)
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(ComputationLostError, match="has ended, status -9"):
        await lost
    assert await where(computing, LARGE) != killed


async def test_an_error_of_a_computation_is_told_and_the_process_goes_on(computing: Computing) -> None:
    process = await where(computing, LARGE)
    with pytest.raises(RuntimeError, match=r"(?s)a computation failed.*ZeroDivisionError"):
        await computing.run(LARGE, lambda: "1 / 0", eval)
    assert await where(computing, LARGE) == process


async def test_one_who_no_longer_waits_does_not_get_the_others_answers_mixed_up(computing: Computing) -> None:
    await where(computing, LARGE)
    given_up = asyncio.create_task(computing.run(LARGE, lambda: "__import__('time').sleep(0.2)", eval))
    await asyncio.sleep(0.05)
    given_up.cancel()
    assert await computing.run(LARGE, lambda: "'mine'", eval) == "mine"


@pytest.mark.parametrize("busy", [False, True])
async def test_the_process_ends_with_the_worker_however_that_ends(busy: bool) -> None:
    work = "__import__('time').sleep(600)" if busy else "1"
    script = f"""if True:
        import asyncio
        from cj_stream.effects.computing import Computing
        async def main():
            computing = Computing()
            print(await computing.run({LARGE}, lambda: {ASK!r}, eval), flush=True)
            asyncio.create_task(computing.run({LARGE}, lambda: {work!r}, eval))
            await asyncio.sleep(600)
        asyncio.run(main())"""
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert worker.stdout is not None
    process = int(await worker.stdout.readline())
    assert runs(process)
    worker.kill()
    await worker.wait()
    await until(lambda: not runs(process))


def runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # One that has ended and that nobody has asked for its status is still listed.
    state = Path(f"/proc/{process}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")
