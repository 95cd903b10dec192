"""The tests' own guard: whatever ends the process, pytest goes on and says which test it was."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
FAULTY = """
import asyncio, contextlib, os, threading
from cj_stream.engine.process import end_process, ends_process

def test_itself():
    end_process("at once")

def test_swallowed():
    with contextlib.suppress(BaseException):
        end_process("nobody hears of it")

def test_thread():
    thread = threading.Thread(target=end_process, args=["in a thread"])
    thread.start()
    thread.join()

async def test_left_behind():
    async def forever():
        with ends_process("cancelled"):
            await asyncio.Event().wait()
    task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    assert task.done(), "another mistake"

def test_innocent():
    child = os.fork()
    if child == 0:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "conftest.py").write_text(CONFTEST.read_text())
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    (folder / "test_faulty.py").write_text(FAULTY)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rfE", str(folder)]
    wide = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=wide, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("name", ["itself", "swallowed", "thread", "left_behind"])
def test_a_test_whose_code_ends_the_process_fails_by_name(printed: str, name: str) -> None:
    assert re.search(rf"^ERROR test_faulty.py::test_{name} - .*exit code \[70\]", printed, re.MULTILINE), printed


def test_the_other_tests_run_and_are_counted(printed: str) -> None:
    assert re.search(r"=+ 2 failed, 3 passed.* 4 errors in ", printed), printed
