"""The metrics of a worker, as Prometheus scrapes them."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from cj_stream.engine.web_answers import SAFE_HEADERS, Page
from cj_stream.operations.metrics import Metrics


def metrics_page(metrics: Metrics) -> Page:
    """Return the page that answers with the metrics in Prometheus' text format."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=metrics.exposition(), headers={**SAFE_HEADERS, "Content-Type": CONTENT_TYPE_LATEST})

    return answer
