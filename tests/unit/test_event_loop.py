from __future__ import annotations

import os
import subprocess
import sys


def test_a_worker_runs_on_uvloop_as_the_loops_of_its_threads_do() -> None:
    """Faust takes the loop of the standard library unless it is told otherwise, whatever is installed."""
    code = "import asyncio, cj_stream.app; print(type(asyncio.new_event_loop()).__module__)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CJ_")}
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout
    assert output.splitlines()[-1] == "uvloop"
