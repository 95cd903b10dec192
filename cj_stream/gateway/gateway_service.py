"""The gateway as an app on the engine, wired together: jobs in a table, calls and answers after the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from cj_stream.engine.all_read import AllRead
from cj_stream.engine.app import App
from cj_stream.engine.dead_letters import DeadLetters, Letter, RefusedInput, plain_letter
from cj_stream.engine.dispatcher import Dispatcher
from cj_stream.engine.hardening import Engine
from cj_stream.engine.log import Log
from cj_stream.engine.messages import EventCodec
from cj_stream.engine.partitioning import home_partition
from cj_stream.engine.reports import Reports
from cj_stream.engine.service import Service
from cj_stream.engine.shared_input import OwnInput
from cj_stream.engine.topics import DAY_MS, HOUR_MS, TopicSpec, changelog_topic, dead_letter_topic, log_topic
from cj_stream.engine.windows import Windows
from cj_stream.gateway.api import Api
from cj_stream.gateway.carrying_out import CarryOut, Patience
from cj_stream.gateway.gateway_metrics import Metrics
from cj_stream.gateway.gateway_settings import GatewaySettings
from cj_stream.gateway.job_home import JobHome, Subject
from cj_stream.gateway.job_queue import Queue
from cj_stream.gateway.job_rows import ROW_KEYS, JobRows
from cj_stream.gateway.job_work import JobDeadlines, JobDispatcher, JobWork
from cj_stream.gateway.jobs import AnyEvent, Effect, Scope, ScopePaused
from cj_stream.gateway.judges import Limits
from cj_stream.gateway.lines import Budget, Lines, LineSettings
from cj_stream.gateway.specs import Judges

WINDOW_SECONDS = 2.0
KEPT_MS = 2 * DAY_MS
"""How long the jobs topic keeps what it was sent: it is needed until it was read, which takes a moment."""
PAUSE_TOLD_SECONDS = 1.0
"""A pause that ends no more than this later than the one before is no news."""


class Gateway(Service):
    """What the gateway adds to the engine."""

    log: Log[Subject, AnyEvent]
    log_name = "jobs"
    inputs = ()
    window_seconds = WINDOW_SECONDS

    def __init__(self, settings: GatewaySettings, judges: Judges, engine: Engine[AnyEvent]) -> None:
        self.settings = settings
        self.engine = engine
        self.judges = judges
        self._served = False
        self.rows = JobRows(engine.table)
        self.positions = self.rows.positions
        self.queue = Queue(settings, self.homes, engine.opener)
        line_settings = LineSettings(settings.calls_at_once, settings.breaker_failures, settings.breaker_seconds)
        self.lines = Lines(line_settings, self.budget, lambda: asyncio.get_running_loop().time())
        self.metrics = Metrics(lambda: iter(self.lines), self.queue.size)
        self.dead_letters = DeadLetters(
            engine.publisher, engine.deliveries, settings.dead_letter_topic, _without_content
        )
        self.log = Log(engine, self.positions, self.dead_letters, partial(JobHome, rows=self.rows))
        self.carry_out = self._carry_out()
        self.dispatcher: Dispatcher[Subject, Effect, AnyEvent] = JobDispatcher(
            JobWork(), self.carry_out.execute, self._report(), self.lines
        )
        self.windows = Windows(WINDOW_SECONDS, JobDeadlines(), engine.opener, engine.forwarder, AllRead(engine).ask)
        self.topics = topics(settings)
        self.own_input = OwnInput(
            (settings.jobs_topic,),
            settings=settings.names.setting("jobs_topic"),
            consequence="pay for every comparison twice",
        )
        api = Api(self)
        self.gets, self.posts, self.puts, self.deletes = api.gets, api.posts, api.puts, api.deletes

    @property
    def has_served(self) -> bool:
        """Whether this gateway was ever ready: it takes requests from then on, also while partitions move."""
        self._served = self._served or self.engine.opener.ready
        return self._served

    async def before_stop(self) -> None:
        """Wait for the calls under way, for a part of what a stop may take."""
        await self.carry_out.finish(self.settings.stop_seconds / 2)

    async def after_stop(self) -> None:
        """Close the connections to the models."""
        await self.judges.close()

    # --- What all gateways know of a scope ----------------------------------------------------------------------------

    def homes(self) -> Iterator[JobHome]:
        """Iterate over what is held of each partition that is served here."""
        return (home for home in self.log.homes.values() if isinstance(home, JobHome))

    def budget(self, scope: str) -> Budget:
        """Return what may be used now of a provider and model."""
        known = [home.scopes[scope] for home in self.homes() if scope in home.scopes]
        paused = max(known, key=lambda found: found.paused_until, default=Scope())
        seconds = max(paused.paused_until - self.engine.clock.now(), 0.0)
        share = len(self.engine.opener.opened_at) / self.settings.partitions
        return Budget(self._limits(scope, known), share, seconds, paused.why if seconds else "")

    def _limits(self, scope: str, known: Iterable[Scope]) -> Limits:
        """Return the operator's limits where there are any, and else the judge's; what an endpoint says lowers both."""
        judge = self.judges.of_scope(scope)
        limits = (judge.limits if judge else None) or Limits()
        newest = max(known, key=lambda found: found.limited_at, default=Scope())
        limits = Limits(
            limits.requests_per_minute if newest.requests_per_minute is None else newest.requests_per_minute,
            limits.tokens_per_minute if newest.tokens_per_minute is None else newest.tokens_per_minute,
        )
        return limits.lowered(judge.observed_limits() if judge else None)

    async def pause(self, scope: str, seconds: float, why: str) -> None:
        """Have all gateways leave a provider and model alone for a while."""
        until = self.engine.clock.now() + seconds
        known = [home.scopes[scope].paused_until for home in self.homes() if scope in home.scopes]
        if until > max(known, default=0.0) + PAUSE_TOLD_SECONDS:
            # At once for this gateway, before the log has told.
            for home in self.homes():
                home.pause(scope, until, why)
            await self.everywhere(ScopePaused(scope=scope, until=until, why=why))

    async def everywhere(self, event: AnyEvent) -> None:
        """Send an event to every partition; return once the broker has it in all of them."""
        forwarder = self.engine.forwarder
        await asyncio.gather(*(forwarder.deliver(p, event) for p in range(self.settings.partitions)))

    async def at_home(self, job_id: str, event: AnyEvent) -> None:
        """Send an event to the partition of a job; return once the broker has it."""
        await self.engine.forwarder.deliver(home_partition(job_id, self.settings.partitions), event)

    # --- Wiring -------------------------------------------------------------------------------------------------------

    def _carry_out(self) -> CarryOut:
        patience = Patience(self.settings.call_seconds, self.settings.call_attempts)
        return CarryOut(self.engine, self.rows, self.lines, self.judges.for_model, patience, self.pause, self.metrics)

    def _report(self) -> Callable[..., object]:
        reports = Reports[AnyEvent](self.engine.forwarder, _as_it_is)

        async def report(partition: int, event: AnyEvent) -> int:
            # The place of a call is held until the broker has what came of it.
            try:
                return await reports.send(partition, event)
            finally:
                self.lines.release(getattr(event, "id", ""))

        return report


def _as_it_is(_event: AnyEvent, error: Exception) -> AnyEvent:
    # Answers have bounds (`api`, `judges`): this cannot be.
    raise error


def _without_content(found: RefusedInput) -> Iterator[Letter]:
    """Yield a letter that says what was refused, where and why, and nothing of its content: texts are nobody's."""
    return plain_letter(found._replace(key=None, value=None))


def topics(settings: GatewaySettings) -> list[TopicSpec]:
    """Return the topics of the gateway's own."""
    life = int(settings.time_to_live_minutes / 60 * HOUR_MS) + DAY_MS
    jobs = log_topic(
        settings.jobs_topic,
        settings.partitions,
        key="none (explicit partition)",
        purpose="what happens to each comparison",
    )
    return [
        replace(jobs, retention_ms=KEPT_MS),
        changelog_topic(settings.changelog_topic, settings.partitions, longest_life_ms=life),
        dead_letter_topic(settings.dead_letter_topic),
    ]


def build_gateway(settings: GatewaySettings, judges: Judges) -> App[AnyEvent, Gateway]:
    """Return the app of a gateway, not yet started."""

    def build(engine: Engine[AnyEvent]) -> Gateway:
        return Gateway(settings, judges, engine)

    return App(settings, ROW_KEYS, EventCodec(AnyEvent), build)
