"""The bank: an HTTP server in the process of the test, which counts the calls about each order."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from aiohttp import web

SILENT = "silent"
"""Orders whose names begin like this are never taken: it is said to try again later."""


async def _nothing(_order: str) -> None:
    pass


class Bank:
    """Listens on a port of its own; use it as ``async with Bank() as bank``."""

    def __init__(self) -> None:
        self.calls: dict[str, list[float]] = defaultdict(list)
        """When there were calls about each order, in seconds since the epoch; of those that are taken."""
        self.charged: dict[str, tuple[str, int]] = {}
        """Account and amount of the orders that were taken, each as it was asked for first."""
        self.contradicted: list[str] = []
        """Orders that were asked for twice, with different accounts or amounts."""
        self.seconds: Callable[[], float] = lambda: 0.0
        """How long a call takes."""
        self.asked: Callable[[str], Awaitable[None]] = _nothing
        """Told of each order at the beginning of a call."""
        self.url = ""
        app = web.Application()
        app.router.add_put("/charges/{order}", self._charge)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _charge(self, request: web.Request) -> web.Response:
        order, body = request.match_info["order"], await request.json()
        if order.startswith(SILENT):
            return web.Response(status=503)
        self.calls[order].append(time.time())
        charge = (body["account"], body["amount"])
        if self.charged.setdefault(order, charge) != charge:
            self.contradicted.append(order)
        await self.asked(order)
        await asyncio.sleep(self.seconds())
        return web.Response()
