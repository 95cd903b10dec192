"""The process that Faust's command line runs: its logging is ours, and it prints neither banner nor spinner."""

from __future__ import annotations

from typing import Any

import faust.worker


class QuietWorker(faust.worker.Worker):
    """Faust's worker without its own logging, which would replace the handlers set up before."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "override_logging": False, "quiet": True})
        self.spinner = None
