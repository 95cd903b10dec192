"""What a program needs that starts others: an end by signal that tidies up, free ports, children that die with it."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import socket
import sys
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

Result = TypeVar("Result")

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
