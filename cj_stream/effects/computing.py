"""Computations that take long run in a process of their own, so that the event loop stays free.

A thread is not enough: numpy holds the interpreter between its calls, and within some of them. Fits of 2,000 essays in
a thread kept the loop from running for up to 0.1 s at a time, and their linear algebra takes every core there is.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, TypeVar, cast

Task = TypeVar("Task")
Result = TypeVar("Result")

SMALL_ESSAYS = 100
"""Up to this many essays a computation takes a few milliseconds: in a thread, it need not queue behind larger ones.

One at a time: several at once finish no earlier, and each has its share of the interpreter's time, so that the event
loop, which stores verdicts meanwhile, is left with little.
"""

_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class ComputationLostError(Exception):
    """The process that computed has ended: killed, or out of memory. Nothing happened; it can be done again."""


class Computing:
    """Runs computations elsewhere, the larger ones one after the other. The process is started when it is needed."""

    def __init__(self) -> None:
        # One thread waits for the process: it is the queue, and it does the packing as well.
        self._waiting = ThreadPoolExecutor(1, "computing")
        self._turn = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    async def run(self, essays: int, task: Callable[[], Task], compute: Callable[[Task], Result]) -> Result:
        """Return ``compute(task())`` without keeping the event loop from running.

        ``compute`` is a function of a module, and its task and result can be pickled. Raises `ComputationLostError`
        when the process ends meanwhile, and RuntimeError, with the traceback, when ``compute`` raises.
        """
        if essays <= SMALL_ESSAYS:
            async with self._turn:
                return await asyncio.to_thread(lambda: compute(task()))
        result: Result = await asyncio.get_running_loop().run_in_executor(
            self._waiting, lambda: self._elsewhere(compute, task())
        )
        return result

    def close(self) -> None:
        """End the process, also in the middle of a computation."""
        self._waiting.shutdown(wait=False, cancel_futures=True)
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _elsewhere(self, compute: Callable[[Task], Result], task: Task) -> Any:
        process = self._running()
        to_it, from_it = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        try:
            pickle.dump((compute, task), to_it)
            to_it.flush()
            succeeded, answer = pickle.load(from_it)  # noqa: S301 -- a pipe from our own process
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            process.kill()
            raise ComputationLostError(f"the computing process has ended, status {process.wait()}") from error
        if not succeeded:
            raise RuntimeError(f"a computation failed:\n{answer}")
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cj_stream.effects.computing_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Of its own session: an interrupt from the terminal is for the worker, whose end is its end.
                start_new_session=True,
                env=os.environ | dict.fromkeys(_ONE_THREAD, "1"),
            )
        return self._process
