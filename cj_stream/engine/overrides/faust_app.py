"""The hardened Faust app: at-least-once, one partition one writer, nothing started before it is durable.

Hazards in Faust 0.15.3: SIGTERM sends no ``on_partitions_revoked``, so nothing would wait for what is under way; and
what was written to the local database is not known to be acknowledged when the process ends (``app/base.py``
1706-1744).

Tests: ``test_barrier.py``; ``tests/kafka/test_lost_workers.py`` (a stopped worker goes on where it was).
"""

from __future__ import annotations

from typing import Any

import faust
from faust.transport.drivers.aiokafka import Transport as FaustTransport

from cj_stream.engine.address import advertised_host
from cj_stream.engine.engine_settings import EngineSettings
from cj_stream.engine.hardening import Engine
from cj_stream.engine.lifecycle import Lifecycle
from cj_stream.engine.limits import RECORD_LIMIT
from cj_stream.engine.local_store import FolderError
from cj_stream.engine.messages import EventCodec
from cj_stream.engine.overrides.assignor import ExistingPartitionsAssignor
from cj_stream.engine.overrides.consumer import BarrierConsumer
from cj_stream.engine.overrides.crashes import end_for
from cj_stream.engine.overrides.faust_worker import QuietWorker
from cj_stream.engine.overrides.producer import IdempotentProducer
from cj_stream.engine.overrides.recovery import SeekFirstTableManager
from cj_stream.engine.process import refuse_to_start
from cj_stream.engine.rows import RowKeys

SETTLE_SECONDS = 10.0
REQUEST_SECONDS = 90.0
METADATA_SECONDS = 10
"""New partitions, and topics that were made anew, are found within this time; Faust's 5 minutes are long."""


class HardenedTransport(FaustTransport):
    """Faust's aiokafka transport with our consumer and producer."""

    Consumer = BarrierConsumer
    Producer = IdempotentProducer


class HardenedApp(faust.App):
    """Faust's app with the commit barrier, the fence and the safe recovery built in."""

    draining = False
    """Whether the worker has begun to stop."""

    def __init__(self, settings: EngineSettings, keys: RowKeys, codec: EventCodec[Any], life: Lifecycle) -> None:
        super().__init__(settings.app_id, **_options(settings))
        self._harden(settings, keys, codec, life)

    def _harden(self, settings: EngineSettings, keys: RowKeys, codec: EventCodec[Any], life: Lifecycle) -> None:
        self.life = life
        self.engine = Engine[Any](self, settings, keys, codec, life.released)

    def _crash(self, reason: BaseException) -> None:
        """End the process: mode marks every part as crashed, and would stop them one after the other."""
        end_for(reason, self.engine.settings.names)

    async def on_first_start(self) -> None:
        """Lock the local store, and check what the worker needs, before any table is opened."""
        self.engine.watchdog.watch_loop()
        self.engine.watchdog.start()
        try:
            self.engine.local_store.lock()
        except FolderError as error:
            refuse_to_start([str(error)])
        await self.life.before_start()
        self.engine.local_store.open()
        await self.life.before_join()
        await super().on_first_start()

    async def stop(self) -> None:
        """Finish what is under way while still a full member of the group, then stop."""
        if not self.draining:
            self.draining = True
            self.engine.watchdog.stopping()
            await self.life.before_stop()
        await super().stop()

    async def on_stop(self) -> None:
        """Stop in the order that loses nothing: consumer with its last commit, producer, connections."""
        await super().on_stop()
        acknowledged = await self.engine.sender.settled(SETTLE_SECONDS)
        await self.life.after_stop()
        # Who was frozen for a session had lost its partitions: its last records came after those of its successors.
        in_touch = self.engine.fence.silence <= self.engine.fence.session
        self.engine.local_store.close(clean=acknowledged and in_touch and not self.engine.sender.interrupted)

    def _new_transport(self) -> FaustTransport:
        return HardenedTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> FaustTransport:
        return HardenedTransport(self.conf.broker_producer, self)


def _options(settings: EngineSettings) -> dict[str, Any]:
    return {
        "broker": [f"kafka://{server.strip()}" for server in settings.kafka_bootstrap.split(",")],
        "processing_guarantee": "at_least_once",
        "store": "rocksdb://",
        "datadir": str(settings.data_dir),
        "TableManager": SeekFirstTableManager,
        "PartitionAssignor": ExistingPartitionsAssignor,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "topic_partitions": settings.partitions,
        "table_standby_replicas": settings.standby_replicas,
        "broker_session_timeout": settings.session_timeout_seconds,
        # Faust wants it to be at least a session long.
        "broker_request_timeout": max(REQUEST_SECONDS, settings.session_timeout_seconds),
        "broker_heartbeat_interval": settings.heartbeat_seconds,
        "broker_commit_interval": settings.commit_interval_seconds,
        "producer_acks": -1,
        "producer_linger": 0.005,
        "producer_max_request_size": RECORD_LIMIT,
        "producer_max_batch_size": 256 * 1024,
        "producer_request_timeout": 30.0,
        "stream_wait_empty": True,
        "consumer_auto_offset_reset": "earliest",
        "consumer_metadata_max_age_ms": METADATA_SECONDS * 1000,
        "web_bind": settings.web_host,
        "web_port": settings.web_port,
        "web_host": advertised_host(settings),
        "web_tables_enabled": False,
        "web_router_enabled": False,
        "autodiscover": False,
        "Worker": QuietWorker,
    }
