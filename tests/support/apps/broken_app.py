"""A worker with one mistake, which the variable BROKEN chooses, for `faust -A support.apps.broken_app`."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from cj_stream.agents.callbacks import CallbacksAgent
from cj_stream.engine.overrides.consumer import FencedConsumerThread


async def _hangs(_agent: Any, _message: Any) -> None:
    await asyncio.Event().wait()


async def _blocks(_agent: Any, _message: Any) -> None:
    time.sleep(3600)  # noqa: ASYNC251 (that is the mistake)


async def _crashes(_thread: Any, *_args: Any, **_: Any) -> None:
    raise RuntimeError("a mistake in the consumer's thread")


if os.environ["BROKEN"] == "crashes":
    FencedConsumerThread._fetch_records = _crashes  # type: ignore[assignment]  # whatever it is given
else:
    ways: dict[str, Any] = {"hangs": _hangs, "blocks": _blocks}
    CallbacksAgent.handle = ways[os.environ["BROKEN"]]

from cj_stream.app import app  # noqa: E402 (the mistake comes first)

__all__ = ["app"]
