"""The hardening, part by part, and how each is taken out of a worker: what is left is Faust 0.15.3 as it comes.

The service has no such switch. A worker of a benchmark (see ``altered_worker.py``) imports the service, replaces the
methods that make up a part by what Faust does by itself, and then builds the same worker.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NoReturn, TypeAlias

import faust
from faust.tables.recovery import Recovery
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.transport.drivers.aiokafka import Consumer as FaustConsumer
from rocksdict import WriteBatch

import cj_stream.engine.app
import cj_stream.engine.overrides.drain
import cj_stream.engine.overrides.table
from cj_stream.domain.batch import Batch
from cj_stream.domain.events import Event
from cj_stream.engine.app import App
from cj_stream.engine.fence import Fence
from cj_stream.engine.forwarder import Forwarder
from cj_stream.engine.local_store import LocalStore
from cj_stream.engine.opening import Opener
from cj_stream.engine.overrides.consumer import BarrierConsumer, FencedConsumerThread
from cj_stream.engine.overrides.drain import DrainingConsumer
from cj_stream.engine.overrides.faust_app import HardenedApp
from cj_stream.engine.overrides.membership import MembershipWatch
from cj_stream.engine.overrides.producer import IdempotentProducer
from cj_stream.engine.overrides.recovery import SeekFirstRecovery
from cj_stream.engine.overrides.table import Table
from cj_stream.engine.reading import Reading
from cj_stream.engine.releases import Releases
from cj_stream.engine.runs import Run, record_of
from cj_stream.engine.sender import Sender
from cj_stream.engine.watchdog import Watchdog
from cj_stream.worker import Worker

WorkerApp: TypeAlias = App[Event, Worker]

log = logging.getLogger(__name__)
_BUILT: list[WorkerApp] = []
"""The app of the one worker of this process, once it is built: what the replaced parts need of it."""


def replace(owner: object, name: str, value: object) -> None:
    """Set an attribute that ``owner`` itself defines; raises `LookupError` if it does not (any more)."""
    if name not in vars(owner):
        raise LookupError(f"{owner!r} has no {name} of its own: benchmarks/stock.py is to be adapted to the service")
    setattr(owner, name, value)


def inherit(owner: type, *names: str) -> None:
    """Take methods out of a class, so that Faust's own come back."""
    for name in names:
        if name not in vars(owner):
            raise LookupError(
                f"{owner!r} has no {name} of its own: benchmarks/stock.py is to be adapted to the service"
            )
        delattr(owner, name)


# --- Producing --------------------------------------------------------------------------------------------------------


def sender() -> None:
    """Send rows through Faust's producer buffer, log what is not delivered, and remember nothing as outstanding."""

    async def send(
        self: Sender, topic: str, *, key: Any, value: Any, partition: Any = None, headers: Any = (), **_: Any
    ) -> asyncio.Future[Any]:
        app = self._app
        sent: asyncio.Future[Any] = await app.producer.send(topic, key, value, partition, None, list(headers) or None)
        sent.add_done_callback(lambda done: _log_failure(done, topic))
        return sent

    def promise(_: Sender, __: str) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    async def write(self: Table, _: Sender, partition: int, puts: Iterable[tuple[bytes, bytes | None]]) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in puts:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        self.data._db_for_partition(partition).write(batch)  # noqa: SLF001 -- as the service does
        for key, value in puts:
            self.send_changelog(partition, key, value)

    replace(Sender, "send", send)
    replace(Sender, "promise", promise)
    replace(Table, "write", write)
    replace(Forwarder, "_finished", lambda self, task: self._sending.discard(task))


def _log_failure(done: asyncio.Future[Any], topic: str) -> None:
    if not done.cancelled() and done.exception():
        log.error("a record for %s was not delivered: %r", topic, done.exception())


def idempotence() -> None:
    """Let the broker keep the repeats of a producer that has missed an acknowledgement."""
    inherit(IdempotentProducer, "_settings_extra")


# --- Committing, and what follows -------------------------------------------------------------------------------------


def barrier() -> None:
    """Let a commit wait for no more than `Producer.flush`."""

    async def commit(self: Any, offsets: Mapping[Any, int], start_new_transaction: bool = True) -> bool:
        engine, generation = self.app.engine, self.app.consumer_generation_id
        engine.fence.check()
        committed = bool(await FaustConsumer._commit_offsets(self, offsets, start_new_transaction))  # noqa: SLF001 -- that is what is compared
        if committed and not self.app.rebalancing and generation == self.app.consumer_generation_id:
            ours = {tp: at for tp, at in offsets.items() if tp.topic == engine.events_topic and tp in self.assignment()}
            engine.releases.committed({tp.partition: at for tp, at in ours.items()})
        return committed

    replace(BarrierConsumer, "_commit_offsets", commit)


def reading() -> None:
    """Hand each record to the agents by itself, as Faust does, and commit what Faust takes for acknowledged."""
    replace(
        cj_stream.engine.overrides.drain, "runs_of", lambda fetched: (Run.of([record_of(found)]) for found in fetched)
    )
    replace(Reading, "full", lambda _: frozenset())
    inherit(DrainingConsumer, "_add_gap")
    inherit(BarrierConsumer, "_filter_committable_offsets")


def releases() -> None:
    """Start effects as soon as an event has been handled."""

    def hold(self: Releases[Batch], partition: int, offset: int, batches: Iterable[Batch]) -> None:
        self._release(partition, offset + 1, list(batches))

    replace(Releases, "hold", hold)
    replace(Releases, "committed", lambda _self, _offsets: None)


# --- Ownership --------------------------------------------------------------------------------------------------------


def fence() -> None:
    """Let a worker that was out of touch with its group go on."""
    replace(Fence, "check", lambda _: None)
    replace(MembershipWatch, "_dropped", lambda _: None)


def membership() -> None:
    """Join the group without a name, as a new member after every start."""

    async def nameless(_: WorkerApp) -> None: ...

    replace(App, "before_join", nameless)


def drain() -> None:
    """Finish nothing before partitions are given up, or before the process stops."""

    async def revoked(self: WorkerApp, partitions: set[int]) -> None:
        worker = self.service
        partitions = partitions | set(worker.log.homes)
        self.engine.opener.revoked()
        self.engine.releases.drop(partitions)
        await worker.dispatcher.drop(partitions, 0)
        if worker.windows is not None:
            worker.windows.drop(partitions)
        for partition in partitions:
            worker.log.homes.pop(partition, None)
        await worker.revoked(partitions)

    replace(App, "revoked", revoked)
    inherit(HardenedApp, "stop")


def marker() -> None:
    """Open a partition as soon as its table is recovered, whatever still lies unread in its log."""

    def assigned(self: Any, partitions: set[int]) -> None:
        self._nonces = dict.fromkeys(partitions, "")
        self._opened_at = dict.fromkeys(partitions, time.time())
        self._assigned = True
        app, worker = _BUILT[0], _BUILT[0].service
        for partition in partitions:
            home = worker.log._home(partition)  # noqa: SLF001 -- what the marker makes the log do
            app.released(partition, 0, list(home.subjects()))

    replace(Opener, "assigned", assigned)


# --- Recovery ---------------------------------------------------------------------------------------------------------


def seek() -> None:
    """Resume the sources before they are sought."""

    async def completed(self: Any, generation_id: int = 0) -> None:
        await Recovery.on_recovery_completed(self, generation_id)
        events = self.app.engine.events_topic
        if self.completed.is_set():
            self.app.engine.opener.assigned(
                {tp.partition for tp in self.app.consumer.assignment() if tp.topic == events}
            )

    replace(SeekFirstRecovery, "on_recovery_completed", completed)


def fetch() -> None:
    """Let a fetch under way go on while its partitions are sought."""
    inherit(FencedConsumerThread, "_seek_wait")

    async def sought(self: FencedConsumerThread) -> Any:
        return await self.call_thread(self._seek_sources)

    async def fetched(self: FencedConsumerThread, consumer: Any, active: Any, **options: Any) -> Any:
        self._note_positions(consumer, set(active))
        return await AIOKafkaConsumerThread._fetch_records(self, consumer, active, **options)  # noqa: SLF001 -- that is what is compared

    replace(FencedConsumerThread, "seek_to_committed", sought)
    replace(FencedConsumerThread, "_fetch_records", fetched)


def inputs() -> None:
    """Seek what is committed and nothing else, wherever the log begins and ends. Only without `reading` as well."""
    replace(FencedConsumerThread, "seek_to_committed", AIOKafkaConsumerThread.seek_to_committed)


def positions() -> None:
    """Recover changelog records in the order in which they stand there."""
    replace(cj_stream.engine.overrides.table, "row_position", lambda _: 0)


def copies() -> None:
    """Write rows without the checksum of all rows, and serve a partition without a look at its copy."""

    def apply(self: Table, partition: int, puts: Sequence[tuple[bytes, bytes | None]]) -> list[bytes]:
        batch = WriteBatch(raw_mode=True)
        for key, value in puts:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        self.data._db_for_partition(partition).write(batch)  # noqa: SLF001 -- as the service does
        return [b""] * len(puts)

    replace(Table, "_apply", apply)
    replace(Table, "is_complete", lambda _self, _partition: True)


def store() -> None:
    """Trust the local database, however the last worker on it ended."""
    replace(LocalStore, "_empty", lambda _: None)


# --- Failures ---------------------------------------------------------------------------------------------------------


def exceptions() -> None:
    """Let an exception leave the agent, which Faust starts again."""

    def leave(_why: str, **_: object) -> NoReturn:
        raise sys.exception() or RuntimeError("no exception is being handled")

    replace(cj_stream.engine.app, "end_process", leave)
    replace(cj_stream.engine.app, "ends_process", lambda _why: nullcontext())


def watchdog() -> None:
    """Let a worker in which something stands still stand."""
    replace(Watchdog, "check", lambda _self, _at: None)


def settings() -> None:
    """Take Faust's settings: no linger, 16 KiB at once, and a commit every 2.8 seconds."""
    made = HardenedApp.__init__

    def changed(app: HardenedApp, *built_with: Any) -> None:
        made(app, *built_with)
        stock = faust.App("stock", autodiscover=False).conf
        for name in (
            "producer_linger",
            "producer_max_batch_size",
            "producer_request_timeout",
            "broker_commit_interval",
        ):
            setattr(app.conf, name, getattr(stock, name))

    replace(HardenedApp, "__init__", changed)


PARTS: dict[str, Callable[[], None]] = {
    part.__name__: part
    for part in (
        *(sender, idempotence, barrier, reading, releases, fence, membership, drain, marker),
        *(seek, fetch, inputs, positions, copies, store, exceptions, watchdog, settings),
    )
}
"""What can be taken out, by name."""

HARDENED: tuple[str, ...] = ()
STOCK = tuple(PARTS)


def take_out(names: Iterable[str]) -> None:
    """Take parts out of the service; before a worker is built."""
    for name in names:
        PARTS[name]()


def built(app: WorkerApp) -> WorkerApp:
    """Remember the app of this process for the parts that need it."""
    _BUILT.append(app)
    return app
