"""The process is the unit of retry: what cannot go on safely ends it, and a supervisor starts it again.

Hazard in Faust 0.15.3: whatever ends the handling of a message, an exception or a cancellation, the message is
acknowledged (``_cython/streams.pyx`` 112-161) and the agent restarted: the message is gone (upstream issues 315, 527).
And asyncio only logs what a callback raises.

Tests: ``test_agents_end.py``, ``test_sender.py``.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

import structlog

EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h: the worker stopped itself to stay safe; start it again."""

NOT_CONFIGURED = 78
"""EX_CONFIG of sysexits.h: starting again does not help before somebody has changed something."""

BAD_INPUT = 65
"""EX_DATAERR of sysexits.h: too much of the input is invalid; somebody has to look before it is started again."""

LAST_WORDS_SECONDS = 5.0
"""A process that ends is gone after this long, also when nobody takes what it logs: a full pipe, a hanging disk."""

_WHAT_TO_DO = {
    "No space left on device": "the disk of the data folder is full: make room",
    "Too many open files": "this process may not open more files: raise its limit (ulimit -n)",
    "MemoryError": "this machine has no more memory for the worker: give it some",
}
"""By what its error says: lacks of this machine, whatever part of the worker meets them first."""

log = structlog.get_logger(__name__)


def refuse_to_start(problems: Sequence[str]) -> NoReturn:
    """Say what somebody has to change before a worker can run, and end the process."""
    with _leaving(NOT_CONFIGURED):
        for problem in problems:
            log.critical("worker does not start", why=problem, exit_code=NOT_CONFIGURED)
    raise AssertionError("unreachable: the process has ended")


def end_process(why: str, **details: object) -> NoReturn:
    """End the process now, without clean-up: nothing more may be produced, committed or submitted."""
    _end(EXIT_CODE, why, details)


def end_until_changed(why: str, **details: object) -> NoReturn:
    """End the process now; starting it again does not help before somebody has changed something."""
    _end(NOT_CONFIGURED, why, details)


def end_for_bad_input(why: str, **details: object) -> NoReturn:
    """End the process now, because of what it was given to read."""
    _end(BAD_INPUT, why, details)


def end_in_order() -> NoReturn:
    """End the process of a worker that has stopped: nothing that still runs in it may keep it."""
    with _leaving(os.EX_OK):
        log.info("worker has stopped", exit_code=os.EX_OK)
    raise AssertionError("unreachable: the process has ended")


@contextmanager
def ends_process(why: str) -> Iterator[None]:
    """End the process when the block, or the function decorated with this, is left by anything that is raised.

    A cancellation too: for what has to run to its end, and for callbacks, whose exceptions nobody else would hear of.
    """
    try:
        yield
    except BaseException as error:
        log.critical(why, exc_info=error)
        end_process(why, error=repr(error))


def _end(code: int, why: str, details: Mapping[str, object]) -> NoReturn:
    error = str(details.get("error"))
    advice = [text for sign, text in _WHAT_TO_DO.items() if sign in error]
    with _leaving(code):
        if advice:
            details = {**details, "what_to_do": "; ".join(advice)}
        log.critical("worker ends itself", why=why, exit_code=code, **details)
    raise AssertionError("unreachable: the process has ended")


@contextmanager
def _leaving(code: int) -> Iterator[None]:
    """End the process once the block is done, and after `LAST_WORDS_SECONDS` in any case."""
    limit = threading.Timer(LAST_WORDS_SECONDS, os._exit, [code])
    limit.daemon = True
    with suppress(RuntimeError):  # no thread can be started; then there is no limit
        limit.start()
    try:
        yield
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        try:
            os._exit(code)
        finally:  # where a test keeps the process
            limit.cancel()
