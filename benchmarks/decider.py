"""What the domain costs for each callback, and how fast rows and events are encoded and decoded.

No Kafka, no disk. All comparisons of a batch are accepted by the provider. A message brings callbacks for some of them,
spread over the batch; each is resolved, decided and applied, and the rows of all of them are encoded at the end, as the
batch agent does. The last message of a batch closes it. Figures are microseconds of processor time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import combinations, islice
from math import isqrt

from kit import parser, print_table, seconds_of, spread

from cj_stream.contracts.event_log import decode_event, encode_event
from cj_stream.domain.batch import Batch, evolve
from cj_stream.domain.deadlines import next_due
from cj_stream.domain.draft import Change, Changes
from cj_stream.domain.events import BatchRequested, CallbackReceived, ContentLoaded, Event, PairsPlanned
from cj_stream.domain.identifiers import CorrelationIds
from cj_stream.domain.partition import PartitionBatches
from cj_stream.domain.policy import Policy
from cj_stream.domain.records import Comparison, ComparisonStatus, Context, Essay, Row
from cj_stream.domain.todo import submissions
from cj_stream.tables.codec import decode_row, encode_row, row_key

BATCH = "batch-1"
STARTED = 1_700_000_000.0
EVENTS = 62
"""Callbacks of one message: as many as an internal message holds when many wait."""
PORTION = 10
"""Submissions started at a time."""
POLICY = Policy(comparisons_per_essay=2, completion_threshold_pct=100, max_iterations=1)
IDS = CorrelationIds(b"benchmark")
JUSTIFICATION = "The first essay states its claim early and supports it with two examples. " * 4


def partition_of(*batches: Batch, policy: Policy = POLICY) -> PartitionBatches:
    """Return a partition that holds these batches."""
    partition = PartitionBatches(IDS, policy, lambda _batch_id, _run: None)
    partition.restore(batches)
    return partition


def planned_batch(comparisons: int) -> Batch:
    """Return a batch with so many comparisons to be submitted."""
    essays = isqrt(2 * comparisons) + 2
    listed = tuple(Essay(id=f"essay-{i}", storage_id=f"text-{i}") for i in range(essays))
    pairs = tuple(islice(combinations(range(essays), 2), comparisons))
    partition = partition_of()
    request = BatchRequested(batch_id=BATCH, correlation_id="a", digest="d", essays=listed, context=Context())
    planned = PairsPlanned(batch_id=BATCH, run=1, iteration=1, pairs=pairs)
    deliver(partition, [request, ContentLoaded(batch_id=BATCH, run=1), planned], STARTED)
    return next(iter(partition))


def accepted(batch: Batch, at: float = STARTED) -> Batch:
    """Return the batch when all its comparisons await their callback."""
    return evolve(
        batch,
        (Comparison(index=row.index, status=ComparisonStatus.ACCEPTED, submitted_at=at) for row in batch.comparisons),
    )


def deliver(partition: PartitionBatches, events: Sequence[Event], at: float) -> list[Change]:
    """Decide and apply events, as the batch agent does with those of a message."""
    changes = []
    for event in events:
        change = partition.decide(event, at)
        partition.apply(change)
        changes.append(change)
    return changes


def callback(batch: Batch, index: int) -> CallbackReceived:
    """Return the callback for a comparison as the provider gives it."""
    pair = batch.essay_ids(index)
    made = IDS.make(partition=0, batch_id=batch.batch_id, run=batch.run, index=index, attempt=1, pair=pair)
    return CallbackReceived(
        batch_id=batch.batch_id,
        correlation_id=made,
        essay_ids=pair,
        winner="A" if index % 3 else "B",
        confidence=4.0,
        justification=JUSTIFICATION,
        provider="openai",
        model="judge-1",
    )


def costs(comparisons: int, repeats: int) -> list[str]:
    """Return the row of the table for a batch of this size."""
    planned = planned_batch(comparisons)
    batch = accepted(planned)
    spread_out = [callback(batch, number * comparisons // EVENTS) for number in range(EVENTS)]
    last = [callback(batch, index) for index in range(comparisons - EVENTS, comparisons)]
    earlier = deliver(partition_of(batch), [callback(batch, index) for index in range(comparisons - EVENTS)], STARTED)
    nearly_done = earlier[-1].batch or batch
    changes = deliver(partition_of(batch), spread_out, STARTED)
    resolving = partition_of(batch)
    figures = (
        cost(lambda: [resolving.resolve(event) for event in spread_out], EVENTS, repeats),
        cost(lambda: deliver(partition_of(batch), spread_out[:1], STARTED), 1, repeats),
        cost(lambda: deliver(partition_of(batch), spread_out, STARTED), EVENTS, repeats),
        cost(lambda: deliver(partition_of(nearly_done), last, STARTED), EVENTS, repeats),
        cost(lambda: rows_of(changes), EVENTS, repeats),
        cost(lambda: list(islice(submissions(planned), PORTION)), 1, repeats),
        cost(lambda: next_due(again(changes[-1].batch or batch)), 1, repeats),
    )
    return [str(comparisons), *map(spread, figures)]


def again(batch: Batch) -> Batch:
    """Return the batch with one row put in once more: what is asked of it then is not all known from before."""
    return evolve(batch, [batch.comparisons[0]])


def cost(work: Callable[[], object], events: int, repeats: int) -> list[float]:
    """Return the microseconds of processor time that ``work`` took for each event, in each of the runs."""
    work()
    return [_cost(work, max(EVENTS // events, 1)) / events for _ in range(repeats)]


def _cost(work: Callable[[], object], times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times * 1e6


def rows_of(changes: Sequence[Change]) -> list[tuple[bytes, bytes]]:
    """Gather the changes of a message, and return keys and rows as they are written."""
    gathered = Changes()
    for change in changes:
        gathered.add(change, 1)
    return [(row_key(BATCH, 1, row), encode_row(row, 1)) for change, _ in gathered for row in change.rows]


def encoding(name: str, encode: Callable[[], bytes], decode: Callable[[bytes], object], repeats: int) -> list[str]:
    """Return the row of the table for one kind of row or event."""
    many, data = range(2000), encode()
    seconds = (
        seconds_of(lambda: [encode() for _ in many], repeats),
        seconds_of(lambda: [decode(data) for _ in many], repeats),
    )
    return [name, str(len(data)), *(spread([len(many) / taken for taken in found]) for found in seconds)]


def row_encoding(name: str, row: Row, repeats: int) -> list[str]:
    """Return the row of the table for a row of a batch."""
    key = row_key(BATCH, 1, row)
    return encoding(name, lambda: encode_row(row, 1), lambda data: decode_row(key, data), repeats)


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, repeats=7)
    sizes = [100, 1_000, 10_000, 20_000]
    options.add_argument("--comparisons", type=int, nargs="+", default=sizes, help="sizes of batches")
    arguments = options.parse_args()
    repeats = arguments.repeats
    print_table(
        f"Microseconds for each callback of a message of {EVENTS}, for {PORTION} submissions, and for the next deadline"
        f" ({repeats} runs)",
        [
            "comparisons",
            "resolve",
            "alone",
            "in a message",
            "last message",
            "rows",
            "submissions",
            "change and next_due",
        ],
        [costs(comparisons, repeats) for comparisons in arguments.comparisons],
    )
    batch = accepted(planned_batch(100))
    answer = callback(batch, 0)
    (change,) = deliver(partition_of(batch), [answer], STARTED)
    print_table(
        f"Encoding, per second ({repeats} runs)",
        ["what", "bytes", "encode", "decode"],
        [
            row_encoding("comparison row, judged", change.rows[0], repeats),
            row_encoding("control row", batch.control, repeats),
            row_encoding("roster row, 16 essays", batch.roster, repeats),
            encoding("callback event", lambda: encode_event(answer), decode_event, repeats),
        ],
    )


if __name__ == "__main__":
    main()
