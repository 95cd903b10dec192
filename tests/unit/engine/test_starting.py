"""How an app begins, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from support.installation.fleet import TESTS

from cj_stream.engine.process import NOT_CONFIGURED

LOOK = "import asyncio, os, second_app.charges; print(type(asyncio.new_event_loop()).__module__, oct(os.umask(0)))"


def begun(**variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(TESTS), **variables}
    return subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=False, env=environment)


def test_an_app_runs_on_uvloop_and_its_files_are_for_nobody_else() -> None:
    assert begun(CJ_PARTITIONS="0").stdout.split() == ["uvloop", "0o77"]


def test_settings_that_are_of_no_use_are_told_by_their_names() -> None:
    done = begun(CHARGES_PARTITIONS="0")
    assert done.returncode == NOT_CONFIGURED
    assert "CHARGES_PARTITIONS: Input should be greater than 0" in done.stdout
