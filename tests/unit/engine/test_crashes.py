from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
from aiokafka.errors import TopicAuthorizationFailedError
from faust.exceptions import ImproperlyConfigured

from cj_stream.engine.overrides.crashes import end_for
from cj_stream.engine.process import EXIT_CODE, NOT_CONFIGURED
from cj_stream.operations.settings import NAMES


class Ended(BaseException):
    """The process has ended."""


@pytest.fixture(autouse=True)
def _ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(os, "_exit", end)


def wrapped(error: Exception) -> Exception:
    outer = RuntimeError("the stop failed")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "code", "named"),
    [
        (ValueError("a bug"), EXIT_CODE, "a bug"),
        (wrapped(ValueError("a bug")), EXIT_CODE, "something nobody has foreseen"),
        (ImproperlyConfigured("session"), NOT_CONFIGURED, "the settings do not fit together"),
        (wrapped(TopicAuthorizationFailedError("requests")), NOT_CONFIGURED, "requests"),
        (Exception("IO error: While lock file: /data/LOCK: busy"), NOT_CONFIGURED, "CJ_DATA_DIR"),
        (OSError(errno.ENOSPC, "No space left on device"), EXIT_CODE, "the disk of the data folder is full"),
        (Exception("IO error: No space left on device: while appending"), EXIT_CODE, "is full: make room"),
        (OSError(errno.EMFILE, "Too many open files"), EXIT_CODE, "ulimit -n"),
        (wrapped(MemoryError()), EXIT_CODE, "no more memory"),
    ],
)
def test_a_crash_ends_with_a_code_that_is_named_and_says_why(
    error: Exception, code: int, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Ended, match=str(code)):
        end_for(error, NAMES)
    assert named in capsys.readouterr().out


STUCK = """
import os, sys, threading
from cj_stream.engine import process
process.LAST_WORDS_SECONDS = 0.5
os.set_blocking(1, True)
class Full:
    def write(self, text): threading.Event().wait()
    def flush(self): threading.Event().wait()
sys.stdout = Full()
threading.Thread(target=threading.Event().wait).start()
process.{ending}
"""


@pytest.mark.parametrize(
    ("ending", "code"),
    [("end_process('why')", EXIT_CODE), ("refuse_to_start(['why'])", NOT_CONFIGURED), ("end_in_order()", os.EX_OK)],
)
def test_who_has_decided_to_end_is_gone_though_nobody_takes_the_log_and_a_thread_runs_on(
    ending: str, code: int
) -> None:
    assert (
        subprocess.run([sys.executable, "-c", STUCK.format(ending=ending)], timeout=30, check=False).returncode == code
    )
