"""Workers as processes, for tests: started, stopped, killed, frozen and asked over HTTP, and always ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import pytest
from pydantic import SecretStr

from cj_stream.devkit.kafka_config import free_port
from cj_stream.devkit.processes import die_with_parent
from cj_stream.engine.engine_settings import EngineSettings

POLL_SECONDS = 0.05
PATIENCE = 45.0
"""Seconds that a condition gets: many times what it takes on a machine that is busy with something else too."""
SAFE_EXIT = 70
"""A worker that ended itself to stay safe."""
APP = "cj_stream.app"
TESTS = Path(__file__).parents[2]


def environment(settings: EngineSettings) -> dict[str, str]:
    """Return the settings of an app as the environment variables that give them."""
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    return {settings.names.setting(name): _written(value) for name, value in values.items() if value is not None}


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


class WorkerProcess:
    """A worker with its own folder, port and log, which stay the same when it is started again."""

    def __init__(
        self, settings: EngineSettings, folder: Path, name: str, data_dir: Path | None, app: str = APP
    ) -> None:
        self.name = name
        self.order = folder / f"{name}.order"
        """Where a worker of the kill suite finds its order to die."""
        self.app = app
        self.log_path = folder / f"{name}.log"
        self.may_end = False
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.data_dir = data_dir or folder / name
        self._settings = settings.model_copy(update={"data_dir": self.data_dir, "web_port": port})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, may_end: bool = False) -> None:
        """Start it; ``may_end`` says whether its end is no surprise."""
        self.may_end = may_end
        assert not self.runs, f"{self.name} runs already"
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "faust", "-A", self.app, "worker", "-l", "info"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment(self._settings), **self._own_environment()},
                preexec_fn=die_with_parent,  # noqa: PLW1509 -- one system call that takes no lock
            )

    def _own_environment(self) -> dict[str, str]:
        paths = filter(None, [str(TESTS), os.environ.get("PYTHONPATH")])
        return {"KILL_ORDER": str(self.order), "PYTHONPATH": os.pathsep.join(paths)}

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.may_end = True
        self.send(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(10)

    def terminate(self) -> None:
        """SIGTERM: what an operator or a supervisor does."""
        self.may_end = True
        self.send(signal.SIGTERM)

    def end(self) -> None:
        """End it, whatever state it is in, without asking."""
        if self.runs:
            self.kill()

    @property
    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    def tail(self, lines: int = 25) -> str:
        """Return the end of its log, for a message about what went wrong."""
        state = "runs" if self.runs else f"ended with {self.exit_code}"
        return f"--- {self.name} ({state}), end of its log:\n" + "\n".join(self.log.splitlines()[-lines:])


class Fleet:
    """The workers of one test; use it as ``async with Fleet(settings, folder) as fleet``."""

    def __init__(self, settings: EngineSettings, folder: Path, app: str = APP) -> None:
        self.settings = settings
        self.workers: list[WorkerProcess] = []
        self.app = app
        self._folder = folder
        self._http: aiohttp.ClientSession | None = None
        token = getattr(settings, "reader_token", None)
        self._reading = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.end()
        if self._http is not None:
            await self._http.close()

    def worker(self, *, data_dir: Path | None = None, **changes: Any) -> WorkerProcess:
        """Return another worker, not yet started; ``changes`` are settings of its own."""
        name = f"worker-{len(self.workers) + 1}"
        worker = WorkerProcess(self.settings.model_copy(update=changes), self._folder, name, data_dir, self.app)
        self.workers.append(worker)
        return worker

    async def start(self, count: int = 1) -> list[WorkerProcess]:
        """Start ``count`` more workers and wait until they serve all partitions among them."""
        started = [self.worker() for _ in range(count)]
        for worker in started:
            worker.start()
        await self.ready()
        return started

    async def ready(self, *, without: WorkerProcess | None = None) -> None:
        """Wait until every running worker, ``without`` one, is ready, and each partition served by exactly one."""

        async def served() -> bool:
            asked = [worker for worker in self.workers if worker.runs and worker is not without]
            answers = [await self.partitions(worker) for worker in asked]
            opened = sorted(partition for partitions in answers for partition in partitions)
            return all(answers) and opened == list(range(self.settings.partitions))

        await self.until(served, "the workers serve all partitions")

    async def partitions(self, worker: WorkerProcess) -> list[int]:
        """Return the partitions that a worker serves, none when it is not ready."""
        answer = await self._get(f"{worker.url}/healthz/ready")
        return [] if answer is None else list(answer["partitions"])

    async def batch(self, batch_id: str) -> dict[str, Any] | None:
        """Return what the views say about a batch, None while there is no answer."""
        return await self._page(f"/batches/{quote(batch_id, safe='')}")

    async def comparisons(self, batch_id: str) -> list[dict[str, Any]]:
        """Return all comparisons of a batch, as the views show them."""
        page = await self._page(f"/batches/{quote(batch_id, safe='')}/comparisons?limit=1000")
        return [] if page is None else list(page["comparisons"])

    async def batches(self) -> list[str]:
        """Return the ids of all batches."""
        page = await self._page("/batches")
        return [] if page is None else [batch["batch_id"] for batch in page["batches"]]

    async def metric(self, name: str, **labels: str) -> float:
        """Return a metric's sample with these labels, the sum over all workers."""
        sample = name + "{" + ",".join(f'{label}="{value}"' for label, value in labels.items()) + "}"
        total = 0.0
        for worker in self.workers:
            if worker.runs and self._http is not None:
                async with self._http.get(f"{worker.url}/metrics") as response:
                    lines = (await response.text()).splitlines()
                total += sum(float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == sample)
        return total

    async def until(
        self, condition: Callable[[], bool | Awaitable[bool]], what: str, seconds: float = PATIENCE
    ) -> None:
        """Wait until ``condition`` holds; fail, with the ends of the logs, when it does not or a worker ends."""
        deadline = time.monotonic() + seconds
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            if time.monotonic() > deadline:
                pytest.fail(f"not within {seconds:g} s: {what}\n{await self.standing()}\n{self.tails()}")
            for worker in self.workers:
                if not worker.may_end and worker.exit_code is not None:
                    pytest.fail(f"{worker.name} ended while waiting for: {what}\n{self.tails()}")
            await asyncio.sleep(POLL_SECONDS)

    async def ended(self, worker: WorkerProcess) -> int:
        """Wait for the end of a worker and return its exit code."""
        worker.may_end = True
        await self.until(lambda: not worker.runs, f"{worker.name} ends")
        code = worker.exit_code
        assert code is not None
        return code

    async def standing(self) -> str:
        """Return where every batch stands, for a message about what went wrong."""
        page = await self._page("/batches") or {"batches": []}
        shown = ("state", "current_iteration", "planned_comparisons", "in_flight_comparisons", "completed_comparisons")
        lines = [f"{batch['batch_id']}: {[batch[name] for name in shown]}" for batch in page["batches"]]
        return "\n".join([f"batches, {', '.join(shown)}:", *lines])

    def tails(self, lines: int = 25) -> str:
        """Return the ends of all logs."""
        return "\n".join(worker.tail(lines) for worker in self.workers)

    async def _page(self, path: str) -> dict[str, Any] | None:
        for worker in self.workers:
            if worker.runs and (answer := await self._get(worker.url + path)) is not None:
                return answer
        return None

    async def _get(self, url: str) -> dict[str, Any] | None:
        assert self._http is not None, "use the fleet as a context manager"
        try:
            async with self._http.get(url, headers=self._reading) as response:
                answer: dict[str, Any] = await response.json()
                return answer if response.ok else None
        except (aiohttp.ClientError, TimeoutError):
            return None
