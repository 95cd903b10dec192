"""The process is the unit of retry: what cannot go on safely ends it, and a supervisor starts it again."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import structlog

EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h: the worker stopped itself to stay safe; start it again."""

log = structlog.get_logger(__name__)


NOT_CONFIGURED = 78
"""EX_CONFIG of sysexits.h: starting again does not help before somebody has changed something."""


def refuse_to_start(problems: Sequence[str]) -> NoReturn:
    """Say what keeps the worker from starting, and end the process."""
    for problem in problems:
        log.critical("worker does not start", why=problem, exit_code=NOT_CONFIGURED)
    os._exit(NOT_CONFIGURED)


def end_process(why: str, **details: object) -> NoReturn:
    """End the process now, without clean-up: nothing more may be produced, committed or submitted."""
    log.critical("worker ends itself", why=why, exit_code=EXIT_CODE, **details)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_CODE)
