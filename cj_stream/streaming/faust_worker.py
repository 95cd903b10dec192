"""The process that Faust's command line runs: its logging is ours, it prints no banner, and it ends at once."""

from __future__ import annotations

from typing import Any

import faust.worker


class QuietWorker(faust.worker.Worker):
    """Faust's worker without its own logging, which would replace the handlers set up before."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "override_logging": False, "quiet": True})
        self.spinner = None

    async def _sentinel_task(self) -> None:
        """End with the event loop: mode waits another second, when everything is stopped and cancelled."""
