"""Whether anybody takes connections at an address, asked in seconds."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from yarl import URL

KNOCK_SECONDS = 3.0


async def why_closed(url: URL) -> str | None:
    """Return why no connection can be made to the host and port of ``url``, None if one can."""
    try:
        async with asyncio.timeout(KNOCK_SECONDS):
            _, writer = await asyncio.open_connection(url.host, url.port)
    except TimeoutError:
        return f"no answer within {KNOCK_SECONDS:g} s"
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return None
