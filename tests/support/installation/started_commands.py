"""Commands of ``cj-stream`` as processes, and a look at what they leave behind."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

MARK = "CJ_TEST_MARK"
_PROC = Path("/proc")


class StartedCommand:
    """One command, started in ``folder`` with a mark in its environment that all its descendants inherit."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        mark = secrets.token_hex(8)
        self._mark = f"{MARK}={mark}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CJ_")}
        temporary = folder / "tmp"
        temporary.mkdir(exist_ok=True)
        self.output_path = folder / f"{arguments[0]}-{mark}.out"
        with self.output_path.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from cj_stream.cli.main import main; main()", *arguments],
                cwd=folder,
                env={**environment, "TMPDIR": str(temporary), MARK: mark},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o022,  # the usual one, by which everybody may read what a program writes
            )

    @property
    def output(self) -> str:
        """Return what it has printed so far, both streams in one."""
        return self.output_path.read_text("utf-8", "replace")

    def wait_for(self, condition: Callable[[], object], seconds: float) -> None:
        """Wait until the condition holds; fail with the output when the command ends before, or time is up."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def interrupt(self) -> None:
        """Press Ctrl-C: every process of the terminal's foreground group gets the signal."""
        os.killpg(self.process.pid, signal.SIGINT)

    def relatives(self, part: str = "") -> list[int]:
        """Return the processes that descend from the command, itself included, with ``part`` in their command line."""
        return [int(folder.name) for folder in _PROC.glob("[0-9]*") if self._is_relative(folder, part)]

    def _is_relative(self, folder: Path, part: str) -> bool:
        try:
            marked = self._mark.encode() in (folder / "environ").read_bytes().split(b"\0")
            return marked and part.encode() in (folder / "cmdline").read_bytes()
        except OSError:  # gone, or somebody else's
            return False

    def kill_all(self) -> None:
        """Kill whatever is left, so that a failed test leaves nothing."""
        for pid in self.relatives():
            os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
