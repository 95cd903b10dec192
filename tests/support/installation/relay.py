"""A port that leads to a broker, as long as the test wants it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def relay(port: int, bootstrap: str) -> AsyncIterator[None]:
    """Have the broker answer on ``port`` too: clients learn its real address from it."""
    host, _, real_port = bootstrap.partition(":")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, to_behind = await asyncio.open_connection(host, int(real_port))
        await asyncio.gather(_copy(reader, to_behind), _copy(behind, writer))

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        yield


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
