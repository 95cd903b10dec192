"""An HTTP server that answers as nobody should: without end, with a bomb behind gzip, with a redirect."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer

BOMB_BYTES = 2 * 1024**3
_BLOCK_BYTES = 16 * 1024**2
_ENOUGH = 64 * 1024**2
_CHUNK_BYTES = 65_536


class HostileServer:
    """Answers whatever it is asked in one of its ways: ``bomb``, ``endless``, or a redirect status such as ``302``.

    A redirect has ``body`` and points to ``/elsewhere``, where everything would be well; ``location`` says where else.
    """

    def __init__(self, way: str, *, status: int = 200, body: bytes = b"{}", location: str = "/elsewhere") -> None:
        self.way = way
        self.status = status
        self.body = body
        self.location = location
        self.asked: list[tuple[str, str]] = []
        self.sent = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path))
        if self.way == "bomb":
            return web.Response(status=self.status, body=bomb(), headers={"Content-Encoding": "gzip"})
        if self.way == "endless":
            return await self._endless(request)
        if request.path == "/elsewhere":
            return web.Response(status=200, body=self.body)
        return web.Response(status=int(self.way), body=self.body, headers={"Location": self.location})

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=self.status)
        await response.prepare(request)
        for _ in range(0, _ENOUGH, _CHUNK_BYTES):
            await response.write(b" " * _CHUNK_BYTES)
            self.sent += _CHUNK_BYTES
        return response

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve; yields the base address."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        async with TestServer(app) as server:
            yield str(server.make_url("/")).rstrip("/")


def bomb() -> bytes:
    """Return two megabytes that gzip unpacks to two gigabytes of blanks."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b" " * _BLOCK_BYTES
    first = deflate.compress(block) + deflate.flush(zlib.Z_FULL_FLUSH)
    # After a full flush nothing refers to what was before, so the same bytes are the same blanks again.
    again = deflate.compress(block) + deflate.flush(zlib.Z_FULL_FLUSH)
    return first + again * (BOMB_BYTES // _BLOCK_BYTES - 1)
