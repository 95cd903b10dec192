"""The composition root: builds the Faust app of a worker from its settings. Everything is wired here."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from aiokafka.structs import TopicPartition
from faust.types import TP, StreamT

from cj_stream.agents.answers import Answers
from cj_stream.agents.batches import BatchesAgent
from cj_stream.agents.callbacks import CallbacksAgent
from cj_stream.agents.dead_letters import DeadLetters
from cj_stream.agents.effects import Effects
from cj_stream.agents.invalid_share import InvalidShare
from cj_stream.agents.recall import recall
from cj_stream.agents.requests import RequestsAgent
from cj_stream.agents.timeouts import TimeoutsAgent
from cj_stream.agents.work import BatchWork
from cj_stream.content.client import ContentClient
from cj_stream.contracts.log import EVENTS
from cj_stream.contracts.topics import registry
from cj_stream.domain.batch import Batch
from cj_stream.domain.events import BatchPoisoned, Event
from cj_stream.domain.identifiers import CorrelationIds
from cj_stream.domain.partition import PartitionBatches
from cj_stream.domain.policy import Judging, Policy
from cj_stream.domain.states import BatchState
from cj_stream.domain.todo import Effect
from cj_stream.engine import web_address
from cj_stream.engine.address import find_address_problems
from cj_stream.engine.clock import Clock
from cj_stream.engine.cluster import Cluster, ask_anew
from cj_stream.engine.conditions import ConditionKind, Conditions
from cj_stream.engine.dispatcher import Dispatcher
from cj_stream.engine.fence import Fence
from cj_stream.engine.forwarder import EventTooLargeError, Forwarder
from cj_stream.engine.hardening import Engine
from cj_stream.engine.local_store import LocalStore
from cj_stream.engine.opening import Opener
from cj_stream.engine.overrides.app import HardenedApp, new_app
from cj_stream.engine.overrides.fetch_guard import FetchGuard
from cj_stream.engine.overrides.inputs import Inputs
from cj_stream.engine.overrides.isolation import OpenTransactions
from cj_stream.engine.overrides.lag import Read, caught_up, nothing_blocked
from cj_stream.engine.overrides.membership import claim
from cj_stream.engine.overrides.sight import Eye
from cj_stream.engine.overrides.table import BatchTable
from cj_stream.engine.process import end_process, ends_process, refuse_to_start
from cj_stream.engine.publisher import Deliveries, Publisher
from cj_stream.engine.releases import Releases
from cj_stream.engine.runs import Run
from cj_stream.engine.sender import Sender
from cj_stream.engine.shared_input import OwnInput, check_shared_input
from cj_stream.engine.start_check import check_changelog, check_codecs, check_topics, topic_limits
from cj_stream.engine.watchdog import Limits, Watchdog
from cj_stream.operations.metrics import Metrics
from cj_stream.operations.reachability import Reachability, services
from cj_stream.operations.settings import Settings
from cj_stream.operations.troubles import Trouble
from cj_stream.provider.client import ProviderClient
from cj_stream.tables.batches import BatchRows
from cj_stream.tables.codec import ROW_KEYS
from cj_stream.views.pages import add_views

log = structlog.get_logger(__name__)

TICK_SECONDS = 5.0
KNOCK_EVERY_SECONDS = 10.0

_MEANINGS = {
    ConditionKind.CONTENT_AWAY: "Batches whose texts are needed wait; all others go on.",
    ConditionKind.PROVIDER_AWAY: "Comparisons are submitted when it answers again; what was submitted is not affected.",
}

Handler = Callable[[Run], Awaitable[None]]


def policy_of(settings: Settings) -> Policy:
    """Return the policy that batches starting now are judged by."""
    return Policy(
        batch_timeout=settings.batch_timeout_hours * 3600,
        max_age=settings.batch_max_age_hours * 3600,
        comparison_deadline=settings.comparison_deadline_minutes * 60,
        max_attempts=settings.max_attempts,
        retry_pool_size=settings.retry_pool_size,
        min_success_rate=settings.min_success_rate_threshold,
        timeout_completion_pct=settings.timeout_completion_pct,
        completion_threshold_pct=settings.completion_threshold_pct,
        stability_threshold=settings.score_stability_threshold,
        reliability_target=settings.reliability_target,
        max_iterations=settings.max_iterations,
        comparisons_per_essay=settings.comparisons_per_essay,
        random_iterations=settings.random_iterations,
        max_comparisons=settings.max_comparisons,
        max_concurrent_comparisons=settings.max_concurrent_comparisons,
        retention=settings.retention_days * 24 * 3600,
        judging=Judging(
            pairing=settings.pairing_policy,
            wave_size=settings.wave_size,
            judgements_per_pair=settings.judgements_per_pair,
            stop_rules=settings.stop_rules,
            certainty_target=settings.grade_certainty_target,
        ),
    )


def own_input(settings: Settings) -> OwnInput:
    """Return what no other application may work on."""
    return OwnInput(
        (settings.assessment_request_topic, settings.batch_events_topic),
        settings="CJ_ASSESSMENT_REQUEST_TOPIC, CJ_BATCH_EVENTS_TOPIC",
        consequence="submit each comparison twice",
    )


def outcome_topics(settings: Settings) -> tuple[str, ...]:
    """Return the topics that outcomes are published to."""
    return (settings.assessment_completed_topic, settings.assessment_failed_topic, settings.assessment_result_topic)


def _limits(settings: Settings) -> Limits:
    return Limits(
        loop=settings.loop_stall_seconds,
        partition=settings.partition_stall_seconds,
        opening=settings.opening_stall_seconds,
        stop=settings.stop_seconds,
    )


def _cluster(settings: Settings, conditions: Conditions) -> Cluster:
    return Cluster(
        lambda: ask_anew(settings.kafka, settings.batch_events_topic, settings.app_id),
        settings.cluster_lost_seconds,
        conditions,
        settings.kafka,
    )


class Worker:
    """The parts of one worker, wired together: what its agents, views and lifecycle need."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.app = new_app(settings)
        fence, conditions = Fence(settings.session_timeout_seconds), Conditions(time.time)
        self.clock = Clock(time.time, conditions, settings.clock_tolerance_seconds)
        self.sender = Sender(self.app, fence, self.clock)
        self.publisher = Publisher(self.app, fence, conditions, self.clock)
        self.deliveries = Deliveries(self.sender.promise)
        self.forwarder = Forwarder(
            self.sender, settings.batch_events_topic, settings.accumulate_milliseconds / 1000, EVENTS
        )
        self.eye = Eye(self.app, OpenTransactions(conditions))
        self.engine = self.app.engine = Engine(
            sender=self.sender,
            fence=fence,
            releases=Releases(self.released),
            opener=Opener(self.sender, settings.batch_events_topic, self.clock.now, self._standing_homes),
            watchdog=Watchdog(_limits(settings), fence, self.eye, _cluster(settings, conditions)),
            conditions=conditions,
            inputs=Inputs(conditions, settings.names),
            guard=FetchGuard(
                conditions, self._is_changelog, time.time, f"{settings.names.command} partitions step-over"
            ),
            events_topic=settings.batch_events_topic,
        )
        table = BatchTable(self.app, name=settings.table, partitions=settings.partitions, keys=ROW_KEYS)
        self.app.tables.add(table)
        self.rows = BatchRows(table, self.sender)
        self.correlation_ids = CorrelationIds(settings.correlation_key.get_secret_value().encode())
        self.metrics = Metrics(self.states, conditions.counts, self.engine.inputs.lost)
        self.content = ContentClient(settings, self._told_of(ConditionKind.CONTENT_AWAY, "texts"))
        self.provider = ProviderClient(settings, told=self._told_of(ConditionKind.PROVIDER_AWAY, "comparisons"))
        self.invalid_share = InvalidShare(settings)
        self.dead_letters = DeadLetters(
            self.publisher, self.deliveries, settings.dead_letters_topic, self.metrics, self.invalid_share
        )
        self.answers = Answers(self.publisher, self.deliveries, settings.assessment_failed_topic, self.metrics)
        self.topic_limits: dict[str, int] = {}
        """The largest record that each topic takes, in bytes, as far as it is known."""
        self.batches = BatchesAgent(self.engine, self.rows, self.dead_letters, self.metrics, self._new_partition)
        self.effects = self._effects()
        self.dispatcher: Dispatcher[Batch, Effect, Event] = Dispatcher(
            BatchWork(settings.submission_workers), self.effects, self._report
        )
        self.timeouts = self._timeouts_agent()
        self._blocked_callbacks = nothing_blocked()
        self._joined = False

    def _told_of(self, kind: ConditionKind, what: str) -> Callable[[Trouble | None], None]:
        def told(trouble: Trouble | None) -> None:
            if trouble is None:
                self.engine.conditions.end(kind, what)
            else:
                self.engine.conditions.begin(kind, what, f"No {what}: {trouble}.", _MEANINGS[kind])

        return told

    async def take_name(self) -> None:
        """Take this worker's name in the group, or end the process when another worker has it."""
        name = self.settings.worker_id or self.app.local_store.worker_id()
        self.app.conf.consumer_group_instance_id = name
        await claim(self.settings.kafka, self.settings.app_id, name, str(self.app.conf.canonical_url))

    @property
    def name(self) -> str:
        """Return the worker's name in the group."""
        return str(self.app.conf.consumer_group_instance_id)

    def states(self) -> Mapping[BatchState, int]:
        """Return how many of the batches served here are in each state."""
        partitions = self.batches.partitions.values()
        return {state: sum(batches.states[state] for batches in partitions) for state in BatchState}

    def before_seek(self, partitions: set[int]) -> None:
        """Say how far the events topic was applied to the rows of these partitions."""
        topic = self.settings.batch_events_topic
        found = {TopicPartition(topic, partition): self.rows.applied(partition) for partition in partitions}
        self.engine.inputs.applied = {tp: applied for tp, applied in found.items() if applied is not None}

    async def after_seek(self) -> None:
        """Have what is read of a log that is another one than the rows were made from win over them."""
        for tp, offset in self.engine.inputs.begun_anew.items():
            log.warning("the log of a partition is not the one its rows were made from", partition=tp.partition)
            await self.rows.begin_anew(tp.partition, offset)

    async def revoked(self, partitions: set[int]) -> None:
        """Finish, within half a session, what is under way for partitions that are taken away, and forget them."""
        patience = self.settings.session_timeout_seconds / 2
        # The protocol is eager: every partition is taken away, also one that a broken-off assignment left behind.
        partitions = partitions | set(self.batches.partitions)
        self.engine.opener.revoked()
        self.engine.releases.drop(partitions)
        await self.dispatcher.drop(partitions, patience)
        if not await self.engine.sender.settled(patience):
            end_process("records were not acknowledged before the partitions had to be given up")
        self.publisher.forget()
        self.timeouts.drop(partitions)
        for partition in partitions:
            self.batches.partitions.pop(partition, None)

    def released(self, partition: int, position: int, batches: list[Batch]) -> None:
        """Take over batches as they are after a commit."""
        self.timeouts.watch(partition, batches)
        self.dispatcher.committed(partition, position, batches)

    async def check_joined(self) -> None:
        """Look, once all partitions are open, whether another application has begun on our input meanwhile."""
        if self.engine.opener.ready and not self._joined:
            self._joined = True
            await check_shared_input(self.settings, own_input(self.settings))

    async def close(self) -> None:
        """Close the connections to the outside."""
        self.effects.close()
        self.answers.close()
        await self.provider.close()
        await self.content.close()

    def _effects(self) -> Effects:
        return Effects(
            self.settings,
            content=self.content,
            provider=self.provider,
            publisher=self.publisher,
            correlation_ids=self.correlation_ids,
            fence=self.engine.fence,
            metrics=self.metrics,
        )

    def _timeouts_agent(self) -> TimeoutsAgent:
        settings = self.settings
        return TimeoutsAgent(
            settings.batch_monitor_interval_minutes * 60,
            self.engine.opener,
            self.forwarder,
            self._copy_timeout,
            self._callbacks_read,
            self.metrics,
        )

    def _is_changelog(self, topic: str) -> bool:
        return topic in self.app.tables.changelog_topics

    def _standing_homes(self) -> set[int]:
        events = self.settings.batch_events_topic
        return {at.partition for at in self.engine.guard.standing() if at.topic == events}

    async def _callbacks_read(self) -> Read:
        settings = self.settings
        topic, patience = settings.llm_provider_callback_topic, settings.session_timeout_seconds
        limit = settings.standing_minutes * 60
        read = await caught_up(self.app, topic, patience, self._blocked_callbacks, limit)
        # Who was frozen has not served: by its clock every batch may be idle, although nobody could do anything.
        self.engine.fence.check()
        return read

    def _new_partition(self, partition: int) -> PartitionBatches:
        return PartitionBatches(
            self.correlation_ids,
            policy_of(self.settings),
            lambda batch_id, run: self.rows.load(partition, batch_id, run),
        )

    async def _copy_timeout(self, key: bytes, value: bytes) -> None:
        work = self.publisher.deliver(self.settings.batch_timeouts_topic, key=key, value=value)
        await self.deliveries.begin("the copy of a timeout", work)

    async def _report(self, partition: int, event: Event) -> int:
        try:
            metadata = await self.forwarder.deliver(partition, event)
        except EventTooLargeError as error:
            # The effect would be carried out again and again, to the same end.
            log.exception("a report fits into no record", batch_id=event.batch_id)
            metadata = await self.forwarder.deliver(partition, BatchPoisoned(batch_id=event.batch_id, error=str(error)))
        return int(metadata.offset)


def build_worker(settings: Settings) -> Worker:
    """Return a worker for ``settings``: the app with its agents, table, timers and views, not yet started."""
    worker = Worker(settings)
    requests = RequestsAgent(settings, worker.forwarder, worker.answers, worker.dead_letters, worker.topic_limits)
    callbacks = CallbacksAgent(settings.partitions, worker.forwarder, worker.dead_letters, worker.metrics)
    read_by = worker.dead_letters.read_by
    _add_agent(worker.app, "requests", settings.assessment_request_topic, read_by(requests.handle))
    _add_agent(worker.app, "callbacks", settings.llm_provider_callback_topic, read_by(callbacks.handle))
    _add_agent(worker.app, "batches", settings.batch_events_topic, read_by(worker.batches.handle))
    _add_timers(worker)
    _add_lifecycle(worker)
    add_views(worker)
    return worker


def _add_agent(app: HardenedApp, name: str, topic: str, handle: Handler) -> None:
    async def agent(stream: StreamT) -> None:
        try:
            async for event in stream.events():
                # Faust acknowledges a message whose handling is cut off, whatever cuts it off.
                with ends_process(f"the {name} agent could not handle a run of records"):
                    await handle(event.message.run)
        except Exception as error:
            log.exception("agent failed", agent=name)
            end_process(f"the {name} agent could not read on", error=repr(error), topic=topic)

    app.agent(
        app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"),
        name=name,
        concurrency=1,
    )(agent)


def _add_timers(worker: Worker) -> None:
    width = worker.settings.batch_monitor_interval_minutes * 60

    async def close_windows() -> None:
        await _survive(worker.timeouts.close_windows(worker.clock.now()))

    async def tick() -> None:
        worker.dispatcher.tick()
        worker.sender.look(worker.engine.conditions)
        await _survive(worker.check_joined())

    worker.app.timer(interval=min(max(width / 4, 0.5), 15.0))(close_windows)
    worker.app.timer(interval=TICK_SECONDS)(tick)
    settings = worker.settings
    watched = services(settings.llm_provider_service_url, settings.content_service_url)
    worker.app.timer(interval=KNOCK_EVERY_SECONDS)(Reachability(worker.engine.conditions, watched).knock)


async def _survive(work: Awaitable[None]) -> None:
    # An exception in a Faust timer would end the worker; the next window finds the same batches due.
    try:
        await work
    except Exception:
        log.exception("the work of a timer failed")


async def _before_start(worker: Worker) -> None:
    check_codecs()
    conf = worker.app.conf
    problems = find_address_problems(worker.settings)
    if conf.web_enabled:
        problems += web_address.find_problems(conf.web_bind, conf.web_port, worker.settings.names)
    if problems:
        refuse_to_start(problems)
    await check_topics(worker.settings, registry(worker.settings))
    await check_changelog(worker.settings, worker.app.local_store, ROW_KEYS)
    await check_shared_input(worker.settings, own_input(worker.settings))
    worker.topic_limits.update(await topic_limits(worker.settings, outcome_topics(worker.settings)))
    await recall(worker.settings, worker.invalid_share)


def _add_lifecycle(worker: Worker) -> None:
    events = worker.settings.batch_events_topic

    async def on_partitions_revoked(_app: Any, revoked: set[TP], **_: Any) -> None:
        await worker.revoked({tp.partition for tp in revoked if tp.topic == events})

    worker.app.on_partitions_revoked.connect(on_partitions_revoked, weak=False)
    worker.app.local_store = LocalStore(worker.settings.data_dir, worker.settings.names)
    worker.app.before_start = lambda: _before_start(worker)
    worker.app.before_join = worker.take_name
    worker.app.before_seek = worker.before_seek
    worker.app.after_seek = worker.after_seek
    worker.app.before_stop = lambda: worker.dispatcher.close(worker.settings.session_timeout_seconds)
    worker.app.after_stop = worker.close
