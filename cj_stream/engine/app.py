"""An app on the engine: everything of one worker, wired together, complete when it is built.

    app = App(settings, keys, codec, build)

``build`` gets the engine's parts and returns what the app adds (`Service`). ``app.faust`` is what Faust's command line
runs: ``faust -A module worker``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import structlog
from aiokafka.structs import TopicPartition
from faust.types import TP, StreamT

from cj_stream.engine import web_address
from cj_stream.engine.address import find_address_problems
from cj_stream.engine.engine_settings import EngineSettings
from cj_stream.engine.hardening import Engine
from cj_stream.engine.health import Health
from cj_stream.engine.lifecycle import Lifecycle
from cj_stream.engine.messages import EventCodec
from cj_stream.engine.overrides.faust_app import HardenedApp
from cj_stream.engine.overrides.membership import claim
from cj_stream.engine.process import end_process, ends_process, refuse_to_start
from cj_stream.engine.provisioning import create_topics
from cj_stream.engine.rows import RowKeys
from cj_stream.engine.service import Input, Service
from cj_stream.engine.shared_input import check_shared_input
from cj_stream.engine.start_check import check_changelog, check_codecs, check_topics
from cj_stream.engine.web_pages import serve_pages

log = structlog.get_logger(__name__)

TICK_SECONDS = 5.0

EventT = TypeVar("EventT")
ServiceT = TypeVar("ServiceT", bound=Service)


class App(Lifecycle, Generic[EventT, ServiceT]):
    """One worker of an app. ``engine`` are the parts that make Faust safe, ``service`` is what the app adds."""

    def __init__(
        self,
        settings: EngineSettings,
        keys: RowKeys,
        codec: EventCodec[EventT],
        build: Callable[[Engine[EventT]], ServiceT],
    ) -> None:
        self.settings = settings
        self.faust = HardenedApp(settings, keys, codec, self)
        self.engine: Engine[EventT] = self.faust.engine
        self.service = build(self.engine)
        self._joined = False
        sources = [*(source.topic for source in self.service.inputs), settings.log_topic]
        self.health = Health(self.engine, sources, lambda: self.name)
        self._register()

    @property
    def name(self) -> str:
        """Return the worker's name in the group."""
        return str(self.faust.conf.consumer_group_instance_id)

    async def create_topics(self) -> list[str]:
        """Create the topics that are missing and return their names. Raises `ProvisioningError`."""
        return await create_topics(self.settings.kafka, self.service.topics, self.settings.replication_factor)

    # --- The worker's life -----------------------------------------------------------------------------------------

    async def before_start(self) -> None:
        """Wait for what is needed, or refuse to start."""
        check_codecs()
        conf, settings = self.faust.conf, self.settings
        problems = find_address_problems(settings)
        if conf.web_enabled:
            problems += web_address.address_problems(conf.web_bind, conf.web_port, settings.names)
        if problems:
            refuse_to_start(problems)
        await check_topics(settings, self.service.topics)
        await check_changelog(settings, self.engine.local_store, self.engine.keys)
        await check_shared_input(settings, self.service.own_input)
        await self.service.before_start()

    async def before_join(self) -> None:
        """Take this worker's name in the group, or end the process when another worker has it."""
        name = self.settings.worker_id or self.engine.local_store.worker_id()
        self.faust.conf.consumer_group_instance_id = name
        await claim(self.settings.kafka, self.settings.app_id, name, str(self.faust.conf.canonical_url))
        await self.service.before_join()

    def before_seek(self, partitions: set[int]) -> None:
        """Say how far the log was applied to the rows of these partitions."""
        topic, positions = self.settings.log_topic, self.service.positions
        found = {TopicPartition(topic, partition): positions.applied(partition) for partition in partitions}
        self.engine.inputs.applied = {tp: applied for tp, applied in found.items() if applied is not None}
        self.service.before_seek(partitions)

    async def after_seek(self) -> None:
        """Have what is read of a log that is another one than the rows were made from win over them."""
        for tp, offset in self.engine.inputs.begun_anew.items():
            log.warning("the log of a partition is not the one its rows were made from", partition=tp.partition)
            row = self.service.positions.anew(tp.partition, offset)
            await self.engine.table.write(self.engine.sender, tp.partition, [row])
        await self.service.after_seek()

    async def revoked(self, partitions: set[int]) -> None:
        """Finish, within half a session, what is under way for partitions that are taken away, and forget them."""
        engine, service = self.engine, self.service
        patience = self.settings.session_timeout_seconds / 2
        # The protocol is eager: every partition is taken away, also one that a broken-off assignment left behind.
        partitions = partitions | set(service.log.homes)
        engine.opener.revoked()
        engine.releases.drop(partitions)
        self._tell_cut_off(await service.dispatcher.drop(partitions, patience), patience)
        if not await engine.sender.settled(patience):
            end_process("records were not acknowledged before the partitions had to be given up")
        engine.publisher.forget()
        if service.windows is not None:
            service.windows.drop(partitions)
        for partition in partitions:
            service.log.homes.pop(partition, None)
        await service.revoked(partitions)

    async def before_stop(self) -> None:
        """Start nothing more, and finish what is under way."""
        patience = self.settings.session_timeout_seconds
        self._tell_cut_off(await self.service.dispatcher.close(patience), patience)
        await self.service.before_stop()

    async def after_stop(self) -> None:
        """Close the app's connections to the outside."""
        await self.service.after_stop()

    def released(self, partition: int, position: int, subjects: list[Any]) -> None:
        """Take over subjects as they are after a commit."""
        if self.service.windows is not None:
            self.service.windows.watch(partition, subjects)
        self.service.dispatcher.committed(partition, position, subjects)

    def _tell_cut_off(self, count: int, waited: float) -> None:
        if count:
            log.warning(
                "effects were cut off: they took longer than they are waited for when partitions are given up, and "
                "may be carried out twice",
                effects=count,
                waited_seconds=waited,
                setting=self.settings.names.setting("session_timeout_seconds"),
            )

    # --- What Faust is given -----------------------------------------------------------------------------------------

    def _register(self) -> None:
        service = self.service
        for source in (*service.inputs, Input(service.log_name, self.settings.log_topic, service.log.handle)):
            _add_agent(self.faust, source._replace(handle=service.dead_letters.read_by(source.handle)))
        if service.windows is not None:
            self.faust.timer(interval=min(max(service.window_seconds / 4, 0.5), 15.0))(self._close_windows)
        self.faust.timer(interval=TICK_SECONDS)(self._tick)
        for timer in service.timers:
            self.faust.timer(interval=timer.seconds)(timer.run)
        self.faust.on_partitions_revoked.connect(self._on_revoked, weak=False)
        gets = {**self.health.pages, **service.gets}
        serve_pages(self.faust, {"get": gets, "post": service.posts, "put": service.puts, "delete": service.deletes})

    async def _on_revoked(self, _app: Any, revoked: set[TP], **_: Any) -> None:
        await self.revoked({tp.partition for tp in revoked if tp.topic == self.settings.log_topic})

    async def _close_windows(self) -> None:
        if self.service.windows is not None:
            await _survive(self.service.windows.close(self.engine.clock.now()))

    async def _tick(self) -> None:
        self.service.dispatcher.tick()
        self.engine.sender.look(self.engine.conditions)
        await _survive(self._check_joined())

    async def _check_joined(self) -> None:
        """Look, once all partitions are open, whether another application has begun on our input meanwhile."""
        if self.engine.opener.ready and not self._joined:
            self._joined = True
            await check_shared_input(self.settings, self.service.own_input)


def _add_agent(app: HardenedApp, source: Input) -> None:
    async def agent(stream: StreamT) -> None:
        try:
            async for event in stream.events():
                # Faust acknowledges a message whose handling is cut off, whatever cuts it off.
                with ends_process(f"the {source.name} agent could not handle a run of records"):
                    await source.handle(event.message.run)
        except Exception as error:
            log.exception("agent failed", agent=source.name)
            end_process(f"the {source.name} agent could not read on", error=repr(error), topic=source.topic)

    topic = app.topic(source.topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    app.agent(topic, name=source.name, concurrency=1)(agent)


async def _survive(work: Awaitable[None]) -> None:
    # An exception in a Faust timer would end the worker; the next window finds the same subjects due.
    try:
        await work
    except Exception:
        log.exception("the work of a timer failed")
