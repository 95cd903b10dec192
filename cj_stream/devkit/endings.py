"""How the end of a part of a stack is told: its exit code, and the reason in the part's own words."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
from contextlib import suppress
from pathlib import Path

FINAL_CODES = {
    os.EX_OK: "it was told to stop",
    2: "its command line is wrong",
    os.EX_DATAERR: "somebody has to look at its input first",
    os.EX_CONFIG: "something has to be changed first",
}
"""Exit codes after which another start would only end the same way, and why."""

_REASON = re.compile(r"""exit_code=\d+.*?\bwhy=('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\S+)""")
_COMMAND_ERROR = re.compile(r"^Error: (.+)$")
_NOT_FROM_ITSELF = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_FULL_BYTES = 1024 * 1024


def named(code: int | None) -> str:
    """Return an exit code as people know it, None for one that nobody could ask for."""
    if code is None:
        return "an unknown code"
    number = _signal(code)
    if number is None:
        return f"code {code}"
    cause = ": by somebody, or by the system for want of memory" if number is signal.SIGKILL else ""
    return f"code {code} ({number.name}{cause})"


def reason(code: int | None, log: str) -> str | None:
    """Return why a process ended with ``code``, from what it wrote to its ``log`` since its start; None if unknown.

    A worker's last line says it (``why=`` beside ``exit_code=``, or the same as JSON), a command's begins with
    ``Error:``; of anything else it is the last line. Who was killed, or told to stop, had nothing to say about it.
    """
    if _was_told_to_end(code):
        return None
    lines = [line for line in log.splitlines() if line.strip()]
    told = (_told(line) for line in reversed(lines))
    return next((words for words in told if words), lines[-1].strip() if lines else None)


def of_system(error: OSError) -> str:
    """Return what the system says of a file or a connection, without a number."""
    return ": ".join(filter(None, (str(error.filename or ""), error.strerror or str(error))))


def full_disk(folder: Path) -> str | None:
    """Return a sentence when the disk of ``folder`` is full: who cannot write cannot log the reason either."""
    with suppress(OSError):
        if shutil.disk_usage(folder).free < _FULL_BYTES:
            return f"the disk of {folder} is full"
    return None


def reason_of_kafka(code: int | None, log: str) -> str | None:
    """Return the last line of Kafka's log that tells of an error, None without any."""
    told = () if _was_told_to_end(code) else reversed(log.splitlines())
    return next((line for line in told if " ERROR " in line or ("Exception" in line and " INFO " not in line)), None)


def _was_told_to_end(code: int | None) -> bool:
    return code is not None and (code == os.EX_OK or _signal(code) in _NOT_FROM_ITSELF)


def _signal(code: int) -> signal.Signals | None:
    number = -code if code < 0 else code - 128  # a Java machine ends with 128 + the signal
    return signal.Signals(number) if number in set(signal.Signals) else None


def _told(line: str) -> str | None:
    if command_error := _COMMAND_ERROR.match(line):
        return command_error[1]
    if line.startswith("{"):
        return _told_in_json(line)
    found = _REASON.search(line)
    if found is None:
        return None
    words = found[1]
    return str(ast.literal_eval(words)) if words[0] in "'\"" else words


def _told_in_json(line: str) -> str | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return str(entry["why"]) if "exit_code" in entry and "why" in entry else None
