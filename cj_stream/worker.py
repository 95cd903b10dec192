"""The composition root: builds the Faust app of a worker from its settings. Everything is wired here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import structlog

from cj_stream.agents.batches import Batches
from cj_stream.agents.callbacks import CallbacksAgent
from cj_stream.agents.requests import RequestsAgent
from cj_stream.agents.timeouts import BatchDeadlines, Watched
from cj_stream.content.client import ContentClient
from cj_stream.contracts.event_log import EVENTS
from cj_stream.dead_letters.input_watch import InputWatch
from cj_stream.dead_letters.invalid_share import InvalidShare
from cj_stream.dead_letters.letter import envelope
from cj_stream.dead_letters.recall import recall
from cj_stream.domain.batch import Batch
from cj_stream.domain.events import BatchPoisoned, Event
from cj_stream.domain.identifiers import CorrelationIds
from cj_stream.domain.partition import Load, PartitionBatches
from cj_stream.domain.states import BatchState
from cj_stream.domain.todo import Effect
from cj_stream.effects.batch_work import BatchWork
from cj_stream.effects.carry_out import Effects
from cj_stream.effects.refusal_answers import Answers
from cj_stream.engine.all_read import AllRead
from cj_stream.engine.app import App
from cj_stream.engine.dead_letters import DeadLetters
from cj_stream.engine.dispatcher import Dispatcher
from cj_stream.engine.hardening import Engine
from cj_stream.engine.log import Log
from cj_stream.engine.reports import Reports
from cj_stream.engine.service import Input, Service, Timer
from cj_stream.engine.shared_input import OwnInput
from cj_stream.engine.start_check import topic_limits
from cj_stream.engine.windows import Windows
from cj_stream.operations.away import Away
from cj_stream.operations.batch_policy import policy_of
from cj_stream.operations.metrics import Metrics
from cj_stream.operations.reachability import Reachability, services
from cj_stream.operations.settings import Settings
from cj_stream.operations.topic_registry import registry
from cj_stream.operations.troubles import Trouble
from cj_stream.provider.client import ProviderClient
from cj_stream.tables.batch_rows import BatchRows
from cj_stream.tables.codec import ROW_KEYS
from cj_stream.views.access import Access
from cj_stream.views.judgements import JudgementsOfOthers
from cj_stream.views.pages import pages
from cj_stream.views.routing import Routing
from cj_stream.views.worker_parts import WorkerParts

log = structlog.get_logger(__name__)

KNOCK_EVERY_SECONDS = 10.0
FORGET_EVERY_SECONDS = 60.0
UNUSED_TEXT_SECONDS = 3600.0
"""A text that was not used for so long is not kept in memory: its batch may have been forgotten elsewhere."""

_MEANINGS = {
    Away.CONTENT: "Batches whose texts are needed wait; all others go on.",
    Away.PROVIDER: "Comparisons are submitted when it answers again; what was submitted is not affected.",
}

_OWN_INPUT = ("assessment_request_topic", "batch_events_topic")


def own_input(settings: Settings) -> OwnInput:
    """Return what no other application may work on."""
    return OwnInput(
        tuple(getattr(settings, field) for field in _OWN_INPUT),
        settings=", ".join(map(settings.names.setting, _OWN_INPUT)),
        consequence="submit each comparison twice",
    )


class Worker(Service):
    """What the service adds to the engine, wired together: its agents, state, effects, views."""

    def __init__(self, settings: Settings, engine: Engine[Event]) -> None:
        self.settings = settings
        self.engine = engine
        self.rows = BatchRows(engine.table)
        self.positions = self.rows.positions
        self.correlation_ids = CorrelationIds(settings.correlation_key.get_secret_value().encode())
        self.content = ContentClient(settings, self._told_of(Away.CONTENT, "texts"))
        self.provider = ProviderClient(
            settings,
            told=lambda scope, trouble: self._told_of(Away.PROVIDER, f"comparisons by {scope}")(trouble),
            changed=lambda change: self.metrics.breaker_changes.labels(change.value).inc(),
        )
        self.metrics = Metrics(
            self.states,
            lambda: engine.conditions.counts(Away),
            engine.inputs.lost,
            self.provider.breakers.states,
        )
        self.invalid_share = InvalidShare(settings)
        publisher, deliveries = engine.publisher, engine.deliveries
        watch = InputWatch(self.metrics, self.invalid_share)
        self.dead_letters = DeadLetters(publisher, deliveries, settings.dead_letters_topic, envelope, watch)
        self.answers = Answers(publisher, deliveries, settings.assessment_failed_topic, self.metrics)
        self.topic_limits: dict[str, int] = {}
        """The largest record that each topic takes, in bytes, as far as it is known."""
        self.batches = Batches(self.rows, engine.opener, self.metrics, self._new_partition)
        self.access = Access(settings)
        self.routing = Routing(
            engine.faust, engine.opener, settings.partitions, settings.changelog_topic, self.access.headers
        )
        self.judgements = JudgementsOfOthers(self.rows, self.routing)
        self.effects = self._effects()
        reports = Reports[Event](
            engine.forwarder, lambda event, error: BatchPoisoned(batch_id=event.batch_id, error=str(error))
        )
        self.dispatcher: Dispatcher[Batch, Effect, Event] = Dispatcher(
            BatchWork(settings.submission_workers), self.effects, reports.send
        )
        self.log: Log[Batch, Event] = Log(engine, self.positions, self.dead_letters, self.batches.home)
        self.log_name = "batches"
        self.window_seconds = settings.batch_monitor_interval_minutes * 60
        self.windows = self._windows()
        self.inputs = self._inputs()
        self.topics = registry(settings)
        self.own_input = own_input(settings)
        self.timers = [
            Timer(KNOCK_EVERY_SECONDS, self._reachability().knock),
            Timer(FORGET_EVERY_SECONDS, self._forget_texts),
        ]
        self.gets, self.posts = pages(self._seen_by_pages())

    def _told_of(self, kind: Away, what: str) -> Callable[[Trouble | None], None]:
        def told(trouble: Trouble | None) -> None:
            if trouble is None:
                self.engine.conditions.end(kind, what)
            else:
                self.engine.conditions.begin(kind, what, f"No {what}: {trouble}.", _MEANINGS[kind])

        return told

    def states(self) -> Mapping[BatchState, int]:
        """Return how many of the batches served here are in each state."""
        partitions = self.batches.partitions.values()
        return {state: sum(batches.states[state] for batches in partitions) for state in BatchState}

    async def before_start(self) -> None:
        """Learn what topics take, and what was refused before."""
        self.topic_limits.update(await topic_limits(self.settings, sorted(set(self.settings.outcome_topics.values()))))
        await recall(self.settings, self.invalid_share)

    async def revoked(self, partitions: set[int]) -> None:
        """Forget the batches of partitions that are taken away."""
        for partition in partitions:
            self.batches.partitions.pop(partition, None)

    async def after_stop(self) -> None:
        """Close the connections to the outside."""
        self.effects.close()
        self.answers.close()
        await self.provider.close()
        await self.content.close()

    def _seen_by_pages(self) -> WorkerParts:
        return WorkerParts(
            settings=self.settings,
            engine=self.engine,
            rows=self.rows,
            partitions=self.batches.partitions,
            dispatcher=self.dispatcher,
            provider=self.provider,
            content=self.content,
            correlation_ids=self.correlation_ids,
            metrics=self.metrics,
            access=self.access,
            routing=self.routing,
            judgements=self.judgements,
        )

    def _effects(self) -> Effects:
        return Effects(
            self.settings,
            content=self.content,
            provider=self.provider,
            publisher=self.engine.publisher,
            correlation_ids=self.correlation_ids,
            fence=self.engine.fence,
            metrics=self.metrics,
            judgements=self.judgements.find,
        )

    def _windows(self) -> Windows[Batch, Watched, Event]:
        engine = self.engine
        return Windows(
            self.window_seconds,
            BatchDeadlines(self.window_seconds, self._copy_timeout),
            engine.opener,
            engine.forwarder,
            AllRead(engine, self.settings.llm_provider_callback_topic).ask,
            self.metrics.stuck_detected.set,
        )

    def _inputs(self) -> list[Input]:
        settings, forwarder = self.settings, self.engine.forwarder
        requests = RequestsAgent(settings, forwarder, self.answers, self.dead_letters, self.topic_limits)
        callbacks = CallbacksAgent(settings.partitions, forwarder, self.dead_letters, self.metrics)
        return [
            Input("requests", settings.assessment_request_topic, requests.handle),
            Input("callbacks", settings.llm_provider_callback_topic, callbacks.handle),
        ]

    def _reachability(self) -> Reachability:
        settings = self.settings
        watched = services(settings.llm_provider_service_url, settings.content_service_url)
        return Reachability(self.engine.conditions, watched)

    async def _forget_texts(self) -> None:
        self.content.forget(UNUSED_TEXT_SECONDS)

    def _new_partition(self, load: Load) -> PartitionBatches:
        return PartitionBatches(self.correlation_ids, policy_of(self.settings), load)

    async def _copy_timeout(self, key: bytes, value: bytes) -> None:
        work = self.engine.publisher.deliver(self.settings.batch_timeouts_topic, key=key, value=value)
        await self.engine.deliveries.begin("the copy of a timeout", work)


def build_worker(settings: Settings) -> App[Event, Worker]:
    """Return the app of a worker for ``settings``, not yet started."""
    return App(settings, ROW_KEYS, EVENTS, partial(Worker, settings))
