"""How many events per second the domain decides, and how fast rows and events are encoded and decoded.

No Kafka, no disk. A batch has 15 comparisons per essay, all accepted by the provider; measured is `decide` and `apply`
for verdicts, at the first callbacks of the batch and at the last ones, the event that closes the batch included. The
encodings are those of the table and of the internal messages.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from kit import parser, print_table, seconds_of, spread

from cj_stream.contracts.log import (
    decode_event,
    encode_event,
)
from cj_stream.domain import judgement
from cj_stream.domain.batch import Batch, evolve
from cj_stream.domain.draft import Change
from cj_stream.domain.events import BatchRequested, Callback, ContentLoaded, Event, VerdictReceived
from cj_stream.domain.identifiers import CorrelationIds
from cj_stream.domain.partition import PartitionBatches
from cj_stream.domain.policy import Policy
from cj_stream.domain.records import Comparison, ComparisonStatus, Context, Essay, Row
from cj_stream.tables.codec import decode_row, encode_row, row_key

BATCH = "batch-1"
STARTED = 1_700_000_000.0
EVENTS = 100
"""Verdicts decided in one measured run."""
POLICY = Policy(comparisons_per_essay=15, completion_threshold_pct=100, max_iterations=1)
IDS = CorrelationIds(b"benchmark")
JUSTIFICATION = "The first essay states its claim early and supports it with two examples. " * 4


def partition_of(*batches: Batch, policy: Policy = POLICY) -> PartitionBatches:
    """Return a partition that holds these batches."""
    partition = PartitionBatches(IDS, policy, lambda _batch_id, _run: None)
    partition.restore(batches)
    return partition


def accepted_batch(essays: int, batch_id: str = BATCH, policy: Policy = POLICY, at: float = STARTED) -> Batch:
    """Return a batch whose comparisons all await their callback."""
    partition = partition_of(policy=policy)
    listed = tuple(Essay(id=f"essay-{i}", storage_id=f"text-{i}") for i in range(essays))
    request = BatchRequested(
        batch_id=batch_id, correlation_id=str(uuid4()), digest="d", essays=listed, context=Context()
    )
    deliver(partition, [request, ContentLoaded(batch_id=batch_id, run=1)], at)
    deliver(partition, [judgement.plan(next(iter(partition)))], at)
    batch = next(iter(partition))
    accepted = (
        Comparison(index=row.index, status=ComparisonStatus.ACCEPTED, submitted_at=at) for row in batch.comparisons
    )
    return evolve(batch, accepted)


def deliver(partition: PartitionBatches, events: list[Event], at: float) -> list[Change]:
    """Decide and apply events, as the batch agent does with those of a message."""
    changes = []
    for event in events:
        change = partition.decide(event, at)
        partition.apply(change)
        changes.append(change)
    return changes


def verdict(index: int) -> VerdictReceived:
    """Return a verdict as the provider gives it."""
    return VerdictReceived(
        batch_id=BATCH,
        run=1,
        index=index,
        attempt=1,
        winner="A" if index % 3 else "B",
        confidence=4.0,
        justification=JUSTIFICATION,
        provider="openai",
        model="judge-1",
    )


def deciding(essays: int, repeats: int) -> list[str]:
    """Return the row of the table for a batch of this size."""
    batch = accepted_batch(essays)
    total = batch.total_comparisons
    earlier, last = range(total - EVENTS), range(total - EVENTS, total)
    nearly_done = evolve(batch, [change_of(batch, index) for index in earlier])
    rates = (per_second(batch, range(EVENTS), repeats), per_second(nearly_done, last, repeats))
    return [str(essays), str(total), *map(spread, rates)]


def per_second(batch: Batch, indexes: range, repeats: int) -> list[float]:
    """Return how many verdicts on these comparisons are decided and applied per second, each time from ``batch`` on."""
    events: list[Event] = [verdict(index) for index in indexes]
    seconds = seconds_of(lambda: deliver(partition_of(batch), events, STARTED), repeats)
    return [len(events) / taken for taken in seconds]


def change_of(batch: Batch, index: int) -> Comparison:
    """Return the row of a judged comparison."""
    (change,) = deliver(partition_of(batch), [verdict(index)], STARTED)
    return next(row for row in change.rows if isinstance(row, Comparison))


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
    options.add_argument("--essays", type=int, nargs="+", default=[30, 100, 1000], help="sizes of batches")
    arguments = options.parse_args()
    repeats = arguments.repeats
    print_table(
        f"Decider, verdicts per second ({repeats} runs of {EVENTS} verdicts)",
        ["essays", "comparisons", f"first {EVENTS} callbacks", f"last {EVENTS} callbacks"],
        [deciding(essays, repeats) for essays in arguments.essays],
    )
    batch = accepted_batch(40)
    callback = Callback(
        batch_id=BATCH,
        correlation_id=str(IDS.make(partition=0, batch_id=BATCH, run=1, index=0, attempt=1, pair=batch.essay_ids(0))),
        essay_ids=batch.essay_ids(0),
        winner="A",
        confidence=4.0,
        justification=JUSTIFICATION,
        provider="openai",
        model="judge-1",
    )
    print_table(
        f"Encoding, per second ({repeats} runs)",
        ["what", "bytes", "encode", "decode"],
        [
            row_encoding("comparison row, judged", change_of(batch, 0), repeats),
            row_encoding("control row", batch.control, repeats),
            row_encoding("roster row, 40 essays", batch.roster, repeats),
            encoding("callback event", lambda: encode_event(callback), decode_event, repeats),
        ],
    )


if __name__ == "__main__":
    main()
