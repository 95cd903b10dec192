"""The process that Faust's command line runs: its logging is ours, it prints no banner, and it ends at once.

Hazard in mode 0.7.1: whatever is raised ends with exit code 1, and after a stop in order the interpreter waits for
every thread that is left (``mode/worker.py`` 258-275). Here the process ends as `process` and `crashes` say.

Tests: ``test_crashes.py``; ``tests/kafka/test_endings.py``.
"""

from __future__ import annotations

from typing import Any, NoReturn

import faust.worker

from cj_stream.engine.hardening import engine_of
from cj_stream.engine.naming import Names
from cj_stream.engine.overrides.crashes import end_for
from cj_stream.engine.process import end_in_order


class QuietWorker(faust.worker.Worker):
    """Faust's worker without its own logging, which would replace the handlers set up before."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "override_logging": False, "quiet": True})
        self.spinner = None

    def execute_from_commandline(self) -> NoReturn:
        """Run until the worker has stopped or crashed, and end the process."""
        try:
            super().execute_from_commandline()
        except SystemExit as ended:
            if not ended.code:
                end_in_order()
            end_for(ended.__context__ or ended, self._names)
        except Exception as error:  # noqa: BLE001 (whatever it is, it has its exit code)
            end_for(error, self._names)
        raise AssertionError("unreachable: mode ends with SystemExit")

    @property
    def _names(self) -> Names:
        return engine_of(self.app).settings.names

    async def _sentinel_task(self) -> None:
        """End with the event loop: mode waits another second, when everything is stopped and cancelled."""
