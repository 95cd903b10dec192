"""A whole installation on this machine: broker, topics, a judge gateway and workers, ended together."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NoReturn, Self, TypeVar

import aiohttp

from cj_stream.devkit.endings import of_system
from cj_stream.devkit.jars import JarError, ensure_jars
from cj_stream.devkit.kafka import LocalKafka
from cj_stream.devkit.kafka_config import free_port
from cj_stream.devkit.processes import free_ports, uninterrupted
from cj_stream.devkit.stack_file import LOCK_NAME
from cj_stream.devkit.supervision import Broker, CannotStartError, Part, Say, Supervised
from cj_stream.engine.provisioning import ProvisioningError, create_topics
from cj_stream.gateway.gateway_service import topics
from cj_stream.gateway.gateway_settings import GATEWAY, SEPARATOR, GatewaySettings
from cj_stream.operations.settings import Settings
from cj_stream.operations.topic_registry import registry

Result = TypeVar("Result")

READY_SECONDS = 90.0
WORKER_PATIENCE, BROKER_PATIENCE = 15.0, 20.0
"""Seconds that a part gets to end by itself."""
FAILED_STARTS = 3
"""A process that fails this often before it was ever ready will not become ready."""
_POLL_SECONDS = 0.2
GATEWAY_PARTITIONS = 4


class StackError(Exception):
    """The stack did not come up, or nothing of it is left; the text says which part, why, and where its log is."""


def own_bootstrap() -> str | None:
    """Return the broker that CJ_KAFKA_BOOTSTRAP names, None when a local one is to be started."""
    return os.environ.get("CJ_KAFKA_BOOTSTRAP")


def prepare(say: Say) -> None:
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

    Inside, all parts are ready; on the way out, whatever the reason, they are ended in reverse order. A part that ends
    meanwhile is told and started again; `run` tells when nothing is left. ``changes`` are
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
        say: Say = lambda _: None,
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
        self._broker: Broker | None = None
        self._gateway: Supervised | None = None
        self._workers: list[Supervised] = []
        self._lock: IO[str] | None = None

    @property
    def settings(self) -> Settings:
        """Return the settings that all workers share."""
        return Settings(**self._changes)

    @property
    def gateway_settings(self) -> GatewaySettings:
        """Return the settings of the gateway."""
        return GatewaySettings(**self._gateway_changes)

    @property
    def _gateway_changes(self) -> dict[str, Any]:
        workers = self.settings
        return {
            "kafka_bootstrap": workers.kafka_bootstrap,
            "callback_topics": (workers.llm_provider_callback_topic,),
            "web_port": self._gateway_port,
            "data_dir": self.folder / "gateway",
            "partitions": GATEWAY_PARTITIONS,
            "judges": tuple(self._judges),
            "latency_seconds": self._latency_seconds,
            **_names_beside(workers.app_id),
        }

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
            if isinstance(error, (CannotStartError, ProvisioningError)):
                raise StackError(str(error)) from error
            if isinstance(error, OSError):
                hint = "; all parts keep their data there: name a folder that can be written" if error.filename else ""
                raise StackError(f"{of_system(error)}{hint}") from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await uninterrupted(self._stop())

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what ``work`` returns; raises StackError as soon as nothing is left that could help it."""
        working = asyncio.create_task(work)
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                watching.result()
            return await working
        finally:
            for task in (working, watching):
                task.cancel()
            await asyncio.gather(working, watching, return_exceptions=True)

    async def _start(self) -> None:
        self._lock_folder()
        for name in ("content", "gateway", "kafka", "logs"):
            self._own_folder(name)
        self._changes["kafka_bootstrap"] = own_bootstrap() or await self._start_broker()
        settings, gateway = self.settings, self.gateway_settings
        await create_topics(settings.kafka, registry(settings), settings.replication_factor)
        await create_topics(gateway.kafka, topics(gateway), gateway.replication_factor)
        self._say("starting the judge gateway and the workers")
        self._gateway = self._process("gateway", self._worker_command("cj_stream.gateway.app"), self._of_gateway())
        self._workers = [
            self._process(f"worker-{number}", self._worker_command("cj_stream.app"), self._own(number, port))
            for number, port in enumerate(self._web_ports, 1)
        ]
        for process in (self._gateway, *self._workers):
            await process.start()
        await self._wait_until_ready()
        self._gateway.consequence = "what it has accepted is answered when it runs again"

    def _lock_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = (self.folder / LOCK_NAME).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise StackError(f"another one runs in {self.folder}: end it first, or name another folder") from error

    def _own_folder(self, name: str) -> Path:
        """Make a folder of ours, for us alone: people's texts and what was said of them are in it."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)
        return folder

    async def _start_broker(self) -> str:
        kafka = LocalKafka(self.folder / "kafka", dies_with_us=True)
        self._broker = Broker(kafka, self._broker_port, self._say)
        await self._broker.start()
        return self._broker.bootstrap

    def _process(self, name: str, command: Sequence[str], own: Mapping[str, str]) -> Supervised:
        return Supervised(
            name,
            command,
            environment={**self.environment, **own},
            log_path=self.folder / "logs" / f"{name}.log",
            say=self._say,
        )

    def _of_gateway(self) -> dict[str, str]:
        return {
            GATEWAY.setting(name): SEPARATOR.join(value) if isinstance(value, tuple) else str(value)
            for name, value in self._gateway_changes.items()
        }

    @staticmethod
    def _worker_command(app: str) -> list[str]:
        return [sys.executable, "-m", "faust", "-A", app, "worker", "-l", "info"]

    def _own(self, number: int, port: int) -> dict[str, str]:
        return {"CJ_WEB_PORT": str(port), "CJ_DATA_DIR": str(self._own_folder(f"worker-{number}"))}

    async def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            while not await self._is_ready(http):
                self._check_starts()
                if time.monotonic() > deadline:
                    raise StackError(f"not ready after {READY_SECONDS:g} s: see the logs in {self.folder / 'logs'}")
                await asyncio.sleep(_POLL_SECONDS)

    def _parts(self) -> Iterator[Part]:
        yield from filter(None, (self._broker, self._gateway, *self._workers))

    def _check_starts(self) -> None:
        for part in self._parts():
            if part.failures >= FAILED_STARTS or part.has_ended:
                raise StackError(f"{part.name} does not start, it {part.ending}; its log is {part.log_path}")

    async def _watch(self) -> NoReturn:
        """Say when all parts are ready again after a restart; raises StackError when nothing is left to run."""
        restarts = self._restarts()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            while True:
                await asyncio.sleep(_POLL_SECONDS)
                self._check_that_something_runs()
                now = self._restarts()
                if now > restarts and await self._is_ready(http):
                    self._say("everything is ready again")
                    restarts = now

    def _restarts(self) -> int:
        return sum(part.restarts for part in self._parts())

    def _check_that_something_runs(self) -> None:
        if self._broker is not None and self._broker.has_ended:
            raise StackError(f"nothing can run without Kafka, which {self._broker.ending}; the rest is ended too")
        if all(worker.has_ended for worker in self._workers):
            ends = "; ".join(f"{worker.name} {worker.ending}" for worker in self._workers)
            raise StackError(f"nothing is left to run: {ends}; the logs are in {self.folder / 'logs'}")

    async def _is_ready(self, http: aiohttp.ClientSession) -> bool:
        """Return whether the gateway answers and the workers have opened all partitions among them."""
        if await _ok(http, f"{self._gateway_url}/healthz/ready") is None:
            return False
        answers = [await _ok(http, f"{url}/healthz/ready") for url in self.worker_urls]
        opened = [partition for answer in answers if answer for partition in answer["partitions"]]
        # Workers of somebody else may share a broker that is not ours, and have some of the partitions.
        return None not in answers and (self._broker is None or len(opened) == self.settings.partitions)

    async def _stop(self) -> None:
        await asyncio.gather(*(worker.stop(WORKER_PATIENCE) for worker in self._workers))
        if self._gateway is not None:
            await self._gateway.stop(WORKER_PATIENCE)
        if self._broker is not None:
            await self._broker.stop(BROKER_PATIENCE)
        if self._lock is not None:
            self._lock.close()


async def _ok(http: aiohttp.ClientSession, url: str) -> dict[str, Any] | None:
    with suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError):
        async with http.get(url) as response:
            if response.ok:
                answer: dict[str, Any] = await response.json()
                return answer
    return None


def _names_beside(app_id: str) -> dict[str, str]:
    """Return names of its own for the gateway of workers that have names of their own."""
    if app_id == Settings.model_fields["app_id"].default:
        return {}
    named = ("jobs_topic", "dead_letters_topic")
    beside = {name: f"{app_id}.{GatewaySettings.model_fields[name].default}" for name in named}
    return {"app_id": f"{app_id}-gateway", **beside}
