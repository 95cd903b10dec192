"""What a worker serves at which URL."""

from __future__ import annotations

from cj_stream.domain.events import Action
from cj_stream.engine.web_answers import (
    Page,
)
from cj_stream.views.access import limited
from cj_stream.views.batch_pages import BatchPages
from cj_stream.views.dashboard import dashboard_page
from cj_stream.views.metrics_page import metrics_page
from cj_stream.views.partition_pages import PartitionPages
from cj_stream.views.worker_parts import WorkerParts

BATCH = "/batches/{batch_id:[^/]+}"
"""A slash within the id is sent as %2F."""

PARTITION = "/partitions/{topic:[^/]+}/{partition:[^/]+}"


def pages(worker: WorkerParts) -> tuple[dict[str, Page], dict[str, Page]]:
    """Return what is served about the batches of ``worker``: the pages to be read, and those of the commands."""
    access, routing = worker.access, worker.routing
    batches, partitions = BatchPages(worker, routing), PartitionPages(worker, routing)
    gets = {
        "/metrics": metrics_page(worker.metrics),
        "/partitions": partitions.overview,
        "/batches": batches.list,
        BATCH: routing.at_home("", batches.detail),
        f"{BATCH}/comparisons": routing.at_home("/comparisons", batches.comparisons),
        f"{BATCH}/result": routing.at_home("/result", batches.result),
        f"{BATCH}/judgements": routing.at_home("/judgements", worker.judgements.page),
        f"{BATCH}/explain": routing.at_home("/explain", batches.explain),
    }
    posts = {f"{BATCH}/{action}": batches.command(action) for action in Action}
    posts[f"{PARTITION}/step-over"] = partitions.step_over
    read = {path: access.readers(page) for path, page in gets.items()}
    return {"/": dashboard_page(), **read}, {path: limited(page) for path, page in posts.items()}
