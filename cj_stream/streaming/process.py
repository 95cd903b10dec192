"""The process is the unit of retry: what cannot go on safely ends it, and a supervisor starts it again.

Hazard in Faust 0.15.3: whatever ends the handling of a message, an exception or a cancellation, the message is
acknowledged (``_cython/streams.pyx`` 112-161) and the agent restarted: the message is gone (upstream issues 315, 527).
And asyncio only logs what a callback raises.

Tests: ``test_agents_end.py``, ``test_sender.py``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

import structlog

EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h: the worker stopped itself to stay safe; start it again."""

log = structlog.get_logger(__name__)


NOT_CONFIGURED = 78
"""EX_CONFIG of sysexits.h: starting again does not help before somebody has changed something."""

BAD_INPUT = 65
"""EX_DATAERR of sysexits.h: too much of the input is invalid; somebody has to look before it is started again."""


def refuse_to_start(problems: Sequence[str]) -> NoReturn:
    """Say what keeps the worker from starting, and end the process."""
    for problem in problems:
        log.critical("worker does not start", why=problem, exit_code=NOT_CONFIGURED)
    os._exit(NOT_CONFIGURED)


def end_process(why: str, **details: object) -> NoReturn:
    """End the process now, without clean-up: nothing more may be produced, committed or submitted."""
    _end(EXIT_CODE, why, details)


def end_for_bad_input(why: str, **details: object) -> NoReturn:
    """End the process now, because of what it was given to read."""
    _end(BAD_INPUT, why, details)


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
    log.critical("worker ends itself", why=why, exit_code=code, **details)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
