"""The parts of one worker that make plain Faust safe, made together for its Faust app and complete when they are made.

Faust's own objects know only their app, so what overrides them asks it for the parts: `engine_of`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from cj_stream.engine.clock import Clock
from cj_stream.engine.cluster import Cluster, ask_anew
from cj_stream.engine.conditions import Conditions
from cj_stream.engine.engine_settings import EngineSettings
from cj_stream.engine.fence import Fence
from cj_stream.engine.forwarder import Forwarder
from cj_stream.engine.local_store import LocalStore
from cj_stream.engine.messages import EventCodec
from cj_stream.engine.opening import Opener
from cj_stream.engine.overrides.fetch_guard import FetchGuard
from cj_stream.engine.overrides.inputs import Inputs
from cj_stream.engine.overrides.isolation import OpenTransactions
from cj_stream.engine.overrides.sight import Eye
from cj_stream.engine.overrides.table import Table
from cj_stream.engine.publisher import Deliveries, Publisher
from cj_stream.engine.releases import Release, Releases
from cj_stream.engine.rows import RowKeys
from cj_stream.engine.sender import Sender
from cj_stream.engine.watchdog import Limits, Watchdog

if TYPE_CHECKING:
    from cj_stream.engine.overrides.faust_app import HardenedApp

EventT = TypeVar("EventT")


class Engine(Generic[EventT]):
    """The parts of the worker of a Faust app. ``released`` is told of every commit, with what it released."""

    def __init__(
        self,
        faust: HardenedApp,
        settings: EngineSettings,
        keys: RowKeys,
        codec: EventCodec[EventT],
        released: Release[Any],
    ) -> None:
        self.faust = faust
        self.settings = settings
        self.keys = keys
        self.codec = codec
        self.events_topic = settings.log_topic
        self.conditions = Conditions(time.time)
        self.fence = Fence(settings.session_timeout_seconds)
        self.clock = Clock(time.time, self.conditions, settings.clock_tolerance_seconds)
        self.sender = Sender(faust, self.fence, self.clock)
        self.publisher = Publisher(faust, self.fence, self.conditions, self.clock)
        self.deliveries = Deliveries(self.sender.promise)
        accumulate = settings.accumulate_milliseconds / 1000
        self.forwarder = Forwarder(self.sender, settings.log_topic, accumulate, codec, self._is_behind)
        self.releases = Releases[Any](released)
        self.inputs = Inputs(self.conditions, settings.names)
        step_over = f"{settings.names.command} partitions step-over"
        self.guard = FetchGuard(self.conditions, self._is_changelog, time.time, step_over)
        self.opener = Opener(self.sender, settings.log_topic, self.clock.now, self._standing_homes)
        self.eye = Eye(faust, OpenTransactions(self.conditions))
        self.watchdog = Watchdog(_limits(settings), self.fence, self.eye, _cluster(settings, self.conditions))
        self.local_store = LocalStore(settings.data_dir, settings.names)
        self.table = Table(faust, name=settings.table, partitions=settings.partitions, keys=keys)
        faust.tables.add(self.table)

    def _is_behind(self) -> bool:
        return bool(cast("Any", self.faust.consumer).reading.is_behind())

    def _is_changelog(self, topic: str) -> bool:
        return topic in self.faust.tables.changelog_topics

    def _standing_homes(self) -> set[int]:
        return {at.partition for at in self.guard.standing() if at.topic == self.events_topic}


def engine_of(app: Any) -> Engine[Any]:
    """Return the parts of the worker whose Faust app this is."""
    engine: Engine[Any] = app.engine
    return engine


def _limits(settings: EngineSettings) -> Limits:
    return Limits(
        loop=settings.loop_stall_seconds,
        partition=settings.partition_stall_seconds,
        opening=settings.opening_stall_seconds,
        stop=settings.stop_seconds,
    )


def _cluster(settings: EngineSettings, conditions: Conditions) -> Cluster:
    kafka = settings.kafka
    return Cluster(
        lambda: ask_anew(kafka, settings.log_topic, settings.app_id), settings.cluster_lost_seconds, conditions, kafka
    )
