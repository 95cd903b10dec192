"""What must hold at the end, when everything is finished and quiet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from faust.types import TP
from simulation.checks import events_of
from simulation.decisions import RETENTION
from simulation.provider_model import MISSING, verdict
from simulation.repeats import check_repeats
from simulation.results import wrong_results

from cj_stream.domain import computations
from cj_stream.domain.batch import Batch, evolve
from cj_stream.domain.decider import decide
from cj_stream.domain.due_outcomes import Outcome, OutcomeKind, owed_to
from cj_stream.domain.events import BatchRequested, ContentLoaded, Event, VerdictReceived
from cj_stream.domain.identifiers import CorrelationIds, outcome_event_id
from cj_stream.domain.partition import PartitionBatches
from cj_stream.domain.policy import Policy
from cj_stream.domain.records import ComparisonStatus, Origin
from cj_stream.domain.states import BatchState
from cj_stream.domain.todo import LoadContent, PlanPairs, Score, todo
from cj_stream.engine.messages import PartitionOpened
from cj_stream.engine.overrides.table import Table
from cj_stream.engine.partitioning import home_partition
from cj_stream.engine.rows import HEARTBEAT_KEY
from cj_stream.operations.batch_policy import policy_of
from cj_stream.tables.batch_rows import BatchRows

if TYPE_CHECKING:
    from simulation.process import Process
    from simulation.world import World

GIVEN_UP = "an outcome is given up only when its topic will never take it"
ONE_OUTCOME = "every request has exactly one outcome"
DEAD_LETTERS = "dead letters are exactly the poisoned inputs"
LIVE_IS_REPLAY = "the live table is the replay of the changelog"
STANDBY_IS_REPLAY = "a standby's copy is the replay of the changelog"
LOG_DECIDES = "a batch is what its events in the log make of it"
ATTEMPTS = "no comparison is tried more often than allowed"
TRUE_VERDICTS = "every verdict that counts is the provider's first"
RESULT_IS_KNOWN = "a batch that lost nothing ends with the known result"
ONE_ATTEMPT = "what is answered is asked once"
OWN_RESULT = "a batch publishes its own result"
NO_TOMBSTONE = "no changelog ends with a deletion"

Owed = dict[str, set[str]]
"""For each requester, by its correlation id, the ids of the events that it has to be told."""
REFUSED = "refused by their topic"
"""In the place of a requester: the ids of events that nobody can be told."""


def check_end(world: World) -> None:
    """Report whatever does not hold to the world's history."""
    _check_dead_letters(world)
    finals = {number: list(_batches(world, number)) for number in range(world.settings.partitions)}
    _check_live_tables(world)
    _check_standbys(world)
    _check_retention(world)
    owed: Owed = {}
    for number, batches in finals.items():
        shadow = _shadow(world, number, owed)
        if set(shadow) != {batch.key for batch in batches}:
            world.history.violated(LOG_DECIDES, f"partition {number}: {set(shadow)} {[b.key for b in batches]}")
            continue
        for batch in batches:
            _check_batch(world, batch, shadow[batch.key])
            if _may_differ(world):
                _note_owed(batch, owed)
    _check_outcomes(world, owed)
    check_repeats(world)


def _check_dead_letters(world: World) -> None:
    if world.checks.poison != world.checks.dead_letters:
        difference = world.checks.poison ^ world.checks.dead_letters
        world.history.violated(DEAD_LETTERS, f"not in both: {sorted(difference)}")


def _check_retention(world: World) -> None:
    settings, now = world.settings, world.scheduler.clock.now
    latest = now - settings.retention_days * 86400 - 3 * settings.batch_monitor_interval_minutes * 60
    for key, ended_at in world.decisions.ended_at.items():
        if ended_at < latest:
            world.history.violated(RETENTION, f"{key} ended {now - ended_at:.0f} s ago and is still there")
    for number in range(settings.partitions):
        log = world.broker.logs[TP(settings.changelog_topic, number)]
        if log and log[-1].value is None:
            world.history.violated(NO_TOMBSTONE, f"partition {number}: {log[-1]}")


def _check_live_tables(world: World) -> None:
    for process in world.living():
        for number in sorted(process.worker.engine.opener.owned):
            if keys := _different(world, process, number):
                world.history.violated(LIVE_IS_REPLAY, f"{process.name}, partition {number}: {keys}")
        for number, batches in process.worker.batches.partitions.items():
            for batch in batches:
                stored = process.worker.rows.load(number, *batch.key)
                if stored != batch:
                    world.history.violated(
                        LIVE_IS_REPLAY, f"{process.name} has {batch.control}, stored {stored and stored.control}"
                    )


def _check_standbys(world: World) -> None:
    for process in world.living():
        for number in sorted(tp.partition for tp in process.recovery.standby_tps):
            keys = _different(world, process, number)
            if keys and not process.node.disk.databases[number].lacks:
                world.history.violated(STANDBY_IS_REPLAY, f"{process.name}, partition {number}: {keys}")


def _different(world: World, process: Process, number: int) -> list[bytes]:
    """Return the keys of a partition's rows of which a process has others than the changelog says."""
    rows, replay = process.node.disk.databases[number].contents(), world.checks.views[number]
    # The heartbeat row says nothing: who was frozen while opening the partition may leave a newer one.
    keys = (rows.keys() | replay.keys()) - {HEARTBEAT_KEY}
    return sorted(key for key in keys if rows.get(key) != replay.get(key))


def _check_outcomes(world: World, owed: Owed) -> None:
    told: dict[str, dict[str, set[str]]] = {}
    for (topic, _, correlation_id), events in world.checks.outcomes.items():
        if not events:
            continue  # looked for, and not there
        told.setdefault(correlation_id, {}).setdefault(topic, set()).update(events)
    if owed.get(REFUSED) and world.plan.result_limit is None:
        world.history.violated(GIVEN_UP, f"{owed[REFUSED]}")
    settings = world.settings
    failed = {settings.assessment_failed_topic}
    completed = {settings.assessment_completed_topic}
    with_result = completed | {settings.assessment_result_topic}
    for request in world.upstream.requests:
        answers = told.get(str(request.correlation_id), {})
        known = set(answers) in (failed, completed, with_result) and all(
            len(events) == 1 for events in answers.values()
        )
        # Who asks twice is answered twice, if meanwhile another request for the batch id was heard.
        if not answers or not (known or world.upstream.sent[request.correlation_id] > 1):
            world.history.violated(ONE_OUTCOME, f"{request.batch_id} {request.correlation_id}: {answers}")
        heard: set[str] = set().union(*answers.values())
        expected = owed.get(str(request.correlation_id), set()) - owed.get(REFUSED, set())
        as_owed = heard <= expected if _may_differ(world) else heard == expected
        if request.essays and not as_owed:
            world.history.violated(ONE_OUTCOME, f"{request.correlation_id}: told {heard}, owed {expected}")


def _check_batch(world: World, batch: Batch, shadow: Batch) -> None:
    told = [(b.state, _judged(b), b.control.failure, b.scores[-1:], b.control.stop_reason) for b in (batch, shadow)]
    if told[0] != told[1] and not _may_differ(world):
        world.history.violated(LOG_DECIDES, f"{batch.key}: {told[0]} is not {told[1]}")
    for row in batch.comparisons:
        truth = verdict(world.seed, *batch.essay_ids(row.index))
        if row.status is ComparisonStatus.JUDGED and row.winner != truth:
            world.history.violated(TRUE_VERDICTS, f"{batch.key} {row}")
        if row.attempt > world.settings.max_attempts and batch.batch_id not in world.operators.commanded:
            world.history.violated(ATTEMPTS, f"{batch.key} {row}")
    for what in wrong_results(world, batch):
        world.history.violated(OWN_RESULT, f"{batch.key}: {what}")
    undisturbed = batch.batch_id not in world.operators.commanded and not world.plan.downtimes
    if undisturbed and not world.plan.loses and world.plan.threshold == 1.0:
        again = [row for row in batch.comparisons if row.attempt > 1]
        if again:
            world.history.violated(ONE_ATTEMPT, f"{batch.key}: {again}")
        known = _known(world, batch)
        if (batch.state, batch.plans, batch.scores) != (known.state, known.plans, known.scores):
            world.history.violated(
                RESULT_IS_KNOWN,
                f"{batch.key}: {batch.control} {batch.progress} is not {known.control} {known.progress}",
            )


def _may_differ(world: World) -> bool:
    # A retry of several comparisons that was written in part goes on with those, and later with the others: as good,
    # but not what the events alone would give.
    return world.torn and world.plan.loses


def _judged(batch: Batch) -> list[tuple[int, str | None]]:
    return [(row.index, row.winner) for row in batch.comparisons if row.status is ComparisonStatus.JUDGED]


def _known(world: World, batch: Batch) -> Batch:
    """Play the batch's request through the domain alone, with every verdict there at once."""
    started = Batch(
        roster=batch.roster,
        control=type(batch.control)(state=BatchState.INITIALIZING, created_at=0.0, activity_at=0.0, state_since=0.0),
    )
    known = evolve(started, [])
    while not known.finished:
        known = cast("Batch", decide(known, _next(world, known), Policy(), 0.0).batch)
    return known


def _next(world: World, batch: Batch) -> Event:
    match todo(batch)[0]:
        case LoadContent():
            unusable = {
                position: "missing"
                for position, essay in enumerate(batch.roster.essays)
                if essay.storage_id.startswith(MISSING)
            }
            return ContentLoaded(batch_id=batch.batch_id, run=batch.run, unusable=unusable)
        case PlanPairs():
            return computations.plan(batch)
        case Score():
            return computations.score(batch)
    index = min(batch.progress.planned)
    winner = verdict(world.seed, *batch.essay_ids(index))
    return VerdictReceived(batch_id=batch.batch_id, run=batch.run, index=index, attempt=1, winner=winner)


def _shadow(world: World, number: int, owed: Owed) -> dict[tuple[str, int], Batch]:
    """Return what the events of a partition's log, each applied once, make of its batches.

    A request that was forwarded twice is applied once. ``owed`` is told what its requesters are to hear.
    """
    all_batches: dict[tuple[str, int], Batch] = {}

    def load(batch_id: str, run: int | None) -> Batch | None:
        runs = [found for name, found in all_batches if name == batch_id]
        if run is None:
            run = max(runs, default=0)
        return all_batches.get((batch_id, run))

    ids = CorrelationIds(world.settings.correlation_key.get_secret_value().encode())
    batches = PartitionBatches(ids, policy_of(world.settings), load)
    for at, event in _once(world, number):
        try:
            change = batches.decide(event, at)
        except IndexError as beyond:
            # It is about pairs that were never planned here, where the batch went another way.
            if not _may_differ(world):
                world.history.violated(LOG_DECIDES, f"partition {number}: {event}: {beyond!r}")
            continue
        batches.apply(change)
        if change.deleted is not None:
            del all_batches[change.deleted.key]
        if change.batch is not None:
            all_batches[change.batch.key] = change.batch
            _note_owed(change.batch, owed)
    return all_batches


def _once(world: World, number: int) -> Iterator[tuple[float, Event]]:
    """Iterate over the events about batches in a partition's log, without second copies of requests."""
    seen: set[Origin] = set()
    for record in world.broker.logs[TP(world.settings.batch_events_topic, number)]:
        for event in events_of(record):
            if isinstance(event, BatchRequested):
                assert event.origin is not None
                if event.origin in seen:
                    continue
                seen.add(event.origin)
            if not isinstance(event, PartitionOpened):
                yield record.timestamp, event


def _note_owed(batch: Batch, owed: Owed) -> None:
    owes = [Outcome(OutcomeKind.REFUSED, refusal.correlation_id) for refusal in batch.control.refusals]
    if batch.finished:
        for correlation_id in (batch.roster.correlation_id, *batch.control.joined):
            owes += owed_to(batch, correlation_id)
    for outcome in owes:
        owed.setdefault(outcome.correlation_id, set()).add(_event_id(batch, outcome))
    refused = owed.setdefault(REFUSED, set())
    refused.update(_event_id(batch, Outcome.named(refusal.outcome)) for refusal in batch.control.unpublishable)


def _event_id(batch: Batch, outcome: Outcome) -> str:
    return str(outcome_event_id(batch.batch_id, batch.run, *outcome))


class _View:
    """The changelog by highest position, read as the table is."""

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self._rows = rows

    def read(self, _partition: int, key: bytes) -> bytes | None:
        return self._rows.get(key)

    def scan(self, _partition: int, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted(item for item in self._rows.items() if item[0].startswith(prefix)))


def _batches(world: World, number: int) -> Iterator[Batch]:
    rows = BatchRows(cast("Table", _View(world.checks.views[number])))
    for head in rows.heads(number):
        batch = rows.load(number, *head.key)
        assert batch is not None
        assert home_partition(batch.batch_id, world.settings.partitions) == number
        yield batch
