"""What the benchmarks share: repeated timing, tables of medians, and a broker and workers of their own."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from cj_stream.devkit.kafka import LocalKafka
from cj_stream.devkit.kafka_config import free_port
from cj_stream.devkit.processes import die_with_parent

PATIENCE_SECONDS = 180.0
"""How long a condition is waited for before the benchmark gives up."""


class BenchmarkError(Exception):
    """Something that was waited for did not happen; the text says what, and shows the ends of the logs."""


# --- Figures ----------------------------------------------------------------------------------------------------------


def parser(description: str | None, *, repeats: int) -> ArgumentParser:
    """Return a parser with the option that all benchmarks have; ``description`` is the script's docstring."""
    made = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    made.add_argument("--repeats", type=int, default=repeats, help=f"measured runs of each figure (default {repeats})")
    return made


def seconds_of(work: Callable[[], object], repeats: int) -> list[float]:
    """Return the seconds that each of ``repeats`` runs of ``work`` took, after one run that does not count."""
    work()
    return [_seconds(work) for _ in range(repeats)]


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def spread(values: Sequence[float]) -> str:
    """Return the median and, in brackets, the smallest and the largest value."""
    return f"{_short(statistics.median(values))} ({_short(min(values))} - {_short(max(values))})"


def _short(value: float) -> str:
    # Three significant digits are more than repeated runs agree on.
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print the machine, the title and a table."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    print(f"\n{title}\n{_machine()}; figures are medians (min - max)\n")
    for row in (header, ["-" * width for width in widths], *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    sys.stdout.flush()


def _machine() -> str:
    load = f", load of the last minute {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}{load}"


# --- Broker and workers -----------------------------------------------------------------------------------------------


@contextmanager
def local_broker() -> Iterator[tuple[str, Path]]:
    """Run a broker in a temporary folder; give its bootstrap address, and the folder for whatever else is needed.

    Settings of the environment are dropped: what is measured is what the benchmark says. Not from within an event loop.
    """
    logging.getLogger("aiokafka").setLevel(
        logging.ERROR
    )  # it warns of every retry, and retries are normal at the start
    for name in [name for name in os.environ if name.startswith("CJ_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="cj-stream-bench-") as path:
        folder = Path(path)
        kafka = LocalKafka(folder / "kafka", dies_with_us=True)
        try:
            yield kafka.start(free_port(), report=lambda text: print(text, file=sys.stderr)), folder
        finally:
            kafka.stop()


class WorkerProcess:
    """A worker with its own folder, port and log, which stay the same when it is started again.

    ``settings`` are those that differ from the defaults, by field name; ``app`` is the module that builds the app.
    """

    def __init__(self, name: str, folder: Path, settings: Mapping[str, object], app: str = "cj_stream.app") -> None:
        port = free_port()
        own = {**settings, "web_port": port, "data_dir": folder / name}
        self._app = app
        self.environment = {f"CJ_{field.upper()}": str(value) for field, value in own.items()}
        self._url = f"http://127.0.0.1:{port}"
        self._log_path = folder / f"{name}.log"
        self.data_dir = folder / name
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 -- our own program
                [sys.executable, "-m", "faust", "-A", self._app, "worker", "-l", "info"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 -- one system call that takes no lock
            )

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    async def ended(self) -> None:
        """Wait for its end."""
        await until(self.has_ended, "the end of a worker", [self])

    def has_ended(self) -> bool:
        """Return whether it does not run."""
        return self._process is None or self._process.poll() is not None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """Return the process as it was started last; raises `BenchmarkError` before that."""
        if self._process is None:
            raise BenchmarkError("the worker was never started")
        return self._process

    def forget_name(self) -> None:
        """Have it join the group under another name when it is started next."""
        (self.data_dir / "worker-id").unlink(missing_ok=True)

    def kill(self) -> None:
        """End it whatever state it is in, and wait for that."""
        self.send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def cpu_seconds(self) -> float:
        """Return the processor time it has used, user and system, or nan where the system does not tell (not Linux)."""
        if self._process is None or not Path("/proc/self/stat").exists():
            return float("nan")
        # The name of the command stands in brackets and may hold spaces; what follows is well formed.
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def ask(self, path: str) -> dict[str, Any] | None:
        """Return the JSON that a view answers with status 200, None for anything else."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
                http.get(self._url + path) as response,
            ):
                answer: dict[str, Any] = await response.json()
                return answer if response.ok else None
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def open_partitions(self) -> list[int]:
        """Return the partitions it serves, none while it is not ready."""
        answer = await self.ask("/healthz/ready")
        return [] if answer is None else list(answer["partitions"])

    def last_lines(self, count: int = 20) -> str:
        """Return the end of its log."""
        lines = self._log_path.read_text("utf-8", "replace").splitlines()
        return "\n".join([f"the end of {self._log_path.name}:", *lines[-count:]])


async def until(
    condition: Callable[[], bool | Awaitable[bool]],
    what: str,
    workers: Sequence[WorkerProcess],
    poll: float = 0.05,
    patience: float = PATIENCE_SECONDS,
) -> None:
    """Wait until ``condition`` holds; raises `BenchmarkError` when it takes longer than ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while True:
        holds = condition()
        if holds if isinstance(holds, bool) else await holds:
            return
        if time.monotonic() > deadline:
            logs = "\n".join(worker.last_lines() for worker in workers)
            raise BenchmarkError(f"not within {patience:g} s: {what}\n{logs}")
        await asyncio.sleep(poll)
