"""The benchmarks still fit the code that they measure: nobody runs them for weeks, and then they are needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"


def ran(code: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(BENCHMARKS), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths, "BENCH_POSITIONS": os.devnull}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_every_benchmark_finds_what_it_imports() -> None:
    names = sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem != "altered_worker")

    result = ran("\n".join(f"import {name}" for name in names))

    assert result.returncode == 0, result.stderr


def test_every_part_of_the_hardening_can_be_taken_out() -> None:
    result = ran("import stock; stock.take_out(stock.PARTS)")

    assert result.returncode == 0, result.stderr


def test_a_part_that_is_no_longer_where_it_was_is_told() -> None:
    result = ran("import stock; del stock.Sender.send; stock.take_out(['sender'])")

    assert result.returncode != 0
    assert "benchmarks/stock.py is to be adapted" in result.stderr
