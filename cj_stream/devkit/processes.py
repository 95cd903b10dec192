"""Processes of a stack: each logs to a file, is started again when it fails, and never outlives us."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")

POLL_SECONDS = 0.1
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds before a process that failed is started again; the pause doubles with every failure in a row."""
STEADY_SECONDS = 30.0
"""After a run of this length the pauses begin anew."""
FINAL_CODES = frozenset({os.EX_OK, os.EX_CONFIG})
"""Exit codes after which another start would only end the same way."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Interrupted(Exception):  # noqa: N818 -- a wish, not a failure
    """A signal asked the program to end, and everything has been ended."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.exit_code = 128 + number
        self.is_ctrl_c = number is signal.SIGINT


def run_until_signal(work: Coroutine[Any, Any, Result]) -> Result:
    """Run ``work`` to its end; SIGINT, SIGTERM and SIGHUP cancel it once, however often they come.

    So its clean-up always runs to the end. Raises `Interrupted` then; from that moment on the signals are ignored, so
    that an impatient second Ctrl-C does not cut short what the caller still has to tidy up.
    """
    try:
        return asyncio.run(_until_signal(work))
    except Interrupted:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise


async def _until_signal(work: Coroutine[Any, Any, Result]) -> Result:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    received: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        if not received:
            task.cancel()
        received.append(number)

    for number in _SIGNALS:
        loop.add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        if received:
            raise Interrupted(received[0]) from None
        raise


async def uninterrupted(work: Coroutine[Any, Any, Result]) -> Result:
    """Do ``work`` to its end, also when we are cancelled meanwhile; the cancellation is raised afterwards."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def free_ports(preferred: Sequence[int]) -> list[int]:
    """Return one port each: the preferred one if nobody has it on this machine, else any free one. 0 prefers none."""
    with ExitStack() as held:
        # All are held until the last one is chosen, so that none is given out twice.
        return [_hold_port(held.enter_context(socket.socket()), port) for port in preferred]


def _hold_port(listener: socket.socket, port: int) -> int:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.bind(("127.0.0.1", 0))
    return int(listener.getsockname()[1])


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends, also by a kill.

    For ``preexec_fn``. Linux only: elsewhere it does nothing.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Supervised:
    """A process that is started again, after a pause, unless it exits with one of ``FINAL_CODES``.

    It runs in a session of its own, so that a Ctrl-C in the terminal reaches only us, and we end things in order.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log_path: Path,
        say: Callable[[str], None],
    ) -> None:
        self.name = name
        self.log_path = log_path
        self.failures = 0
        self._say = say
        self._command = list(command)
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._supervision: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Return the id of the running process, None while there is none."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def has_ended(self) -> bool:
        """Return whether the process ended for good, so that it is not started again."""
        return self._supervision is not None and self._supervision.done()

    def start(self) -> None:
        """Start the process, and watch over it from now on."""
        self._spawn()
        self._supervision = asyncio.get_running_loop().create_task(self._supervise())

    async def stop(self, patience: float) -> None:
        """End the process: SIGTERM, at most ``patience`` seconds, then SIGKILL."""
        if self._supervision is not None:
            self._supervision.cancel()
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        deadline = time.monotonic() + patience
        while self._process.poll() is None:
            if time.monotonic() > deadline:
                self._say(f"{self.name} did not end within {patience:g} s and was killed")
                self._process.kill()
                self._process.wait()
            await asyncio.sleep(POLL_SECONDS)

    def last_lines(self, count: int = 15) -> str:
        """Return the end of the process's log."""
        return "\n".join(self.log_path.read_text("utf-8", "replace").splitlines()[-count:])

    def _spawn(self) -> None:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 -- commands of our own
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 -- one system call that takes no lock
            )

    async def _supervise(self) -> None:
        pause = FIRST_PAUSE
        while True:
            started = time.monotonic()
            code = await self._exit_code()
            if code in FINAL_CODES:
                return
            self.failures += 1
            pause = FIRST_PAUSE if time.monotonic() - started > STEADY_SECONDS else min(pause * 2, LONGEST_PAUSE)
            self._say(f"{self.name} ended with code {code}, next start in {pause:g} s; its log is {self.log_path}")
            await asyncio.sleep(pause)
            self._spawn()

    async def _exit_code(self) -> int:
        while True:
            code = None if self._process is None else self._process.poll()
            if code is not None:
                return code
            await asyncio.sleep(POLL_SECONDS)
