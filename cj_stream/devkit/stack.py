"""A whole installation on this machine: broker, topics, a judge gateway and workers, ended together."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import aiohttp

from cj_stream.contracts.topics import registry
from cj_stream.devkit.jars import JarError, ensure_jars
from cj_stream.devkit.kafka import LocalKafka, LocalKafkaError
from cj_stream.devkit.kafka_config import free_port
from cj_stream.devkit.processes import Supervised, free_ports, uninterrupted
from cj_stream.operations.settings import Settings
from cj_stream.streaming.provisioning import ProvisioningError, create_topics

READY_SECONDS = 90.0
WORKER_PATIENCE, GATEWAY_PATIENCE = 15.0, 5.0
"""Seconds that a process gets to end by itself."""
FAILED_STARTS = 3
"""A process that fails this often before it was ever ready will not become ready."""
_POLL_SECONDS = 0.2
_GATEWAY = "from cj_stream.cli.gateway import gateway; gateway(prog_name='cj-stream gateway')"


class StackError(Exception):
    """The stack did not come up; the text says which part, why, and where its log is."""


def own_bootstrap() -> str | None:
    """Return the broker that CJ_KAFKA_BOOTSTRAP names, None when a local one is to be started."""
    return os.environ.get("CJ_KAFKA_BOOTSTRAP")


def prepare(say: Callable[[str], None]) -> None:
    """Download what the local broker needs, if anything; before a stack runs, where an interrupt is still cheap.

    Raises:
        StackError: the download is impossible, with the reason and what to do.

    """
    try:
        if own_bootstrap() is None:
            ensure_jars(say)
    except JarError as error:
        raise StackError(str(error)) from error


class Stack:
    """Everything that a batch needs, in one folder: use it as ``async with Stack(...) as stack``.

    Inside, all parts are ready; on the way out, whatever the reason, they are ended in reverse order. ``changes`` are
    settings of the workers by field name. ``ports`` are those preferred for the gateway and the workers, in this order,
    with the usual one for the broker; without any, all ports are random, so that nobody meets this stack by chance.
    Raises `StackError`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 2,
        judges: Sequence[str] = (),
        latency_seconds: float = 1.0,
        changes: Mapping[str, Any] | None = None,
        ports: Sequence[int] = (),
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder = folder.resolve()
        self._judges = judges
        self._latency_seconds = latency_seconds
        self._say = say
        gateway_port, *self._web_ports = free_ports([*ports, *[0] * (workers + 1)][: workers + 1])
        self._gateway_url = f"http://127.0.0.1:{gateway_port}"
        self._gateway_port = gateway_port
        self._broker_port = None if ports else free_port()
        self._changes = {
            "content_service_url": f"file:{self.folder / 'content'}",
            "llm_provider_service_url": f"{self._gateway_url}/api/v1",
            **(changes or {}),
        }
        self._kafka: LocalKafka | None = None
        self._gateway: Supervised | None = None
        self._workers: list[Supervised] = []
        self._lock: IO[str] | None = None

    @property
    def settings(self) -> Settings:
        """Return the settings that all workers share."""
        return Settings(**self._changes)

    @property
    def environment(self) -> dict[str, str]:
        """Return the same settings, those that differ from the defaults or the environment, as variables."""
        return {f"CJ_{name.upper()}": str(value) for name, value in self._changes.items()}

    @property
    def gateway_url(self) -> str:
        """Return the base address of the gateway."""
        return self._gateway_url

    @property
    def worker_urls(self) -> list[str]:
        """Return the base addresses of the workers' views."""
        return [f"http://127.0.0.1:{port}" for port in self._web_ports]

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException as error:
            await uninterrupted(self._stop())
            if isinstance(error, (JarError, LocalKafkaError, ProvisioningError)):
                raise StackError(str(error)) from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await uninterrupted(self._stop())

    async def _start(self) -> None:
        self._lock_folder()
        self._changes["kafka_bootstrap"] = own_bootstrap() or await self._start_broker()
        (self.folder / "content").mkdir(exist_ok=True)
        settings = self.settings
        await create_topics(settings.kafka_bootstrap, registry(settings), settings.replication_factor)
        self._say("starting the judge gateway and the workers")
        self._gateway = self._process("gateway", self._gateway_command(), {})
        self._workers = [
            self._process(f"worker-{number}", self._worker_command(), self._own(number, port))
            for number, port in enumerate(self._web_ports, 1)
        ]
        for process in (self._gateway, *self._workers):
            process.start()
        await self._wait_until_ready()

    def _lock_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise StackError(f"another one runs in {self.folder}: end it first, or name another folder") from error

    async def _start_broker(self) -> str:
        kafka = self._kafka = LocalKafka(self.folder / "kafka", dies_with_us=True)
        starting = asyncio.create_task(asyncio.to_thread(kafka.start, self._broker_port, self._say))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # A thread cannot be cancelled, but this one gives up when its broker is gone.
            while not starting.done():
                await asyncio.to_thread(kafka.stop)
                await asyncio.wait([starting], timeout=_POLL_SECONDS)
            starting.exception()  # that it could not start is no news then
            raise

    def _process(self, name: str, command: Sequence[str], own: Mapping[str, str]) -> Supervised:
        return Supervised(
            name,
            command,
            environment={**self.environment, **own},
            log_path=self.folder / "logs" / f"{name}.log",
            say=self._say,
        )

    def _gateway_command(self) -> list[str]:
        options = ["--port", str(self._gateway_port), "--latency", str(self._latency_seconds)]
        judges = [option for judge in self._judges for option in ("--judge", judge)]
        return [sys.executable, "-c", _GATEWAY, *options, *judges]

    @staticmethod
    def _worker_command() -> list[str]:
        return [sys.executable, "-m", "faust", "-A", "cj_stream.app", "worker", "-l", "info"]

    def _own(self, number: int, port: int) -> dict[str, str]:
        return {"CJ_WEB_PORT": str(port), "CJ_DATA_DIR": str(self.folder / f"worker-{number}")}

    async def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            while not await self._is_ready(http):
                self._check_starts()
                if time.monotonic() > deadline:
                    raise StackError(f"not ready after {READY_SECONDS:g} s: see the logs in {self.folder / 'logs'}")
                await asyncio.sleep(_POLL_SECONDS)

    def _check_starts(self) -> None:
        for process in filter(None, (self._gateway, *self._workers)):
            if process.failures >= FAILED_STARTS or process.has_ended:
                raise StackError(
                    f"{process.name} does not start. The end of {process.log_path}:\n{process.last_lines()}"
                )

    async def _is_ready(self, http: aiohttp.ClientSession) -> bool:
        """Return whether the gateway answers and the workers have opened all partitions among them."""
        if await _ok(http, f"{self._gateway_url}/healthz") is None:
            return False
        answers = [await _ok(http, f"{url}/healthz/ready") for url in self.worker_urls]
        opened = [partition for answer in answers if answer for partition in answer["partitions"]]
        # Workers of somebody else may share a broker that is not ours, and have some of the partitions.
        return None not in answers and (self._kafka is None or len(opened) == self.settings.partitions)

    async def _stop(self) -> None:
        await asyncio.gather(*(worker.stop(WORKER_PATIENCE) for worker in self._workers))
        if self._gateway is not None:
            await self._gateway.stop(GATEWAY_PATIENCE)
        if self._kafka is not None:
            await asyncio.to_thread(self._kafka.stop)
        if self._lock is not None:
            self._lock.close()


async def _ok(http: aiohttp.ClientSession, url: str) -> dict[str, Any] | None:
    with suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError):
        async with http.get(url) as response:
            if response.ok:
                answer: dict[str, Any] = await response.json()
                return answer
    return None
