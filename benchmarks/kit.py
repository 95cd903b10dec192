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
from typing import Any, NamedTuple, TypeVar

import aiohttp
from processor import cpu_seconds

from cj_stream.devkit.kafka import LocalKafka
from cj_stream.devkit.kafka_config import free_port
from cj_stream.devkit.processes import die_with_parent

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 180.0
"""How long a condition is waited for before the benchmark gives up."""

Subject = TypeVar("Subject")
Figures = TypeVar("Figures")


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


# --- Code against code ------------------------------------------------------------------------------------------------


class Checkout(NamedTuple):
    """A copy of the project whose code the workers run; ``python`` is the interpreter that has its requirements."""

    name: str
    folder: Path
    python: Path


HERE = Checkout("this checkout", ROOT, Path(sys.executable))


def add_checkouts(options: ArgumentParser) -> None:
    """Add the option that names the code to be measured: in turns, where it names more than one."""
    options.add_argument(
        "--checkout",
        type=_checkout,
        nargs="+",
        default=[HERE],
        metavar="PATH",
        help="run the workers of these checkouts, each with its own .venv, in turns (default: this one)",
    )


def _checkout(path: str) -> Checkout:
    folder = Path(path).resolve()
    described = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    commit = subprocess.run(described, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 -- ours
    return Checkout(f"{folder.name} {commit}", folder, folder / ".venv" / "bin" / "python")


def in_turns(
    subjects: Mapping[str, Subject], repeats: int, run: Callable[[Subject, str], Figures]
) -> dict[str, list[Figures]]:
    """Return what ``run`` finds for each subject, by name; it is given a name for the run too, to be part of a path.

    They take turns, so that whatever else the machine does falls on all of them.
    """
    found: dict[str, list[Figures]] = {name: [] for name in subjects}
    for repeat in range(repeats):
        for number, (name, subject) in enumerate(subjects.items()):
            load = os.getloadavg()[0]
            found[name].append(run(subject, f"{number}-{repeat}"))
            print(f"{name}, run {repeat + 1}, load {load:.1f}: {found[name][-1]}", file=sys.stderr, flush=True)
    return found


def print_in_turns(title: str, columns: Sequence[str], found: Mapping[str, Sequence[Sequence[float]]]) -> None:
    """Print a line for each checkout, and for each after the first its ratio to the first, run by run."""
    rows = [[name, *map(spread, zip(*runs, strict=True))] for name, runs in found.items()]
    (first, runs_of_first), *others = found.items()
    rows += [[f"{name} / {first}", *_ratios(runs, runs_of_first)] for name, runs in others]
    print_table(title, ["worker", *columns], rows)


def _ratios(runs: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> list[str]:
    pairs = [zip(*pair, strict=True) for pair in zip(runs, others, strict=True)]
    ratios = [[one / other if other else float("nan") for one, other in pair] for pair in pairs]
    return [spread(column) for column in zip(*ratios, strict=True)]


# --- Broker and workers -----------------------------------------------------------------------------------------------


_BROKER = "kafka"


@contextmanager
def local_broker() -> Iterator[tuple[str, Path]]:
    """Run a broker in a temporary folder; give its bootstrap address, and the folder for whatever else is needed.

    `broker_process` finds it by that folder.

    Settings of the environment are dropped: what is measured is what the benchmark says. Not from within an event loop.
    """
    logging.getLogger("aiokafka").setLevel(
        logging.ERROR
    )  # it warns of every retry, and retries are normal at the start
    for name in [name for name in os.environ if name.startswith("CJ_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="cj-stream-bench-") as path:
        folder = Path(path)
        kafka = LocalKafka(folder / _BROKER, dies_with_us=True)
        try:
            yield kafka.start(free_port(), report=lambda text: print(text, file=sys.stderr)), folder
        finally:
            kafka.stop()


def broker_process(folder: Path) -> int:
    """Return the process number of the broker that `local_broker` runs in ``folder``."""
    pid = LocalKafka(folder / _BROKER).status().pid
    if pid is None:
        raise BenchmarkError("the broker does not run")
    return pid


class WorkerProcess:
    """A worker with its own folder, port and log, which stay the same when it is started again.

    ``settings`` are those that differ from the defaults, by field name; ``app`` is the module that builds the app, of
    the service or of the benchmarks.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        settings: Mapping[str, object],
        app: str = "cj_stream.app",
        checkout: Checkout = HERE,
    ) -> None:
        port = free_port()
        own = {**settings, "web_port": port, "data_dir": folder / name}
        self._app = app
        self._checkout = checkout
        self.environment = {f"CJ_{field.upper()}": str(value) for field, value in own.items()}
        self.environment["PYTHONPATH"] = os.pathsep.join([str(checkout.folder / "benchmarks"), str(checkout.folder)])
        self._url = f"http://127.0.0.1:{port}"
        self._log_path = folder / f"{name}.log"
        self.data_dir = folder / name
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 -- our own program
                [self._checkout.python, "-m", "faust", "-A", self._app, "worker", "-l", "info"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._checkout.folder,
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
        """Return the processor time it has used, nan before it was started; see `cpu_seconds`."""
        return float("nan") if self._process is None else cpu_seconds(self._process.pid)

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

    @property
    def log(self) -> str:
        """What it has logged so far, in all its lives."""
        return self._log_path.read_text("utf-8", "replace") if self._log_path.exists() else ""

    def last_lines(self, count: int = 20) -> str:
        """Return the end of its log."""
        return "\n".join([f"the end of {self._log_path.name}:", *self.log.splitlines()[-count:]])


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
