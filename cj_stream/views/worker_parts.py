"""What of a worker its pages look at: handed to them by whoever wires the worker together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cj_stream.content.client import ContentClient
from cj_stream.domain.batch import Batch
from cj_stream.domain.events import Event
from cj_stream.domain.identifiers import CorrelationIds
from cj_stream.domain.partition import PartitionBatches
from cj_stream.domain.todo import Effect
from cj_stream.engine.dispatcher import Dispatcher
from cj_stream.engine.hardening import Engine
from cj_stream.operations.metrics import Metrics
from cj_stream.operations.settings import Settings
from cj_stream.provider.client import ProviderClient
from cj_stream.tables.batch_rows import BatchRows
from cj_stream.views.access import Access
from cj_stream.views.judgements import JudgementsOfOthers
from cj_stream.views.routing import Routing


@dataclass(frozen=True)
class WorkerParts:
    """The parts of one worker; ``partitions`` are those it serves now, and change as they come and go."""

    settings: Settings
    engine: Engine[Event]
    rows: BatchRows
    partitions: Mapping[int, PartitionBatches]
    dispatcher: Dispatcher[Batch, Effect, Event]
    provider: ProviderClient
    content: ContentClient
    correlation_ids: CorrelationIds
    metrics: Metrics
    access: Access
    routing: Routing
    judgements: JudgementsOfOthers
