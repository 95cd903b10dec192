"""A real worker with one mistake in it, which the environment variable BROKEN chooses, for `faust -A broken_app`."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from cj_stream.agents.callbacks import CallbacksAgent


async def _hangs(_agent: Any, _message: Any) -> None:
    await asyncio.Event().wait()


async def _blocks(_agent: Any, _message: Any) -> None:
    time.sleep(3600)  # noqa: ASYNC251 (that is the mistake)


CallbacksAgent.handle = {"hangs": _hangs, "blocks": _blocks}[os.environ["BROKEN"]]  # type: ignore[method-assign]

from cj_stream.app import app  # noqa: E402 (the mistake comes first)

__all__ = ["app"]
