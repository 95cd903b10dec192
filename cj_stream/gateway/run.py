"""Runs a gateway until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog
from aiohttp import web

from cj_stream.gateway.desk import Desk, Latency
from cj_stream.gateway.publisher import KafkaPublisher
from cj_stream.gateway.server import gateway_app
from cj_stream.gateway.specs import Benches

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class GatewayConfig:
    """Where the gateway listens, where it publishes and who judges."""

    host: str
    port: int
    bootstrap: str
    topics: Sequence[str]
    benches: Benches
    latency: Latency


async def serve(config: GatewayConfig) -> None:
    """Serve until SIGTERM or Ctrl-C, then stop at once and forget pending callbacks.

    Raises OSError when the address is taken, KafkaError when there is no broker.
    """
    loop = asyncio.get_running_loop()
    serving = asyncio.ensure_future(_serve(config))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, serving.cancel)
    with suppress(asyncio.CancelledError):
        await serving


async def _serve(config: GatewayConfig) -> None:
    async with KafkaPublisher(config.bootstrap) as publisher:
        app = gateway_app(config.benches, Desk(publisher, config.latency), config.topics)
        # Callers who are connected have had their answers: there is nothing to wait for.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, config.host, config.port).start()
            _log.info(
                "gateway ready",
                addresses=[f"http://{host}:{port}/api/v1" for host, port, *_ in runner.addresses],
                judges=sorted(config.benches.named),
                topics=list(config.topics),
                bootstrap=config.bootstrap,
            )
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
