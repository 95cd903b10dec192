"""What must be true of a run, whatever happened in it; each rule yields what breaks it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from aiokafka import TopicPartition
from kills.ledger import Ledger, Partition
from kills.post import DisorderlyPost
from support.engine.copies import copies_in
from support.installation.stage import Stage, check_result
from support.installation.topic_mailbox import Record

from cj_stream.domain.batch import Batch
from cj_stream.domain.identifiers import outcome_event_id
from cj_stream.domain.records import ComparisonStatus
from cj_stream.views.summary import Place, detail

Committed = Mapping[TopicPartition, int]


def outcomes(stage: Stage, expected: Mapping[str, Batch]) -> Iterator[str]:
    """One terminal state per batch, its events under their own ids and the same each time, and the known result."""
    wanted: set[str] = set()
    for batch in expected.values():
        requester = batch.roster.correlation_id
        wanted |= {str(outcome_event_id(*batch.key, kind, requester)) for kind in ("completed", "result")}
    seen: dict[str, set[str]] = {}
    for kind in ("completed", "failed", "result"):
        for record in stage.mailbox.outcome_records(kind):
            event = json.loads(record.value or b"")
            seen.setdefault(event["event_id"], set()).add(json.dumps(event["data"], sort_keys=True))
    yield from (f"outcome event {found} is missing" for found in wanted - seen.keys())
    yield from (f"outcome event {found} is one too many: {seen[found]}" for found in seen.keys() - wanted)
    yield from (f"outcome event {found} says {len(said)} things" for found, said in seen.items() if len(said) > 1)
    for batch in expected.values():
        for result in stage.mailbox.outcomes("result", batch.batch_id)[:1]:
            try:
                check_result(result, batch)
            except AssertionError as error:
                yield f"the result of {batch.batch_id} is not the known one: {error}"


def verdicts(ledger: Ledger, expected: Mapping[str, Batch]) -> Iterator[str]:
    """Each comparison has one verdict, applied once, and it is the judge's."""
    known = {(batch.batch_id, row.index): row.winner for batch in expected.values() for row in batch.comparisons}
    yield from (f"comparison {key} has no verdict" for key in known.keys() - ledger.judgements.keys())
    yield from (f"comparison {key} is not one of the plan" for key in ledger.judgements.keys() - known.keys())
    for key, rows in ledger.judgements.items():
        if len(rows) > 1:
            yield f"comparison {key} had {len(rows)} verdicts: {rows}"
        yield from (f"{key} has a verdict that is not the judge's" for row in rows if row.winner != known.get(key))


def commits(ledger: Ledger, stage: Stage, committed: Committed) -> Iterator[str]:
    """Every event before a committed offset is applied, and every input before one is forwarded."""
    settings = stage.settings

    def is_read(record: Record) -> bool:
        return bool(record.offset < committed.get(TopicPartition(record.topic, record.partition), 0))

    for key, count in ledger.inputs(is_read).items():
        if ledger.forwarded[key] < count:
            yield f"{count} inputs about {key} are committed, {ledger.forwarded[key]} are forwarded"
    for number, partition in enumerate(ledger.partitions):
        partition.apply(committed.get(TopicPartition(settings.batch_events_topic, number), 0))
        for batch in partition.from_log.values():
            yield from _unapplied(number, partition, batch)


def _unapplied(number: int, partition: Partition, batch: Batch) -> Iterator[str]:
    stored = partition.rows.load(number, batch.batch_id)
    if stored is None:
        yield f"{batch.batch_id}: its request is committed, the changelog has nothing of it"
        return
    judged, has = _judged(batch), _judged(stored)
    if not judged.items() <= has.items():
        yield f"{batch.batch_id}: verdicts are committed and not in the changelog: {judged.items() - has.items()}"
    control, now = batch.control, stored.control
    if (control.iteration, control.fits) > (now.iteration, now.fits) or (batch.finished and not stored.finished):
        yield f"{batch.batch_id}: committed is {control}, in the changelog is {now}"
    if not set(control.published) <= set(now.published):
        yield f"{batch.batch_id}: published is {control.published}, in the changelog {now.published}"


def _judged(batch: Batch) -> dict[int, str | None]:
    return {row.index: row.winner for row in batch.comparisons if row.status is ComparisonStatus.JUDGED}


async def live_tables(ledger: Ledger, stage: Stage) -> list[str]:
    """What the workers show of a batch is what the changelog alone says of it."""
    wrong = []
    for number, batch in ledger.batches():
        shown = await stage.fleet.batch(batch.batch_id) or {}
        # What is degraded is said of the worker, not of the batch.
        shown.pop("degraded", None)
        replayed = json.loads(json.dumps(detail(batch, Place(number, shown.get("worker", "")), batch.run)))
        if shown != replayed:
            different = {name for name in replayed if shown.get(name) != replayed[name]}
            wrong.append(f"{batch.batch_id} differs from its replay in {sorted(different)}")
        rows = [row["winner"] for row in await stage.fleet.comparisons(batch.batch_id)]
        if rows != [f"Essay {row.winner}" for row in batch.comparisons]:
            wrong.append(f"the comparisons of {batch.batch_id} differ from their replay")
    return wrong


def disks(ledger: Ledger, owned: Mapping[Path, list[int]]) -> Iterator[str]:
    """Each local database is what the changelog alone says up to the offset that it has read to.

    ``owned``: by the data folder of a worker that was stopped in order the partitions that it served, whose databases
    have read to the end. The others in the folder are its copies as a standby, and of partitions that it had before.
    """
    for folder, partitions in owned.items():
        for copy in copies_in(folder):
            number, offset, rows = copy.partition, copy.offset, dict(copy.rows())
            changelog = ledger.partitions[number].changelog
            replayed = ledger.partitions[number].replay(offset)
            if rows != replayed:
                different = sorted(key for key in rows.keys() | replayed.keys() if rows.get(key) != replayed.get(key))
                yield f"the database of partition {number} in {folder} is not its changelog to {offset}: {different}"
            if number in partitions and offset < changelog[-1][0]:
                yield f"the database of partition {number} in {folder} has read to {offset} of {changelog[-1][0]}"


def submissions(ledger: Ledger, provider: DisorderlyPost) -> Iterator[str]:
    """An attempt is submitted at most once for each owner that its partition had while it was to be submitted."""
    limits = _limits(ledger)
    for found, count in provider.submissions.items():
        if (limit := limits.get(found, 0)) < count:
            echo = provider.requests[found]["metadata"]
            yield f"{found} of {echo['bos_batch_id']} was submitted {count} times, allowed are {limit}"


def _limits(ledger: Ledger) -> dict[str, int]:
    limits: dict[str, int] = {}
    for number, batch in ledger.batches():
        for row in batch.comparisons:
            plan = next(plan for plan in reversed(batch.plans) if plan.first_index <= row.index)
            start = ledger.planned[batch.batch_id, plan.iteration]
            for attempt in range(1, batch.roster.policy.max_attempts + 1):
                found = ledger.correlation_id(number, batch, row.index, attempt)
                signs = (ledger.accepted.get((batch.batch_id, row.index, attempt)), ledger.answered.get(found))
                end = min((sign for sign in signs if sign is not None), default=start)
                limits[found] = 1 + ledger.partitions[number].changes_of_owner(start, end)
                start = ledger.answered.get(found, start)
    return limits


def dead_letters(stage: Stage, provider: DisorderlyPost) -> Iterator[str]:
    """Dead letters are the poisoned inputs, all of them and nothing else."""
    found = {letter.value for letter in stage.mailbox.dead_letters}
    yield from (f"poison without a dead letter: {value!r}" for value in provider.poison - found)
    yield from (f"a dead letter that was no poison: {value!r}" for value in found - provider.poison)
