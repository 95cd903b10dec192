"""What a worker serves at which URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faust.web import View
from faust.web.base import BlueprintManager

from cj_stream.contracts.topics import changelog_topic
from cj_stream.domain.events import Action
from cj_stream.views.answers import Page, errors_as_json
from cj_stream.views.batches import BatchPages
from cj_stream.views.dashboard import dashboard_page
from cj_stream.views.health import HealthPages
from cj_stream.views.partitions import PartitionPages
from cj_stream.views.routing import Routing

if TYPE_CHECKING:
    from cj_stream.worker import Worker

BATCH = "/batches/{batch_id:[^/]+}"
"""A slash within the id is sent as %2F."""

PARTITION = "/partitions/{topic:[^/]+}/{partition:[^/]+}"


def add_views(worker: Worker) -> None:
    """Serve the views of ``worker`` on its Faust app, and nothing of Faust's own."""
    server = worker.app.web
    # Faust's pages (index, statistics, table data, router) are blueprints, applied when the server starts.
    server.blueprints = BlueprintManager()
    server.web_app.middlewares.append(errors_as_json)
    settings = worker.settings
    routing = Routing(worker.app, worker.engine.opener, settings.partitions, changelog_topic(settings))
    batches, health = BatchPages(worker, routing), HealthPages(worker)
    partitions = PartitionPages(worker, routing)
    gets = {
        "/": dashboard_page(),
        "/metrics": health.metrics,
        "/healthz/live": health.live,
        "/healthz/ready": health.ready,
        "/partitions": partitions.overview,
        "/batches": batches.list,
        BATCH: routing.at_home("", batches.detail),
        f"{BATCH}/comparisons": routing.at_home("/comparisons", batches.comparisons),
        f"{BATCH}/result": routing.at_home("/result", batches.result),
        f"{BATCH}/explain": routing.at_home("/explain", batches.explain),
    }
    for path, page in gets.items():
        _add(worker, "get", path, page)
    for action in Action:
        _add(worker, "post", f"{BATCH}/{action}", batches.command(action))

    _add(worker, "post", f"{PARTITION}/step-over", partitions.step_over)


def _add(worker: Worker, method: str, path: str, page: Page) -> None:
    # Static: to Faust a page is a method of a class of its own, to us it belongs to the pages it stands with.
    worker.app.page(path, name=f"{method} {path}")(type("Page", (View,), {method: staticmethod(page)}))
